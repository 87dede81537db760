//! Compressed streams: recognised by content, decoded to their very end.
//!
//! Every decoder here reads all members, frames or streams of its input and takes nothing but them: an input
//! that stops early or goes on with something else is an error. Compression decides nothing about an image;
//! it only has to give back the same bytes or fail.

mod streams;

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::ArchiveError;
use crate::lz4::Lz4Decoder;
use streams::Streams;

/// Bytes that [`Compression::recognise`] wants to see.
pub const RECOGNISED_BY: usize = 1024;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// The .xz file format 1.1.
    Xz,
    /// RFC 8878.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4 frames, current or legacy (as the kernel's tools write them).
    Lz4,
    /// The older format of the LZMA SDK, which has no magic number.
    Lzma,
}

impl Compression {
    /// Recognises a stream by its first bytes (up to [`RECOGNISED_BY`] of them).
    pub fn recognise(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..] if is_bzip2_block(rest) => Self::Bzip2,
            [0x04, 0x22, 0x4d, 0x18, ..] | [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            // Skippable frames open streams of zstd (pzstd writes them) and of LZ4 alike: what follows decides.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, rest @ ..] => {
                let len = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                match rest.get(len..).map(Self::recognise) {
                    Some(Self::Lz4) => Self::Lz4,
                    _ => Self::Zstd,
                }
            }
            _ if is_lzma(head) => Self::Lzma,
            _ => Self::None,
        }
    }

    /// A reader of what `input` decodes to.
    ///
    /// # Errors
    /// When a decoder cannot be set up. Reading fails with `UnexpectedEof` where the stream stops early.
    pub fn decoder<'a>(
        self,
        input: impl BufRead + Send + 'a,
        limits: Limits,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let decoder: Box<dyn Read + Send + 'a> = match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(Streams::gzip(input)),
            Self::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
            Self::Xz => Box::new(Streams::xz(input, limits.memory)?),
            Self::Lzma => Box::new(Streams::lzma(input, limits.memory)?),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(limits.window_log())?;
                Box::new(decoder)
            }
            Self::Lz4 => Box::new(Lz4Decoder::new(input)),
        };
        Ok(Box::new(Limited { decoder, left: limits.decoded }))
    }

    /// Turns what a reader from [`Compression::decoder`] failed with into an error about `file`.
    pub(crate) fn error(self, file: &str, limits: Limits, decoded: u64, error: io::Error) -> ArchiveError {
        let file = file.to_owned();
        let inner = error.get_ref();
        if inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<LimitReached>) {
            return ArchiveError::TooLarge { file, limit: limits.decoded };
        }
        let memory = inner.is_some_and(|inner| {
            matches!(inner.downcast_ref(), Some(xz2::stream::Error::MemLimit))
                // libzstd's name of ZSTD_error_frameParameter_windowTooLarge; the crate keeps only the text.
                || inner.to_string().contains("too much memory")
        });
        if memory {
            return ArchiveError::TooMuchMemory { file, compression: self, limit: limits.memory };
        }
        match error {
            source if source.raw_os_error().is_some() => ArchiveError::Io { file, action: "reading", source },
            error if error.kind() == io::ErrorKind::UnexpectedEof => {
                ArchiveError::TruncatedStream { file, compression: self }
            }
            error => {
                ArchiveError::CorruptStream { file, compression: self, decoded, reason: error.to_string() }
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Lz4 => "lz4",
            Self::Lzma => "lzma",
        })
    }
}

/// What decoding may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may come out of one input.
    pub decoded: u64,
    /// Bytes of memory that a decoder may take for its window. zstd windows of 128 MiB (`--long=27`, what
    /// every zstd decoder must be able to take) are always allowed.
    pub memory: u64,
}

impl Limits {
    /// The largest zstd window. What every decoder takes is taken whatever the limit; 31 is libzstd's end.
    pub(crate) fn window_log(self) -> u32 {
        self.memory.max(1).ilog2().clamp(27, 31)
    }
}

impl Default for Limits {
    /// 64 GiB out, 256 MiB of memory: enough for `xz -9`, `zstd --ultra -22` and `zstd --long`.
    fn default() -> Self {
        Self { decoded: 64 << 30, memory: 256 << 20 }
    }
}

/// What follows the level in a bzip2 stream: the magic number of a block, or of the end.
fn is_bzip2_block(rest: &[u8]) -> bool {
    rest.starts_with(&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59])
        || rest.starts_with(&[0x17, 0x72, 0x45, 0x38, 0x50, 0x90])
}

/// As `xz` tells .lzma files from noise: plausible properties, dictionary and size.
fn is_lzma(head: &[u8]) -> bool {
    let Some((&[properties, a, b, c, d, ref size @ ..], _)) = head.split_first_chunk::<13>() else {
        return false;
    };
    let dictionary = u32::from_le_bytes([a, b, c, d]);
    let rest = dictionary & dictionary.wrapping_sub(1);
    let two_bits_at_most = rest & rest.wrapping_sub(1) == 0;
    let size = u64::from_le_bytes(*size);
    // 0x5d is what every encoder writes by default; others would recognise too much.
    properties == 0x5d && dictionary >= 4096 && two_bits_at_most && (size == u64::MAX || size < 1 << 38)
}

/// More than the limit came out.
#[derive(Debug, thiserror::Error)]
#[error("more bytes than allowed")]
struct LimitReached;

/// Gives no more bytes than are left.
pub(crate) struct Limited<R> {
    pub decoder: R,
    pub left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(LimitReached)),
        }
        Ok(n)
    }
}

#[cfg(test)]
#[path = "compression/tests.rs"]
mod tests;
