//! Where an ext4 file system keeps its own structures: a function of constants alone.
//!
//! Every structure has its place whatever the size of the file system is, and the places of those that a
//! larger one would have are never given to files. So neither another file nor another size moves anything
//! (kernel documentation, `blockgroup.rst`, "Layout" and "Flexible Block Groups").

use super::{Error, Options};

/// Bytes in a block.
pub(super) const BLOCK: u64 = 4096;
/// Blocks in a group: as many as one block has bits.
pub(super) const GROUP_BLOCKS: u64 = 8 * BLOCK;
/// Bytes of an inode.
pub(super) const INODE_SIZE: usize = 256;
/// Bytes of a group descriptor with the `64bit` feature.
pub(super) const DESCRIPTOR_SIZE: usize = 64;
/// Groups that one block of descriptors describes.
const GROUPS_PER_DESCRIPTOR_BLOCK: u64 = BLOCK / DESCRIPTOR_SIZE as u64;
/// The first inode that is not reserved, by custom `lost+found` (`special_inodes.rst`).
pub(super) const FIRST_INODE: u32 = 11;
/// Blocks beyond its own structures that a group must have to be worth having (`mke2fs` has the same number).
const WORTHWHILE: u64 = 50;

/// The constants that fix all places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Inodes in every group.
    pub inodes_per_group: u32,
    /// Groups whose structures lie together.
    pub flex: u64,
    /// Blocks after every superblock that hold group descriptors or are kept for them.
    pub descriptor_area: u64,
}

/// A geometry cut to a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Blocks of the file system.
    pub blocks: u64,
    /// Its groups, of which the last one may be short.
    pub groups: u64,
}

impl Geometry {
    pub fn new(options: &Options) -> Self {
        Self {
            inodes_per_group: options.inodes_per_group,
            flex: u64::from(options.flex_bg),
            // Descriptors that are in use come out of the same area: a disk of more than 8 GiB has fewer
            // blocks left to grow into, and the same end.
            descriptor_area: u64::from(options.reserved_gdt_blocks) + 1,
        }
    }

    /// Blocks of a group's inode table.
    pub fn table_blocks(&self) -> u64 {
        u64::from(self.inodes_per_group) * INODE_SIZE as u64 / BLOCK
    }

    /// Blocks of a superblock and its descriptors, or none (`blockgroup.rst`, "sparse_super").
    pub fn backup_blocks(&self, group: u64) -> u64 {
        if has_superblock(group) { 1 + self.descriptor_area } else { 0 }
    }

    /// Blocks at the start of a group that are never a file's.
    pub fn reserved_blocks(&self, group: u64) -> u64 {
        let gathered =
            if group.is_multiple_of(self.flex) { self.flex * (2 + self.table_blocks()) } else { 0 };
        self.backup_blocks(group) + gathered
    }

    /// Where the structures of the flexible group that `group` belongs to begin.
    fn flex_start(&self, group: u64) -> u64 {
        let first = group - group % self.flex;
        first * GROUP_BLOCKS + self.backup_blocks(first)
    }

    /// The block of a group's block bitmap.
    pub fn block_bitmap(&self, group: u64) -> u64 {
        self.flex_start(group) + group % self.flex
    }

    /// The block of a group's inode bitmap.
    pub fn inode_bitmap(&self, group: u64) -> u64 {
        self.block_bitmap(group) + self.flex
    }

    /// The first block of a group's inode table.
    pub fn inode_table(&self, group: u64) -> u64 {
        self.flex_start(group) + 2 * self.flex + group % self.flex * self.table_blocks()
    }

    /// The fewest blocks with which `group` can be the last one.
    fn least_blocks(&self, group: u64) -> u64 {
        let own = if group.is_multiple_of(self.flex) { 2 * self.flex + self.table_blocks() } else { 0 };
        self.backup_blocks(group) + own + WORTHWHILE
    }

    /// The most blocks that the descriptor area can describe.
    pub fn most_blocks(&self) -> u64 {
        self.descriptor_area * GROUPS_PER_DESCRIPTOR_BLOCK * GROUP_BLOCKS
    }

    /// Cuts the geometry to `blocks`; a last group that would be too short is left out, as `mke2fs` does.
    pub fn span(&self, blocks: u64) -> Span {
        let (full, rest) = (blocks / GROUP_BLOCKS, blocks % GROUP_BLOCKS);
        if rest >= self.least_blocks(full) {
            Span { blocks, groups: full + 1 }
        } else {
            Span { blocks: full * GROUP_BLOCKS, groups: full }
        }
    }

    /// The fewest blocks with a place for all before block `end` and for `inodes`.
    pub fn smallest(&self, end: u64, inodes: u64) -> u64 {
        let last = inodes.div_ceil(u64::from(self.inodes_per_group)).max(1) - 1;
        let blocks = end.max(last * GROUP_BLOCKS + self.least_blocks(last));
        let group = (blocks - 1) / GROUP_BLOCKS;
        blocks.max(group * GROUP_BLOCKS + self.least_blocks(group))
    }

    /// The group of an inode and its index in that group's table.
    pub fn inode_place(&self, number: u32) -> (u64, u32) {
        (u64::from((number - 1) / self.inodes_per_group), (number - 1) % self.inodes_per_group)
    }

    /// Refuses constants that leave groups no room.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Options(what));
        if !self.flex.is_power_of_two() {
            return refuse(format!("`flex_bg` is {}: expected a power of two", self.flex));
        }
        let (inodes, step) = (self.inodes_per_group, (BLOCK / INODE_SIZE as u64) as u32);
        if inodes == 0 || inodes % step != 0 || u64::from(inodes) > GROUP_BLOCKS {
            return refuse(format!(
                "`inodes_per_group` is {inodes}: expected a multiple of {step} up to {GROUP_BLOCKS}"
            ));
        }
        let reserved = self.descriptor_area - 1;
        if reserved > BLOCK / 4 {
            return refuse(format!("`reserved_gdt_blocks` is {reserved}: expected at most {}", BLOCK / 4));
        }
        if self.reserved_blocks(0) + WORTHWHILE > GROUP_BLOCKS {
            return refuse(format!(
                "the structures of {} groups fill one of them: expected a smaller `flex_bg`",
                self.flex
            ));
        }
        Ok(())
    }
}

impl Span {
    /// The blocks of `group`.
    pub fn group_blocks(&self, group: u64) -> u64 {
        (self.blocks - group * GROUP_BLOCKS).min(GROUP_BLOCKS)
    }

    /// Blocks in use by the descriptors.
    pub fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(GROUPS_PER_DESCRIPTOR_BLOCK)
    }

    /// The groups other than the first that hold a copy of the superblock.
    pub fn backups(self) -> impl Iterator<Item = u64> {
        (1..self.groups).filter(|group| has_superblock(*group))
    }
}

/// Whether a group begins with a superblock: the first, the second, and powers of 3, 5 and 7.
pub(super) fn has_superblock(group: u64) -> bool {
    let power_of = |base: u64| {
        let mut power = base;
        while power < group {
            power *= base;
        }
        power == group
    };
    group <= 1 || power_of(3) || power_of(5) || power_of(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Geometry = Geometry { inodes_per_group: 8192, flex: 16, descriptor_area: 1025 };

    #[test]
    fn superblocks_lie_in_sparse_groups() {
        let groups: Vec<_> = (0..130).filter(|group| has_superblock(*group)).collect();
        assert_eq!(groups, [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125]);
    }

    #[test]
    fn structures_of_a_flexible_group_lie_side_by_side() {
        assert_eq!(USUAL.table_blocks(), 512);
        assert_eq!((USUAL.block_bitmap(0), USUAL.inode_bitmap(0), USUAL.inode_table(0)), (1026, 1042, 1058));
        assert_eq!((USUAL.block_bitmap(15), USUAL.inode_table(15)), (1041, 1058 + 15 * 512));
        assert_eq!(USUAL.reserved_blocks(0), 1058 + 16 * 512);
        assert_eq!(USUAL.block_bitmap(17), 16 * GROUP_BLOCKS + 1);
        assert_eq!((USUAL.reserved_blocks(1), USUAL.reserved_blocks(2)), (1026, 0));
    }

    #[test]
    fn a_last_group_is_kept_when_its_structures_fit() {
        let blocks = |group: u64, rest: u64| group * GROUP_BLOCKS + rest;
        for (group, least) in [(1, 1026 + 50), (2, 50), (16, 32 + 512 + 50)] {
            let short = USUAL.span(blocks(group, least - 1));
            assert_eq!(short, Span { blocks: blocks(group, 0), groups: group });
            let kept = USUAL.span(blocks(group, least));
            assert_eq!(kept, Span { blocks: blocks(group, least), groups: group + 1 });
        }
    }

    #[test]
    fn the_smallest_size_has_room_for_blocks_and_inodes() {
        for end in [9000, 32768, 32769, 40000, 65536, 65537, 16 * 32768, 16 * 32768 + 1] {
            for inodes in [1, 8192, 8193, 3 * 8192, 17 * 8192] {
                let span = USUAL.span(USUAL.smallest(end, inodes));
                assert!(span.blocks >= end && span.groups * 8192 >= inodes, "{end} {inodes}");
                let smaller = USUAL.span(USUAL.smallest(end, inodes) - 1);
                assert!(smaller.blocks < end || smaller.groups * 8192 < inodes || span.groups == 1);
            }
        }
    }
}
