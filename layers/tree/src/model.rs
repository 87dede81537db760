//! The tree itself: an arena of inodes, directories that name them, and the layers that brought them.

use std::collections::BTreeMap;

use bake_base::{Epoch, Timestamp};

use crate::{Content, Name, TreePath};

/// Extended attributes by full name (`security.capability`), sorted.
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// Owner, permissions, time and attributes of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Permission, set-id and sticky bits: `0..=0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last modification.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

impl Metadata {
    /// Later than every epoch: the time of what has none of its own, which clamping turns into the epoch.
    pub const AT_EPOCH: Timestamp = Timestamp { seconds: i64::MAX, nanoseconds: 0 };

    /// `mode`, owned by root, dated by the epoch.
    pub fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: Self::AT_EPOCH, xattrs: Xattrs::new() }
    }
}

/// Number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// `0..4096`.
    pub major: u32,
    /// `0..1_048_576`.
    pub minor: u32,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Directory),
    /// A regular file.
    File(Content),
    /// A symbolic link with its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
}

impl Node {
    /// What it is called in messages.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Directory(_) => "a directory",
            Self::File(_) => "a regular file",
            Self::Symlink(_) => "a symbolic link",
            Self::CharDevice(_) => "a character device",
            Self::BlockDevice(_) => "a block device",
            Self::Fifo => "a fifo",
        }
    }
}

/// Index of an inode in its [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InodeId(pub(crate) u32);

impl InodeId {
    /// The index, dense from 0; for tables beside the tree.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A layer of the image, counted from 0 in the order of [`Tree::seal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayerId(pub u16);

/// An inode and the layer that brought it.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Owner, permissions, time and attributes.
    pub metadata: Metadata,
    /// What it is.
    pub node: Node,
    pub(crate) layer: LayerId,
}

impl Inode {
    /// The layer that brought it.
    pub fn layer(&self) -> LayerId {
        self.layer
    }

    /// The directory that it is, if it is one.
    pub fn as_directory(&self) -> Option<&Directory> {
        match &self.node {
            Node::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// What it names; nothing once a later layer has removed the name.
    pub inode: Option<InodeId>,
    /// The layer that first had the name.
    pub since: LayerId,
    /// The layer that last gave or removed the name.
    pub changed: LayerId,
    /// The [`Tree::apply`] that last gave it, 0 for none (implied directories, edits).
    pub generation: u32,
}

/// The names in a directory, sorted by their bytes. Names that a later layer removed are remembered, so that
/// the space they once needed stays where it was.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    pub(crate) entries: BTreeMap<Name, Entry>,
}

impl Directory {
    /// What `name` stands for.
    pub fn get(&self, name: &[u8]) -> Option<InodeId> {
        self.entries.get(name)?.inode
    }

    /// All names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], InodeId)> {
        self.entries.iter().filter_map(|(name, entry)| Some((&**name, entry.inode?)))
    }

    /// Every name that ever was here, sorted, with the layer that first had it: what the directory's
    /// placement is computed from.
    pub fn history(&self) -> impl Iterator<Item = (&[u8], LayerId)> {
        self.entries.iter().map(|(name, entry)| (&**name, entry.since))
    }
}

/// The merged file system, in memory.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) inodes: Vec<Inode>,
    /// Every inode that a sealed layer brought, but for the root: layers in order, paths in order within.
    pub(crate) slots: Vec<InodeId>,
    pub(crate) layer: LayerId,
    pub(crate) generation: u32,
}

impl Tree {
    /// The root directory of every tree.
    pub const ROOT: InodeId = InodeId(0);

    /// A tree with nothing but its root: mode 0755, owned by root.
    pub fn new() -> Self {
        let node = Node::Directory(Directory::default());
        let root = Inode { metadata: Metadata::root(0o755), node, layer: LayerId(0) };
        Self { inodes: vec![root], slots: Vec::new(), layer: LayerId(0), generation: 0 }
    }

    /// The inode of this id.
    pub fn inode(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    /// The inode of this id, to change its metadata in place.
    pub fn metadata_mut(&mut self, id: InodeId) -> &mut Metadata {
        &mut self.inodes[id.index()].metadata
    }

    /// Everything below the root and the root itself: each name once, a directory before what it holds,
    /// names in order.
    pub fn walk(&self) -> Walk<'_> {
        self.walk_from(Self::ROOT)
    }

    /// Like [`Tree::walk`], from another entry: paths are relative to it.
    pub fn walk_from(&self, id: InodeId) -> Walk<'_> {
        Walk { tree: self, stack: vec![(TreePath::root(), id)] }
    }

    /// Paths of what the layer that is not sealed yet has brought, in order.
    pub fn fresh(&self) -> impl Iterator<Item = TreePath> {
        self.walk()
            .filter(|(_, id)| self.inode(*id).layer == self.layer && *id != Self::ROOT)
            .map(|(path, _)| path)
    }

    /// Paths that the layer that is not sealed yet has taken away from earlier ones, in order. Of a directory
    /// that went with all it held, only itself.
    pub fn gone(&self) -> impl Iterator<Item = TreePath> {
        self.walk().flat_map(|(path, id)| {
            let entries = self.inode(id).as_directory().into_iter().flat_map(|directory| &directory.entries);
            let gone = entries.filter(|(_, entry)| entry.inode.is_none() && entry.changed == self.layer);
            gone.map(|(name, _)| path.join(name)).collect::<Vec<_>>()
        })
    }

    /// The newest time of any entry that has one of its own.
    pub fn newest_time(&self) -> Option<Timestamp> {
        let times = self.walk().map(|(_, id)| self.inode(id).metadata.mtime);
        times.filter(|time| *time != Metadata::AT_EPOCH).max()
    }

    /// Clamps every time to the epoch and counts the entries that had a later one of their own. What a later
    /// layer has shadowed does not count: nobody will see its time.
    pub fn clamp_times(&mut self, epoch: Epoch) -> u64 {
        let mut clamped = vec![false; self.inodes.len()];
        for (inode, clamped) in self.inodes.iter_mut().zip(&mut clamped) {
            let time = &mut inode.metadata.mtime;
            if *time > epoch.timestamp() {
                *clamped = *time != Metadata::AT_EPOCH;
                *time = epoch.timestamp();
            }
        }
        // A hard link's inode counts once.
        let seen = self.walk().filter(|(_, id)| std::mem::take(&mut clamped[id.index()]));
        seen.count() as u64
    }

    /// Ends the layer: fixes the order of what it brought. The next entries belong to the next layer.
    pub fn seal(&mut self) -> LayerId {
        let sealed = self.layer;
        let mut fresh = Vec::new();
        let mut seen = vec![false; self.inodes.len()];
        for (_, id) in self.walk() {
            if self.inode(id).layer == sealed
                && id != Self::ROOT
                && !std::mem::replace(&mut seen[id.index()], true)
            {
                fresh.push(id);
            }
        }
        self.slots.extend(fresh);
        self.layer = LayerId(sealed.0 + 1);
        sealed
    }

    pub(crate) fn add(&mut self, metadata: Metadata, node: Node) -> InodeId {
        let id = InodeId(u32::try_from(self.inodes.len()).expect("fewer than 2^32 entries fit into memory"));
        self.inodes.push(Inode { metadata, node, layer: self.layer });
        id
    }

    /// The directory of this id.
    pub(crate) fn directory_mut(&mut self, id: InodeId) -> &mut Directory {
        match &mut self.inodes[id.index()].node {
            Node::Directory(directory) => directory,
            _ => unreachable!("callers have seen that it is a directory"),
        }
    }

    /// Makes `name` in `parent` stand for `child`, as given by `generation` (0 for none).
    pub(crate) fn link(&mut self, parent: InodeId, name: &[u8], child: InodeId, generation: u32) {
        let changed = self.layer;
        let entries = &mut self.directory_mut(parent).entries;
        match entries.get_mut(name) {
            Some(entry) => *entry = Entry { inode: Some(child), changed, generation, ..*entry },
            None => {
                let entry = Entry { inode: Some(child), since: changed, changed, generation };
                entries.insert(name.into(), entry);
            }
        }
    }

    /// Takes `name` out of `parent`; whether it was there.
    pub(crate) fn unlink(&mut self, parent: InodeId, name: &[u8]) -> bool {
        let layer = self.layer;
        let entries = &mut self.directory_mut(parent).entries;
        let Some(entry) = entries.get_mut(name) else { return false };
        let was_there = entry.inode.take().is_some();
        if was_there {
            entry.changed = layer;
        }
        if entry.since == layer {
            entries.remove(name);
        }
        was_there
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

/// Iterator of [`Tree::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    tree: &'a Tree,
    stack: Vec<(TreePath, InodeId)>,
}

impl Iterator for Walk<'_> {
    type Item = (TreePath, InodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, id) = self.stack.pop()?;
        if let Some(directory) = self.tree.inode(id).as_directory() {
            let children = directory.entries.iter().rev();
            self.stack.extend(children.filter_map(|(name, entry)| Some((path.join(name), entry.inode?))));
        }
        Some((path, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Content;

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    fn put(tree: &mut Tree, name: &str, seconds: i64) {
        let metadata = Metadata { mtime: Timestamp::from_seconds(seconds), ..Metadata::root(0o644) };
        tree.put(&path(name), metadata, Node::File(Content::empty())).unwrap();
    }

    fn shown(paths: impl Iterator<Item = TreePath>) -> Vec<String> {
        paths.map(|path| path.to_string()).collect()
    }

    #[test]
    fn a_layer_tells_what_it_brought_and_what_it_took_away() {
        let mut tree = Tree::new();
        for name in ["a/x", "a/y", "b", "c", "e"] {
            put(&mut tree, name, 1);
        }
        tree.remove(&path("e"));
        tree.seal();
        put(&mut tree, "b", 2);
        put(&mut tree, "d", 2);
        for name in ["a", "c", "d", "none"] {
            tree.remove(&path(name));
        }
        put(&mut tree, "c", 2);
        assert_eq!(
            (shown(tree.fresh()), shown(tree.gone())),
            (vec!["/b".into(), "/c".into()], vec!["/a".into()])
        );
        tree.seal();
        assert_eq!((tree.fresh().count(), tree.gone().count()), (0, 0));
    }

    #[test]
    fn clamped_times_are_counted_by_what_is_still_there() {
        let mut tree = Tree::new();
        for (name, seconds) in [("old", 9), ("new", 11), ("removed", 11), ("replaced", 11), ("linked", 11)] {
            put(&mut tree, name, seconds);
        }
        let linked = tree.lookup(&path("linked"), crate::Follow::Last).unwrap();
        tree.link(Tree::ROOT, b"link", linked, 0);
        tree.remove(&path("removed"));
        put(&mut tree, "replaced", 8);
        assert_eq!(tree.clamp_times(Epoch::from_seconds(10)), 2, "new, and linked once");
        assert_eq!(tree.newest_time(), Some(Timestamp::from_seconds(10)));
        assert_eq!(tree.clamp_times(Epoch::from_seconds(10)), 0);
    }
}
