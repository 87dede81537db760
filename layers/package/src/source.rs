//! Where a package's sources come from, as a recipe says it.

use std::fmt;

use bake_base::Digest;

/// One source of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A commit of a repository.
    Git {
        /// What `git fetch` takes.
        url: String,
        /// The commit.
        commit: Commit,
        /// The branch or tag that is meant to hold the commit.
        ref_origin: String,
        /// Digest of the checked-out files, when the recipe pins it.
        sha256: Option<Digest>,
    },
    /// The committed state of a repository on this machine.
    GitLocal {
        /// Where it is, relative to the recipe's directory.
        rel_path: String,
    },
    /// A file, as it is.
    Url(Download),
    /// An archive whose members lie below one top directory, which is stripped.
    UrlExtract(Download),
}

/// A file to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// Where from: `http`, `https` or `file`; `file://` with a relative path starts at the recipe's directory.
    pub url: String,
    /// What it must be.
    pub pin: Pin,
}

/// What the bytes of a download must be; SHA-256 counts where both are given, and both are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// SHA-256, preferred.
    pub sha256: Option<Digest>,
    /// SHA-1, as recipes written for DC/OS have it: 40 lower-case hex digits.
    pub sha1: Option<String>,
}

/// A full commit id of a git repository: 40 lower-case hex digits (SHA-1), or 64 (SHA-256).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// A commit by its hex digits, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| Self(text.to_ascii_lowercase()))
    }

    /// Its hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
