//! One member of gzip (RFC 1952), whose pieces end on a byte (an empty stored block, RFC 1951, section 3.2.4) and
//! refer to nothing before them.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

use super::Codec;

/// No time, no name, unknown operating system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty last block.
const LAST: [u8; 2] = [3, 0];

#[derive(Debug)]
pub(in super::super) struct Gzip;

impl Codec for Gzip {
    type Piece = (Vec<u8>, Crc);
    type Sum = Crc;

    fn head(&self) -> &'static [u8] {
        &HEAD
    }

    fn piece(&self, bytes: &[u8]) -> io::Result<(Vec<u8>, Crc)> {
        let mut crc = Crc::new();
        crc.update(bytes);
        let mut deflate = Compress::new(Compression::new(6), false);
        let mut out = Vec::with_capacity(bytes.len() / 2 + 1024);
        loop {
            let input = &bytes[deflate.total_in() as usize..];
            let status = deflate.compress_vec(input, &mut out, FlushCompress::Sync)?;
            // The flush is complete when it has left room.
            if status == Status::Ok
                && deflate.total_in() as usize == bytes.len()
                && out.len() < out.capacity()
            {
                return Ok((out, crc));
            }
            out.reserve(bytes.len() / 2 + 1024);
        }
    }

    fn add<'a>(&self, sum: &mut Crc, (bytes, crc): &'a (Vec<u8>, Crc)) -> &'a [u8] {
        sum.combine(crc);
        bytes
    }

    fn tail(&self, sum: Crc) -> Vec<u8> {
        [&LAST[..], &sum.sum().to_le_bytes(), &sum.amount().to_le_bytes()].concat()
    }
}
