//! Which blocks hold the content of an inode: by extents or by the map that ext2 had (`ifork.rst`).

use super::inode::{Inode, flags};
use super::walk::Walk;
use super::{Flaw, get16, get32};

const MAGIC: u16 = 0xf30a;
const RECORD: usize = 12;
/// Lengths above this mean blocks that are not written yet: they read as zeros.
const LONGEST: u16 = 32768;
/// The deepest tree of extents (kernel: `EXT4_MAX_EXTENT_DEPTH`).
const DEEPEST: u16 = 5;
/// Blocks that a map names in the inode itself; three more are blocks of a map.
const DIRECT: usize = 12;

/// A run of blocks with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Its first block in the file.
    pub logical: u64,
    /// Its first block in the file system.
    pub physical: u64,
    /// How many blocks.
    pub count: u64,
}

/// Runs in the making, ascending.
struct Runs {
    runs: Vec<Run>,
    /// Blocks of the file from here on are behind its end.
    end: u64,
}

impl Runs {
    /// Adds a run as far as it lies before the end of the file, and continues the last one where it can.
    fn push(&mut self, next: Run) -> Result<(), Flaw> {
        let last = self.runs.last_mut();
        if last.as_ref().is_some_and(|last| next.logical < last.logical + last.count) {
            return Err("has blocks out of order".into());
        }
        let next = Run { count: next.count.min(self.end.saturating_sub(next.logical)), ..next };
        match last {
            _ if next.count == 0 => {}
            Some(last)
                if last.logical + last.count == next.logical
                    && last.physical + last.count == next.physical =>
            {
                last.count += next.count;
            }
            _ => self.runs.push(next),
        }
        Ok(())
    }
}

impl Walk<'_> {
    /// The blocks of an inode that hold content, ascending.
    pub(super) fn runs(&mut self, inode: &Inode) -> Result<Vec<Run>, Flaw> {
        let mut runs = Runs { runs: Vec::new(), end: inode.size.div_ceil(self.superblock.block) };
        if inode.has(flags::EXTENTS) {
            let depth = get16(&inode.content, 6);
            if depth > DEEPEST {
                return Err("has a tree of extents that is too deep".into());
            }
            self.extents(inode, &inode.content, depth, &mut runs)?;
        } else {
            self.map(inode, &mut runs)?;
        }
        Ok(runs.runs)
    }

    /// Adds the extents below a node.
    fn extents(&mut self, inode: &Inode, node: &[u8], depth: u16, runs: &mut Runs) -> Result<(), Flaw> {
        let (entries, most) = (usize::from(get16(node, 2)), usize::from(get16(node, 4)));
        let right = get16(node, 0) == MAGIC
            && get16(node, 6) == depth
            && entries <= most
            && RECORD * (1 + most) <= node.len();
        if !right {
            return Err("has a tree of extents that is none".into());
        }
        for record in node[RECORD..].chunks_exact(RECORD).take(entries) {
            let logical = u64::from(get32(record, 0));
            if depth == 0 {
                let written = get16(record, 4) <= LONGEST;
                let length = get16(record, 4);
                let count = u64::from(if written { length } else { length - LONGEST });
                let physical = u64::from(get32(record, 8)) | u64::from(get16(record, 6)) << 32;
                if count == 0 {
                    return Err("has an extent of no blocks".into());
                }
                self.claim(physical, count)?;
                if written {
                    runs.push(Run { logical, physical, count })?;
                }
            } else {
                let number = u64::from(get32(record, 4)) | u64::from(get16(record, 8)) << 32;
                let block = self.structure(number)?;
                check_extents(inode, &block)?;
                self.extents(inode, &block, depth - 1, runs)?;
            }
        }
        Ok(())
    }

    /// Adds what the map of an inode names.
    fn map(&mut self, inode: &Inode, runs: &mut Runs) -> Result<(), Flaw> {
        let per_block = self.superblock.block / 4;
        let mut logical = 0;
        for (index, pointer) in inode.content.chunks_exact(4).enumerate() {
            let level = (index + 1).saturating_sub(DIRECT) as u32;
            self.mapped(u64::from(get32(pointer, 0)), level, logical, runs)?;
            logical += per_block.pow(level);
        }
        Ok(())
    }

    /// Adds what a pointer of a map leads to, through `level` blocks of the map.
    fn mapped(&mut self, number: u64, level: u32, logical: u64, runs: &mut Runs) -> Result<(), Flaw> {
        if number == 0 {
            return Ok(());
        }
        if level == 0 {
            self.claim(number, 1)?;
            return runs.push(Run { logical, physical: number, count: 1 });
        }
        let block = self.structure(number)?;
        let step = (self.superblock.block / 4).pow(level - 1);
        for (index, pointer) in (0..).zip(block.chunks_exact(4)) {
            self.mapped(u64::from(get32(pointer, 0)), level - 1, logical + index * step, runs)?;
        }
        Ok(())
    }

    /// Takes blocks for content: there are no more than the file system has.
    fn claim(&mut self, block: u64, count: u64) -> Result<(), Flaw> {
        if !self.superblock.has(block, count) {
            return Err("has blocks outside of the file system".into());
        }
        self.left = self.left.checked_sub(count).ok_or("has blocks that other files have too")?;
        Ok(())
    }

    /// Claims and reads a block that says where others are.
    fn structure(&mut self, number: u64) -> Result<Vec<u8>, Flaw> {
        self.claim(number, 1)?;
        self.fetch(number)
    }

    /// Reads a block that has been claimed; nobody else may have it.
    pub(super) fn fetch(&mut self, number: u64) -> Result<Vec<u8>, Flaw> {
        if !self.structures.insert(number) {
            return Err(Flaw::Damage(format!("has block {number}, which is somewhere else too")));
        }
        let mut block = vec![0; self.superblock.block as usize];
        self.source.read_exact_at(number * self.superblock.block, &mut block)?;
        Ok(block)
    }
}

/// Compares the checksum behind the records of a block of extents.
fn check_extents(inode: &Inode, block: &[u8]) -> Result<(), Flaw> {
    let Some(seed) = inode.seed else { return Ok(()) };
    let tail = RECORD * (1 + usize::from(get16(block, 4)));
    if tail + 4 > block.len() || seed.checksum(&block[..tail]) != get32(block, tail) {
        return Err("has extents that do not match their checksum".into());
    }
    Ok(())
}
