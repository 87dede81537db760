//! Why a source could not be had.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use bake_archive::ArchiveError;

/// How many changed files of a repository are named.
const SHOWN: usize = 10;

/// What went wrong with which source.
#[derive(Debug)]
pub struct FetchError {
    /// The package whose source it is.
    pub package: String,
    /// The source's name in the recipe.
    pub name: String,
    /// What went wrong.
    pub problem: Box<FetchProblem>,
}

impl FetchError {
    /// Whether every place that was asked said that it has no such file.
    pub fn is_absent(&self) -> bool {
        matches!(&*self.problem, FetchProblem::Failed(failed) if failed.iter().all(|failed| failed.is_absent))
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "package `{}`: source `{}`: {}", self.package, self.name, self.problem)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.problem)
    }
}

/// What can go wrong with a source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchProblem {
    /// The operating system refused.
    #[error("{action} `{}` failed", path.display())]
    Io {
        /// What was tried, such as `reading`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody asked for the end.
    #[error("the transfer was stopped")]
    Stopped,
    /// The name cannot be that of a directory.
    #[error("its name cannot be that of a directory: expected neither `/` nor `.` nor `..`")]
    Name,
    /// The URL cannot be used.
    #[error("`{url}` {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong, and what was expected.
        reason: &'static str,
    },
    /// Nothing says what the file must be.
    #[error("`{url}` has no digest: add `sha256` to the recipe")]
    NoDigest {
        /// The URL.
        url: String,
    },
    /// The suffix is not that of an archive.
    #[error(
        "`{name}` is no archive that can be extracted: expected a name that ends in `.tgz`, `.tar`, `.tar.*`, \
         `.crate` or `.zip`; use `\"kind\": \"url\"` for a file that is taken as it is"
    )]
    Suffix {
        /// The file's name.
        name: String,
    },
    /// A file is needed that only the network has.
    #[error(
        "`{url}` is needed, and `--offline` forbids to fetch it: put the file with {expected} at `{}`, or run \
         without `--offline`", path.display()
    )]
    Offline {
        /// The URL.
        url: String,
        /// The digests.
        expected: String,
        /// Where the file would be found.
        path: PathBuf,
    },
    /// A commit is needed that only the network has.
    #[error(
        "commit {commit} of `{url}` is needed, and `--offline` forbids to fetch it: put a bare clone that has \
         it at `{}`, or run without `--offline`", path.display()
    )]
    OfflineCommit {
        /// The repository.
        url: String,
        /// The commit.
        commit: String,
        /// Where the clone would be found.
        path: PathBuf,
    },
    /// A file of the cache is not what the recipe expects, and cannot be replaced.
    #[error(
        "`{}` had {found}, expected {expected}; it was moved to `{}`, and `--offline` forbids to fetch `{url}`: \
         put the right file there, or run without `--offline`", path.display(), quarantined.display()
    )]
    OfflineWrong {
        /// The URL.
        url: String,
        /// The file.
        path: PathBuf,
        /// The digests that the recipe gives.
        expected: String,
        /// The digests of the file.
        found: String,
        /// Where the file is now.
        quarantined: PathBuf,
    },
    /// No place had the file, for these reasons.
    #[error("{}", lines(.0))]
    Failed(Vec<Failed>),
    /// What is in the cache changed while it was used.
    #[error("`{}` changed while it was used: run again when nothing writes to it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// An archive cannot be extracted.
    #[error("it cannot be extracted")]
    Archive(#[source] ArchiveError),
    /// An archive whose members make no tree.
    #[error("`{}` cannot be extracted: {}", path.display(), problems.join("; "))]
    Members {
        /// The archive.
        path: PathBuf,
        /// What is wrong with which of them.
        problems: Vec<String>,
    },
    /// There is no git.
    #[error("`{program}` is needed to read repositories, and it is not installed: install git")]
    NoGit {
        /// What was run.
        program: String,
    },
    /// Git failed.
    #[error("`git {command}` failed: {message}")]
    Git {
        /// What was asked of it.
        command: String,
        /// What it said last.
        message: String,
    },
    /// The branch or tag does not exist.
    #[error(
        "`ref_origin`: `{url}` has no branch or tag `{reference}`: name the one that holds commit {commit}"
    )]
    NoReference {
        /// The repository.
        url: String,
        /// What does not exist.
        reference: String,
        /// The commit of the recipe.
        commit: String,
    },
    /// The commit does not exist, or not any more.
    #[error("`ref`: `{url}` has no commit {commit}, neither in a branch or tag nor by itself")]
    NoCommit {
        /// The repository.
        url: String,
        /// The commit of the recipe.
        commit: String,
    },
    /// The files of a commit are not those that the recipe expects.
    #[error(
        "the files of commit {commit} have SHA-256 {found}, expected SHA-256 {expected}: correct `sha256` if they are \
         what they should be"
    )]
    WrongTree {
        /// The commit.
        commit: String,
        /// What the recipe gives.
        expected: String,
        /// What they have.
        found: String,
    },
    /// A local repository that cannot be used.
    #[error("`rel_path`: `{path}` {reason}")]
    Local {
        /// As the recipe says it.
        path: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// A local repository with changes that belong to no commit.
    #[error(
        "`rel_path`: `{path}` has changes that are not committed: {}; commit or undo them (files that git does \
         not track don't matter)",
        first(files)
    )]
    Unclean {
        /// As the recipe says it.
        path: String,
        /// What git says of each file.
        files: Vec<String>,
    },
}

/// One place that did not have a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The URL.
    pub url: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: String,
    /// Whether the place has no such file, and says so.
    pub is_absent: bool,
}

impl FetchProblem {
    /// For `map_err`: what was tried with which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.url, self.reason)?;
        match self.attempts {
            1 => Ok(()),
            attempts => write!(f, " (the last of {attempts} attempts)"),
        }
    }
}

fn lines(failed: &[Failed]) -> String {
    failed.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and ")
}

fn first(files: &[String]) -> String {
    let mut text = files.iter().take(SHOWN).map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ");
    if files.len() > SHOWN {
        text.push_str(&format!(" and {} more", files.len() - SHOWN));
    }
    text
}
