//! What a layer has to have so that the tree below becomes another one: by path, with whiteouts for what is gone.

use std::collections::{BTreeMap, BTreeSet};

use bake_archive::oci::WHITEOUT;
use bake_tree::{
    Content, Follow, Inode, InodeId, Member, MemberKind, Metadata, Node, Policy, Tree, TreePath,
};

use crate::Error;

/// The label that whoever deploys an image writes anew.
const LABEL: &[u8] = b"security.selinux";

/// A layer, and what is in it.
#[derive(Debug)]
pub(super) struct Difference {
    /// Its entries, with the directories that lead to them.
    pub layer: Tree,
    /// What it adds or replaces, without those directories.
    pub added: Vec<TreePath>,
    /// What it removes; of a directory that goes with all it held, only itself.
    pub removed: Vec<TreePath>,
}

/// What turns `below` into `tree`, which was made from it. Times of directories alone are no difference: nothing
/// on hosts has them.
///
/// # Errors
/// When content cannot be read, and for a name that means a removal.
pub(super) fn between(below: &Tree, tree: &Tree) -> Result<Difference, Error> {
    let before: BTreeMap<TreePath, InodeId> = below.walk().collect();
    let (mut added, mut after) = (Vec::new(), BTreeSet::new());
    for (path, id) in tree.walk() {
        let same = match before.get(&path) {
            None => false,
            Some(old) => {
                *old == id && is_same_here(below.inode(*old), tree.inode(id))
                    || is_same(below.inode(*old), tree.inode(id))
                        .map_err(Error::io(format!("reading `{path}`")))?
            }
        };
        if !same && !path.is_root() {
            check_name(&path)?;
            added.push((path.clone(), id));
        }
        after.insert(path);
    }
    let is_directory = |path: &TreePath| {
        tree.lookup(path, Follow::Parents).is_some_and(|id| tree.inode(id).as_directory().is_some())
    };
    let is_gone = |path: &&TreePath| {
        let parent = path.split().map(|(parent, _)| parent);
        // What a link or a file took the place of is gone with its place.
        !after.contains(*path)
            && parent.is_some_and(|parent| after.contains(&parent) && is_directory(&parent))
    };
    let removed: Vec<TreePath> = before.keys().filter(is_gone).cloned().collect();

    let mut members: BTreeMap<TreePath, Member> = BTreeMap::new();
    let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    for (path, id) in &added {
        let is_directory = tree.inode(*id).as_directory().is_some();
        let kind = match first_names.get(id) {
            Some(first) if !is_directory => MemberKind::HardLink(first.clone()),
            _ => {
                first_names.insert(*id, path.clone());
                kind_of(tree.inode(*id))
            }
        };
        members.insert(path.clone(), member(path, tree.inode(*id), kind));
    }
    for path in &removed {
        let (parent, name) = path.split().expect("the root is never gone");
        let path = parent.join(&[WHITEOUT, name].concat());
        let metadata = Metadata::root(0o644);
        members.insert(path.clone(), Member { path, metadata, kind: MemberKind::File(Content::empty()) });
    }
    let mut above = BTreeSet::new();
    for path in members.keys() {
        let mut parent = path.split().map(|(parent, _)| parent);
        while let Some(directory) = parent.filter(|directory| !members.contains_key(directory)) {
            parent = directory.split().map(|(parent, _)| parent);
            if !above.insert(directory) {
                break;
            }
        }
    }
    for path in above {
        let Some(id) = tree.lookup(&path, Follow::Parents) else { continue };
        members.insert(path.clone(), member(&path, tree.inode(id), MemberKind::Directory));
    }
    let mut layer = Tree::new();
    layer
        .apply(members.into_values().collect(), Policy::OCI)
        .map_err(|problems| Error::Merge { layer: "the new layer".to_owned(), problems })?;
    Ok(Difference { layer, added: added.into_iter().map(|(path, _)| path).collect(), removed })
}

fn member(path: &TreePath, inode: &Inode, kind: MemberKind) -> Member {
    let mut metadata = inode.metadata.clone();
    metadata.xattrs.remove(LABEL);
    Member { path: path.clone(), metadata, kind }
}

fn kind_of(inode: &Inode) -> MemberKind {
    match &inode.node {
        Node::Directory(_) => MemberKind::Directory,
        Node::File(content) => MemberKind::File(content.clone()),
        Node::Symlink(target) => MemberKind::Symlink(target.clone()),
        Node::CharDevice(device) => MemberKind::CharDevice(*device),
        Node::BlockDevice(device) => MemberKind::BlockDevice(*device),
        Node::Fifo => MemberKind::Fifo,
    }
}

/// Of one inode, only metadata can have changed: new content makes a new one.
fn is_same_here(old: &Inode, new: &Inode) -> bool {
    let is_directory = new.as_directory().is_some();
    is_same_metadata(&old.metadata, &new.metadata, is_directory)
}

fn is_same(old: &Inode, new: &Inode) -> std::io::Result<bool> {
    let same_kind = match (&old.node, &new.node) {
        (Node::Directory(_), Node::Directory(_)) | (Node::Fifo, Node::Fifo) => true,
        (Node::Symlink(old), Node::Symlink(new)) => old == new,
        (Node::CharDevice(old), Node::CharDevice(new)) | (Node::BlockDevice(old), Node::BlockDevice(new)) => {
            old == new
        }
        (Node::File(old), Node::File(new)) => old.len() == new.len(),
        _ => false,
    };
    if !same_kind || !is_same_metadata(&old.metadata, &new.metadata, new.as_directory().is_some()) {
        return Ok(false);
    }
    match (&old.node, &new.node) {
        (Node::File(old), Node::File(new)) => old.same_bytes(new),
        _ => Ok(true),
    }
}

fn is_same_metadata(old: &Metadata, new: &Metadata, any_time: bool) -> bool {
    let others = |metadata: &Metadata| {
        let xattrs: Vec<_> = metadata.xattrs.iter().filter(|(name, _)| ***name != *LABEL).collect();
        format!("{:o} {} {} {xattrs:?}", metadata.mode, metadata.uid, metadata.gid)
    };
    others(old) == others(new) && (any_time || old.mtime == new.mtime)
}

/// Refuses a name that would remove something instead of being there.
fn check_name(path: &TreePath) -> Result<(), Error> {
    match path.split() {
        Some((_, name)) if name.starts_with(WHITEOUT) => Err(Error::Policy(format!(
            "`{path}` has a name that means a removal in container images: call it otherwise"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bake_base::Timestamp;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    fn put(tree: &mut Tree, name: &str, text: &str) {
        let metadata = Metadata { mtime: Timestamp::from_seconds(5), ..Metadata::root(0o644) };
        tree.put(&path(name), metadata, Node::File(Content::bytes(text.as_bytes()))).unwrap();
    }

    fn below() -> Tree {
        let mut tree = Tree::new();
        for name in ["etc/a", "etc/b", "root/x", "usr/lib/d/1", "usr/lib/d/2", "usr/same", "usr/labelled"] {
            put(&mut tree, name, name);
        }
        let root = tree.lookup(&path("root"), Follow::Parents).unwrap();
        tree.metadata_mut(root).mode = 0o700;
        tree.seal();
        tree
    }

    fn shown(paths: &[TreePath]) -> Vec<String> {
        paths.iter().map(ToString::to_string).collect()
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.walk().map(|(path, _)| path.to_string()).collect()
    }

    #[test]
    fn a_layer_has_what_differs_and_the_way_there() {
        let below = below();
        let mut tree = below.clone();
        put(&mut tree, "etc/a", "changed");
        put(&mut tree, "usr/same", "usr/same");
        put(&mut tree, "root/y", "new");
        tree.remove(&path("etc/b"));
        tree.remove(&path("usr/lib/d"));
        let labelled = tree.lookup(&path("usr/labelled"), Follow::Parents).unwrap();
        tree.metadata_mut(labelled).xattrs.insert(LABEL.into(), (*b"label\0").into());
        let found = between(&below, &tree).unwrap();
        assert_eq!(shown(&found.added), ["/etc/a", "/root/y"]);
        assert_eq!(shown(&found.removed), ["/etc/b", "/usr/lib/d"]);
        let expected =
            ["/", "/etc", "/etc/.wh.b", "/etc/a", "/root", "/root/y", "/usr", "/usr/lib", "/usr/lib/.wh.d"];
        assert_eq!(names(&found.layer), expected);
        let root = found.layer.lookup(&path("root"), Follow::Parents).unwrap();
        assert_eq!(found.layer.inode(root).metadata.mode, 0o700, "as it is below");
        let nothing = between(&tree, &tree).unwrap();
        assert!(nothing.added.is_empty() && nothing.removed.is_empty());
    }

    #[test]
    fn another_kind_takes_the_place_of_all_that_was_there() {
        let below = below();
        let mut tree = below.clone();
        tree.remove(&path("usr/lib/d"));
        let link = Node::Symlink(b"../e".as_slice().into());
        tree.put(&path("usr/lib/d"), Metadata::root(0o777), link).unwrap();
        tree.remove(&path("etc/a"));
        put(&mut tree, "etc/a/inside", "x");
        let found = between(&below, &tree).unwrap();
        assert_eq!(shown(&found.added), ["/etc/a", "/etc/a/inside", "/usr/lib/d"]);
        assert_eq!(shown(&found.removed), [""; 0]);
    }

    #[test]
    fn new_names_of_one_inode_stay_together_and_old_ones_are_not_relied_on() {
        let mut below = below();
        let link = |from: &str, to: &str| Member {
            path: path(from),
            metadata: Metadata::root(0o644),
            kind: MemberKind::HardLink(path(to)),
        };
        below.seal();
        let mut tree = below.clone();
        tree.apply(vec![link("usr/one", "etc/a"), link("usr/two", "etc/a")], Policy::TAR).unwrap();
        let found = between(&below, &tree).unwrap();
        assert_eq!(shown(&found.added), ["/usr/one", "/usr/two"]);
        let id = |name: &str| found.layer.lookup(&path(name), Follow::Parents).unwrap();
        assert_eq!(id("usr/one"), id("usr/two"));
    }

    #[test]
    fn a_name_that_means_a_removal_is_refused() {
        let below = below();
        let mut tree = below.clone();
        put(&mut tree, "usr/.wh.name", "");
        assert!(between(&below, &tree).unwrap_err().to_string().contains("means a removal"));
    }
}
