//! Group descriptors (`group_descr.rst`) and what they describe: the bitmaps and how full each group is.
//!
//! A group in which nothing is used says so in its flags and needs no byte of the image besides: neither
//! bitmap, nor inode table.

use std::sync::Arc;

use bake_base::{LayoutBuilder, ReadAt};

use super::bitmap::{BlockBitmaps, inode_bitmap};
use super::bytes::{Ink, put_split16, put_split32, put16};
use super::checksum::Seed;
use super::geometry::{BLOCK, DESCRIPTOR_SIZE, Geometry, Span};

/// The inode bitmap and table are not initialised: no inode is used.
const INODES_UNTOUCHED: u16 = 0x1;
/// The block bitmap is not initialised: no block is used but a superblock's and descriptors'.
const BLOCKS_UNTOUCHED: u16 = 0x2;
/// The inode table holds zeros where it holds no inodes, so that no kernel needs to write any.
const INODES_ZEROED: u16 = 0x4;

/// An inode that is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedInode {
    pub number: u32,
    pub is_directory: bool,
}

/// All groups, finished.
#[derive(Debug)]
pub(super) struct Groups {
    /// The descriptors.
    pub descriptors: Vec<u8>,
    /// The sum over all groups.
    pub free_blocks: u64,
    /// The sum over all groups.
    pub free_inodes: u32,
}

/// Describes all groups. `inodes` ascend; the block bitmaps go to the layout as they are, to be made when they
/// are read.
pub(super) fn describe(
    geometry: &Geometry,
    span: Span,
    seed: Seed,
    bitmaps: BlockBitmaps,
    inodes: &[UsedInode],
    ink: &mut Ink,
    layout: &mut LayoutBuilder,
) -> Groups {
    let mut groups = Groups { descriptors: Vec::new(), free_blocks: 0, free_inodes: 0 };
    let bitmaps = Arc::new(bitmaps);
    let source: Arc<dyn ReadAt> = Arc::<BlockBitmaps>::clone(&bitmaps);
    let per_group = geometry.inodes_per_group;
    let mut rest = inodes;
    for group in 0..span.groups {
        let mut flags = INODES_ZEROED;
        let mut descriptor = [0; DESCRIPTOR_SIZE];
        put_split32(&mut descriptor, 0x00, 0x20, geometry.block_bitmap(group));
        put_split32(&mut descriptor, 0x04, 0x24, geometry.inode_bitmap(group));
        put_split32(&mut descriptor, 0x08, 0x28, geometry.inode_table(group));

        let used = bitmaps.used_in(group);
        let free = span.group_blocks(group) - used;
        put_split16(&mut descriptor, 0x0c, 0x2c, free as u32);
        // The last group's bitmap is never left out, because its end is padded.
        if used == geometry.backup_blocks(group) && group + 1 < span.groups {
            flags |= BLOCKS_UNTOUCHED;
        } else {
            put_split16(&mut descriptor, 0x18, 0x38, seed.checksum(&bitmaps.bitmap(group)));
            layout.push(geometry.block_bitmap(group) * BLOCK, BLOCK, Arc::clone(&source), group * BLOCK);
        }

        let count = rest.partition_point(|inode| geometry.inode_place(inode.number).0 == group);
        let here;
        (here, rest) = rest.split_at(count);
        let index = |inode: &UsedInode| geometry.inode_place(inode.number).1;
        put_split16(&mut descriptor, 0x0e, 0x2e, per_group - count as u32);
        let directories = here.iter().filter(|inode| inode.is_directory).count();
        put_split16(&mut descriptor, 0x10, 0x30, directories as u32);
        put_split16(
            &mut descriptor,
            0x1c,
            0x32,
            here.last().map_or(per_group, |last| per_group - 1 - index(last)),
        );
        if here.is_empty() {
            flags |= INODES_UNTOUCHED;
        } else {
            let bitmap = inode_bitmap(here.iter().map(index), per_group);
            put_split16(&mut descriptor, 0x1a, 0x3a, seed.checksum(&bitmap[..per_group as usize / 8]));
            ink.put_block(geometry.inode_bitmap(group), &bitmap, 0);
        }

        put16(&mut descriptor, 0x12, flags);
        let checksum = seed.with(&(group as u32).to_le_bytes()).checksum(&descriptor);
        put16(&mut descriptor, 0x1e, checksum as u16);
        groups.descriptors.extend(descriptor);
        groups.free_blocks += free;
        groups.free_inodes += per_group - count as u32;
    }
    groups
}
