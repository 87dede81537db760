//! Initial RAM disks: cpio archives one after the other, each compressed or not.
//!
//! Format: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst: archives of the types
//! `070701` and `070702` ("newc"), compressed or not, with any number of zeros between. Entries go to a
//! visitor as they pass by, so that an initrd of any size is read in the memory of one buffer. Written: `write.rs`.

mod ahead;
mod entry;
mod write;

use std::io::{self, Read};

use crate::compression::{Compression, Limited, Limits, RECOGNISED_BY};
use crate::error::{ArchiveError, MemberProblem};
use crate::lz4::Lz4Decoder;
use ahead::Ahead;
pub use entry::CpioEntry;
use entry::{HEADER, NAME_MAX};
pub use write::{WriteCpioError, cpio_entry_len, encode_cpio, write_cpio};

/// Called with every entry and its content (for a symbolic link, its target); what is left unread is skipped.
pub type Visit<'a> = &'a mut dyn FnMut(&CpioEntry, &mut dyn Read) -> io::Result<()>;

/// Reads all archives of an initrd. `file` names it in messages.
///
/// # Errors
/// When an archive is damaged or cut short, something else follows, more than the limit comes out, or the
/// visitor fails.
pub fn read_cpio(
    file: &str,
    input: impl Read + Send,
    limits: Limits,
    visit: Visit,
) -> Result<(), ArchiveError> {
    let mut ahead = Ahead::new(input);
    let mut left = limits.decoded;
    for archive in 0.. {
        ahead.skip_zeros().map_err(ArchiveError::io(file, "reading"))?;
        let head = ahead.peek(RECOGNISED_BY).map_err(ArchiveError::io(file, "reading"))?;
        if head.is_empty() {
            break;
        }
        let compression = if is_cpio(head) { Compression::None } else { Compression::recognise(head) };
        let mut stream = Stream { archive, compression, position: 0, visit: &mut *visit, problem: None };
        let before = left;
        let result = segment(&mut ahead, compression, limits, &mut left, &mut stream);
        if let Some(problem) = stream.problem {
            return Err(ArchiveError::Members { file: file.to_owned(), problems: vec![problem] });
        }
        result.map_err(|error| compression.error(file, limits, before - left, error))?;
    }
    Ok(())
}

fn is_cpio(head: &[u8]) -> bool {
    head.starts_with(b"0707")
}

/// Decodes one compressed stream, or takes one plain archive, and leaves the input right behind it.
fn segment<R: Read + Send>(
    ahead: &mut Ahead<R>,
    compression: Compression,
    limits: Limits,
    left: &mut u64,
    stream: &mut Stream,
) -> io::Result<()> {
    // Decodes everything, whatever the archives inside: only the end of a stream proves it whole.
    let mut all = |decoder: &mut dyn Read| {
        let mut limited = Limited { decoder, left: *left };
        let result = stream.archives(&mut limited, true);
        *left = limited.left;
        result
    };
    match compression {
        Compression::None => {
            let mut limited = Limited { decoder: ahead, left: *left };
            let result = stream.archives(&mut limited, false);
            *left = limited.left;
            result
        }
        Compression::Gzip => all(&mut flate2::bufread::GzDecoder::new(ahead)),
        Compression::Bzip2 => all(&mut bzip2::bufread::BzDecoder::new(ahead)),
        Compression::Xz => {
            let decoder = xz2::stream::Stream::new_stream_decoder(limits.memory, 0)?;
            all(&mut xz2::bufread::XzDecoder::new_stream(ahead, decoder))
        }
        Compression::Lzma => {
            let decoder = xz2::stream::Stream::new_lzma_decoder(limits.memory)?;
            all(&mut xz2::bufread::XzDecoder::new_stream(ahead, decoder))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(ahead)?.single_frame();
            decoder.window_log_max(limits.window_log())?;
            all(&mut decoder)
        }
        Compression::Lz4 => {
            let mut decoder = Lz4Decoder::once(&mut *ahead);
            all(&mut decoder)?;
            let rest = decoder.read_too_far();
            drop(decoder);
            ahead.unread(&rest);
            Ok(())
        }
    }
}

/// The archives of one stream.
struct Stream<'a> {
    archive: usize,
    compression: Compression,
    position: u64,
    visit: Visit<'a>,
    /// What is wrong with an archive; more than an I/O error can say.
    problem: Option<MemberProblem>,
}

impl Stream<'_> {
    /// Reads archives until the end of the input if `all`, or one.
    fn archives(&mut self, input: &mut dyn Read, all: bool) -> io::Result<()> {
        self.entries(input)?;
        if !all {
            return Ok(());
        }
        // What follows in the stream begins at a multiple of four, after zeros.
        let mut word = [0; 4];
        loop {
            let n = fill(input, &mut word)?;
            if n == 0 {
                return Ok(());
            }
            if is_cpio(&word) {
                self.entries(&mut (&word[..]).chain(&mut *input))?;
                continue;
            }
            if word[..n].iter().any(|byte| *byte != 0) {
                return Err(self.wrong(b"", "follows an archive in the same stream: expected another one"));
            }
            self.position += n as u64;
        }
    }

    /// Reads one archive up to its trailer.
    fn entries(&mut self, input: &mut dyn Read) -> io::Result<()> {
        loop {
            let start = self.position;
            let mut header = [0; HEADER];
            self.take(input, &mut header)?;
            let parsed = CpioEntry::parse(&header, self.archive, self.compression);
            let (mut entry, name_len) = parsed.map_err(|reason| self.at(start, b"", &reason))?;
            if !(1..=NAME_MAX).contains(&name_len) {
                let reason = format!("has a name of {name_len} bytes: expected 1 to {NAME_MAX}");
                return Err(self.at(start, b"", &reason));
            }
            let mut name = vec![0; name_len as usize];
            self.take(input, &mut name)?;
            self.pad(input)?;
            if name.pop() != Some(0) || name.contains(&0) {
                return Err(self.at(start, &name, "has a name without one NUL at its end"));
            }
            if name == b"TRAILER!!!" {
                return Ok(());
            }
            entry.path = bake_tree::TreePath::from_root(&name)
                .map_err(|error| self.at(start, &name, &format!("has a name of no use: {error}")))?;
            let mut content =
                Content { inner: (&mut *input).take(entry.size), sum: 0, ended: false, failed: false };
            let visited = (self.visit)(&entry, &mut content);
            if visited.is_ok() {
                io::copy(&mut content, &mut io::sink()).or_else(|error| content.tolerate_end(error))?;
            }
            let Content { inner, sum, ended, failed } = content;
            if ended {
                let missing = inner.limit();
                return Err(self.at(start, &name, &format!("is cut short: {missing} bytes are missing")));
            }
            if failed {
                return visited;
            }
            visited.map_err(|error| self.at(start, &name, &format!("cannot be used: {error}")))?;
            // The kernel looks at those of files alone, and writers leave out the others.
            if entry.is_file() && entry.checksum.is_some_and(|expected| expected != sum) {
                return Err(self.at(start, &name, "is damaged: its checksum is wrong"));
            }
            self.position += entry.size;
            self.pad(input)?;
        }
    }

    fn take(&mut self, input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<()> {
        let n = fill(input, buffer)?;
        self.position += n as u64;
        if n < buffer.len() {
            return Err(self.wrong(b"", "is missing: the archive is cut short, expected its trailer"));
        }
        Ok(())
    }

    /// Skips to the next multiple of four.
    fn pad(&mut self, input: &mut dyn Read) -> io::Result<()> {
        let mut padding = [0; 3];
        let n = (self.position.next_multiple_of(4) - self.position) as usize;
        self.take(input, &mut padding[..n])
    }

    fn wrong(&mut self, name: &[u8], reason: &str) -> io::Error {
        self.at(self.position, name, reason)
    }

    fn at(&mut self, offset: u64, name: &[u8], reason: &str) -> io::Error {
        self.problem = Some(MemberProblem::new(name, offset, reason));
        io::ErrorKind::InvalidData.into()
    }
}

/// The content of one entry, summed up as `070702` does: all bytes, modulo 2^32.
struct Content<R> {
    inner: io::Take<R>,
    sum: u32,
    /// Whether the input ended before the content did.
    ended: bool,
    /// Whether the input failed: no fault of this entry, nor of the visitor that hands the error on.
    failed: bool,
}

impl<R> Content<R> {
    /// The end of the input is told better by whoever knows how much is missing.
    fn tolerate_end(&self, error: io::Error) -> io::Result<u64> {
        if self.ended { Ok(0) } else { Err(error) }
    }
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.failed = read.is_err();
        let n = read?;
        if n == 0 && !buffer.is_empty() && self.inner.limit() > 0 {
            self.ended = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.sum = buffer[..n].iter().fold(self.sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        Ok(n)
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
#[path = "cpio/tests.rs"]
mod tests;
