//! Sparse files: chunks of one size, and a map that says where each one is (`erofs.rst`, "Chunk-based files").

use std::io;
use std::ops::Range;

use bake_base::ReadAt;

use super::BLOCK;
use super::inode::NO_BLOCK;

/// Bytes of a map's entry.
const ENTRY: u64 = 4;
/// The largest chunk, by the power of two of its blocks.
const MOST_BITS: u32 = 31;

/// How a file is cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    /// Blocks of a chunk, as a power of two: the format in the inode.
    pub bits: u32,
    /// How many chunks the file has.
    pub count: u64,
    /// Those that are not holes, in maximal runs.
    pub runs: Vec<Range<u64>>,
    /// Blocks of all of them.
    pub blocks: u64,
}

impl Chunks {
    /// Cuts a file of so many blocks of which those in `data` hold something, so that chunks and map together
    /// take the least room; nothing where that is no less than the file itself.
    pub fn cut(data: &[Range<u64>], blocks: u64) -> Option<Self> {
        let cut = |bits: u32| {
            let runs = runs(data, bits);
            let stored = runs.iter().map(|run| (run.end << bits).min(blocks) - (run.start << bits)).sum();
            Self { bits, count: blocks.div_ceil(1 << bits), runs, blocks: stored }
        };
        // The largest of equal ones has the shortest map.
        let best = (0..=MOST_BITS).rev().map(cut).min_by_key(Self::cost)?;
        (best.cost() < blocks * BLOCK).then_some(best)
    }

    /// How many bytes it takes. Files have less than 2^63 bytes, so that this is no more than 2^64.
    fn cost(&self) -> u64 {
        (self.blocks * BLOCK).saturating_add(self.map_len())
    }

    /// The length of the map in bytes.
    pub fn map_len(&self) -> u64 {
        self.count * ENTRY
    }
}

/// Runs of chunks that hold any of `data`.
fn runs(data: &[Range<u64>], bits: u32) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for blocks in data {
        let chunks = blocks.start >> bits..((blocks.end - 1) >> bits) + 1;
        match runs.last_mut() {
            Some(last) if chunks.start <= last.end => last.end = last.end.max(chunks.end),
            _ => runs.push(chunks),
        }
    }
    runs
}

/// A map as bytes, made where it is read: that of a file of holes may be long.
#[derive(Debug)]
pub(super) struct Map {
    bits: u32,
    count: u64,
    /// Runs of chunks with the block at which the first one lies.
    runs: Vec<(Range<u64>, u64)>,
}

impl Map {
    /// The map of a file whose first chunk that is no hole lies at block `start`.
    pub fn new(chunks: &Chunks, start: u64) -> Self {
        let mut at = start;
        let place = |run: &Range<u64>| {
            let block = at;
            at += (run.end - run.start) << chunks.bits;
            (run.clone(), block)
        };
        Self { bits: chunks.bits, count: chunks.count, runs: chunks.runs.iter().map(place).collect() }
    }

    /// Where a block of the file lies; nothing in a hole.
    pub fn stored_at(&self, block: u64) -> Option<u64> {
        let chunk = block >> self.bits;
        let at = self.runs.partition_point(|(run, _)| run.end <= chunk);
        let (run, start) = self.runs.get(at).filter(|(run, _)| run.contains(&chunk))?;
        Some(start + (block - (run.start << self.bits)))
    }

    fn entry(&self, chunk: u64) -> u32 {
        self.stored_at(chunk << self.bits).map_or(NO_BLOCK, |block| block as u32)
    }
}

impl ReadAt for Map {
    fn len(&self) -> u64 {
        self.count * ENTRY
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut entry = [0; ENTRY as usize];
        for (at, byte) in (offset..).zip(buffer) {
            if at == offset || at % ENTRY == 0 {
                entry = self.entry(at / ENTRY).to_le_bytes();
            }
            *byte = entry[(at % ENTRY) as usize];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64) -> Vec<Range<u64>> {
        std::iter::once(start..end).collect()
    }

    #[test]
    fn chunks_take_the_least_room() {
        // Everything a hole: one entry will do.
        let empty = Chunks::cut(&[], 1 << 20).unwrap();
        assert_eq!((empty.count, empty.blocks), (1, 0));
        // A hole as large as its map is none.
        assert_eq!(Chunks::cut(&range(0, 1), 1), None);
        assert_eq!(Chunks::cut(&range(0, 9), 9), None);
        let sparse = Chunks::cut(&[0..3, 700..701], 1000).unwrap();
        assert_eq!((sparse.bits, sparse.count, sparse.blocks), (0, 1000, 4));
        // The longest file with one byte.
        let huge = Chunks::cut(&range(5, 6), 1 << 51).unwrap();
        assert_eq!((huge.bits, huge.count, huge.blocks), (21, 1 << 30, 1 << 21));
        // A last chunk ends with the file.
        let last = Chunks::cut(&range(1_000_000, 1_000_001), 1_000_001).unwrap();
        assert_eq!(last.blocks, 1_000_001 - (1_000_000 >> last.bits << last.bits));
    }

    #[test]
    fn a_map_says_where_each_chunk_is_however_it_is_read() {
        let chunks = Chunks { bits: 1, count: 6, runs: vec![1..3, 4..5], blocks: 6 };
        let map = Map::new(&chunks, 10);
        let no = NO_BLOCK;
        let whole: Vec<u8> = [no, 10, 12, no, 14, no].iter().flat_map(|entry| entry.to_le_bytes()).collect();
        for start in 0..=24_usize {
            for end in start..=24 {
                let mut bytes = vec![0; end - start];
                map.read_exact_at(start as u64, &mut bytes).unwrap();
                assert_eq!(bytes, whole[start..end]);
            }
        }
        assert!(map.read_exact_at(23, &mut [0; 2]).is_err());
        let stored = [1, 2, 3, 4, 5, 6, 8, 9, 10].map(|block| map.stored_at(block));
        let (no, at) = (None, Some);
        assert_eq!(stored, [no, at(10), at(11), at(12), at(13), no, at(14), at(15), no]);
    }
}
