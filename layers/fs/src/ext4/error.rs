//! What keeps a tree from becoming an ext4 file system.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use bake_tree::{InodeId, TreePath, ValidTree};

/// An entry that ext4 cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritable {
    /// Which; nothing for one that a later layer has replaced.
    pub path: Option<TreePath>,
    /// What is wrong, and what was expected.
    pub reason: String,
}

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{path}` {}", self.reason),
            None => write!(f, "an entry that a later layer replaces {}", self.reason),
        }
    }
}

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

fn lines(problems: &[Unwritable]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Problems by inode, in the order of their paths. Paths are looked up here alone: a tree that has none pays
/// nothing.
pub(super) fn by_path(tree: &ValidTree, problems: Vec<(InodeId, String)>) -> Vec<Unwritable> {
    let mut reasons: BTreeMap<InodeId, Vec<String>> = BTreeMap::new();
    for (id, reason) in problems {
        reasons.entry(id).or_default().push(reason);
    }
    let mut found = Vec::new();
    for (path, id) in tree.tree().walk() {
        for reason in reasons.remove(&id).into_iter().flatten() {
            found.push(Unwritable { path: Some(path.clone()), reason });
        }
    }
    found.extend(reasons.into_values().flatten().map(|reason| Unwritable { path: None, reason }));
    found
}

/// A failure to read the content of one inode.
pub(super) fn read(tree: &ValidTree, id: InodeId, source: io::Error) -> Error {
    let path = tree.tree().walk().find(|(_, found)| *found == id).map(|(path, _)| path);
    Error::Read { path, source }
}
