//! Reading a VHD, fixed or dynamic, made here or elsewhere.

use std::io;

use bake_base::{FileBytes, ReadAt};

use super::{
    BLOCK, COOKIE, DYNAMIC_COOKIE, FOOTER_CHECKSUM, HEADER_CHECKSUM, HEADER_OFFSET, MAX_SIZE, SECTOR, UNUSED,
    sum,
};
use crate::container::{Format, OpenError, fields};

/// The largest size of a block that is believed: tools write 512 KiB to 2 MiB.
const MAX_BLOCK: u64 = 256 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fixed,
    Dynamic,
}

/// The footer, if there is one: of a fixed disk its last sector, of a dynamic one with its copy in the first.
pub(super) fn recognise(file: &FileBytes, kind: Kind) -> io::Result<bool> {
    if file.len() < SECTOR {
        return Ok(false);
    }
    let at = if kind == Kind::Dynamic { 0 } else { file.len() - SECTOR };
    let mut cookie = [0; COOKIE.len()];
    file.read_exact_at(at, &mut cookie)?;
    Ok(cookie == COOKIE)
}

#[derive(Debug)]
pub(super) struct Reader {
    file: FileBytes,
    len: u64,
    /// Where the table of a dynamic disk lies, and the size of its blocks.
    blocks: Option<(u64, u64)>,
}

/// Whether a structure's checksum is right.
fn is_whole(bytes: &[u8], checksum: usize) -> bool {
    let mut own = bytes.to_vec();
    own[checksum..checksum + 4].fill(0);
    sum(&mut own, checksum);
    own == bytes
}

impl Reader {
    pub(super) fn new(file: FileBytes, format: Format) -> Result<Self, OpenError> {
        let damaged = |problem: String| OpenError::Damaged { format, problem };
        let mut footer = [0; SECTOR as usize];
        file.read_exact_at(file.len().saturating_sub(SECTOR), &mut footer)?;
        if footer[..8] != COOKIE || !is_whole(&footer, FOOTER_CHECKSUM) {
            return Err(damaged("its footer is missing or its checksum is wrong".to_owned()));
        }
        let (len, kind) = (fields::be64(&footer, 48), fields::be32(&footer, 60));
        if len > MAX_SIZE || !len.is_multiple_of(SECTOR) {
            return Err(damaged(format!("{len} bytes are no size of a disk in this format")));
        }
        match kind {
            2 if file.len() == len + SECTOR => Ok(Self { file, len, blocks: None }),
            2 => Err(damaged(format!("it has {} bytes: expected {}", file.len(), len + SECTOR))),
            3 => {
                let header = fields::be64(&footer, 16);
                let blocks = Self::blocks(&file, header, len).map_err(damaged)?;
                Ok(Self { file, len, blocks: Some(blocks) })
            }
            4 => Err(OpenError::Unsupported { format, feature: "a parent".to_owned() }),
            other => Err(damaged(format!("type {other}: expected 2 or 3"))),
        }
    }

    /// What the header of a dynamic disk says of its blocks.
    fn blocks(file: &FileBytes, at: u64, len: u64) -> Result<(u64, u64), String> {
        let mut header = [0; 1024];
        let is_read = file.read_exact_at(at, &mut header).is_ok();
        if at < HEADER_OFFSET
            || !is_read
            || header[..8] != DYNAMIC_COOKIE
            || !is_whole(&header, HEADER_CHECKSUM)
        {
            return Err(format!("no header with a right checksum lies at byte {at}"));
        }
        let (table, entries) = (fields::be64(&header, 16), u64::from(fields::be32(&header, 28)));
        let block = u64::from(fields::be32(&header, 32));
        if !block.is_power_of_two() || !(SECTOR..=MAX_BLOCK).contains(&block) {
            return Err(format!("blocks of {block} bytes: expected a power of two such as {BLOCK}"));
        }
        let needed = len.div_ceil(block);
        let end = table.checked_add(needed * 4).filter(|end| *end <= file.len());
        if entries < needed || end.is_none() {
            return Err(format!("its table of {entries} blocks at byte {table} cannot hold {needed}"));
        }
        Ok((table, block))
    }

    /// Where the content of a block begins, unless it is zeros.
    fn place(&self, table: u64, size: u64, block: u64) -> io::Result<Option<u64>> {
        let mut entry = [0; 4];
        self.file.read_exact_at(table + block * 4, &mut entry)?;
        match u32::from_be_bytes(entry) {
            UNUSED => Ok(None),
            sector => {
                let map = (size / SECTOR).div_ceil(8).next_multiple_of(SECTOR);
                Ok(Some(u64::from(sector) * SECTOR + map))
            }
        }
    }
}

impl ReadAt for Reader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = fields::end(offset, buffer.len(), self.len)?;
        let Some((table, size)) = self.blocks else { return self.file.read_exact_at(offset, buffer) };
        fields::each_unit(offset, end, size, |block, within, range| {
            let part = &mut buffer[range];
            match self.place(table, size, block)? {
                Some(start) => self.file.read_exact_at(start + within, part),
                None => {
                    part.fill(0);
                    Ok(())
                }
            }
        })
    }
}
