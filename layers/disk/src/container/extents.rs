//! Which units of a disk a format keeps, and where they lie once they are packed together.

use std::ops::Range;

use bake_base::Layout;

use super::Chunk;

/// Units in a row, both on the disk and among those that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// First unit of the disk.
    pub(super) guest: u64,
    /// First unit of the file, or the number of units before it, as the format counts.
    pub(super) host: u64,
    /// How many.
    pub(super) count: u64,
}

/// The units of `unit` bytes that pieces touch, ascending in both counts: packed from `host` on.
pub(super) fn touched(disk: &Layout, unit: u64, host: u64) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    let (mut next, mut host) = (0, host);
    for piece in disk.pieces() {
        let start = (piece.offset / unit).max(next);
        let end = piece.end().div_ceil(unit);
        match extents.last_mut() {
            Some(last) if start == next => last.count += end - start,
            _ => extents.push(Extent { guest: start, host, count: end - start }),
        }
        host += end - start;
        next = end;
    }
    extents
}

/// How many units there are.
pub(super) fn count(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.count).sum()
}

/// Every unit with its place: of the disk and of the file.
pub(super) fn units(extents: &[Extent]) -> impl Iterator<Item = (u64, u64)> {
    extents.iter().flat_map(|extent| (0..extent.count).map(|i| (extent.guest + i, extent.host + i)))
}

/// What of a block is kept, with the place of its first byte, counted in bytes of packed units of `unit` bytes.
pub(super) fn packed<'a>(
    extents: &'a [Extent],
    unit: u64,
    chunk: &Chunk<'_>,
) -> impl Iterator<Item = (Range<usize>, u64)> + use<'a> {
    let (from, to) = (chunk.offset, chunk.offset + chunk.bytes.len() as u64);
    let first = extents.partition_point(|extent| (extent.guest + extent.count) * unit <= from);
    extents[first..].iter().take_while(move |extent| extent.guest * unit < to).map(move |extent| {
        let start = (extent.guest * unit).max(from);
        let end = ((extent.guest + extent.count) * unit).min(to);
        let place = extent.host * unit + (start - extent.guest * unit);
        ((start - from) as usize..(end - from) as usize, place)
    })
}

#[cfg(test)]
mod tests {
    use bake_base::LayoutBuilder;

    use super::*;

    const UNIT: u64 = 1 << 20;

    /// Bytes of units 0, 2 and 3, of which the last two touch.
    fn disk() -> Layout {
        let mut builder = LayoutBuilder::new();
        for offset in [7, 2 * UNIT, 4 * UNIT - 1] {
            builder.push_bytes(offset, vec![1]);
        }
        builder.finish(9 * UNIT).unwrap()
    }

    #[test]
    fn units_are_packed_in_the_order_of_the_disk() {
        let extents = touched(&disk(), UNIT, 5);
        assert_eq!(extents, [Extent { guest: 0, host: 5, count: 1 }, Extent { guest: 2, host: 6, count: 2 }]);
        assert_eq!(count(&extents), 3);
        assert_eq!(units(&extents).collect::<Vec<_>>(), [(0, 5), (2, 6), (3, 7)]);
    }

    #[test]
    fn a_block_finds_its_place_in_units_that_are_larger_and_in_some_that_are_smaller() {
        let bytes = vec![0; 512 << 10];
        let places = |extents: &[Extent], unit, offset| {
            packed(extents, unit, &Chunk { offset, bytes: &bytes, covered: &[] }).collect::<Vec<_>>()
        };
        let large = touched(&disk(), UNIT, 0);
        assert_eq!(places(&large, UNIT, 512 << 10), [(0..512 << 10, 512 << 10)]);
        assert_eq!(places(&large, UNIT, UNIT), []);
        assert_eq!(places(&large, UNIT, 3 * UNIT), [(0..512 << 10, 2 * UNIT)]);
        let small = touched(&disk(), 65_536, 0);
        assert_eq!(places(&small, 65_536, 0), [(0..65_536, 0)]);
        assert_eq!(places(&small, 65_536, 4 * UNIT - (512 << 10)), [(458_752..524_288, 2 * 65_536)]);
    }
}
