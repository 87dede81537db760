//! Hyper-V's virtual hard disk, version 2 (\[MS-VHDX\], "Virtual Hard Disk v2 (VHDX) File Format"), dynamic.
//!
//! A block of the disk is there exactly if a piece touches it. The file is, in this order: identifier, two headers,
//! two region tables, an empty log, metadata, block allocation table, blocks in the order of the disk. Nothing is
//! ever in the log, so both headers are the same but for their sequence numbers.

mod read;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bake_base::{Layout, Uuid};

use super::extents::{self, Extent};
use super::{Chunk, Container, Format, identity, sector_size};

pub(super) const FORMAT: Format = Format {
    name: "vhdx",
    extension: "vhdx",
    plan: |disk| Ok(Box::new(Plan::new(disk)?)),
    recognise: |file| super::unpack::starts_with(file, &IDENTIFIER),
    open: |file| Ok(Box::new(read::Reader::new(file)?)),
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const IDENTIFIER: [u8; 8] = *b"vhdxfile";
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const HEADER_LEN: usize = 4 << 10;
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const TABLE_LEN: usize = 64 << 10;
/// Log and metadata have a MiB each, as everything from the first MiB on is a multiple of it.
const LOG: u64 = MIB;
const METADATA: u64 = 2 * MIB;
const BAT: u64 = 3 * MIB;
/// The smallest block of the format, and the best for Linux.
const BLOCK: u64 = MIB;
/// 64 TiB.
const MAX_SIZE: u64 = 64 << 40;
/// Where the checksum (CRC-32C) of headers and region tables lies.
const CHECKSUM: usize = 4;
/// State of a block that is there; all others are zeros.
const FULLY_PRESENT: u64 = 6;

const BAT_REGION: Uuid = Uuid::from_u128(0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08);
const METADATA_REGION: Uuid = Uuid::from_u128(0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e);
const FILE_PARAMETERS: Uuid = Uuid::from_u128(0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b);
const DISK_SIZE: Uuid = Uuid::from_u128(0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8);
const DISK_ID: Uuid = Uuid::from_u128(0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746);
const LOGICAL_SECTOR: Uuid = Uuid::from_u128(0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR: Uuid = Uuid::from_u128(0xcda3_48c7_445d_4471_9cc9_e988_5251_c556);

/// Flags of metadata: of the disk rather than the file; and every reader has to know it.
const OF_DISK: u32 = 1 << 1;
const REQUIRED: u32 = 1 << 2;

/// How many blocks' entries lie between two of sector bitmaps ("BAT", "Chunk ratio").
fn chunk_ratio(sector: u64, block: u64) -> u64 {
    (1 << 23) * sector / block
}

/// The position of a block's entry in the table, with those of bitmaps before it.
fn entry_of(block: u64, chunk_ratio: u64) -> u64 {
    block + block / chunk_ratio
}

#[derive(Debug)]
struct Plan {
    len: u64,
    id: Uuid,
    sector: u64,
    /// In blocks, packed from 0.
    extents: Vec<Extent>,
}

impl Plan {
    fn new(disk: &Layout) -> Result<Self, String> {
        let len = disk.len();
        let sector = sector_size(disk).map_err(|error| error.to_string())?;
        if len == 0 || !len.is_multiple_of(sector) {
            return Err(format!(
                "{len} bytes are no whole number of sectors of {sector} bytes: round the size up"
            ));
        }
        if len > MAX_SIZE {
            return Err(format!("{len} bytes are more than the format's 64 TiB: make it smaller"));
        }
        let id = identity(disk, "vhdx").map_err(|error| error.to_string())?;
        Ok(Self { len, id, sector, extents: extents::touched(disk, BLOCK, 0) })
    }

    fn bat_len(&self) -> u64 {
        let last = self.len.div_ceil(BLOCK) - 1;
        ((entry_of(last, chunk_ratio(self.sector, BLOCK)) + 1) * 8).next_multiple_of(MIB)
    }

    fn blocks(&self) -> u64 {
        BAT + self.bat_len()
    }

    /// "Headers".
    fn header(&self, sequence: u64) -> Vec<u8> {
        let mut header = b"head\0\0\0\0".to_vec();
        header.extend(sequence.to_le_bytes());
        header.extend(self.id.to_bytes_le()); // of the file, new whenever it is opened for writing
        header.extend(self.id.to_bytes_le()); // of its data, new whenever that changes
        header.extend([0; 16]); // no log
        header.extend([0, 0, 1, 0]); // versions of the log and of the format
        header.extend((MIB as u32).to_le_bytes());
        header.extend(LOG.to_le_bytes());
        header.resize(HEADER_LEN, 0);
        sum(&mut header);
        header
    }

    /// "Region Table".
    fn regions(&self) -> Vec<u8> {
        let mut table = b"regi\0\0\0\0".to_vec();
        table.extend([2_u32, 0].map(u32::to_le_bytes).concat());
        for (region, offset, len) in [(BAT_REGION, BAT, self.bat_len()), (METADATA_REGION, METADATA, MIB)] {
            table.extend(region.to_bytes_le());
            table.extend(offset.to_le_bytes());
            table.extend([len as u32, 1].map(u32::to_le_bytes).concat()); // every reader has to know it
        }
        table.resize(TABLE_LEN, 0);
        sum(&mut table);
        table
    }

    /// "Metadata Region": a table of 64 KiB, and the items behind it.
    fn metadata(&self) -> Vec<u8> {
        let block = [BLOCK as u32, 0].map(u32::to_le_bytes).concat(); // no parent
        let sector = (self.sector as u32).to_le_bytes().to_vec();
        let items = [
            (FILE_PARAMETERS, REQUIRED, block),
            (DISK_SIZE, OF_DISK | REQUIRED, self.len.to_le_bytes().to_vec()),
            (DISK_ID, OF_DISK | REQUIRED, self.id.to_bytes_le().to_vec()),
            (LOGICAL_SECTOR, OF_DISK | REQUIRED, sector.clone()),
            (PHYSICAL_SECTOR, OF_DISK | REQUIRED, sector),
        ];
        let mut table = b"metadata\0\0".to_vec();
        table.extend((items.len() as u16).to_le_bytes());
        table.resize(32, 0);
        let mut content = Vec::new();
        for (item, flags, value) in items {
            table.extend(item.to_bytes_le());
            let offset = (TABLE_LEN + content.len()) as u32;
            table.extend([offset, value.len() as u32, flags, 0].map(u32::to_le_bytes).concat());
            content.extend(value);
        }
        table.resize(TABLE_LEN, 0);
        [table, content].concat()
    }

    /// "BAT Entry": the state in the low bits, the place in MiB from bit 20 on.
    fn bat(&self) -> Vec<u8> {
        let mut bat = vec![0; self.bat_len() as usize];
        let ratio = chunk_ratio(self.sector, BLOCK);
        for (block, index) in extents::units(&self.extents) {
            let entry = (self.blocks() + index * BLOCK) | FULLY_PRESENT;
            bat[entry_of(block, ratio) as usize * 8..][..8].copy_from_slice(&entry.to_le_bytes());
        }
        bat
    }
}

impl Container for Plan {
    fn begin(&self, file: &File) -> io::Result<()> {
        file.set_len(self.blocks() + extents::count(&self.extents) * BLOCK)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        for (range, packed) in extents::packed(&self.extents, BLOCK, chunk) {
            file.write_all_at(&chunk.bytes[range], self.blocks() + packed)?;
        }
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.bat(), BAT)?;
        file.write_all_at(&self.metadata(), METADATA)?;
        for offset in REGION_TABLES {
            file.write_all_at(&self.regions(), offset)?;
        }
        for (sequence, offset) in (0..).zip(HEADERS) {
            file.write_all_at(&self.header(sequence), offset)?;
        }
        file.write_all_at(&IDENTIFIER, 0)
    }
}

/// Sets the checksum, which counts as zero.
fn sum(bytes: &mut [u8]) {
    bytes[CHECKSUM..CHECKSUM + 4].fill(0);
    let sum = crc32c::crc32c(bytes);
    bytes[CHECKSUM..CHECKSUM + 4].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests;
