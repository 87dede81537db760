//! Why a configuration could not be made, once it is right by itself.

use std::io;
use std::path::{Path, PathBuf};

use bake_archive::ArchiveError;

use crate::Problems;

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
    /// The configuration is wrong, in all these ways.
    #[error(transparent)]
    Configuration(#[from] Problems),
    /// An archive cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A package cannot be made.
    #[error(transparent)]
    Package(#[from] bake_package::Error),
    /// Packages do not make an install root.
    #[error("the packages do not fit together:\n  {0}")]
    Install(bake_host::Problems),
    /// Something is not what it has to be.
    #[error("`{}` {message}", path.display())]
    Wrong {
        /// What.
        path: PathBuf,
        /// What is wrong with it, what was expected, and the fix.
        message: String,
    },
    /// A text cannot be rendered.
    #[error("rendering {what} failed: {reason}")]
    Render {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// For `map_err`: what was tried with which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn wrong(path: &Path, message: impl Into<String>) -> Self {
        Self::Wrong { path: path.to_owned(), message: message.into() }
    }
}
