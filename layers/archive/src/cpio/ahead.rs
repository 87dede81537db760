//! A reader that can be looked into before it is read.

use std::io::{self, BufRead, Read};

/// Bytes read at once.
const STEP: usize = 64 << 10;

pub(super) struct Ahead<R> {
    input: R,
    buffer: Vec<u8>,
    used: usize,
}

impl<R: Read> Ahead<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), used: 0 }
    }

    /// The next `n` bytes, or all that are left.
    pub(super) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.used < n && self.more()? {}
        let end = self.buffer.len().min(self.used + n);
        Ok(&self.buffer[self.used..end])
    }

    /// Puts bytes back that were read last.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.buffer.splice(..self.used, bytes.iter().copied());
        self.used = 0;
    }

    pub(super) fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.fill_buf()?;
            let zeros = bytes.iter().position(|byte| *byte != 0);
            let n = zeros.unwrap_or(bytes.len());
            self.used += n;
            if n == 0 || zeros.is_some() {
                return Ok(());
            }
        }
    }

    /// Reads on; whether there was anything.
    fn more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.used);
        self.used = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + STEP, 0);
        let read = self.input.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }
}

impl<R: Read> BufRead for Ahead<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            self.more()?;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl<R: Read> Read for Ahead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}
