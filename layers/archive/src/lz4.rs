//! LZ4 streams: current frames, legacy frames and skippable frames in any number and order.
//!
//! Format: "LZ4 Frame Format Description" 1.6.4, sections "General Structure", "Skippable Frames" and
//! "Legacy frame". Frames are decoded by `lz4_flex`; what lies between frames is read here, because that
//! crate takes the end of the input for the end of a frame, and a stream that was cut would pass for whole.

use std::io::{self, BufRead, Read};

use lz4_flex::block::decompress_into;
use lz4_flex::frame::FrameDecoder;

const FRAME: u32 = 0x184d_2204;
const LEGACY: u32 = 0x184c_2102;
const SKIPPABLE: u32 = 0x184d_2a50;
/// What a legacy block decodes to at most, in bytes.
const LEGACY_BLOCK: usize = 8 << 20;
/// What it is encoded in at most (`LZ4_COMPRESSBOUND` of the above).
const LEGACY_BOUND: u32 = LEGACY_BLOCK as u32 + LEGACY_BLOCK as u32 / 255 + 16;

/// Decodes LZ4 streams to the end of the input.
pub(crate) struct Lz4Decoder<R: BufRead> {
    /// A new decoder for every frame: its buffers are made for frames of one block size.
    frames: Option<FrameDecoder<Source<R>>>,
    state: State,
    /// Whether to stop after one frame.
    once: bool,
    /// A decoded legacy block and how much of it was given away.
    block: Vec<u8>,
    given: usize,
}

#[derive(Clone, Copy)]
enum State {
    Between,
    Frame,
    Legacy,
    Ended,
}

impl<R: BufRead> Lz4Decoder<R> {
    pub(crate) fn new(input: R) -> Self {
        let source = Source { input, again: Vec::new(), exhausted: false };
        let frames = Some(FrameDecoder::new(source));
        Self { frames, state: State::Between, once: false, block: Vec::new(), given: 0 }
    }

    /// Decodes one frame only, or one legacy stream.
    pub(crate) fn once(input: R) -> Self {
        Self { once: true, ..Self::new(input) }
    }

    /// Bytes after the frame that were read to see that it ends.
    pub(crate) fn read_too_far(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.source().again)
    }

    /// What comes after a frame.
    fn after_frame(&self) -> State {
        if self.once { State::Ended } else { State::Between }
    }

    fn source(&mut self) -> &mut Source<R> {
        self.frames.as_mut().expect("it is only replaced").get_mut()
    }

    /// Reads the next magic number and what belongs to it.
    fn open(&mut self) -> io::Result<State> {
        let source = self.source();
        let Some(magic) = source.word()? else { return Ok(State::Ended) };
        match magic {
            FRAME => {
                source.again = magic.to_le_bytes().to_vec();
                self.frames = self.frames.take().map(|frames| FrameDecoder::new(frames.into_inner()));
                Ok(State::Frame)
            }
            LEGACY => Ok(State::Legacy),
            _ if magic & !0xf == SKIPPABLE => {
                let len = u64::from(source.word()?.ok_or(io::ErrorKind::UnexpectedEof)?);
                if io::copy(&mut source.take(len), &mut io::sink())? < len {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(State::Between)
            }
            _ => Err(invalid("something else than a frame follows")),
        }
    }

    fn legacy_block(&mut self) -> io::Result<State> {
        let once = self.once;
        let source = self.source();
        let len = match source.word()? {
            None => return Ok(State::Ended),
            // A legacy stream ends where another magic number stands in the place of a length, or, in an
            // initrd, where the padding begins.
            Some(word) if word > LEGACY_BOUND || (word == 0 && once) => {
                source.again = word.to_le_bytes().to_vec();
                return Ok(self.after_frame());
            }
            Some(word) => word,
        };
        let mut coded = vec![0; len as usize];
        source.read_exact(&mut coded)?;
        self.block.resize(LEGACY_BLOCK, 0);
        let n = decompress_into(&coded, &mut self.block).map_err(|error| invalid(error.to_string()))?;
        self.block.truncate(n);
        self.given = 0;
        Ok(State::Legacy)
    }
}

impl<R: BufRead> Read for Lz4Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Ended => return Ok(0),
                State::Between => self.state = self.open()?,
                State::Frame => {
                    let n = self.frames.as_mut().map_or(Ok(0), |frames| frames.read(buffer))?;
                    if n > 0 {
                        return Ok(n);
                    }
                    // The decoder asks for nothing after an end mark; it met the end of the input elsewhere.
                    if self.source().exhausted {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.state = self.after_frame();
                }
                State::Legacy if self.given < self.block.len() => {
                    let n = (self.block.len() - self.given).min(buffer.len());
                    buffer[..n].copy_from_slice(&self.block[self.given..][..n]);
                    self.given += n;
                    return Ok(n);
                }
                State::Legacy => self.state = self.legacy_block()?,
            }
        }
    }
}

/// The input, with a few bytes to be read again, that remembers having been asked for more than there is.
struct Source<R> {
    input: R,
    again: Vec<u8>,
    exhausted: bool,
}

impl<R: BufRead> Source<R> {
    /// The next four bytes as a number; nothing at the end of the input.
    fn word(&mut self) -> io::Result<Option<u32>> {
        if self.again.is_empty() && self.input.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut bytes = [0; 4];
        self.read_exact(&mut bytes)?;
        Ok(Some(u32::from_le_bytes(bytes)))
    }
}

impl<R: BufRead> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.again.is_empty() {
            let n = self.again.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.again[..n]);
            self.again.drain(..n);
            return Ok(n);
        }
        let n = self.input.read(buffer)?;
        self.exhausted |= n == 0 && !buffer.is_empty();
        Ok(n)
    }
}

fn invalid(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}
