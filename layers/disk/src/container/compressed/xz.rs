//! Streams of xz (format 1.1), one for each piece: decoders read them as one.

use std::io;

use xz2::stream::{Action, Check, Filters, LzmaOptions, Status, Stream};

use super::Codec;
use crate::digests::BLOCK_SIZE;

const PRESET: u32 = 6;

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
