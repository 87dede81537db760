//! One stream of xz (format 1.1), with a block for each piece.
//!
//! liblzma makes streams of one block; their blocks are put behind each other, with an index of all of them. So a file
//! that is cut anywhere is seen to be.

use std::io::{self, Read};

use flate2::Crc;
use xz2::read::XzDecoder;
use xz2::stream::{Action, CONCATENATED, Check, Filters, LzmaOptions, Status, Stream};

use super::{Codec, unpack};
use crate::digests::BLOCK_SIZE;

const PRESET: u32 = 6;
/// Memory that a decoder may take, in bytes: enough for `xz -9`.
const MEMORY: u64 = 256 << 20;
/// "Stream Header": magic, flags for CRC-64, and their CRC-32.
const HEAD: [u8; 12] = [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 4, 0xe6, 0xd6, 0xb4, 0x46];
/// "Stream Footer": CRC-32, size of the index, the same flags, magic.
const FOOTER: usize = 12;
const FOOTER_END: [u8; 4] = [0, 4, b'Y', b'Z'];

#[derive(Debug)]
pub(super) struct Xz;

/// A block, and what the index says of it ("List of Records"): its size without padding and that of its content.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    record: Vec<u8>,
}

/// What the index will say.
#[derive(Debug, Default)]
pub(super) struct Index {
    count: u64,
    records: Vec<u8>,
}

impl Codec for Xz {
    type Piece = Block;
    type Sum = Index;

    fn head(&self) -> &'static [u8] {
        &HEAD
    }

    fn piece(&self, bytes: &[u8]) -> io::Result<Block> {
        let mut options = LzmaOptions::new_preset(PRESET)?;
        options.dict_size(BLOCK_SIZE as u32); // more than a piece would only take memory
        let mut filters = Filters::new();
        filters.lzma2(&options);
        let mut stream = Stream::new_stream_encoder(&filters, Check::Crc64)?;
        let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
        loop {
            let input = &bytes[stream.total_in() as usize..];
            if stream.process_vec(input, &mut out, Action::Finish)? == Status::StreamEnd {
                return block(&out).ok_or_else(|| io::Error::other("liblzma made no stream of one block"));
            }
            out.reserve(bytes.len() / 2 + 1024);
        }
    }

    fn add<'a>(&self, index: &mut Index, block: &'a Block) -> &'a [u8] {
        index.count += 1;
        index.records.extend(&block.record);
        &block.bytes
    }

    /// "Index" and "Stream Footer".
    fn tail(&self, index: Index) -> Vec<u8> {
        let mut tail = vec![0];
        let mut count = index.count;
        while count >= 0x80 {
            tail.push(count as u8 | 0x80);
            count >>= 7;
        }
        tail.push(count as u8);
        tail.extend(index.records);
        tail.resize(tail.len().next_multiple_of(4), 0);
        tail.extend(crc32(&tail));
        let size = (tail.len() / 4 - 1) as u32;
        let end = [&size.to_le_bytes()[..], &FOOTER_END].concat();
        tail.extend(crc32(&end[..6]));
        tail.extend(end);
        tail
    }
}

/// The block of a stream that has one.
fn block(stream: &[u8]) -> Option<Block> {
    let (rest, footer) = stream.strip_prefix(&HEAD)?.split_last_chunk::<FOOTER>()?;
    let words = u32::from_le_bytes(*footer[4..].first_chunk()?);
    let (block, index) = rest.split_at_checked(rest.len().checked_sub((words as usize + 1) * 4)?)?;
    let records = index.strip_prefix(&[0, 1])?;
    // Two numbers, each of which ends with the first byte below 0x80.
    let ends = (1..).zip(records).filter(|(_, byte)| **byte < 0x80);
    let (end, _) = ends.into_iter().nth(1)?;
    Some(Block { bytes: block.to_vec(), record: records[..end].to_vec() })
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// Reads all streams.
pub(super) fn decoder(reader: Box<dyn Read>) -> Box<dyn Read> {
    let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED).map_err(io::Error::from);
    unpack::or_broken(stream.map(|stream| XzDecoder::new_stream(reader, stream)))
}
