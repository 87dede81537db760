//! Chunks of bytes from one thread to another, few at a time, in buffers that go round.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes in one chunk.
pub(crate) const CHUNK: usize = 512 << 10;
/// Chunks on their way at once; with those in both hands they bound the memory.
const DEPTH: usize = 4;

/// A pipe of [`CHUNK`]s.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (full, chunks) = sync_channel(DEPTH);
    let (returned, empty) = sync_channel(DEPTH + 2);
    (PipeWriter { full, empty }, PipeReader { chunks, returned, chunk: Vec::new(), used: 0 })
}

/// The end that chunks are sent into; dropping it ends the stream.
pub(crate) struct PipeWriter {
    full: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

impl PipeWriter {
    /// A buffer of [`CHUNK`] bytes with anything in it.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(CHUNK, 0);
        buffer
    }

    /// Sends a chunk or the error that ends the stream; whether anybody still listens.
    pub(crate) fn send(&self, chunk: io::Result<Vec<u8>>) -> bool {
        self.full.send(chunk).is_ok()
    }
}

/// The end that chunks come out of.
pub(crate) struct PipeReader {
    chunks: Receiver<io::Result<Vec<u8>>>,
    returned: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    used: usize,
}

impl PipeReader {
    /// The next chunk as it was sent, in exchange for the one that was given before.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        // The writer may be gone, or have buffers enough: then this one is not needed.
        let _ = self.returned.try_send(std::mem::take(&mut self.chunk));
        self.used = 0;
        match self.chunks.recv() {
            Ok(chunk) => self.chunk = chunk?,
            Err(_) => return Ok(None),
        }
        Ok(Some(&self.chunk))
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            self.next()?;
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
