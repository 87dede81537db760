//! Metadata: a stream cut into blocks of 8 KiB, each compressed behind its size, and tables of them.

use super::Error;
use super::compress::Zstd;

/// Bytes of a block before it is compressed.
pub(super) const BLOCK: usize = 8192;
/// Marks the size of a block that could not be compressed (`SQUASHFS_COMPRESSED_BIT`).
const UNCOMPRESSED: u16 = 1 << 15;

/// Where something lies in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Where its block begins, compressed.
    pub block: u32,
    /// Where it lies in the block, uncompressed.
    pub offset: u16,
}

impl Position {
    /// As one number.
    pub fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A stream in the making.
pub(super) struct Stream<'a> {
    zstd: &'a mut Zstd,
    done: Vec<u8>,
    /// What is not a whole block yet.
    open: Vec<u8>,
    /// Where each block begins.
    blocks: Vec<u64>,
}

impl<'a> Stream<'a> {
    pub fn new(zstd: &'a mut Zstd) -> Self {
        Self { zstd, done: Vec::new(), open: Vec::new(), blocks: Vec::new() }
    }

    /// Where the next byte goes.
    pub fn position(&self) -> Result<Position, Error> {
        let most = u64::from(u32::MAX);
        let block = u32::try_from(self.done.len());
        let block = block.map_err(|_| Error::TooLarge { what: "bytes of metadata", most })?;
        Ok(Position { block, offset: self.open.len() as u16 })
    }

    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - self.open.len()));
            self.open.extend(now);
            bytes = later;
            if self.open.len() == BLOCK {
                self.close()?;
            }
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.blocks.push(self.done.len() as u64);
        match self.zstd.compress(&self.open)? {
            Some(compressed) => {
                self.done.extend((compressed.len() as u16).to_le_bytes());
                self.done.extend(compressed);
            }
            None => {
                self.done.extend((self.open.len() as u16 | UNCOMPRESSED).to_le_bytes());
                self.done.extend(&self.open);
            }
        }
        self.open.clear();
        Ok(())
    }

    /// All of it, and where each block begins.
    pub fn finish(mut self) -> Result<(Vec<u8>, Vec<u64>), Error> {
        if !self.open.is_empty() {
            self.close()?;
        }
        Ok((self.done, self.blocks))
    }
}

/// Appends a table to an image's tables, which begin at byte `origin`: blocks, and then where each one is. Gives
/// where the latter lie.
pub(super) fn table(
    tables: &mut Vec<u8>,
    origin: u64,
    zstd: &mut Zstd,
    entries: &[u8],
) -> Result<u64, Error> {
    let mut stream = Stream::new(zstd);
    stream.append(entries)?;
    let (bytes, blocks) = stream.finish()?;
    let start = origin + tables.len() as u64;
    tables.extend(bytes);
    let index = origin + tables.len() as u64;
    tables.extend(blocks.iter().flat_map(|block| (start + block).to_le_bytes()));
    Ok(index)
}

/// An uncompressed block, for what has to be read before the way of compressing is known.
pub(super) fn plain(bytes: &[u8]) -> Vec<u8> {
    let size = bytes.len() as u16 | UNCOMPRESSED;
    [&size.to_le_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_cut_into_blocks() {
        let mut zstd = Zstd::new(1);
        let mut stream = Stream::new(&mut zstd);
        stream.append(&[7; BLOCK - 1]).unwrap();
        assert_eq!(stream.position().unwrap(), Position { block: 0, offset: 8191 });
        stream.append(&[7; 3]).unwrap();
        let second = stream.position().unwrap();
        assert_eq!((second.offset, second.reference()), (2, u64::from(second.block) << 16 | 2));
        let (bytes, blocks) = stream.finish().unwrap();
        assert_eq!(blocks, [0, u64::from(second.block)]);
        // Two bytes are not compressed.
        assert_eq!(bytes[second.block as usize..], [2, 0x80, 7, 7]);
        let mut tables = vec![9; 5];
        let index = table(&mut tables, 100, &mut zstd, b"ab").unwrap();
        assert_eq!(
            (index, &tables[5..]),
            (109, &[&[2, 0x80, b'a', b'b'][..], &105_u64.to_le_bytes()].concat()[..])
        );
        assert_eq!(table(&mut tables, 100, &mut zstd, b"").unwrap(), 117);
    }
}
