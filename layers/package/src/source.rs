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

impl Download {
    /// What the file is called in the cache and below `/pkg/src`: the last component of the URL's path. A query
    /// is no part of it; in `file` URLs, `?` and `#` are characters like all others.
    pub fn file_name(&self) -> &str {
        let path = if self.url.starts_with("file://") {
            self.url.as_str()
        } else {
            self.url.split(['?', '#']).next().unwrap_or_default()
        };
        path.rsplit('/').next().unwrap_or_default()
    }
}

/// What kind of archive a file is, judged by its name alone, so that it is known before anything is downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// A tarball, compressed or not.
    Tar,
    /// A ZIP file.
    Zip,
}

impl ArchiveKind {
    /// The kind that a file of this name is of: `.tar`, `.tar.*`, `.tgz` and the `.crate` files of Rust packages
    /// are tarballs.
    pub fn of(file_name: &str) -> Option<Self> {
        let mut parts = file_name.rsplit('.');
        let (last, before) = (parts.next()?, parts.next()?);
        // A name that only consists of an ending is a hidden file.
        let named = !before.is_empty();
        match last {
            "zip" if named => Some(Self::Zip),
            "tar" | "tgz" | "crate" if named => Some(Self::Tar),
            _ => (before == "tar" && !last.is_empty() && parts.next().is_some()).then_some(Self::Tar),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_called_as_its_url_ends() {
        for (url, name) in [
            ("https://host/a/zlib-1.3.tar.gz", "zlib-1.3.tar.gz"),
            ("https://host/a/zlib.zip?raw=true/x#y", "zlib.zip"),
            ("file:///srv/what?.tgz", "what?.tgz"),
            ("file://zlib.tgz", "zlib.tgz"),
            ("https://host/", ""),
        ] {
            let pin = Pin { sha256: None, sha1: None };
            assert_eq!(Download { url: url.to_owned(), pin }.file_name(), name, "{url}");
        }
    }

    #[test]
    fn the_kind_of_an_archive_follows_from_its_name() {
        use ArchiveKind::{Tar, Zip};
        for (name, kind) in [
            ("a.tar.gz", Some(Tar)),
            ("a.orig.tar.xz", Some(Tar)),
            ("a.tar", Some(Tar)),
            ("a.tgz", Some(Tar)),
            ("a-1.0.crate", Some(Tar)),
            ("a.zip", Some(Zip)),
            ("a.7z", None),
            ("tar.gz", None),
            (".zip", None),
            ("a.tar.", None),
            ("a", None),
        ] {
            assert_eq!(ArchiveKind::of(name), kind, "{name}");
        }
    }

    #[test]
    fn a_commit_is_a_whole_one() {
        assert_eq!(Commit::parse(&"AB".repeat(20)).unwrap().as_str(), "ab".repeat(20));
        assert!(Commit::parse(&"ab".repeat(32)).is_some());
        for wrong in ["", "master", "abcdef0", &"g".repeat(40)] {
            assert!(Commit::parse(wrong).is_none(), "{wrong}");
        }
    }
}
