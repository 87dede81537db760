//! Why packages could not be made.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bake_archive::{ArchiveError, WriteTarError};
use bake_host::PackageId;

use crate::Problems;
use crate::fetch::FetchError;

/// How many problems of one package are spelled out; the rest is counted.
const SHOWN: usize = 20;

/// A failure, told to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// Recipes are wrong, in all these ways.
    #[error(transparent)]
    Recipes(#[from] Problems),
    /// An archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file of the cache is not what it was.
    #[error("`{}` is damaged: {message}; delete it to have it made again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A `bake.lock` is none.
    #[error("`{}` is no lock of a tree: {reason}; `bake tree --lock` writes one", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// What a repository says of its packages cannot be trusted.
    #[error("`{url}` {reason}")]
    Index {
        /// Of the manifest, or of its signature.
        url: String,
        /// Why, and what would help.
        reason: String,
    },
    /// What a tree adds to configurations cannot be delivered.
    #[error("`{}`: {message}", path.display())]
    ConfigTree {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The program for hosts cannot be used.
    #[error("`{}` {reason}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why, and what would help.
        reason: String,
    },
    /// A builder cannot be used.
    #[error("builder `{name}`: {message}")]
    Builder {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
    /// A source could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A tar could not be written.
    #[error(transparent)]
    Tar(#[from] WriteTarError),
    /// Packages do not make an install root.
    #[error("the packages do not fit together:\n  {0}")]
    Install(bake_host::Problems),
    /// The bootstrap tarball cannot be made.
    #[error("the bootstrap tarball cannot be made: {0}")]
    Bootstrap(String),
    /// A package could not be made.
    #[error("package `{id}`: {message}")]
    Package {
        /// The package.
        id: PackageId,
        /// Why.
        message: String,
    },
    /// Several packages could not be made.
    #[error("{}", several(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn damaged(path: &Path, message: String) -> Self {
        Self::Damaged { path: path.to_owned(), message }
    }

    /// A package with several problems, of which so many are spelled out that one can start with them.
    pub(crate) fn listed(id: &PackageId, problems: &[impl ToString]) -> Self {
        let mut lines: Vec<_> = problems.iter().take(SHOWN).map(ToString::to_string).collect();
        if problems.len() > SHOWN {
            lines.push(format!("and {} more", problems.len() - SHOWN));
        }
        Self::package(id, lines.join("\n  "))
    }

    pub(crate) fn package(id: &PackageId, message: impl ToString) -> Self {
        Self::Package { id: id.clone(), message: message.to_string() }
    }
}

/// An error and its causes on one line, each cause once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

fn several(errors: &[Error]) -> String {
    // Packages that need the same thing fail alike.
    let mut told = BTreeSet::new();
    let lines = errors.iter().map(|error| chain(error)).filter(|line| told.insert(line.clone()));
    lines.collect::<Vec<_>>().join("\n")
}
