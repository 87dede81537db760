//! Zstandard (RFC 8878): a frame with its size and checksum for each piece.

use std::io::{self, Read};

use zstd::zstd_safe::CParameter;

use super::{Codec, unpack};

const LEVEL: i32 = 3;

#[derive(Debug)]
pub(super) struct Zst;

impl Codec for Zst {
    type Piece = Vec<u8>;
    type Sum = ();

    fn head(&self) -> &'static [u8] {
        &[]
    }

    fn piece(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.compress(bytes)
    }

    fn add<'a>(&self, (): &mut (), piece: &'a Vec<u8>) -> &'a [u8] {
        piece
    }

    fn tail(&self, (): ()) -> Vec<u8> {
        Vec::new()
    }
}

/// Reads all frames, with windows of up to 128 MiB, which is libzstd's own limit.
pub(super) fn decoder(reader: Box<dyn Read>) -> Box<dyn Read> {
    unpack::or_broken(zstd::stream::read::Decoder::new(reader))
}
