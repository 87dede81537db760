//! What a regular file holds: a reference to bytes elsewhere, with holes.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bake_base::{Bytes, ReadAt, is_zero};

/// How much of a file is looked at at once, in bytes.
const WINDOW: u64 = 256 << 10;

/// A run of bytes of a file; whatever no extent covers is zero.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Where the run begins in the file, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What holds it ...
    pub source: Arc<dyn ReadAt>,
    /// ... from here on.
    pub source_offset: u64,
}

/// The content of a regular file.
#[derive(Clone, Debug)]
pub struct Content {
    len: u64,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// The usual case, kept small: there is one for every file.
    Whole(Arc<dyn ReadAt>, u64),
    Extents(Arc<[Extent]>),
}

/// Extents that are no content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// An extent begins before its predecessor ends, or its end overflows.
    #[error("the extent at byte {0} overlaps the one before it")]
    Overlap(u64),
    /// An extent reaches past the file's size.
    #[error("the extent at byte {0} reaches past the end of the file")]
    PastTheEnd(u64),
    /// An extent reaches past the end of the bytes that it refers to.
    #[error("the extent at byte {0} refers to bytes that are not there")]
    NoSource(u64),
}

impl Content {
    /// No bytes.
    pub fn empty() -> Self {
        Self { len: 0, body: Body::Extents(Arc::new([])) }
    }

    /// Bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = Bytes::from(bytes);
        Self { len: bytes.len(), body: Body::Whole(Arc::new(bytes), 0) }
    }

    /// `len` bytes of `source` from `offset` on.
    ///
    /// # Errors
    /// When `source` is shorter than that.
    pub fn whole(source: Arc<dyn ReadAt>, offset: u64, len: u64) -> Result<Self, ContentError> {
        if offset.checked_add(len).is_none_or(|end| end > source.len()) {
            return Err(ContentError::NoSource(0));
        }
        Ok(Self { len, body: Body::Whole(source, offset) })
    }

    /// A file of `len` bytes with holes between `extents`, which ascend and do not overlap. Empty extents
    /// are allowed and dropped.
    ///
    /// # Errors
    /// When they overlap, reach past `len`, or refer to bytes that are not there.
    pub fn sparse(len: u64, extents: Vec<Extent>) -> Result<Self, ContentError> {
        let mut end = 0;
        for extent in &extents {
            let start = extent.start;
            if start < end {
                return Err(ContentError::Overlap(start));
            }
            end = start.checked_add(extent.len).ok_or(ContentError::Overlap(start))?;
            if end > len {
                return Err(ContentError::PastTheEnd(start));
            }
            if extent.source_offset.checked_add(extent.len).is_none_or(|end| end > extent.source.len()) {
                return Err(ContentError::NoSource(start));
            }
        }
        let extents = extents.into_iter().filter(|extent| extent.len > 0).collect();
        Ok(Self { len, body: Body::Extents(extents) })
    }

    /// Size of the file in bytes, holes included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The extents, ascending; everything between them is zero.
    pub fn extents(&self) -> Vec<Extent> {
        match &self.body {
            Body::Whole(_, _) if self.len == 0 => Vec::new(),
            Body::Whole(source, offset) => {
                vec![Extent { start: 0, len: self.len, source: Arc::clone(source), source_offset: *offset }]
            }
            Body::Extents(extents) => extents.to_vec(),
        }
    }

    /// All of it.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes or cannot be read.
    pub fn read_all(&self, limit: u64) -> io::Result<Vec<u8>> {
        if self.len > limit {
            let message = format!("{} bytes where at most {limit} are expected", self.len);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let mut bytes = vec![0; self.len as usize];
        self.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads from the first byte on.
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { content: self, position: 0 }
    }

    /// Whether both hold the same bytes, however they are stored.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn same_bytes(&self, other: &Self) -> io::Result<bool> {
        if self.len != other.len {
            return Ok(false);
        }
        let (mut ours, mut theirs) = (vec![0; WINDOW as usize], vec![0; WINDOW as usize]);
        for start in (0..self.len).step_by(WINDOW as usize) {
            let n = WINDOW.min(self.len - start) as usize;
            self.read_exact_at(start, &mut ours[..n])?;
            other.read_exact_at(start, &mut theirs[..n])?;
            if ours[..n] != theirs[..n] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The runs of blocks (of `block` bytes, a power of two) that hold a byte other than zero, ascending and
    /// maximal. Whether a block is a hole depends on its bytes alone, never on how an archive or the host
    /// stored it.
    ///
    /// # Errors
    /// When the content cannot be read.
    pub fn data_blocks(&self, block: u64, scratch: &mut Vec<u8>) -> io::Result<Vec<Range<u64>>> {
        let step = WINDOW.max(block);
        let mut runs: Vec<Range<u64>> = Vec::new();
        let mut add = |index: u64| match runs.last_mut() {
            Some(run) if run.end == index => run.end += 1,
            _ => runs.push(index..index + 1),
        };
        // Blocks that no extent touches are holes without a look; the rest is judged a window at a time.
        let mut done = 0;
        for extent in self.extents() {
            let mut start = (extent.start & !(block - 1)).max(done);
            let end = (extent.start + extent.len).next_multiple_of(block).min(self.len);
            while start < end {
                let n = step.min(end - start);
                scratch.resize(n as usize, 0);
                self.read_exact_at(start, scratch)?;
                for (i, bytes) in scratch.chunks(block as usize).enumerate() {
                    if !is_zero(bytes) {
                        add(start / block + i as u64);
                    }
                }
                start += n;
            }
            done = done.max(end);
        }
        Ok(runs)
    }
}

impl ReadAt for Content {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let extents = match &self.body {
            Body::Whole(source, start) => return source.read_exact_at(start + offset, buffer),
            Body::Extents(extents) => extents,
        };
        buffer.fill(0);
        let first = extents.partition_point(|extent| extent.start + extent.len <= offset);
        for extent in extents[first..].iter().take_while(|extent| extent.start < end) {
            let from = extent.start.max(offset);
            let to = (extent.start + extent.len).min(end);
            let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
            extent.source.read_exact_at(extent.source_offset + (from - extent.start), target)?;
        }
        Ok(())
    }
}

/// A [`Read`] over a [`Content`].
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    position: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = (self.content.len - self.position).min(buffer.len() as u64) as usize;
        self.content.read_exact_at(self.position, &mut buffer[..n])?;
        self.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, text: &str) -> Extent {
        let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(text.as_bytes()));
        Extent { start, len: text.len() as u64, source, source_offset: 0 }
    }

    #[test]
    fn a_sparse_file_reads_as_its_extents_with_zeros_between() {
        let content = Content::sparse(9, vec![extent(1, "ab"), extent(3, ""), extent(5, "cd")]).unwrap();
        assert_eq!(content.read_all(9).unwrap(), b"\0ab\0\0cd\0\0");
        assert!(content.read_all(8).is_err());
        let mut text = Vec::new();
        content.reader().read_to_end(&mut text).unwrap();
        assert!(content.same_bytes(&Content::bytes(text)).unwrap());
        assert!(!content.same_bytes(&Content::bytes(&b"\0ab\0\0cd\0x"[..])).unwrap());
    }

    #[test]
    fn extents_that_make_no_sense_are_refused() {
        let refused = |len, extents| Content::sparse(len, extents).unwrap_err();
        assert_eq!(refused(9, vec![extent(1, "ab"), extent(2, "c")]), ContentError::Overlap(2));
        assert_eq!(refused(9, vec![extent(u64::MAX, "ab")]), ContentError::Overlap(u64::MAX));
        assert_eq!(refused(2, vec![extent(1, "ab")]), ContentError::PastTheEnd(1));
        assert_eq!(refused(9, vec![Extent { len: 3, ..extent(1, "ab") }]), ContentError::NoSource(1));
        assert!(Content::whole(Arc::new(Bytes::from(&b"abc"[..])), u64::MAX, 2).is_err());
    }

    #[test]
    fn holes_are_found_by_content_however_it_is_stored() {
        let mut bytes = vec![0; 10 * 4096 + 5];
        bytes[4096] = 1;
        bytes[3 * 4096 - 1] = 1;
        bytes[10 * 4096 + 4] = 1;
        let dense = Content::bytes(bytes.clone());
        let pieces =
            vec![extent(4096, "\u{1}"), extent(3 * 4096 - 1, "\u{1}"), extent(10 * 4096 + 4, "\u{1}")];
        let sparse = Content::sparse(bytes.len() as u64, pieces).unwrap();
        for content in [dense, sparse] {
            assert_eq!(content.data_blocks(4096, &mut Vec::new()).unwrap(), [1..3, 10..11]);
        }
        assert!(Content::empty().data_blocks(4096, &mut Vec::new()).unwrap().is_empty());
    }
}
