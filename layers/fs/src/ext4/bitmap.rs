//! Bitmaps: which blocks and inodes of a group have an owner (`bitmaps.rst`).

use std::io;
use std::ops::Range;

use bake_base::ReadAt;

use super::bytes::{Block, EMPTY};
use super::geometry::{BLOCK, GROUP_BLOCKS, Span};

/// All block bitmaps in a row, made from the runs of used blocks when they are read: memory follows the runs
/// and not the size.
#[derive(Debug)]
pub(super) struct BlockBitmaps {
    /// Ascending and apart.
    used: Vec<Range<u64>>,
    span: Span,
}

impl BlockBitmaps {
    pub fn new(used: Vec<Range<u64>>, span: Span) -> Self {
        Self { used, span }
    }

    /// The runs of used blocks in a group, counted from its first block.
    fn runs(&self, group: u64) -> impl Iterator<Item = Range<usize>> {
        let blocks = group * GROUP_BLOCKS..group * GROUP_BLOCKS + self.span.group_blocks(group);
        let first = self.used.partition_point(|run| run.end <= blocks.start);
        self.used[first..].iter().take_while(move |run| run.start < blocks.end).map(move |run| {
            let (from, to) = (run.start.max(blocks.start), run.end.min(blocks.end));
            (from - blocks.start) as usize..(to - blocks.start) as usize
        })
    }

    /// How many blocks of a group are used.
    pub fn used_in(&self, group: u64) -> u64 {
        self.runs(group).map(|run| run.len() as u64).sum()
    }

    /// The bitmap of a group; bits beyond the end of the file system are set.
    pub fn bitmap(&self, group: u64) -> Block {
        let mut bitmap = EMPTY;
        for run in self.runs(group) {
            set(&mut bitmap, run);
        }
        set(&mut bitmap, self.span.group_blocks(group) as usize..GROUP_BLOCKS as usize);
        bitmap
    }
}

impl ReadAt for BlockBitmaps {
    fn len(&self) -> u64 {
        self.span.groups * BLOCK
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let bitmap = self.bitmap(at / BLOCK);
            let from = &bitmap[(at % BLOCK) as usize..];
            let n = from.len().min(rest.len());
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&from[..n]);
            (at, rest) = (at + n as u64, later);
        }
        Ok(())
    }
}

/// The inode bitmap of a group; bits beyond the group's inodes are set.
pub(super) fn inode_bitmap(used: impl Iterator<Item = u32>, inodes_per_group: u32) -> Block {
    let mut bitmap = EMPTY;
    for index in used {
        bitmap[index as usize / 8] |= 1 << (index % 8);
    }
    set(&mut bitmap, inodes_per_group as usize..GROUP_BLOCKS as usize);
    bitmap
}

/// Sets a run of bits.
fn set(bitmap: &mut Block, bits: Range<usize>) {
    if bits.is_empty() {
        return;
    }
    let (first, last) = (bits.start / 8, (bits.end - 1) / 8);
    let (head, tail) = (0xff << (bits.start % 8), 0xff >> (7 - (bits.end - 1) % 8));
    if first == last {
        bitmap[first] |= head & tail;
    } else {
        bitmap[first] |= head;
        bitmap[first + 1..last].fill(0xff);
        bitmap[last] |= tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_sets_its_bits_and_no_other() {
        for start in 0..20_usize {
            for end in start..40 {
                let mut bitmap = EMPTY;
                set(&mut bitmap, start..end);
                for bit in 0..64 {
                    assert_eq!(bitmap[bit / 8] >> (bit % 8) & 1 == 1, (start..end).contains(&bit));
                }
            }
        }
        let mut bitmap = EMPTY;
        set(&mut bitmap, 0..GROUP_BLOCKS as usize);
        assert!(bitmap.iter().all(|byte| *byte == 0xff));
    }

    #[test]
    fn runs_are_split_at_groups_and_the_end_is_padded() {
        let span = Span { blocks: 3 * GROUP_BLOCKS - 5, groups: 3 };
        let bitmaps = BlockBitmaps::new(vec![0..3, 10..11, 32760..65540, 65550..65552], span);
        assert_eq!([0, 1, 2].map(|group| bitmaps.used_in(group)), [3 + 1 + 8, 32768, 4 + 2]);
        let mut all = vec![0; 3 * BLOCK as usize];
        bitmaps.read_exact_at(0, &mut all).unwrap();
        assert_eq!(all[..2], [0b111, 0b100]);
        assert_eq!(all[4095..4097], [0xff, 0xff]);
        assert_eq!(all[8192..8194], [0b1111, 0b1100_0000]);
        assert_eq!(all[12287], 0b1111_1000);
        let mut some = [0; 3];
        bitmaps.read_exact_at(8191, &mut some).unwrap();
        assert_eq!(some, [0xff, 0b1111, 0b1100_0000]);
        assert!(bitmaps.read_exact_at(12287, &mut [0; 2]).is_err());
    }
}
