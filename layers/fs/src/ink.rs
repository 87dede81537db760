//! Bytes of an image: a file system's own structures gathered for its layout, and references to content.

use std::ops::Range;
use std::sync::Arc;

use bake_base::{LayoutBuilder, ReadAt};
use bake_tree::Extent;

/// All structures that are not a file's data, in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Ink {
    bytes: Vec<u8>,
    /// Offset in the image, offset in `bytes`, length.
    runs: Vec<(u64, usize, usize)>,
}

impl Ink {
    /// Puts bytes at an offset of the image and says where they are kept.
    pub fn put(&mut self, offset: u64, bytes: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.again(offset, at, bytes.len());
        at
    }

    /// Puts bytes that are kept already at another offset too.
    pub fn again(&mut self, offset: u64, at: usize, len: usize) {
        if len > 0 {
            self.runs.push((offset, at, len));
        }
    }

    /// Hands everything over to the layout.
    pub fn finish(self, layout: &mut LayoutBuilder) {
        let source: Arc<dyn ReadAt> = Arc::new(self.bytes);
        for (offset, at, len) in self.runs {
            layout.push(offset, len as u64, Arc::clone(&source), at as u64);
        }
    }
}

/// Refers to the bytes of a file in `range`, whose first one lies at `offset` of the image. What no extent holds
/// is zero there without being mentioned.
pub(crate) fn refer(layout: &mut LayoutBuilder, extents: &[Extent], range: Range<u64>, offset: u64) {
    let first = extents.partition_point(|extent| extent.start + extent.len <= range.start);
    for extent in extents[first..].iter().take_while(|extent| extent.start < range.end) {
        let (from, to) = (extent.start.max(range.start), (extent.start + extent.len).min(range.end));
        let at = extent.source_offset + (from - extent.start);
        layout.push(offset + (from - range.start), to - from, Arc::clone(&extent.source), at);
    }
}
