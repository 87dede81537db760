//! Writing .xz files (format 1.1), the same bytes for any number of threads.
//!
//! liblzma's single-threaded encoder makes one block, its multi-threaded one cuts the input into blocks; so the
//! latter is used even for one thread, with a size of blocks that is fixed here. The version of liblzma that is
//! linked in decides about the bytes as well.

use std::io::{self, Write};

use xz2::stream::{Action, Check, MtStreamBuilder, Status, Stream};

/// Bytes of input in one block: a decoder can work on as many threads as there are blocks. On 64 MB of a root
/// file system, blocks of 8 MiB cost 1.7 % against a single one at preset 6, of 4 MiB 3.4 %.
pub const XZ_BLOCK: u64 = 8 << 20;

/// Bytes of output in memory at once, beside those that liblzma has in hand.
const BUFFER: usize = 64 << 10;

/// Compresses what is written to it. Without [`XzEncoder::finish`] the stream has no end, and every decoder says so.
pub struct XzEncoder<W> {
    out: W,
    stream: Stream,
    buffer: Vec<u8>,
}

impl<W: Write> XzEncoder<W> {
    /// An encoder with blocks of [`XZ_BLOCK`] bytes, of `preset` 0 to 9, with `threads` threads (at least one).
    /// Every thread takes about ten times the preset's dictionary of memory.
    ///
    /// # Errors
    /// When there is no such preset, or no memory for so many threads.
    pub fn new(out: W, preset: u32, threads: usize) -> io::Result<Self> {
        let threads = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
        let stream = MtStreamBuilder::new()
            .preset(preset)
            .threads(threads)
            .block_size(XZ_BLOCK)
            .check(Check::Crc64)
            .encoder()?;
        Ok(Self { out, stream, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Ends the stream and gives back what it was written to.
    ///
    /// # Errors
    /// When that does not take the rest.
    pub fn finish(mut self) -> io::Result<W> {
        while self.step(&[], Action::Finish)?.1 != Status::StreamEnd {}
        Ok(self.out)
    }

    /// Hands `input` to liblzma and its output on; how much of `input` was taken.
    fn step(&mut self, input: &[u8], action: Action) -> io::Result<(usize, Status)> {
        let before = self.stream.total_in();
        self.buffer.clear();
        let status = self.stream.process_vec(input, &mut self.buffer, action)?;
        self.out.write_all(&self.buffer)?;
        Ok(((self.stream.total_in() - before) as usize, status))
    }
}

impl<W: Write> Write for XzEncoder<W> {
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        loop {
            match self.step(input, Action::Run)?.0 {
                // Only output moved: nothing taken is no answer to a writer.
                0 if !input.is_empty() => {}
                taken => return Ok(taken),
            }
        }
    }

    /// Hands on what has come out so far. What is still being compressed stays: ending a block early would make
    /// the bytes depend on when somebody flushes.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: std::fmt::Debug> std::fmt::Debug for XzEncoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("XzEncoder").field("out", &self.out).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "xz/tests.rs"]
mod tests;
