//! Reading headers through a small window, so that those of small files come with one system call.

use std::io;
use std::sync::Arc;

use bake_base::{ReadAt, is_zero};

use super::BLOCK;

/// Bytes read at once: the usual distance between two headers, and no more, because content is not wanted.
const WINDOW: u64 = 8 << 10;
/// Bytes looked at at once after the end of the archive.
const TAIL: u64 = 256 << 10;

pub(super) struct Window<'a> {
    source: &'a Arc<dyn ReadAt>,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(source: &'a Arc<dyn ReadAt>) -> Self {
        Self { source, start: 0, bytes: Vec::new() }
    }

    /// The block at `offset`; nothing when the source ends before the block does.
    pub(super) fn block(&mut self, offset: u64) -> io::Result<Option<&[u8; 512]>> {
        let inside = |window: &Self| {
            let from = usize::try_from(offset.checked_sub(window.start)?).ok()?;
            (from + BLOCK as usize <= window.bytes.len()).then_some(from)
        };
        let from = if let Some(from) = inside(self) {
            from
        } else {
            let left = self.source.len().saturating_sub(offset);
            if left < BLOCK {
                return Ok(None);
            }
            self.bytes.resize(WINDOW.min(left) as usize, 0);
            self.start = offset;
            if let Err(error) = self.source.read_exact_at(offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
            0
        };
        Ok(self.bytes[from..].first_chunk())
    }

    /// Where the first byte other than zero stands from `offset` on.
    pub(super) fn data_after(&self, mut offset: u64) -> io::Result<Option<u64>> {
        let mut bytes = Vec::new();
        while offset < self.source.len() {
            bytes.resize(TAIL.min(self.source.len() - offset) as usize, 0);
            self.source.read_exact_at(offset, &mut bytes)?;
            if !is_zero(&bytes) {
                let at = bytes.iter().position(|byte| *byte != 0);
                return Ok(at.map(|at| offset + at as u64));
            }
            offset += bytes.len() as u64;
        }
        Ok(None)
    }
}
