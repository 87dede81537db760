//! Trees that every writer can write.

use crate::{Directory, Inode, InodeId, Metadata, Node, Tree, TreePath};

/// Longest target of a symbolic link, in bytes (`PATH_MAX` without its NUL).
const TARGET_MAX: usize = 4095;
/// Longest name of an extended attribute, in bytes (`XATTR_NAME_MAX`).
const XATTR_NAME_MAX: usize = 255;
/// Longest value of an extended attribute, in bytes (`XATTR_SIZE_MAX`).
const XATTR_SIZE_MAX: usize = 65_536;

/// An entry that no file system could hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {reason}")]
pub struct InvalidEntry {
    /// Which.
    pub path: TreePath,
    /// What is wrong, and what was expected.
    pub reason: String,
}

/// A sealed tree in which every name, target, number and attribute is within Linux's own limits.
#[derive(Clone, Debug)]
pub struct ValidTree {
    tree: Tree,
    links: Vec<u32>,
}

impl ValidTree {
    /// Checks a tree. Entries that are not sealed yet are sealed as a last layer.
    ///
    /// # Errors
    /// Every entry that is out of bounds, in the order of their paths.
    pub fn new(mut tree: Tree) -> Result<Self, Vec<InvalidEntry>> {
        tree.seal();
        let mut links = vec![0_u32; tree.inodes.len()];
        let mut problems = Vec::new();
        for (path, id) in tree.walk() {
            let inode = tree.inode(id);
            let first = links[id.index()] == 0;
            if let Some(directory) = inode.as_directory() {
                let below = directory.iter().filter(|(_, child)| tree.inode(*child).as_directory().is_some());
                links[id.index()] = 2 + below.count() as u32;
            } else {
                links[id.index()] += 1;
            }
            if let Some(reason) = first.then(|| flaw(inode)).flatten() {
                problems.push(InvalidEntry { path, reason });
            }
        }
        if problems.is_empty() { Ok(Self { tree, links }) } else { Err(problems) }
    }

    /// The tree.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The inode of this id.
    pub fn inode(&self, id: InodeId) -> &Inode {
        self.tree.inode(id)
    }

    /// How many links the inode has: names, or for a directory 2 and one for every directory in it. Zero for
    /// what a later layer has shadowed: it keeps its place and is not written.
    pub fn link_count(&self, id: InodeId) -> u32 {
        self.links[id.index()]
    }

    /// Every inode but the root in the order of placement: layers in order, paths in order within a layer.
    pub fn slots(&self) -> &[InodeId] {
        &self.tree.slots
    }

    /// How many inodes the arena has: one more than the largest [`InodeId::index`].
    pub fn arena_len(&self) -> usize {
        self.tree.inodes.len()
    }

    /// The root directory.
    pub fn root(&self) -> &Directory {
        self.tree.inode(Tree::ROOT).as_directory().expect("the root of a tree is a directory")
    }
}

fn flaw(inode: &Inode) -> Option<String> {
    let Metadata { mode, uid, gid, mtime, xattrs } = &inode.metadata;
    if *mode > 0o7777 {
        return Some(format!("has mode {mode:o}: expected at most 7777"));
    }
    // -1 stands for no change wherever Linux takes an owner (chown(2)).
    if *uid == u32::MAX || *gid == u32::MAX {
        return Some(format!("is owned by {uid}:{gid}: expected ids of at most {}", u32::MAX - 1));
    }
    if mtime.nanoseconds >= 1_000_000_000 {
        return Some(format!(
            "has a time with {} nanoseconds: expected fewer than a second",
            mtime.nanoseconds
        ));
    }
    for (name, value) in xattrs {
        let shown = name[..name.len().min(80)].escape_ascii();
        if name.is_empty() || name.len() > XATTR_NAME_MAX || name.contains(&0) {
            return Some(format!(
                "has an extended attribute `{shown}`: expected a name of 1 to 255 bytes without NUL"
            ));
        }
        if value.len() > XATTR_SIZE_MAX {
            return Some(format!(
                "has {} bytes in `{shown}`: expected at most {XATTR_SIZE_MAX}",
                value.len()
            ));
        }
    }
    match &inode.node {
        Node::Symlink(target) if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) => {
            Some(format!("links to a path of {} bytes: expected 1 to {TARGET_MAX} without NUL", target.len()))
        }
        Node::CharDevice(device) | Node::BlockDevice(device)
            if device.major > 0xfff || device.minor > 0xf_ffff =>
        {
            Some(format!("is device {}:{}: expected at most 4095:1048575", device.major, device.minor))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Device, LayerId};

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_flaw_is_reported_at_once() {
        let mut tree = Tree::new();
        let mut put = |name: &str, node| tree.put(&path(name), Metadata::root(0o644), node).unwrap();
        put("empty", Node::Symlink(Box::default()));
        put("device", Node::CharDevice(Device { major: 4096, minor: 0 }));
        let id = put("file", Node::File(Content::empty()));
        let nobody = put("nobody", Node::Fifo);
        tree.metadata_mut(id).xattrs.insert(vec![b'x'; 256].into(), Box::default());
        tree.metadata_mut(nobody).gid = u32::MAX;
        let problems = ValidTree::new(tree).unwrap_err();
        let paths: Vec<_> = problems.iter().map(|problem| problem.path.to_string()).collect();
        assert_eq!(paths, ["/device", "/empty", "/file", "/nobody"]);
    }

    #[test]
    fn what_a_later_layer_shadows_keeps_its_place() {
        let mut tree = Tree::new();
        let file = |text: &'static str| Node::File(Content::bytes(text.as_bytes()));
        for name in ["b", "a", "d/c"] {
            tree.put(&path(name), Metadata::root(0o644), file("old")).unwrap();
        }
        tree.seal();
        tree.put(&path("a"), Metadata::root(0o644), file("new")).unwrap();
        tree.remove(&path("b"));
        let valid = ValidTree::new(tree).unwrap();
        let slots: Vec<_> =
            valid.slots().iter().map(|id| (valid.inode(*id).layer(), valid.link_count(*id))).collect();
        // a (shadowed), b (removed), d, d/c, and the new a in the second layer.
        let expected = [(0, 0), (0, 0), (0, 2), (0, 1), (1, 1)];
        assert_eq!(slots, expected.map(|(layer, links)| (LayerId(layer), links)));
        let history: Vec<_> = valid.root().history().map(|(name, since)| (name[0], since.0)).collect();
        assert_eq!(history, [(b'a', 0), (b'b', 0), (b'd', 0)]);
    }

    #[test]
    fn links_are_counted_as_a_file_system_does() {
        let mut tree = Tree::new();
        let id = tree.put(&path("x/y/file"), Metadata::root(0o644), Node::Fifo).unwrap();
        let other = tree.make_directory(&path("other"), Metadata::root(0o755)).unwrap();
        tree.link(other, b"second", id, 0);
        let valid = ValidTree::new(tree).unwrap();
        assert_eq!((valid.link_count(Tree::ROOT), valid.link_count(other), valid.link_count(id)), (4, 2, 2));
    }
}
