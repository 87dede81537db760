//! What keeps a tree from becoming an EROFS file system.

use std::io;

use bake_tree::TreePath;

use super::superblock::LONGEST_LABEL;
use crate::unwritable::{Unwritable, lines};

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The label is out of bounds.
    #[error("the label `{}` has {} bytes: expected up to {LONGEST_LABEL} without NUL", .0.escape_default(), .0.len())]
    Label(String),
    /// Entries that EROFS cannot hold: all of them.
    #[error("{}", lines(.0))]
    Unwritable(Vec<Unwritable>),
    /// Content could not be read.
    #[error("reading {} failed", .path.as_ref().map_or("an entry".to_owned(), |path| format!("`{path}`")))]
    Read {
        /// Whose.
        path: Option<TreePath>,
        /// Why.
        source: io::Error,
    },
    /// The tree needs more blocks than can be counted.
    #[error(
        "the tree does not fit into 16 TiB, the most that an EROFS file system holds: take something out"
    )]
    TooLarge,
}
