//! Streams of gzip, xz or lzma, one after the other to the end of the input.
//!
//! The decoders of the crates tell junk after the last stream from a stream that is cut only by chance, so
//! what lies between streams is looked at here.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;
use xz2::bufread::XzDecoder;
use xz2::stream::Stream;

/// Decodes all streams of its input.
pub(super) struct Streams<R> {
    /// Nothing after the last stream.
    one: Option<One<R>>,
    /// Bytes of memory for the decoder.
    memory: u64,
}

enum One<R> {
    Gzip(GzDecoder<R>),
    Xz(XzDecoder<R>),
    /// There is only ever one of these in a file.
    Lzma(XzDecoder<R>),
}

impl<R: BufRead> Streams<R> {
    pub(super) fn gzip(input: R) -> Self {
        Self { one: Some(One::Gzip(GzDecoder::new(input))), memory: 0 }
    }

    pub(super) fn xz(input: R, memory: u64) -> io::Result<Self> {
        Ok(Self { one: Some(One::Xz(xz(input, memory)?)), memory })
    }

    pub(super) fn lzma(input: R, memory: u64) -> io::Result<Self> {
        let stream = Stream::new_lzma_decoder(memory)?;
        Ok(Self { one: Some(One::Lzma(XzDecoder::new_stream(input, stream))), memory })
    }
}

fn xz<R: BufRead>(input: R, memory: u64) -> io::Result<XzDecoder<R>> {
    Ok(XzDecoder::new_stream(input, Stream::new_stream_decoder(memory, 0)?))
}

impl<R: BufRead> Read for Streams<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(one) = &mut self.one {
            let n = match one {
                One::Gzip(decoder) => decoder.read(buffer)?,
                One::Xz(decoder) | One::Lzma(decoder) => decoder.read(buffer)?,
            };
            if n > 0 {
                return Ok(n);
            }
            self.one = match self.one.take() {
                Some(One::Gzip(decoder)) => {
                    let mut input = decoder.into_inner();
                    follows(&mut input, 0x1f)?.then(|| One::Gzip(GzDecoder::new(input)))
                }
                Some(One::Xz(decoder)) => {
                    let mut input = decoder.into_inner();
                    padding(&mut input)?;
                    if follows(&mut input, 0xfd)? { Some(One::Xz(xz(input, self.memory)?)) } else { None }
                }
                Some(One::Lzma(decoder)) => match decoder.into_inner().fill_buf()? {
                    [] => None,
                    _ => return Err(junk()),
                },
                None => None,
            };
        }
        Ok(0)
    }
}

/// Whether another stream follows, by the first byte of its magic number; an error if anything else does.
fn follows(input: &mut impl BufRead, magic: u8) -> io::Result<bool> {
    match input.fill_buf()?.first() {
        None => Ok(false),
        Some(first) if *first == magic => Ok(true),
        Some(_) => Err(junk()),
    }
}

/// Skips zeros after a stream of xz (.xz file format 1.1, section 2.2: "Stream Padding").
fn padding(input: &mut impl BufRead) -> io::Result<()> {
    let mut skipped = 0;
    loop {
        let ahead = input.fill_buf()?;
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        let ended = zeros < ahead.len() || ahead.is_empty();
        input.consume(zeros);
        skipped = (skipped + zeros) % 4;
        if ended {
            return if skipped == 0 { Ok(()) } else { Err(junk()) };
        }
    }
}

fn junk() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "something else follows the end of the stream")
}
