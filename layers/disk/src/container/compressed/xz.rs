//! Streams of xz (format 1.1), one for each piece: decoders read them as one.

use std::io::{self, Read};

use xz2::read::XzDecoder;
use xz2::stream::{Action, CONCATENATED, Check, Filters, LzmaOptions, Status, Stream};

use super::{Codec, unpack};
use crate::digests::BLOCK_SIZE;

const PRESET: u32 = 6;
/// Memory that a decoder may take, in bytes: enough for `xz -9`.
const MEMORY: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct Xz;

impl Codec for Xz {
    type Piece = Vec<u8>;
    type Sum = ();

    fn head(&self) -> &'static [u8] {
        &[]
    }

    fn piece(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut options = LzmaOptions::new_preset(PRESET)?;
        options.dict_size(BLOCK_SIZE as u32); // more than a piece would only take memory
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let mut stream = Stream::new_stream_encoder(&filters, Check::Crc64)?;
        let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
        loop {
            let input = &bytes[stream.total_in() as usize..];
            if stream.process_vec(input, &mut out, Action::Finish)? == Status::StreamEnd {
                return Ok(out);
            }
            out.reserve(bytes.len() / 2 + 1024);
        }
    }

    fn add<'a>(&self, (): &mut (), piece: &'a Vec<u8>) -> &'a [u8] {
        piece
    }

    fn tail(&self, (): ()) -> Vec<u8> {
        Vec::new()
    }
}

/// Reads all streams.
pub(super) fn decoder(reader: Box<dyn Read>) -> Box<dyn Read> {
    let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED).map_err(io::Error::from);
    unpack::or_broken(stream.map(|stream| XzDecoder::new_stream(reader, stream)))
}
