//! The journal: empty and clean, a file of constant size whose first block alone is written
//! (`journal.rst`, "Super Block"). Its fields are big-endian, unlike all others.

use super::bytes::{Block, EMPTY};
use super::geometry::BLOCK;

const MAGIC: u32 = 0xc03b_3998;
/// A superblock of version 2.
const SUPERBLOCK_V2: u32 = 4;

/// The first block of an empty journal of `blocks` blocks.
///
/// It asks for no feature: the kernel turns on what the file system's own features call for at the first mount.
/// Its UUID stays zero, which means that it belongs to the file system it lies in, whatever that is called.
pub(super) fn superblock(blocks: u64) -> Block {
    let mut block = EMPTY;
    let mut put = |at: usize, value: u32| block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    put(0x00, MAGIC);
    put(0x04, SUPERBLOCK_V2);
    put(0x0c, BLOCK as u32);
    put(0x10, blocks as u32);
    // The first block of log, the first transaction expected in it, and one user: this file system.
    // `s_start` stays 0: there is nothing to replay.
    put(0x14, 1);
    put(0x18, 1);
    put(0x40, 1);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_journal_is_its_superblock() {
        let block = superblock(16384);
        let words: Vec<u32> = block.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        let set: Vec<_> = words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != 0)
            .map(|(i, word)| (4 * i, *word))
            .collect();
        let expected =
            [(0, 0xc03b_3998), (4, 4), (0x0c, 4096), (0x10, 16384), (0x14, 1), (0x18, 1), (0x40, 1)];
        assert_eq!(set, expected);
    }
}
