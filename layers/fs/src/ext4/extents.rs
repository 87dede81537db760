//! Extents: which blocks of the file system hold which blocks of a file, in the inode or in a tree below it
//! (`ifork.rst`, "Extent Tree").

use std::ops::Range;

use super::bytes::{EMPTY, Ink, put16, put32};
use super::checksum::Seed;
use super::geometry::BLOCK;

const MAGIC: u16 = 0xf30a;
const RECORD: usize = 12;
/// Records in the inode.
const ROOT_RECORDS: usize = 4;
/// Records in a block; a checksum fills what is left.
const BLOCK_RECORDS: usize = (BLOCK as usize - RECORD) / RECORD;
/// Blocks in an extent of data; larger lengths mean blocks that are not written yet.
pub(super) const LONGEST: u64 = 32768;
/// Size of the field in the inode.
pub(super) const ROOT_SIZE: usize = RECORD * (1 + ROOT_RECORDS);

/// A run of blocks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Its first block in the file.
    pub logical: u32,
    /// How many blocks.
    pub len: u32,
    /// Its first block in the file system.
    pub physical: u64,
}

impl Extent {
    /// The blocks of the file system.
    pub fn blocks(&self) -> Range<u64> {
        self.physical..self.physical + u64::from(self.len)
    }

    /// The extent as far as it lies before block `end` of the file.
    pub fn before(self, end: u32) -> Option<Self> {
        let len = self.len.min(end.saturating_sub(self.logical));
        (len > 0).then_some(Self { len, ..self })
    }
}

/// Appends a run of up to [`LONGEST`] blocks, as a part of the last extent where it continues it.
pub(super) fn push(extents: &mut Vec<Extent>, next: Extent) {
    if let Some(last) = extents.last_mut()
        && last.logical + last.len == next.logical
        && last.blocks().end == next.physical
        && u64::from(last.len + next.len) <= LONGEST
    {
        last.len += next.len;
    } else {
        extents.push(next);
    }
}

/// How many blocks the tree of so many extents takes beside the inode.
pub(super) fn tree_blocks(extents: usize) -> usize {
    let (mut blocks, mut records) = (0, extents);
    while records > ROOT_RECORDS {
        records = records.div_ceil(BLOCK_RECORDS);
        blocks += records;
    }
    blocks
}

/// Writes the tree into `blocks`, of which there are enough, and gives its root for the inode.
pub(super) fn encode(extents: &[Extent], blocks: &[u64], seed: Seed, ink: &mut Ink) -> [u8; ROOT_SIZE] {
    let mut records: Vec<(u32, [u8; RECORD])> =
        extents.iter().map(|extent| (extent.logical, leaf_record(extent))).collect();
    let mut blocks = blocks.iter();
    let mut depth = 0;
    while records.len() > ROOT_RECORDS {
        let mut level = Vec::with_capacity(records.len().div_ceil(BLOCK_RECORDS));
        for chunk in records.chunks(BLOCK_RECORDS) {
            let number = *blocks.next().expect("`tree_blocks` blocks were taken");
            let mut block = EMPTY;
            fill(&mut block, chunk, BLOCK_RECORDS, depth);
            let end = block.len() - 4;
            let checksum = seed.checksum(&block[..end]);
            put32(&mut block, end, checksum);
            ink.put_block(number, &block, 4);
            level.push((chunk[0].0, index_record(chunk[0].0, number)));
        }
        records = level;
        depth += 1;
    }
    let mut root = [0; ROOT_SIZE];
    fill(&mut root, &records, ROOT_RECORDS, depth);
    root
}

fn fill(node: &mut [u8], records: &[(u32, [u8; RECORD])], most: usize, depth: u16) {
    put16(node, 0, MAGIC);
    put16(node, 2, records.len() as u16);
    put16(node, 4, most as u16);
    put16(node, 6, depth);
    for (slot, (_, record)) in node[RECORD..].chunks_exact_mut(RECORD).zip(records) {
        slot.copy_from_slice(record);
    }
}

fn leaf_record(extent: &Extent) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    put32(&mut record, 0, extent.logical);
    put16(&mut record, 4, extent.len as u16);
    put16(&mut record, 6, (extent.physical >> 32) as u16);
    put32(&mut record, 8, extent.physical as u32);
    record
}

fn index_record(logical: u32, block: u64) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    put32(&mut record, 0, logical);
    put32(&mut record, 4, block as u32);
    put16(&mut record, 8, (block >> 32) as u16);
    record
}

#[cfg(test)]
mod tests {
    use bake_base::Uuid;

    use super::*;

    #[test]
    fn a_tree_grows_by_whole_levels() {
        for (extents, blocks) in [
            (0, 0),
            (4, 0),
            (5, 1),
            (340, 1),
            (341, 2),
            (1360, 4),
            (1361, 5 + 1),
            (340 * 1360, 1360 + 4),
            (340 * 1360 + 1, 1361 + 5 + 1),
        ] {
            assert_eq!(tree_blocks(extents), blocks, "{extents}");
        }
    }

    #[test]
    fn runs_that_continue_each_other_are_one_extent() {
        let extent = |logical, len, physical| Extent { logical, len, physical };
        let mut extents = Vec::new();
        for next in [
            extent(0, 2, 100),
            extent(2, 3, 102),
            extent(6, 1, 106),
            extent(7, 1, 200),
            extent(8, 32767, 201),
            extent(32775, 1, 32968),
        ] {
            push(&mut extents, next);
        }
        let expected = [extent(0, 5, 100), extent(6, 1, 106), extent(7, 32768, 200), extent(32775, 1, 32968)];
        assert_eq!(extents, expected);
        assert_eq!(extents[0].before(3), Some(extent(0, 3, 100)));
        assert_eq!(extents[1].before(6), None);
    }

    #[test]
    fn the_root_points_to_its_first_level() {
        let extents: Vec<_> = (0..341)
            .map(|i| Extent { logical: 2 * i, len: 1, physical: (7 << 32) + u64::from(i) * 9 })
            .collect();
        let mut ink = Ink::default();
        let root = encode(&extents, &[50, 60], Seed::of(Uuid::nil()), &mut ink);
        let expected = [
            &[0x0a, 0xf3, 2, 0, 4, 0, 1, 0, 0, 0, 0, 0][..],
            &[0, 0, 0, 0, 50, 0, 0, 0, 0, 0, 0, 0],
            &[0xa8, 2, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0],
            &[0; 24],
        ];
        assert_eq!(root[..], expected.concat());
        let root = encode(&extents[1..2], &[], Seed::of(Uuid::nil()), &mut ink);
        assert_eq!(root[12..24], [2, 0, 0, 0, 1, 0, 7, 0, 9, 0, 0, 0]);
    }
}
