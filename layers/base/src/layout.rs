//! A sparse image as data: where every byte of it comes from, decided before the first one is written.

use std::io;
use std::sync::Arc;

use crate::ReadAt;

/// One run of bytes of a [`Layout`].
#[derive(Clone, Debug)]
pub struct Piece {
    /// Where it lies in the image, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never zero in a finished layout.
    pub len: u64,
    /// What it holds ...
    pub source: Arc<dyn ReadAt>,
    /// ... from here on.
    pub source_offset: u64,
}

impl Piece {
    /// The first byte after the piece.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// A finished sparse image: ascending pieces that do not overlap, zeros between them.
///
/// File systems, partitions and disks are all layouts; embedding one in another is cheap, and reading
/// is possible anywhere, so that threads can write an image in any order.
#[derive(Clone, Debug)]
pub struct Layout {
    len: u64,
    pieces: Vec<Piece>,
}

/// Pieces that do not make an image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Two pieces claim the same byte.
    #[error("two pieces of the layout overlap at byte {0}")]
    Overlap(u64),
    /// A piece lies outside of the image.
    #[error("a piece ends at byte {end}, after the image's end at {len}")]
    PastTheEnd {
        /// Where the piece ends (saturated).
        end: u64,
        /// The image's length.
        len: u64,
    },
}

impl Layout {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the image has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All pieces, ascending.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The pieces that touch `start..end`, ascending.
    pub fn pieces_in(&self, start: u64, end: u64) -> &[Piece] {
        let first = self.pieces.partition_point(|piece| piece.end() <= start);
        let count = self.pieces[first..].partition_point(|piece| piece.offset < end);
        &self.pieces[first..first + count]
    }
}

impl ReadAt for Layout {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut done = offset;
        for piece in self.pieces_in(offset, end) {
            let from = piece.offset.max(offset);
            let to = piece.end().min(end);
            buffer[(done - offset) as usize..(from - offset) as usize].fill(0);
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            piece.source.read_exact_at(piece.source_offset + (from - piece.offset), target)?;
            done = to;
        }
        buffer[(done - offset) as usize..].fill(0);
        Ok(())
    }
}

/// A [`Layout`] in the making; pieces may come in any order.
#[derive(Debug, Default)]
pub struct LayoutBuilder {
    pieces: Vec<Piece>,
}

impl LayoutBuilder {
    /// No pieces yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `len` bytes of `source` from `source_offset` on. No bytes are no piece.
    pub fn push(&mut self, offset: u64, len: u64, source: Arc<dyn ReadAt>, source_offset: u64) {
        if len > 0 {
            self.pieces.push(Piece { offset, len, source, source_offset });
        }
    }

    /// Adds bytes in memory.
    pub fn push_bytes(&mut self, offset: u64, bytes: Vec<u8>) {
        self.push(offset, bytes.len() as u64, Arc::new(crate::Bytes::from(bytes)), 0);
    }

    /// Puts a whole image at `offset`.
    pub fn embed(&mut self, offset: u64, inner: Layout) {
        self.pieces
            .extend(inner.pieces.into_iter().map(|piece| Piece { offset: piece.offset + offset, ..piece }));
    }

    /// Sorts and checks the pieces of an image of `len` bytes.
    ///
    /// # Errors
    /// When two pieces overlap or one reaches past `len`.
    pub fn finish(mut self, len: u64) -> Result<Layout, LayoutError> {
        self.pieces.sort_by_key(|piece| piece.offset);
        let mut end = 0;
        for piece in &self.pieces {
            if piece.offset < end {
                return Err(LayoutError::Overlap(piece.offset));
            }
            end = piece.offset.saturating_add(piece.len);
            if end > len {
                return Err(LayoutError::PastTheEnd { end, len });
            }
        }
        Ok(Layout { len, pieces: self.pieces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(pieces: &[(u64, &str)], len: u64) -> Result<Layout, LayoutError> {
        let mut builder = LayoutBuilder::new();
        for (offset, text) in pieces {
            builder.push_bytes(*offset, text.as_bytes().to_vec());
        }
        builder.finish(len)
    }

    #[test]
    fn gaps_read_as_zeros_whatever_the_window() {
        let image = layout(&[(7, "xyz"), (2, "abc")], 12).unwrap();
        let whole = b"\0\0abc\0\0xyz\0\0";
        for start in 0..=12_usize {
            for end in start..=12 {
                let mut buffer = vec![0xff; end - start];
                image.read_exact_at(start as u64, &mut buffer).unwrap();
                assert_eq!(buffer, whole[start..end], "{start}..{end}");
            }
        }
        assert!(image.read_exact_at(11, &mut [0; 2]).is_err());
        assert!(image.read_exact_at(u64::MAX, &mut [0; 2]).is_err());
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        assert!(matches!(layout(&[(0, "abc"), (2, "x")], 9), Err(LayoutError::Overlap(2))));
        assert!(matches!(layout(&[(7, "abc")], 9), Err(LayoutError::PastTheEnd { end: 10, len: 9 })));
        assert!(matches!(layout(&[(u64::MAX, "abc")], 9), Err(LayoutError::PastTheEnd { .. })));
    }

    #[test]
    fn an_embedded_image_moves_as_a_whole() {
        let mut builder = LayoutBuilder::new();
        builder.embed(10, layout(&[(1, "a")], 2).unwrap());
        let outer = builder.finish(20).unwrap();
        let mut byte = [0];
        outer.read_exact_at(11, &mut byte).unwrap();
        assert_eq!(&byte, b"a");
    }
}
