//! Little-endian fields at fixed offsets, and blocks of them for the layout.

use super::geometry::BLOCK;
pub(super) use crate::ink::Ink;

/// One block in the making.
pub(super) type Block = [u8; BLOCK as usize];

/// An empty block.
pub(super) const EMPTY: Block = [0; BLOCK as usize];

pub(super) fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

pub(super) fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Splits a number over two 32-bit fields that lie apart, as everything that outgrew ext2 does.
pub(super) fn put_split32(bytes: &mut [u8], low: usize, high: usize, value: u64) {
    put32(bytes, low, value as u32);
    put32(bytes, high, (value >> 32) as u32);
}

/// Splits a 32-bit number over two 16-bit fields.
pub(super) fn put_split16(bytes: &mut [u8], low: usize, high: usize, value: u32) {
    put16(bytes, low, value as u16);
    put16(bytes, high, (value >> 16) as u16);
}

impl Ink {
    /// Puts a block whose last `tail` bytes stand apart from its beginning.
    ///
    /// Most structures are a short head and a checksum at the end of a block; only those are kept, and the zeros
    /// between are left to the layout, so that memory follows the names and not the blocks.
    pub fn put_block(&mut self, number: u64, block: &Block, tail: usize) {
        let (body, end) = block.split_at(block.len() - tail);
        let used = body.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.put(number * BLOCK, &body[..used]);
        self.put(number * BLOCK + body.len() as u64, end);
    }
}
