//! Virtual Hard Disk (Microsoft's "Virtual Hard Disk Image Format Specification", 1.0): fixed, which is the disk
//! with a footer behind it and what Azure takes, and dynamic, which leaves blocks out that nothing is in.
//!
//! Time stamps are zero and the id derives from the disk, so that the same disk is the same file.

mod read;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bake_base::Layout;

use super::extents::{self, Extent};
use super::{Chunk, Container, Format, identity, len_in_small_sectors};

pub(super) const FIXED: Format = Format {
    name: "vhd",
    extension: "vhd",
    plan: |disk| Ok(Box::new(Fixed { len: checked(disk, MIB)?, footer: footer(disk, NOWHERE, 2)? })),
    recognise: |file| read::recognise(file, read::Kind::Fixed),
    open: |file| Ok(Box::new(read::Reader::new(file, FIXED)?)),
};

pub(super) const DYNAMIC: Format = Format {
    name: "vhd-dynamic",
    extension: "dynamic.vhd",
    plan: |disk| Ok(Box::new(Dynamic::new(disk)?)),
    recognise: |file| read::recognise(file, read::Kind::Dynamic),
    open: |file| Ok(Box::new(read::Reader::new(file, DYNAMIC)?)),
};

const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
const COOKIE: [u8; 8] = *b"conectix";
const DYNAMIC_COOKIE: [u8; 8] = *b"cxsparse";
/// "No offset", of a fixed disk's data and of a next structure.
const NOWHERE: u64 = u64::MAX;
/// What the format's 32-bit sector numbers and its tools allow: 2,040 GiB.
const MAX_SIZE: u64 = 2040 << 30;
/// The size of a block of dynamic disks that every tool writes, in bytes.
const BLOCK: u64 = 2 << 20;
/// A block is preceded by a map with a bit for each of its sectors.
const MAP: u64 = BLOCK / SECTOR / 8;
/// The entry of a block that is not there.
const UNUSED: u32 = u32::MAX;
/// Behind the copy of the footer; the header has 1,024 bytes.
const HEADER_OFFSET: u64 = SECTOR;
const TABLE_OFFSET: u64 = HEADER_OFFSET + 1024;

/// Where the checksum lies in a footer and in the header of a dynamic disk.
const FOOTER_CHECKSUM: usize = 64;
const HEADER_CHECKSUM: usize = 36;

fn checked(disk: &Layout, multiple: u64) -> Result<u64, String> {
    let len = len_in_small_sectors(disk)?;
    if !len.is_multiple_of(multiple) {
        return Err(format!("{len} bytes are no multiple of {multiple}: round the size up"));
    }
    if len > MAX_SIZE {
        return Err(format!(
            "{len} bytes are more than the format's 2,040 GiB: use `vhdx`, or make it smaller"
        ));
    }
    Ok(len)
}

/// "Hard Disk Footer Format"; `kind` is 2 of a fixed and 3 of a dynamic disk.
fn footer(disk: &Layout, data_offset: u64, kind: u32) -> Result<Vec<u8>, String> {
    let mut footer = COOKIE.to_vec();
    footer.extend(2_u32.to_be_bytes()); // features: the bit that is always set
    footer.extend(0x0001_0000_u32.to_be_bytes());
    footer.extend(data_offset.to_be_bytes());
    footer.extend(0_u32.to_be_bytes()); // seconds since 2000
    // Readers go by the creator: of this one all take the size, of unknown ones some take the geometry, which is
    // smaller than most disks.
    footer.extend(*b"win \x00\x0a\x00\x00Wi2k");
    footer.extend(disk.len().to_be_bytes()); // at first
    footer.extend(disk.len().to_be_bytes()); // now
    let (cylinders, heads, sectors) = geometry(disk.len() / SECTOR);
    footer.extend(cylinders.to_be_bytes());
    footer.extend([heads, sectors]);
    footer.extend(kind.to_be_bytes());
    footer.extend(0_u32.to_be_bytes()); // the checksum
    footer.extend(identity(disk, "vhd").map_err(|error| error.to_string())?.as_bytes());
    footer.resize(SECTOR as usize, 0);
    sum(&mut footer, FOOTER_CHECKSUM);
    Ok(footer)
}

/// Cylinders, heads and sectors per track of this many sectors ("Appendix: CHS Calculation").
fn geometry(sectors: u64) -> (u16, u8, u8) {
    let sectors = sectors.min(65_535 * 16 * 255);
    let (per_track, heads) = if sectors >= 65_535 * 16 * 63 {
        (255, 16)
    } else {
        let heads = (sectors / 17).div_ceil(1024).max(4);
        if heads <= 16 && sectors / 17 < heads * 1024 {
            (17, heads)
        } else if sectors / 31 < 16 * 1024 {
            (31, 16)
        } else {
            (63, 16)
        }
    };
    ((sectors / per_track / heads) as u16, heads as u8, per_track as u8)
}

/// Sets the one's complement of the sum of all bytes.
fn sum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

#[derive(Debug)]
struct Fixed {
    len: u64,
    footer: Vec<u8>,
}

impl Container for Fixed {
    fn begin(&self, file: &File) -> io::Result<()> {
        file.set_len(self.len + SECTOR)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        for run in chunk.covered {
            file.write_all_at(&chunk.bytes[run.clone()], chunk.offset + run.start as u64)?;
        }
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.footer, self.len)
    }
}

/// Copy of the footer, header, table, blocks in the order of the disk, footer.
#[derive(Debug)]
struct Dynamic {
    footer: Vec<u8>,
    blocks: u64,
    extents: Vec<Extent>,
}

impl Dynamic {
    fn new(disk: &Layout) -> Result<Self, String> {
        let len = checked(disk, SECTOR)?;
        let footer = footer(disk, HEADER_OFFSET, 3)?;
        Ok(Self { footer, blocks: len.div_ceil(BLOCK), extents: extents::touched(disk, BLOCK, 0) })
    }

    fn table_len(&self) -> u64 {
        (self.blocks * 4).next_multiple_of(SECTOR)
    }

    /// Where a block that is kept begins, with its map.
    fn place(&self, index: u64) -> u64 {
        TABLE_OFFSET + self.table_len() + index * (MAP + BLOCK)
    }

    fn end(&self) -> u64 {
        self.place(extents::count(&self.extents))
    }

    /// "Dynamic Disk Header Format".
    fn header(&self) -> Vec<u8> {
        let mut header = DYNAMIC_COOKIE.to_vec();
        header.extend(NOWHERE.to_be_bytes());
        header.extend(TABLE_OFFSET.to_be_bytes());
        header.extend(0x0001_0000_u32.to_be_bytes());
        header.extend((self.blocks as u32).to_be_bytes());
        header.extend((BLOCK as u32).to_be_bytes());
        header.resize(1024, 0); // no parent
        sum(&mut header, HEADER_CHECKSUM);
        header
    }
}

impl Container for Dynamic {
    fn begin(&self, file: &File) -> io::Result<()> {
        file.set_len(self.end() + SECTOR)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        // Blocks are multiples of what comes at a time, so nothing here crosses one.
        for (range, packed) in extents::packed(&self.extents, BLOCK, chunk) {
            file.write_all_at(&chunk.bytes[range], self.place(packed / BLOCK) + MAP + packed % BLOCK)?;
        }
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        let mut table = vec![0xff; self.table_len() as usize];
        for (block, index) in extents::units(&self.extents) {
            let sector = (self.place(index) / SECTOR) as u32;
            table[block as usize * 4..][..4].copy_from_slice(&sector.to_be_bytes());
            file.write_all_at(&[0xff; MAP as usize], self.place(index))?;
        }
        file.write_all_at(&table, TABLE_OFFSET)?;
        file.write_all_at(&self.header(), HEADER_OFFSET)?;
        file.write_all_at(&self.footer, self.end())?;
        file.write_all_at(&self.footer, 0)
    }
}

#[cfg(test)]
mod tests;
