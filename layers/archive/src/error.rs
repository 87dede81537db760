//! What can be wrong with an input.

use std::fmt::Write as _;
use std::io;

use bake_base::Digest;

use crate::Compression;

/// How many problems of one archive are spelled out; the rest is counted.
const SHOWN: usize = 20;

/// An input that cannot be used. Every variant names the file as the user gave it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The operating system refused.
    #[error("{action} `{file}` failed")]
    Io {
        /// The file.
        file: String,
        /// What was tried, such as `reading`.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Nothing that is known.
    #[error("`{file}` is {found}: expected {expected}")]
    Unrecognised {
        /// The file.
        file: String,
        /// What it looks like.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// The compressed stream ends too early.
    #[error("`{file}` is cut short: its {compression} stream does not end")]
    TruncatedStream {
        /// The file.
        file: String,
        /// How it is compressed.
        compression: Compression,
    },
    /// The compressed stream is damaged, or followed by something else.
    #[error(
        "`{file}` is damaged: its {compression} stream cannot be decoded after byte {decoded} ({reason})"
    )]
    CorruptStream {
        /// The file.
        file: String,
        /// How it is compressed.
        compression: Compression,
        /// How many bytes came out before.
        decoded: u64,
        /// What the decoder says.
        reason: String,
    },
    /// More bytes come out than the user allows.
    #[error(
        "`{file}` decodes to more than {limit} bytes: if it is meant to be that large, raise `--max-decoded`"
    )]
    TooLarge {
        /// The file.
        file: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Decoding needs more memory than the user allows.
    #[error(
        "`{file}` needs more than {limit} bytes of memory to decode its {compression} stream: \
         if it comes from somebody you trust, raise `--max-decoder-memory`"
    )]
    TooMuchMemory {
        /// The file.
        file: String,
        /// How it is compressed.
        compression: Compression,
        /// The limit in bytes.
        limit: u64,
    },
    /// Members that cannot be used.
    #[error("`{file}`: {}", spell(problems))]
    Members {
        /// The archive.
        file: String,
        /// All of them, in the order of the archive; never empty.
        problems: Vec<MemberProblem>,
    },
    /// A document of an image says something impossible.
    #[error("`{file}`: {document} {reason}")]
    Document {
        /// The image.
        file: String,
        /// Which document of it, or which blob.
        document: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// No image for the architecture, or several.
    #[error("`{file}` has {} for {wanted}: {}", found_count(*fitting), spell_platforms(platforms))]
    Platform {
        /// The image.
        file: String,
        /// The platform, as images call it.
        wanted: String,
        /// How many of `platforms` are for it.
        fitting: usize,
        /// What there is.
        platforms: Vec<String>,
    },
    /// The file is not the one that was opened.
    #[error("`{file}` changed while it was read: bake again when nothing writes to it")]
    Changed {
        /// The file.
        file: String,
    },
    /// A blob is not what its descriptor says.
    #[error("`{file}`: {what} has the digest {found}: expected {expected}")]
    Digest {
        /// The image or cache.
        file: String,
        /// Which blob of it.
        what: String,
        /// What its descriptor says.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A blob has another length than its descriptor says.
    #[error("`{file}`: {what} has {found} bytes: expected {expected}")]
    Size {
        /// The image or cache.
        file: String,
        /// Which blob of it.
        what: String,
        /// What its descriptor says.
        expected: u64,
        /// What it is.
        found: u64,
    },
}

/// One member that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at byte {offset} {reason}", if member.is_empty() { "the block".to_owned() } else { format!("member `{member}`") })]
pub struct MemberProblem {
    /// Its name, printable; empty where no header says it.
    pub member: String,
    /// Where its header begins in the (decoded) archive.
    pub offset: u64,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl MemberProblem {
    pub(crate) fn new(member: &[u8], offset: u64, reason: impl Into<String>) -> Self {
        let member = member[..member.len().min(200)].escape_ascii().to_string();
        Self { member, offset, reason: reason.into() }
    }
}

fn spell(problems: &[MemberProblem]) -> String {
    if let [problem] = problems {
        return problem.to_string();
    }
    let mut text = format!("{} members cannot be used", problems.len());
    for problem in problems.iter().take(SHOWN) {
        write!(text, "\n  {problem}").expect("a string takes any text");
    }
    if problems.len() > SHOWN {
        write!(text, "\n  and {} more", problems.len() - SHOWN).expect("a string takes any text");
    }
    text
}

fn found_count(fitting: usize) -> String {
    match fitting {
        0 => "no image".to_owned(),
        count => format!("{count} images"),
    }
}

fn spell_platforms(platforms: &[String]) -> String {
    if platforms.is_empty() {
        return "it has none at all".to_owned();
    }
    format!("expected exactly one, found {}", platforms.join(", "))
}

impl ArchiveError {
    /// For `map_err` and `ok_or_else`: what is wrong with a document or blob of the image `file`.
    pub(crate) fn document(file: &str, document: &str, reason: impl Into<String>) -> Self {
        Self::Document { file: file.to_owned(), document: document.to_owned(), reason: reason.into() }
    }

    /// For `map_err`: an operation on `file` that the operating system refused.
    pub(crate) fn io(file: &str, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { file, action, source }
    }
}
