//! What keeps a tree from becoming an ext4 file system.

use std::io;

use bake_tree::{InodeId, TreePath, ValidTree};

pub use crate::unwritable::Unwritable;
pub(super) use crate::unwritable::by_path;
use crate::unwritable::{lines, path_of};

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of bounds.
    #[error("{0}")]
    Options(String),
    /// Entries that ext4 cannot hold: all of them.
    #[error("{}", lines(.0))]
    Unwritable(Vec<Unwritable>),
    /// Content could not be read.
    #[error("reading {} failed", .path.as_ref().map_or("an entry that a later layer replaces".to_owned(), |path| format!("`{path}`")))]
    Read {
        /// Whose; nothing for an entry that a later layer has replaced.
        path: Option<TreePath>,
        /// Why.
        source: io::Error,
    },
    /// The size is no whole number of blocks.
    #[error("a file system of {0} bytes is no whole number of blocks: expected a multiple of 4096")]
    PartialBlock(u64),
    /// The tree does not fit.
    #[error("a file system of {size} bytes is too small for the tree: expected at least {minimum} bytes")]
    TooSmall {
        /// What was asked for.
        size: u64,
        /// What would do.
        minimum: u64,
    },
    /// More than the group descriptors can describe.
    #[error(
        "a file system of {size} bytes is too large: the blocks reserved for group descriptors describe up to {maximum} bytes; expected more of them, or a smaller size to grow from"
    )]
    TooLarge {
        /// What was asked for, or what the tree needs.
        size: u64,
        /// The most there can be.
        maximum: u64,
    },
}

/// A failure to read the content of one inode.
pub(super) fn read(tree: &ValidTree, id: InodeId, source: io::Error) -> Error {
    Error::Read { path: path_of(tree, id), source }
}
