//! The names in a directory (`directory.rst`). An index is not needed: its blocks look like empty ones to whoever
//! reads a directory from its beginning to its end.

use super::blocks::Run;
use super::inode::{Inode, flags};
use super::walk::Walk;
use super::{Flaw, get16, get32};

/// Bytes of an entry before its name.
const ENTRY: usize = 8;
/// The entry at the end of a block that hides its checksum.
const TAIL: usize = 12;
const CHECKSUM: u8 = 0xde;

/// A name and its inode.
pub(super) type Name = (Box<[u8]>, u32);

impl Walk<'_> {
    /// All names but `.` and `..`, in the order of the directory's blocks.
    pub(super) fn names(&mut self, inode: &Inode) -> Result<Vec<Name>, Flaw> {
        let block = self.superblock.block;
        if !inode.size.is_multiple_of(block) {
            return Err("has a size that is no whole number of blocks".into());
        }
        let mut names = Vec::new();
        let mut expected = 0;
        for Run { logical, physical, count } in self.runs(inode)? {
            if logical != expected {
                break;
            }
            expected += count;
            for number in physical..physical + count {
                let bytes = self.fetch(number)?;
                self.check_names(inode, &bytes)?;
                self.names_in(&bytes, &mut names)?;
            }
        }
        if expected * block < inode.size {
            return Err("is a directory with a hole".into());
        }
        Ok(names)
    }

    /// Compares the checksum at the end of a block. Blocks of an index have theirs elsewhere, and no name.
    fn check_names(&self, inode: &Inode, block: &[u8]) -> Result<(), Flaw> {
        let Some(seed) = inode.seed else { return Ok(()) };
        let (body, tail) = block.split_at(block.len() - TAIL);
        let is_tail = get32(tail, 0) == 0 && get16(tail, 4) as usize == TAIL && tail[6..8] == [0, CHECKSUM];
        if is_tail && seed.checksum(body) == get32(tail, 8) {
            return Ok(());
        }
        // The root of an index holds the two dots, the second of which reaches to the end; a node of it one entry
        // without an inode, as long as the block.
        let is_index = inode.has(flags::INDEX)
            && (get32(block, 0) == 0 && self.length_of(block) == block.len()
                || get16(block, 4) == 12 && self.length_of(&block[12..]) == block.len() - 12);
        if is_index { Ok(()) } else { Err("has names that do not match their checksum".into()) }
    }

    /// The length of an entry: the largest blocks need more than its field holds (kernel:
    /// `ext4_rec_len_from_disk`).
    fn length_of(&self, entry: &[u8]) -> usize {
        let length = usize::from(get16(entry, 4));
        match self.superblock.block {
            0x1_0000 if length == 0xffff || length == 0 => 0x1_0000,
            0x1_0000 => length & 0xfffc | (length & 3) << 16,
            _ => length,
        }
    }

    fn names_in(&self, block: &[u8], names: &mut Vec<Name>) -> Result<(), Flaw> {
        let mut rest = block;
        while !rest.is_empty() {
            let length = if rest.len() < ENTRY { 0 } else { self.length_of(rest) };
            let (number, name_length) = match length {
                0..ENTRY => return Err("has an entry without a length".into()),
                _ if self.superblock.file_types => (get32(rest, 0), usize::from(rest[6])),
                _ => (get32(rest, 0), usize::from(get16(rest, 6))),
            };
            if length % 4 != 0 || length > rest.len() || ENTRY + name_length > length {
                return Err("has an entry with an impossible length".into());
            }
            let name = &rest[ENTRY..ENTRY + name_length];
            rest = &rest[length..];
            if number == 0 || name == b"." || name == b".." {
                continue;
            }
            if !(1..=255).contains(&name.len()) || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                return Err(Flaw::Damage(format!("has the name `{}`, which is none", name.escape_ascii())));
            }
            names.push((name.into(), number));
        }
        Ok(())
    }
}
