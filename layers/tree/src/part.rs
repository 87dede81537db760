//! One directory of a tree as a tree of its own, for images whose parts lie in file systems of their own.

use crate::edit::wrong_kind;
use crate::model::Directory;
use crate::{EditError, Follow, InodeId, Node, Tree, TreePath};

impl Tree {
    /// Two trees: one without what lies in the directory at `path`, which stays as the place to mount the other on, and
    /// one whose root is that directory. A file with names in both is in both, with the names that are left.
    ///
    /// What a later layer has shadowed keeps its place in the first one.
    ///
    /// # Errors
    /// When there is no directory.
    pub fn part(&self, path: &TreePath) -> Result<(Self, Self), EditError> {
        let found = self.lookup(path, Follow::Parents);
        let top = match found.map(|id| (id, &self.inode(id).node)) {
            Some((id, Node::Directory(_))) if id != Self::ROOT => id,
            Some((_, other)) => return Err(wrong_kind(path, other, "a directory below the root")),
            None => {
                let (path, expected) = (path.clone(), "a directory");
                return Err(EditError::WrongKind { path, found: "missing", expected });
            }
        };
        let (mut rest, mut part) = (self.clone(), self.clone());
        part.inodes[Self::ROOT.index()] = self.inode(top).clone();
        *rest.directory_mut(top) = Directory::default();

        let (outside, inside) = (rest.reached(), part.reached());
        rest.slots.retain(|id| outside[id.index()] || !inside[id.index()]);
        // Their own root is no slot.
        part.slots.retain(|id| inside[id.index()]);
        Ok((rest, part))
    }

    /// Which inodes have a name.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.inodes.len()];
        for (_, InodeId(id)) in self.walk() {
            reached[id as usize] = true;
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Metadata, ValidTree};

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.walk().map(|(path, _)| path.to_string()).collect()
    }

    fn tree(names: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for name in names {
            tree.put(&path(name), Metadata::root(0o644), Node::File(Content::empty())).unwrap();
        }
        tree
    }

    #[test]
    fn a_directory_becomes_a_root_and_leaves_a_place_to_mount_it_on() {
        let mut whole = tree(&["etc/a", "usr/bin/b", "usr/c"]);
        let usr = whole.lookup(&path("usr"), Follow::Last).unwrap();
        whole.metadata_mut(usr).mode = 0o750;
        let (rest, part) = whole.part(&path("usr")).unwrap();
        assert_eq!(paths(&rest), ["/", "/etc", "/etc/a", "/usr"]);
        assert_eq!(paths(&part), ["/", "/bin", "/bin/b", "/c"]);
        assert_eq!((rest.inode(usr).metadata.mode, part.inode(Tree::ROOT).metadata.mode), (0o750, 0o750));
        assert_eq!(paths(&whole).len(), 7, "the whole stays as it is");
    }

    #[test]
    fn each_part_writes_what_it_has_and_counts_its_own_links() {
        let mut whole = tree(&["usr/shared", "usr/own", "old"]);
        let shared = whole.lookup(&path("usr/shared"), Follow::Last).unwrap();
        whole.link(Tree::ROOT, b"link", shared, 0);
        whole.seal();
        whole.put(&path("old"), Metadata::root(0o644), Node::Fifo).unwrap();
        let (rest, part) = whole.part(&path("usr")).unwrap();
        let (rest, part) = (ValidTree::new(rest).unwrap(), ValidTree::new(part).unwrap());
        let links =
            |tree: &ValidTree| -> Vec<u32> { tree.slots().iter().map(|id| tree.link_count(*id)).collect() };
        // The link, the old `old` in its place, usr; and the new `old`.
        assert_eq!(links(&rest), [1, 0, 2, 1]);
        assert_eq!(links(&part), [1, 1]);
    }

    #[test]
    fn what_is_no_directory_is_no_part() {
        for name in ["a", "none", "link", ""] {
            let mut tree = tree(&["a", "usr/b"]);
            tree.put(&path("link"), Metadata::root(0o777), Node::Symlink(b"usr"[..].into())).unwrap();
            assert!(tree.part(&path(name)).is_err(), "{name}");
        }
    }
}
