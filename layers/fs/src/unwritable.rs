//! Entries of a tree that a file system cannot hold, by their paths.

use std::collections::BTreeMap;
use std::fmt;

use bake_tree::{InodeId, TreePath, ValidTree};

/// An entry that a file system cannot hold.
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

/// All of them, a line each.
pub(crate) fn lines(problems: &[Unwritable]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Problems by inode, in the order of their paths. Paths are looked up here alone: a tree that has none pays
/// nothing.
pub(crate) fn by_path(tree: &ValidTree, problems: Vec<(InodeId, String)>) -> Vec<Unwritable> {
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

/// The first path of an inode; nothing for one that a later layer has replaced.
pub(crate) fn path_of(tree: &ValidTree, id: InodeId) -> Option<TreePath> {
    tree.tree().walk().find(|(_, found)| *found == id).map(|(path, _)| path)
}
