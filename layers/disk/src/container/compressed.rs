//! The disk as one compressed stream: `.gz`, `.xz` and `.zst`, made of pieces that are compressed by themselves,
//! so that any number of threads makes the same bytes and zeros cost next to nothing.

mod gzip;
mod xz;
mod zst;

use std::io;

use bake_base::{FileBytes, Layout, is_zero};

use super::in_order::{Encode, InOrder, Out};
use super::{Chunk, Container, Format, unpack};
use crate::digests::BLOCK_SIZE;

pub(super) use gzip::Gzip;

pub(super) const GZ: Format = Format {
    name: "raw.gz",
    extension: "raw.gz",
    plan: |disk| Ok(stream(disk, Gzip)),
    recognise: |file| starts_with(file, &[0x1f, 0x8b]),
    open: |file| unpack::open(GZ, file, |reader| Box::new(flate2::read::MultiGzDecoder::new(reader))),
};

pub(super) const XZ: Format = Format {
    name: "raw.xz",
    extension: "raw.xz",
    plan: |disk| Ok(stream(disk, xz::Xz)),
    recognise: |file| starts_with(file, b"\xfd7zXZ\0"),
    open: |file| unpack::open(XZ, file, xz::decoder),
};

pub(super) const ZST: Format = Format {
    name: "raw.zst",
    extension: "raw.zst",
    plan: |disk| Ok(stream(disk, zst::Zst)),
    recognise: |file| starts_with(file, &[0x28, 0xb5, 0x2f, 0xfd]),
    open: |file| unpack::open(ZST, file, zst::decoder),
};

/// How a stream is made of pieces.
pub(super) trait Codec: Send + Sync {
    /// A piece of the stream.
    type Piece: Send + Sync;
    /// What the end of the stream says of its pieces.
    type Sum: Default + Send;

    /// What comes first.
    fn head(&self) -> &'static [u8];

    /// Compresses up to [`BLOCK_SIZE`] bytes by themselves.
    fn piece(&self, bytes: &[u8]) -> io::Result<Self::Piece>;

    /// The bytes of a piece, which comes next.
    fn add<'a>(&self, sum: &mut Self::Sum, piece: &'a Self::Piece) -> &'a [u8];

    /// What comes last.
    fn tail(&self, sum: Self::Sum) -> Vec<u8>;
}

/// A stream of bytes in pieces.
pub(super) struct Pieces<C: Codec> {
    sum: C::Sum,
    /// Position on the disk.
    at: u64,
    zeros: C::Piece,
}

impl<C: Codec> Pieces<C> {
    pub(super) fn begin(codec: &C, out: &mut Out<'_>) -> io::Result<Self> {
        out.put(codec.head())?;
        Ok(Self { sum: C::Sum::default(), at: 0, zeros: codec.piece(&vec![0; BLOCK_SIZE as usize])? })
    }

    /// Adds a piece that is no part of the disk.
    pub(super) fn add(&mut self, codec: &C, out: &mut Out<'_>, piece: &C::Piece) -> io::Result<()> {
        out.put(codec.add(&mut self.sum, piece))
    }

    /// Adds zeros up to this position on the disk.
    pub(super) fn fill(&mut self, codec: &C, out: &mut Out<'_>, end: u64) -> io::Result<()> {
        while end - self.at >= BLOCK_SIZE {
            out.put(codec.add(&mut self.sum, &self.zeros))?;
            self.at += BLOCK_SIZE;
        }
        if self.at < end {
            let rest = codec.piece(&vec![0; (end - self.at) as usize])?;
            self.add(codec, out, &rest)?;
            self.at = end;
        }
        Ok(())
    }

    /// Adds what a block of `len` bytes became.
    pub(super) fn block(
        &mut self,
        codec: &C,
        out: &mut Out<'_>,
        offset: u64,
        body: &Body<C>,
    ) -> io::Result<()> {
        self.fill(codec, out, offset)?;
        match body {
            Body::Zeros(len) => self.fill(codec, out, offset + len),
            Body::Piece(len, piece) => {
                self.at += len;
                self.add(codec, out, piece)
            }
        }
    }

    pub(super) fn end(self, codec: &C, out: &mut Out<'_>) -> io::Result<()> {
        out.put(&codec.tail(self.sum))
    }
}

/// What a block becomes, with its length.
pub(super) enum Body<C: Codec> {
    Zeros(u64),
    Piece(u64, C::Piece),
}

impl<C: Codec> Body<C> {
    pub(super) fn of(codec: &C, bytes: &[u8]) -> io::Result<Self> {
        let len = bytes.len() as u64;
        Ok(if is_zero(bytes) { Self::Zeros(len) } else { Self::Piece(len, codec.piece(bytes)?) })
    }
}

/// The disk and nothing else.
struct Whole<C> {
    codec: C,
    len: u64,
}

impl<C: Codec> Encode for Whole<C> {
    type Body = Body<C>;
    type State = Pieces<C>;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Pieces<C>> {
        Pieces::begin(&self.codec, out)
    }

    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Body<C>> {
        Body::of(&self.codec, chunk.bytes)
    }

    fn append(
        &self,
        pieces: &mut Pieces<C>,
        out: &mut Out<'_>,
        offset: u64,
        body: Body<C>,
    ) -> io::Result<()> {
        pieces.block(&self.codec, out, offset, &body)
    }

    fn end(&self, mut pieces: Pieces<C>, out: &mut Out<'_>) -> io::Result<()> {
        pieces.fill(&self.codec, out, self.len)?;
        // Nothing at all is a file of no format.
        if self.len == 0 && self.codec.head().is_empty() {
            pieces.add(&self.codec, out, &self.codec.piece(&[])?)?;
        }
        pieces.end(&self.codec, out)
    }
}

fn stream<C: Codec + 'static>(disk: &Layout, codec: C) -> Box<dyn Container> {
    Box::new(InOrder::new(disk, Whole { codec, len: disk.len() }))
}

fn starts_with(file: &FileBytes, magic: &[u8]) -> io::Result<bool> {
    unpack::starts_with(file, magic)
}

#[cfg(test)]
mod tests;
