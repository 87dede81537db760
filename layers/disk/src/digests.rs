//! What a disk's bytes are, block by block, and the one digest that follows from them.

use std::io;

use bake_base::{Digest, Hasher, ReadAt, is_zero, parallel};
use serde::Serialize;

/// Size of a block in bytes: that of a snapshot block of EBS, the unit of every delta.
pub const BLOCK_SIZE: u64 = 512 << 10;

/// The digest of a block of zeros.
pub const ZERO_BLOCK: Digest = Digest::from_bytes([
    0x07, 0x85, 0x4d, 0x2f, 0xef, 0x29, 0x7a, 0x06, 0xba, 0x81, 0x68, 0x5e, 0x66, 0x0c, 0x33, 0x2d, 0xe3,
    0x6d, 0x5d, 0x18, 0xd5, 0x46, 0x92, 0x7d, 0x30, 0xda, 0xad, 0x6d, 0x7f, 0xda, 0x15, 0x41,
]);

/// How many blocks are spread over threads at a time: a bound on what waits to be put in order, which compressed
/// blocks of containers do, too. 64 MiB.
const BATCH: u64 = 128;

/// Blocks in a row of which none is zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The index of the first block.
    pub first: u64,
    /// Their digests.
    pub sha256: Vec<Digest>,
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.sha256.len() as u64
    }
}

/// The SHA-256 of every 512 KiB block of a disk; blocks of zeros take no room.
///
/// A last block that the disk cuts short counts as filled up with zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockDigests {
    #[serde(rename = "block-size")]
    block_size: u64,
    #[serde(rename = "disk-size")]
    disk_size: u64,
    runs: Vec<Run>,
}

impl BlockDigests {
    /// The digests of a disk of `len` bytes on which only `count` blocks can hold something: `block` gives
    /// their indexes, ascending, and `work` their digests, on up to `threads` threads with a `state` each.
    pub(crate) fn collect<S, E: Send>(
        (len, threads): (u64, usize),
        (count, block): (u64, impl Fn(u64) -> u64 + Sync),
        state: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, u64) -> Result<Digest, E> + Sync,
    ) -> Result<Self, E> {
        let mut digests = Self { block_size: BLOCK_SIZE, disk_size: len, runs: Vec::new() };
        for start in (0..count).step_by(BATCH as usize) {
            let in_batch = BATCH.min(count - start) as usize;
            let work = |state: &mut S, index| work(state, block(start + index as u64));
            let batch = parallel::map(threads, in_batch, &state, work)?;
            (start..).zip(batch).for_each(|(index, digest)| digests.push(block(index), digest));
        }
        Ok(digests)
    }

    /// Digests that were written down before, such as a manifest's; runs may touch each other. `None` where runs
    /// are not ascending, leave the disk, or hold the digest of zeros.
    pub fn from_runs(disk_size: u64, runs: Vec<Run>) -> Option<Self> {
        let mut digests = Self { block_size: BLOCK_SIZE, disk_size, runs: Vec::new() };
        let mut next = 0;
        for run in runs {
            let end = run.first.checked_add(run.sha256.len() as u64)?;
            let is_fit = run.first >= next && end <= digests.block_count();
            if !is_fit || run.sha256.contains(&ZERO_BLOCK) {
                return None;
            }
            (run.first..).zip(run.sha256).for_each(|(block, digest)| digests.push(block, digest));
            next = end;
        }
        Some(digests)
    }

    /// The digest of one block; that of zeros for blocks behind the disk's end.
    pub fn get(&self, block: u64) -> Digest {
        let run = &self.runs[..self.runs.partition_point(|run| run.first <= block)];
        let run = run.last().filter(|run| block < run.end());
        run.map_or(ZERO_BLOCK, |run| run.sha256[(block - run.first) as usize])
    }

    /// Sets the digest of a block after all that were set before.
    fn push(&mut self, block: u64, digest: Digest) {
        if digest == ZERO_BLOCK {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.end() == block => run.sha256.push(digest),
            _ => self.runs.push(Run { first: block, sha256: vec![digest] }),
        }
    }

    /// Reads a whole disk on up to `threads` threads and hashes what is not zero. `progress` is told of the
    /// bytes done, from any thread.
    ///
    /// # Errors
    /// When `disk` cannot be read.
    pub fn compute(disk: &dyn ReadAt, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Self> {
        let len = disk.len();
        let blocks = (len.div_ceil(BLOCK_SIZE), |index| index);
        Self::collect((len, threads), blocks, block_buffer, |buffer, block| {
            let bytes = block_of(buffer, block, len);
            disk.read_exact_at(block * BLOCK_SIZE, bytes)?;
            progress(bytes.len() as u64);
            Ok(block_digest(bytes))
        })
    }

    /// The digests of `len` bytes from `offset` on by themselves, such as a partition's, without reading them
    /// again. `None` where `offset` is not a multiple of [`BLOCK_SIZE`] or the range leaves the disk.
    ///
    /// Bytes between the range's end and the next block's start must be zeros, as they are behind every
    /// partition that [`crate::DiskSpec`] placed.
    pub fn part(&self, offset: u64, len: u64) -> Option<Self> {
        let end = offset.checked_add(len).filter(|end| *end <= self.disk_size)?;
        if !offset.is_multiple_of(BLOCK_SIZE) {
            return None;
        }
        let (first, end) = (offset / BLOCK_SIZE, end.div_ceil(BLOCK_SIZE));
        let cut = |run: &Run| {
            let (from, to) = (run.first.max(first), run.end().min(end));
            let inside = (from < to).then(|| (from - run.first) as usize..(to - run.first) as usize)?;
            Some(Run { first: from - first, sha256: run.sha256[inside].to_vec() })
        };
        let runs = self.runs.iter().filter_map(cut).collect();
        Some(Self { block_size: BLOCK_SIZE, disk_size: len, runs })
    }

    /// Length of the disk in bytes.
    pub fn disk_size(&self) -> u64 {
        self.disk_size
    }

    /// How many blocks the disk has.
    pub fn block_count(&self) -> u64 {
        self.disk_size.div_ceil(BLOCK_SIZE)
    }

    /// All blocks that are not zeros, ascending.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The digest of every block in order, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = Digest> + '_ {
        let zeros = |from: u64, to: u64| (from..to).map(|_| ZERO_BLOCK);
        let starts = std::iter::once(0).chain(self.runs.iter().map(Run::end));
        let body = starts
            .zip(&self.runs)
            .flat_map(move |(from, run)| zeros(from, run.first).chain(run.sha256.iter().copied()));
        body.chain(zeros(self.runs.last().map_or(0, Run::end), self.block_count()))
    }

    /// The digest of the disk: SHA-256 over `bake-disk-1`, the length (64-bit little-endian) and the digest of
    /// every block in order. The same whatever the container, and whether or not zeros were stored.
    pub fn disk_digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(b"bake-disk-1");
        hasher.update(&self.disk_size.to_le_bytes());
        self.iter().for_each(|digest| hasher.update(digest.as_bytes()));
        hasher.finish()
    }
}

/// Room for one block, made once per thread.
pub(crate) fn block_buffer() -> Vec<u8> {
    vec![0; BLOCK_SIZE as usize]
}

/// As much of `buffer` as `block` has bytes on a disk of `len` bytes.
pub(crate) fn block_of(buffer: &mut [u8], block: u64, len: u64) -> &mut [u8] {
    &mut buffer[..BLOCK_SIZE.min(len - block * BLOCK_SIZE) as usize]
}

/// The digest of one block, which may be the disk's last and short.
pub(crate) fn block_digest(bytes: &[u8]) -> Digest {
    if is_zero(bytes) {
        return ZERO_BLOCK;
    }
    let missing = BLOCK_SIZE as usize - bytes.len();
    if missing == 0 {
        return Digest::of(bytes);
    }
    let mut hasher = Hasher::new();
    hasher.update(bytes);
    hasher.update(&vec![0; missing]);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bake_base::{Layout, LayoutBuilder};

    use super::*;

    /// Blocks of one repeated byte; 0 is a hole.
    fn disk(blocks: &[u8], len: u64) -> Layout {
        let mut builder = LayoutBuilder::new();
        for (index, byte) in (0..).zip(blocks) {
            let offset = index * BLOCK_SIZE;
            builder.push_bytes(offset, vec![*byte; BLOCK_SIZE.min(len - offset) as usize]);
        }
        builder.finish(len).unwrap()
    }

    fn compute(disk: &Layout, threads: usize) -> BlockDigests {
        BlockDigests::compute(disk, threads, &|_| ()).unwrap()
    }

    #[test]
    fn the_digest_of_zeros_is_what_it_says() {
        assert_eq!(ZERO_BLOCK, Digest::of(&block_buffer()));
    }

    #[test]
    fn blocks_of_zeros_fold_wherever_they_are() {
        for blocks in [&[][..], &[0], &[1], &[0, 1, 2, 0, 0, 3, 0], &[1, 0, 0], &[0, 0, 1], &[1, 2, 3]] {
            let disk = disk(blocks, blocks.len() as u64 * BLOCK_SIZE);
            let digests = compute(&disk, 2);
            let plain: Vec<_> =
                blocks.iter().map(|byte| Digest::of(&vec![*byte; BLOCK_SIZE as usize])).collect();
            assert_eq!(digests.iter().collect::<Vec<_>>(), plain, "{blocks:?}");
            assert!(digests.runs().iter().flat_map(|run| &run.sha256).all(|digest| *digest != ZERO_BLOCK));
            let text = [b"bake-disk-1", &disk.len().to_le_bytes()[..]].concat();
            let text = plain.iter().fold(text, |text, digest| [&text[..], digest.as_bytes()].concat());
            assert_eq!(digests.disk_digest(), Digest::of(&text), "{blocks:?}");
        }
    }

    #[test]
    fn a_short_last_block_counts_as_filled_up_but_the_length_still_matters() {
        let short = compute(&disk(&[1, 2], BLOCK_SIZE + 100), 1);
        let mut filled = vec![2; 100];
        filled.resize(BLOCK_SIZE as usize, 0);
        assert_eq!(short.iter().last(), Some(Digest::of(&filled)));
        assert_eq!(compute(&disk(&[1, 0], BLOCK_SIZE + 100), 1).iter().last(), Some(ZERO_BLOCK));
        assert_ne!(
            compute(&disk(&[1], BLOCK_SIZE), 1).disk_digest(),
            compute(&disk(&[1, 0], 2 * BLOCK_SIZE), 1).disk_digest()
        );
    }

    #[test]
    fn a_part_has_the_digests_that_it_would_have_alone() {
        let whole = compute(&disk(&[0, 1, 2, 0, 3, 0], 6 * BLOCK_SIZE), 1);
        for (from, blocks) in
            [(0, &[][..]), (0, &[0, 1]), (1, &[1, 2, 0, 3]), (2, &[2]), (3, &[0]), (2, &[2, 0, 3, 0])]
        {
            let alone = disk(blocks, blocks.len() as u64 * BLOCK_SIZE);
            assert_eq!(
                whole.part(from * BLOCK_SIZE, alone.len()),
                Some(compute(&alone, 1)),
                "{from} {blocks:?}"
            );
        }
        let end = 6 * BLOCK_SIZE;
        assert_eq!(whole.part(0, end), Some(whole.clone()));
        for (offset, len) in [(1, 1), (0, end + 1), (end, 1), (u64::MAX, 1), (BLOCK_SIZE, u64::MAX)] {
            assert_eq!(whole.part(offset, len), None, "{offset} {len}");
        }
        let short = compute(&disk(&[9], 1000), 1);
        let mut padded = LayoutBuilder::new();
        padded.push_bytes(BLOCK_SIZE, vec![9; 1000]);
        let padded = compute(&padded.finish(3 * BLOCK_SIZE).unwrap(), 1);
        assert_eq!(padded.part(BLOCK_SIZE, 1000), Some(short));
    }

    #[test]
    fn runs_that_were_written_down_give_the_same_digests_or_nothing() {
        let whole = compute(&disk(&[0, 1, 2, 0, 3, 0], 6 * BLOCK_SIZE), 1);
        assert_eq!(BlockDigests::from_runs(whole.disk_size(), whole.runs().to_vec()), Some(whole.clone()));
        for (block, digest) in (0..).zip(whole.iter()) {
            assert_eq!(whole.get(block), digest, "{block}");
        }
        assert_eq!(whole.get(u64::MAX), ZERO_BLOCK);
        let run = |first, blocks: &[u8]| Run {
            first,
            sha256: blocks.iter().map(|byte| Digest::from_bytes([*byte; 32])).collect(),
        };
        let zero = Run { first: 0, sha256: vec![ZERO_BLOCK] };
        for wrong in [
            vec![run(5, &[1, 2])],
            vec![run(1, &[1, 2]), run(2, &[3])],
            vec![run(2, &[1]), run(0, &[1])],
            vec![run(u64::MAX, &[1])],
            vec![zero],
        ] {
            assert_eq!(BlockDigests::from_runs(6 * BLOCK_SIZE, wrong.clone()), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_manifest_lists_runs() {
        let digests = compute(&disk(&[0, 1, 0], 3 * BLOCK_SIZE), 1);
        let text = String::from_utf8(bake_base::json::to_canonical(&digests).unwrap()).unwrap();
        let block = Digest::of(&vec![1; BLOCK_SIZE as usize]);
        let expected = format!(
            r#"{{"block-size": 524288, "disk-size": 1572864, "runs": [{{"first": 1, "sha256": ["{block}"]}}]}}"#
        );
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(squeeze(&text), squeeze(&expected));
    }
}
