//! Zstandard, a block at a time, each on its own.

use std::io;

use zstd::bulk::Compressor;

use super::Error;

/// A compressor of one thread, made with its first block.
pub(super) struct Zstd {
    level: i32,
    inner: Option<Compressor<'static>>,
}

impl Zstd {
    pub fn new(level: i32) -> Self {
        Self { level, inner: None }
    }

    /// The compressed bytes; nothing where they would not be fewer.
    pub fn compress(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let compressed = self.inner(bytes).map_err(Error::Compress)?;
        Ok(Some(compressed).filter(|compressed| compressed.len() < bytes.len()))
    }

    fn inner(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match &mut self.inner {
            Some(inner) => inner.compress(bytes),
            none => none.insert(Compressor::new(self.level)?).compress(bytes),
        }
    }
}
