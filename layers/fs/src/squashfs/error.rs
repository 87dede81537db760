//! What keeps a tree from becoming a SquashFS file system.

use std::io;

use bake_tree::{InodeId, Node, TreePath, ValidTree};

use super::{Options, attributes};
use crate::unwritable::{Unwritable, by_path, lines, path_of};

/// How many blocks a file may have: each takes four bytes of the inode table, holes too.
const MOST_BLOCKS: u64 = 1 << 24;

/// Why there is no file system.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is out of bounds.
    #[error("{0}")]
    Options(String),
    /// Entries that SquashFS cannot hold: all of them.
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
    /// What was compressed could not be set aside.
    #[error("writing compressed content to a scratch file failed")]
    Spool(#[source] io::Error),
    /// Zstandard failed, which it does for want of memory.
    #[error("compressing failed")]
    Compress(#[source] io::Error),
    /// A table has outgrown the numbers that point into it.
    #[error("the tree has more {what} than a SquashFS file system holds, {most}: take something out")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How much there can be.
        most: u64,
    },
}

/// A failure to read the content of one inode.
pub(super) fn read(tree: &ValidTree, id: InodeId, source: io::Error) -> Error {
    Error::Read { path: path_of(tree, id), source }
}

/// Looks for entries that cannot be written.
pub(super) fn check(tree: &ValidTree, options: &Options) -> Result<(), Error> {
    let longest = MOST_BLOCKS * u64::from(options.block_size);
    let mut problems = Vec::new();
    for id in ids(tree) {
        let inode = tree.inode(id);
        if let Node::File(content) = &inode.node
            && content.len() > longest
        {
            problems.push((
                id,
                format!(
                    "has {} bytes: expected at most {longest} with blocks of {}",
                    content.len(),
                    options.block_size
                ),
            ));
        }
        if let Err(problem) = attributes::entries(&inode.metadata.xattrs, options.access_lists) {
            problems.push((id, problem));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Error::Unwritable(by_path(tree, problems))) }
}

/// Everything that is written: the root, then all else in the order of the tree's layers.
pub(super) fn ids(tree: &ValidTree) -> impl Iterator<Item = InodeId> {
    let live = tree.slots().iter().copied().filter(|id| tree.link_count(*id) > 0);
    std::iter::once(bake_tree::Tree::ROOT).chain(live)
}
