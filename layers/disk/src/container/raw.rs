//! The disk itself: every byte at its own offset, and holes wherever no piece lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::{Chunk, Container, Format};

pub(super) const FORMAT: Format = Format {
    name: "raw",
    extension: "raw",
    plan: |disk| Ok(Box::new(Raw { len: disk.len() })),
    recognise: |_| Ok(false),
    open: |file| Ok(Box::new(file)),
};

struct Raw {
    len: u64,
}

impl Container for Raw {
    fn begin(&self, file: &File) -> io::Result<()> {
        // Down to nothing first: what an older file held must not show through the holes.
        file.set_len(0)?;
        file.set_len(self.len)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        for run in chunk.covered {
            file.write_all_at(&chunk.bytes[run.clone()], chunk.offset + run.start as u64)?;
        }
        Ok(())
    }

    fn finish(&self, _: &File) -> io::Result<()> {
        Ok(())
    }
}
