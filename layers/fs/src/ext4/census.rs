//! Who gets which inode: the root and `lost+found` their reserved ones, everything else its own in the order of
//! placement, whether a later layer has shadowed it or not.

use bake_tree::{InodeId, LayerId, Node, Tree, ValidTree};

use super::geometry::FIRST_INODE;
use super::inode;

/// The directory that `e2fsck` puts files without a name into; every file system has one.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

/// All inodes of the tree by *place*: 0 is the root, 1 is `lost+found`, the others follow.
#[derive(Debug)]
pub(super) struct Census<'tree> {
    pub tree: &'tree ValidTree,
    lost_and_found: Option<InodeId>,
    /// By [`InodeId::index`]; 0 for what has none.
    numbers: Vec<u32>,
}

/// The place of the root.
pub(super) const ROOT: usize = 0;
/// The place of `lost+found`.
pub(super) const LOST: usize = 1;
/// The first place of the tree's slots.
const SLOTS: usize = 2;

impl<'tree> Census<'tree> {
    pub fn new(tree: &'tree ValidTree) -> Self {
        let lost_and_found = tree.root().get(LOST_AND_FOUND);
        let mut numbers = vec![0; tree.arena_len()];
        for (slot, id) in tree.slots().iter().enumerate() {
            numbers[id.index()] = number(SLOTS + slot);
        }
        numbers[Tree::ROOT.index()] = number(ROOT);
        if let Some(id) = lost_and_found {
            numbers[id.index()] = number(LOST);
        }
        Self { tree, lost_and_found, numbers }
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        SLOTS + self.tree.slots().len()
    }

    /// What is at a place; nothing for a `lost+found` that the tree does not bring, and for the slot of one
    /// that it does.
    pub fn at(&self, place: usize) -> Option<InodeId> {
        match place {
            ROOT => Some(Tree::ROOT),
            LOST => self.lost_and_found,
            _ => Some(self.tree.slots()[place - SLOTS]).filter(|id| self.lost_and_found != Some(*id)),
        }
    }

    /// Whether the inode at a place is written.
    pub fn is_live(&self, place: usize) -> bool {
        place < SLOTS || self.at(place).is_some_and(|id| self.tree.link_count(id) > 0)
    }

    /// The layer in whose region the inode's blocks lie.
    pub fn layer(&self, place: usize) -> LayerId {
        match place {
            ROOT | LOST => LayerId(0),
            _ => self.tree.inode(self.tree.slots()[place - SLOTS]).layer(),
        }
    }

    /// The number of a tree's inode.
    pub fn number_of(&self, id: InodeId) -> u32 {
        let number = self.numbers[id.index()];
        debug_assert_ne!(number, 0, "a name in a sealed tree stands for an inode that has a slot");
        number
    }

    /// Every directory's parent, by [`InodeId::index`]; 0 for what is no directory.
    pub fn parents(&self) -> Vec<u32> {
        let mut parents = vec![0; self.numbers.len()];
        parents[Tree::ROOT.index()] = inode::ROOT;
        for place in (0..self.len()).filter(|place| self.is_live(*place)) {
            let id = self.at(place);
            for (_, child) in
                id.and_then(|id| self.tree.inode(id).as_directory()).iter().flat_map(|dir| dir.iter())
            {
                if let Node::Directory(_) = self.tree.inode(child).node {
                    parents[child.index()] = number(place);
                }
            }
        }
        parents
    }
}

/// The number of the inode at a place.
pub(super) fn number(place: usize) -> u32 {
    match place {
        ROOT => inode::ROOT,
        _ => FIRST_INODE + (place - LOST) as u32,
    }
}
