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

/// How many blocks [`BlockDigests::compute`] spreads over its threads at a time: a bound on memory.
const BATCH: u64 = 1 << 16;

/// Blocks in a row of which none is zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The index of the first block.
    pub first: u64,
    /// Their digests.
    pub sha256: Vec<Digest>,
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
    /// A disk of `len` bytes of which all are zero until they are told otherwise.
    pub(crate) fn zeros(len: u64) -> Self {
        Self { block_size: BLOCK_SIZE, disk_size: len, runs: Vec::new() }
    }

    /// Sets the digest of a block after all that were set before.
    pub(crate) fn push(&mut self, block: u64, digest: Digest) {
        if digest == ZERO_BLOCK {
            return;
        }
        match self.runs.last_mut() {
            Some(run) if run.first + run.sha256.len() as u64 == block => run.sha256.push(digest),
            _ => self.runs.push(Run { first: block, sha256: vec![digest] }),
        }
    }

    /// Reads a whole disk on up to `threads` threads and hashes what is not zero. `progress` is told of the
    /// bytes done, from any thread.
    ///
    /// # Errors
    /// When `disk` cannot be read.
    pub fn compute(disk: &dyn ReadAt, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> io::Result<Self> {
        let mut digests = Self::zeros(disk.len());
        let count = digests.block_count();
        for start in (0..count).step_by(BATCH as usize) {
            let in_batch = BATCH.min(count - start) as usize;
            let batch = parallel::map(threads, in_batch, block_buffer, |buffer, index| {
                let bytes = block_of(buffer, start + index as u64, disk.len());
                disk.read_exact_at((start + index as u64) * BLOCK_SIZE, bytes)?;
                progress(bytes.len() as u64);
                Ok::<_, io::Error>(block_digest(bytes))
            })?;
            (start..).zip(batch).for_each(|(block, digest)| digests.push(block, digest));
        }
        Ok(digests)
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
        let end = |run: &Run| run.first + run.sha256.len() as u64;
        let starts = std::iter::once(0).chain(self.runs.iter().map(end));
        let body = starts
            .zip(&self.runs)
            .flat_map(move |(from, run)| zeros(from, run.first).chain(run.sha256.iter().copied()));
        body.chain(zeros(self.runs.last().map_or(0, end), self.block_count()))
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
