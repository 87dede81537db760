//! Levels of hashes, each over the blocks of the one below, until one hash is left.
//!
//! On the disk the topmost level comes first. A level is kept as the blocks that differ from the one that follows
//! from blocks of zeros, so that an empty terabyte costs no memory.

use std::io;
use std::ops::Range;

use bake_base::{Digest, Hasher, Layout, ReadAt, is_zero, parallel};

use super::{BLOCK, Options, VerityError};

/// Hashes in a block.
const FAN_OUT: u64 = BLOCK / 32;
/// How many hash blocks are spread over threads at a time: a bound on what waits to be put in order.
const BATCH: usize = 1 << 12;

/// A block of hashes.
type HashBlock = [u8; BLOCK as usize];

/// One level.
#[derive(Debug)]
struct Level {
    /// How many blocks it has.
    len: u64,
    /// The block over nothing but zeros.
    usual: Box<HashBlock>,
    /// The numbers of all others, ascending, ...
    numbers: Vec<u64>,
    /// ... and what they hold.
    blocks: Vec<Box<HashBlock>>,
}

impl Level {
    fn block(&self, number: u64) -> &HashBlock {
        self.numbers.binary_search(&number).map_or(&self.usual, |at| &self.blocks[at])
    }
}

/// All levels, in the order in which they lie on the disk.
#[derive(Debug)]
pub(super) struct Tree {
    levels: Vec<Level>,
}

impl Tree {
    /// How many blocks the tree over so many blocks of data has.
    pub fn blocks(data_blocks: u64) -> u64 {
        lengths(data_blocks).sum()
    }
}

/// How many blocks each level has, the lowest first; none over a single block of data.
fn lengths(data_blocks: u64) -> impl Iterator<Item = u64> {
    let above = |below: &u64| (*below > 1).then(|| below.div_ceil(FAN_OUT));
    std::iter::successors(above(&data_blocks), above)
}

impl ReadAt for Tree {
    fn len(&self) -> u64 {
        self.levels.iter().map(|level| level.len).sum::<u64>() * BLOCK
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut at = offset;
        while at < end {
            let mut number = at / BLOCK;
            let in_level = |level: &&Level| {
                let found = number < level.len;
                number -= if found { 0 } else { level.len };
                found
            };
            let level = self.levels.iter().find(in_level).ok_or(io::ErrorKind::UnexpectedEof)?;
            let from = (at % BLOCK) as usize;
            let n = (BLOCK - at % BLOCK).min(end - at) as usize;
            let done = (at - offset) as usize;
            buffer[done..done + n].copy_from_slice(&level.block(number)[from..from + n]);
            at += n as u64;
        }
        Ok(())
    }
}

/// Hashes by what they start from.
struct Salted(Hasher);

impl Salted {
    fn new(salt: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(salt);
        Self(hasher)
    }

    fn hash(&self, block: &[u8]) -> Digest {
        let mut hasher = self.0.clone();
        hasher.update(block);
        hasher.finish()
    }
}

/// Hashes everything.
pub(super) fn compute(
    data: &Layout,
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(Digest, Tree), VerityError> {
    let salted = Salted::new(&options.salt);
    let data_blocks = data.len() / BLOCK;
    let zeros = salted.hash(&[0; BLOCK as usize]);
    let read = |offset: u64, window: &mut [u8]| {
        let result = data.read_exact_at(offset, window);
        result.map_err(|source| VerityError::Read { offset, source })
    };
    let mut lengths = lengths(data_blocks);
    let Some(lowest) = lengths.next() else {
        let mut block = [0; BLOCK as usize];
        read(0, &mut block)?;
        progress(BLOCK);
        return Ok((salted.hash(&block), Tree { levels: Vec::new() }));
    };
    let over_data = |window: &mut Vec<u8>, number: u64| {
        let first = number * FAN_OUT;
        let count = FAN_OUT.min(data_blocks - first);
        window.resize((count * BLOCK) as usize, 0);
        read(first * BLOCK, window)?;
        progress(window.len() as u64);
        let hash = |block: &[u8]| if is_zero(block) { zeros } else { salted.hash(block) };
        Ok(gather(window.chunks(BLOCK as usize).map(hash)))
    };
    let mut levels = vec![level(lowest, zeros, touched(data, lowest), options.threads, over_data)?];
    for len in lengths {
        let below = &levels[levels.len() - 1];
        let usual = salted.hash(&*below.usual);
        let over_hashes = |_: &mut Vec<u8>, number: u64| {
            let children = number * FAN_OUT..(number * FAN_OUT + FAN_OUT).min(below.len);
            let first = below.numbers.partition_point(|child| *child < children.start);
            let mut changed = below.numbers[first..].iter().zip(&below.blocks[first..]).peekable();
            Ok::<_, VerityError>(gather(children.map(|child| {
                match changed.next_if(|(number, _)| **number == child) {
                    Some((_, block)) => salted.hash(&**block),
                    None => usual,
                }
            })))
        };
        let parents = below.numbers.iter().map(|child| child / FAN_OUT).map(|parent| parent..parent + 1);
        let above = level(
            len,
            usual,
            join(parents.chain(std::iter::once(len - 1..len))),
            options.threads,
            over_hashes,
        )?;
        levels.push(above);
    }
    levels.reverse();
    let root = salted.hash(levels[0].block(0));
    Ok((root, Tree { levels }))
}

/// A level of `len` blocks of which only those in `candidates` can hold anything but `usual` hashes.
fn level(
    len: u64,
    usual: Digest,
    candidates: Vec<Range<u64>>,
    threads: usize,
    work: impl Fn(&mut Vec<u8>, u64) -> Result<Box<HashBlock>, VerityError> + Sync,
) -> Result<Level, VerityError> {
    let usual = gather((0..FAN_OUT).map(|_| usual));
    let (mut numbers, mut blocks) = (Vec::new(), Vec::new());
    let mut candidates = candidates.into_iter().flatten();
    loop {
        let batch: Vec<u64> = candidates.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let done = parallel::map(threads, batch.len(), Vec::new, |window, index| work(window, batch[index]))?;
        for (number, block) in batch.into_iter().zip(done) {
            if block != usual {
                numbers.push(number);
                blocks.push(block);
            }
        }
    }
    Ok(Level { len, usual, numbers, blocks })
}

/// A block of hashes, filled up with zeros.
fn gather(hashes: impl Iterator<Item = Digest>) -> Box<HashBlock> {
    let mut block = Box::new([0; BLOCK as usize]);
    for (place, hash) in block.chunks_exact_mut(32).zip(hashes) {
        place.copy_from_slice(hash.as_bytes());
    }
    block
}

/// The lowest hash blocks over data that a piece touches, and the last one, which may be short.
fn touched(data: &Layout, lowest: u64) -> Vec<Range<u64>> {
    let window = BLOCK * FAN_OUT;
    let pieces = data.pieces().iter().map(|piece| piece.offset / window..piece.end().div_ceil(window));
    join(pieces.chain(std::iter::once(lowest - 1..lowest)))
}

/// Ascending ranges as maximal ones that do not overlap.
fn join(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}
