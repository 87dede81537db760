//! Where everything lies: the superblock, the blocks of files, those of directories and long targets, the
//! attributes that inodes share, and the inodes with what follows them.

use std::collections::BTreeSet;

use bake_tree::Node;

use super::inode::{LEN, SLOT};
use super::survey::{Body, Member, Survey};
use super::{BLOCK, Error};

/// The place of an inode and of its content.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Where the inode lies among the inodes, in bytes.
    pub inode: u64,
    /// The first block of its content.
    pub start: u64,
    /// How much of the content's end follows the inode.
    pub tail: u64,
}

impl Place {
    /// The inode's number.
    pub fn number(self) -> u64 {
        self.inode / SLOT
    }
}

/// All places, in the order of the survey's members.
#[derive(Debug)]
pub(super) struct Placement {
    pub places: Vec<Place>,
    /// The first block of attributes that inodes share.
    pub attributes: u64,
    /// The first block of inodes.
    pub metadata: u64,
    /// Blocks of the file system.
    pub blocks: u64,
}

/// Places everything.
pub(super) fn place(survey: &Survey<'_>) -> Result<Placement, Error> {
    let mut places = vec![Place::default(); survey.members.len()];
    let mut next = 1;
    // What files hold comes before what changes with names.
    for files in [true, false] {
        for (member, place) in survey.members.iter().zip(&mut places) {
            if files == matches!(survey.tree.inode(member.id).node, Node::File(_)) {
                let blocks = blocks(member, place);
                place.start = if blocks == 0 { 0 } else { next };
                next = advance(next, blocks)?;
            }
        }
    }
    let attributes = next;
    next = advance(next, survey.shared.len().div_ceil(BLOCK))?;
    let metadata = next;
    let mut slots = Slots::new();
    for (member, place) in survey.members.iter().zip(&mut places) {
        let map = match &member.body {
            Body::Chunks(chunks, _) => chunks.map_len(),
            _ => 0,
        };
        place.inode = slots.take(head(member) + place.tail + map);
        advance(metadata, slots.end / BLOCK)?;
    }
    // `fsck.erofs` 1.5 reads what follows every inode, whether it has attributes or not.
    let spare = u64::from(slots.used == slots.end);
    let blocks = advance(metadata, slots.end / BLOCK + spare)?;
    Ok(Placement { places, attributes, metadata, blocks })
}

/// Bytes of an inode and its attributes.
fn head(member: &Member) -> u64 {
    (LEN + member.attributes.len()) as u64
}

/// How many blocks the content takes, once it is decided what follows the inode: as much as makes no whole block,
/// where inode and all fit one.
fn blocks(member: &Member, place: &mut Place) -> u64 {
    match &member.body {
        Body::None => 0,
        Body::Chunks(chunks, _) => chunks.blocks,
        Body::Row(len, _) => {
            let tail = len % BLOCK;
            if head(member) + tail <= BLOCK {
                place.tail = tail;
                len / BLOCK
            } else {
                len.div_ceil(BLOCK)
            }
        }
    }
}

/// The block after `blocks` more: numbers have 32 bits, and the last one is a mark.
fn advance(next: u64, blocks: u64) -> Result<u64, Error> {
    let next = next.checked_add(blocks).filter(|next| *next < u64::from(u32::MAX));
    next.ok_or(Error::TooLarge)
}

/// Room for inodes. What fits a block lies in one, in that which it fills best, since content beside an inode
/// must not cross into the next block.
struct Slots {
    /// The end of all blocks.
    end: u64,
    /// The end of what is in use.
    used: u64,
    /// Ends of blocks that are free: their length and where they begin.
    free: BTreeSet<(u64, u64)>,
}

impl Slots {
    /// The first slot stays empty: no inode may have the number 0.
    fn new() -> Self {
        Self { end: BLOCK, used: SLOT, free: BTreeSet::from([(BLOCK - SLOT, SLOT)]) }
    }

    /// Takes room for `len` bytes.
    fn take(&mut self, len: u64) -> u64 {
        let len = len.next_multiple_of(SLOT);
        let fitting = self.free.range((len, 0)..).next().copied();
        let (free, start) = fitting.unwrap_or_else(|| {
            let start = self.end;
            self.end += len.next_multiple_of(BLOCK);
            (self.end - start, start)
        });
        self.free.remove(&(free, start));
        self.used = self.used.max(start + len);
        if free - len >= LEN as u64 {
            self.free.insert((free - len, start + len));
        }
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_fill_blocks_and_do_not_cross_them() {
        let mut slots = Slots::new();
        assert_eq!(slots.take(64), 32);
        assert_eq!(slots.take(4096), 4096);
        assert_eq!(slots.take(3000), 96);
        assert_eq!(slots.take(2000), 8192);
        // Longer than a block: from a block's beginning, and what is left of its last one is room for others.
        assert_eq!(slots.take(5000), 12288);
        assert_eq!(slots.take(900), 3104);
        assert_eq!(slots.take(1000), 8192 + 2016);
        assert_eq!(slots.take(3000), 12288 + 5024);
        assert_eq!((slots.end, slots.used), (20480, 12288 + 5024 + 3008));
    }
}
