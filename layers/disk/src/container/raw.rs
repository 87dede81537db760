//! The disk itself: every byte at its own offset, and holes wherever no piece lies.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bake_base::{FileBytes, ReadAt};
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::{Chunk, Container, Format};

pub(super) const FORMAT: Format = Format {
    name: "raw",
    extension: "raw",
    plan: |disk| Ok(Box::new(Raw { len: disk.len() })),
    recognise: |_| Ok(false),
    open: |file| Ok(Box::new(Reader::new(file))),
};

struct Raw {
    len: u64,
}

impl Container for Raw {
    fn begin(&self, file: &File) -> io::Result<()> {
        // Down to nothing first: what an older file held must not show through the holes.
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

/// A file whose holes are not read: that would fill the page cache with zeros, which takes longer than
/// everything else that is done to a disk.
#[derive(Debug)]
pub(super) struct Reader(FileBytes);

impl Reader {
    pub(super) fn new(file: FileBytes) -> Self {
        Self(file)
    }
}

impl ReadAt for Reader {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        // The file's own position moves, but nothing here depends on it.
        match rustix::fs::seek(self.0.file(), SeekFrom::Data(offset)) {
            Ok(data) if data < end => self.0.read_exact_at(offset, buffer),
            // Data begins behind the buffer or not at all.
            Ok(_) | Err(Errno::NXIO) => {
                buffer.fill(0);
                Ok(())
            }
            // A file system that does not know its holes.
            Err(_) => self.0.read_exact_at(offset, buffer),
        }
    }
}
