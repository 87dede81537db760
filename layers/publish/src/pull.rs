//! A disk onto a file or a device, of which only blocks that differ are fetched.
//!
//! A file is made beside the old one and takes its place when all of it was read back and is right. A device is written
//! in place, its first block last, so that a half-written one has no partition table of the new disk; what a killed run
//! has written needs not be fetched again.

mod http;
mod target;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bake_base::{Digest, parallel};
use bake_disk::{BLOCK_SIZE, BlockDigests, ZERO_BLOCK};

pub use http::{Http, Remote};

use crate::Error;
use crate::progress::{Event, Progress};
use crate::verify::same_blocks;
use target::Target;

/// Where blocks come from.
pub trait Origin: Sync {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Blocks of one request, at most.
    fn longest(&self) -> u64;

    /// The bytes of `count` blocks from `first` on.
    ///
    /// # Errors
    /// When they cannot be had, after all that was tried.
    fn fetch(&self, first: u64, count: u64) -> Result<Vec<u8>, Error>;
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Blocks of the disk.
    pub blocks: u64,
    /// Those that were fetched.
    pub fetched: u64,
}

/// Makes a file or a device the disk of `blocks`.
///
/// # Errors
/// When the target is in use or too small, when blocks cannot be had, or when they are not what they should be.
pub fn pull(
    origin: &dyn Origin,
    blocks: &BlockDigests,
    onto: &Path,
    (jobs, threads): (usize, usize),
    (stop, progress): (&AtomicBool, &Progress),
) -> Result<Report, Error> {
    let target = Target::open(onto, blocks.disk_size())?;
    progress(Event::Step(format!("reading {}", onto.display())));
    if target.is_there_already(blocks, threads, progress)? {
        return Ok(Report { blocks: blocks.block_count(), fetched: 0 });
    }
    let fetched = AtomicU64::new(0);
    match transfer(origin, blocks, &target, (jobs, threads), (&fetched, stop, progress)) {
        Ok(()) => target.finish()?,
        Err(error) => return Err(target.give_up(error, fetched.into_inner() > 0)),
    }
    Ok(Report { blocks: blocks.block_count(), fetched: fetched.into_inner() })
}

/// Fetches what is lacking, and reads all of it back.
fn transfer(
    origin: &dyn Origin,
    blocks: &BlockDigests,
    target: &Target,
    (jobs, threads): (usize, usize),
    (fetched, stop, progress): (&AtomicU64, &AtomicBool, &Progress),
) -> Result<(), Error> {
    let wrong = target.wrong(blocks, threads, progress)?;
    // On a device the partition table goes away before anything else changes, and comes last.
    let has_table = target.is_device() && !wrong.is_empty() && !is_zero(blocks, 0);
    if has_table {
        target.write(0, &vec![0; BLOCK_SIZE as usize])?;
        target.sync()?;
    }
    let mut lacking = target.mend(&wrong, blocks)?;
    if has_table {
        lacking.retain(|block| *block != 0);
    }
    let total = (lacking.len() + usize::from(has_table)) as u64;
    progress(Event::Begin { what: "fetching", done: 0, total: total * BLOCK_SIZE });
    let ranges = ranges(&lacking, origin.longest().max(1));
    let get = |range: &std::ops::Range<u64>| {
        if stop.load(Ordering::SeqCst) {
            return Err(Error::Stopped);
        }
        let bytes = origin.fetch(range.start, range.end - range.start)?;
        for (block, bytes) in (range.start..).zip(bytes.chunks(BLOCK_SIZE as usize)) {
            check(origin, blocks, block, bytes)?;
            target.write(block, bytes)?;
        }
        fetched.fetch_add(range.end - range.start, Ordering::Relaxed);
        progress(Event::Bytes((range.end - range.start) * BLOCK_SIZE));
        Ok(())
    };
    parallel::map(jobs, ranges.len(), || (), |(), at| get(&ranges[at]))?;
    target.sync()?;
    if has_table {
        get(&(0..1))?;
        target.sync()?;
    }
    progress(Event::Step("verifying".into()));
    same_blocks(&target.name(), &target.digests(blocks.disk_size(), threads, progress)?, blocks)
}

/// Whether these bytes, which may be the disk's last and short, are the block's.
fn check(origin: &dyn Origin, blocks: &BlockDigests, block: u64, bytes: &[u8]) -> Result<(), Error> {
    let mut whole = bytes.to_vec();
    whole.resize(BLOCK_SIZE as usize, 0);
    if Digest::of(&whole) == blocks.get(block) {
        return Ok(());
    }
    let problem = format!("the 512 KiB at byte {} are not what its manifest says", block * BLOCK_SIZE);
    Err(Error::differs(origin.name(), problem))
}

/// Blocks in a row, as many as one request may ask for.
fn ranges(blocks: &[u64], longest: u64) -> Vec<std::ops::Range<u64>> {
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for block in blocks {
        match ranges.last_mut() {
            Some(range) if range.end == *block && range.end - range.start < longest => range.end += 1,
            _ => ranges.push(*block..block + 1),
        }
    }
    ranges
}

/// Whether nothing needs to be fetched for a block.
fn is_zero(blocks: &BlockDigests, block: u64) -> bool {
    blocks.get(block) == ZERO_BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_in_a_row_are_one_request_up_to_a_limit() {
        assert_eq!(ranges(&[0, 1, 2, 5, 6, 9], 2), [0..2, 2..3, 5..7, 9..10]);
        assert_eq!(ranges(&[], 8), []);
    }
}
