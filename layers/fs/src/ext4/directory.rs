//! Directories: names in one block in their own order, or in leaves in the order of their hashes
//! (`directory.rst`).

use super::Options;
use super::bytes::{Block, EMPTY, Ink, put16, put32};
use super::checksum::Seed;
use super::geometry::BLOCK;
use super::hash;
use super::htree;

/// Bytes of an entry before its name.
const ENTRY: usize = 8;
/// The entry at the end of a block that hides its checksum.
pub(super) const TAIL: usize = 12;
/// Bytes for entries in a block.
pub(super) const ROOM: usize = BLOCK as usize - TAIL;
/// Bytes of `.` and `..`.
pub(super) const DOTS: usize = 24;
/// Blocks of an empty `lost+found`: `e2fsck` can link files there without having to find a block for it.
pub(super) const LOST_AND_FOUND_BLOCKS: u32 = 4;

/// Type of a directory in an entry.
pub(super) const DIRECTORY: u8 = 2;
const CHECKSUM: u8 = 0xde;

/// Bytes that a name takes.
pub(super) fn entry_size(name: &[u8]) -> usize {
    (ENTRY + name.len()).next_multiple_of(4)
}

/// A name and what it stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub name: &'a [u8],
    pub inode: u32,
    /// A code of its own, not the one in modes.
    pub kind: u8,
}

/// A name with a hash, for a directory that needs an index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<T> {
    pub hash: u32,
    pub size: u32,
    pub what: T,
}

/// Hashes names and sorts them by it; names of one hash keep their order.
pub(super) fn hashed<'a, T>(options: &Options, names: impl Iterator<Item = (&'a [u8], T)>) -> Vec<Hashed<T>> {
    let mut hashed: Vec<_> = names
        .map(|(name, what)| {
            let hash = hash::of_name(&options.hash_seed, name);
            Hashed { hash, size: entry_size(name) as u32, what }
        })
        .collect();
    hashed.sort_by_key(|name| name.hash);
    hashed
}

/// A directory about to be written.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub own: u32,
    pub parent: u32,
    pub entries: Vec<Entry<'a>>,
}

impl Names<'_> {
    /// Whether one block holds them all.
    pub fn fit_one_block(&self) -> bool {
        let size: usize = self.entries.iter().map(|entry| entry_size(entry.name)).sum();
        DOTS + size <= ROOM
    }

    /// Writes the directory into its blocks, as many as the plan has counted. `seed` is that of its inode.
    pub fn write(&self, options: &Options, mut blocks: impl Iterator<Item = u64>, seed: Seed, ink: &mut Ink) {
        let mut next = || blocks.next().expect("the plan counted the directory's blocks");
        if !self.fit_one_block() {
            let names = hashed(options, self.entries.iter().map(|entry| (entry.name, *entry)));
            return htree::write(self, &names, &mut next, seed, ink);
        }
        let mut writer = BlockWriter::new();
        writer.push(&Entry { name: b".", inode: self.own, kind: DIRECTORY });
        writer.push(&Entry { name: b"..", inode: self.parent, kind: DIRECTORY });
        for entry in &self.entries {
            writer.push(entry);
        }
        ink.put_block(next(), &writer.finish(seed), TAIL);
        for number in blocks {
            ink.put_block(number, &BlockWriter::new().finish(seed), TAIL);
        }
    }
}

/// A block of entries in the making.
pub(super) struct BlockWriter {
    block: Block,
    /// Where the last entry begins and where it ends.
    last: usize,
    end: usize,
}

impl BlockWriter {
    pub fn new() -> Self {
        Self { block: EMPTY, last: 0, end: 0 }
    }

    /// Adds an entry; the caller knows that it fits.
    pub fn push(&mut self, entry: &Entry<'_>) {
        let size = entry_size(entry.name);
        put_entry(&mut self.block[self.end..self.end + size], entry, size as u16);
        (self.last, self.end) = (self.end, self.end + size);
    }

    /// Lets the last entry reach to the checksum, and adds that.
    pub fn finish(mut self, seed: Seed) -> Block {
        put16(&mut self.block, self.last + 4, (ROOM - self.last) as u16);
        put16(&mut self.block, ROOM + 4, TAIL as u16);
        self.block[ROOM + 7] = CHECKSUM;
        let checksum = seed.checksum(&self.block[..ROOM]);
        put32(&mut self.block, ROOM + 8, checksum);
        self.block
    }
}

/// Writes one entry that is `length` bytes long.
pub(super) fn put_entry(bytes: &mut [u8], entry: &Entry<'_>, length: u16) {
    put32(bytes, 0, entry.inode);
    put16(bytes, 4, length);
    bytes[6] = entry.name.len() as u8;
    bytes[7] = entry.kind;
    bytes[ENTRY..ENTRY + entry.name.len()].copy_from_slice(entry.name);
}
