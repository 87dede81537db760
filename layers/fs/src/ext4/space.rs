//! Handing out blocks: in ascending order, around the places of the file system's own structures.

use std::ops::Range;

use super::geometry::{GROUP_BLOCKS, Geometry};

/// The blocks that have no owner yet.
#[derive(Debug)]
pub(super) struct Space {
    geometry: Geometry,
    next: u64,
}

impl Space {
    pub fn new(geometry: Geometry) -> Self {
        Self { geometry, next: 0 }
    }

    /// The next blocks in a row, at most `wanted` and at least one of them.
    pub fn take(&mut self, wanted: u64) -> Range<u64> {
        let group = self.next / GROUP_BLOCKS;
        let start = self.next.max(group * GROUP_BLOCKS + self.geometry.reserved_blocks(group));
        let mut end = (group + 1) * GROUP_BLOCKS;
        while end - start < wanted && self.geometry.reserved_blocks(end / GROUP_BLOCKS) == 0 {
            end += GROUP_BLOCKS;
        }
        self.next = end.min(start + wanted);
        start..self.next
    }

    /// One block.
    pub fn take_one(&mut self) -> u64 {
        self.take(1).start
    }
}

/// Sorts runs of blocks and joins those that touch.
pub(super) fn join(mut runs: Vec<Range<u64>>) -> Vec<Range<u64>> {
    runs.sort_unstable_by_key(|run| run.start);
    runs.dedup_by(|next, run| {
        let touches = run.end == next.start;
        if touches {
            run.end = next.end;
        }
        touches
    });
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_flow_around_structures() {
        let geometry = Geometry { inodes_per_group: 8192, flex: 2, descriptor_area: 9 };
        let mut space = Space::new(geometry);
        let first = 10 + 2 * 514;
        assert_eq!(space.take_one(), first);
        assert_eq!(space.take(1 << 20), first + 1..32768);
        // A copy of the superblock, then the structures of the second flexible group, then another copy.
        assert_eq!(space.take(1 << 20), 32768 + 10..65536);
        assert_eq!(space.take(1 << 20), 65536 + 1028..3 * 32768);
        assert_eq!(space.take(40000), 3 * 32768 + 10..4 * 32768);
    }

    #[test]
    fn groups_without_structures_are_one_row() {
        let mut space = Space::new(Geometry { inodes_per_group: 8192, flex: 16, descriptor_area: 1025 });
        space.next = 10 * GROUP_BLOCKS;
        assert_eq!(space.take(100_000), 10 * 32768..10 * 32768 + 100_000);
    }

    #[test]
    fn runs_that_touch_are_joined() {
        assert_eq!(join(vec![7..8, 1..3, 3..5, 5..6]), [1..6, 7..8]);
    }
}
