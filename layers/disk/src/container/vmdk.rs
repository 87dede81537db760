//! VMware's virtual disk ("Virtual Disk Format 5.0"), as one file with its descriptor in it: monolithic sparse,
//! which hypervisors run from, and stream-optimised (`vmdk/stream.rs`), which they import.
//!
//! A grain of the disk is there exactly if a piece touches it. The monolithic file is, in this order: header,
//! descriptor, redundant directory and tables, directory and tables, grains in the order of the disk.

mod read;
mod stream;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bake_base::Layout;

use super::extents::{self, Extent};
use super::{Chunk, Container, Format, identity, len_in_small_sectors};

pub(super) use read::Reader;
pub(super) use stream::Stream;

pub(super) const SPARSE: Format = Format {
    name: "vmdk",
    extension: "vmdk",
    plan: |disk| Ok(Box::new(Sparse::new(disk)?)),
    recognise: |file| read::recognise(file, false),
    open: |file| Ok(Box::new(Reader::new(file, SPARSE)?)),
};

pub(super) const STREAM: Format = Format {
    name: "vmdk-stream",
    extension: "stream.vmdk",
    plan: |disk| Ok(Box::new(super::InOrder::new(disk, Stream::new(disk)?))),
    recognise: |file| read::recognise(file, true),
    open: |file| Ok(Box::new(Reader::new(file, STREAM)?)),
};

const SECTOR: u64 = 512;
const MAGIC: [u8; 4] = *b"KDMV";
/// Sectors in a grain: 64 KiB, as every tool writes it and as stream-optimised disks must have.
const GRAIN_SECTORS: u64 = 128;
const GRAIN: u64 = GRAIN_SECTORS * SECTOR;
/// Grains in a table, and a table's length in sectors.
const TABLE_ENTRIES: u64 = 512;
const TABLE_SECTORS: u64 = TABLE_ENTRIES * 4 / SECTOR;
const DESCRIPTOR_START: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// Flags: line ends can be checked; there are redundant tables; grains are compressed; and have markers.
const NEWLINES: u32 = 1;
const REDUNDANT: u32 = 1 << 1;
const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;
/// Compression by DEFLATE, in a zlib wrapper (RFC 1950).
const DEFLATE: u16 = 1;
/// Sector numbers in tables have 32 bits.
const MAX_SIZE: u64 = 2 << 40;

/// How many sectors the disk has.
fn capacity(disk: &Layout) -> Result<u64, String> {
    let len = len_in_small_sectors(disk)?;
    if !len.is_multiple_of(SECTOR) {
        return Err(format!("{len} bytes are no whole number of 512-byte sectors: round the size up"));
    }
    if len >= MAX_SIZE {
        return Err(format!("{len} bytes are not less than the format's 2 TiB: make it smaller"));
    }
    Ok(len / SECTOR)
}

/// Numbers of the header that differ between the kinds, in sectors.
struct Places {
    version: u32,
    flags: u32,
    redundant_directory: u64,
    directory: u64,
    overhead: u64,
    compression: u16,
}

/// `SparseExtentHeader`, a sector.
fn header(capacity: u64, places: &Places) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend(places.version.to_le_bytes());
    header.extend(places.flags.to_le_bytes());
    for number in [capacity, GRAIN_SECTORS, DESCRIPTOR_START, DESCRIPTOR_SECTORS] {
        header.extend(number.to_le_bytes());
    }
    header.extend((TABLE_ENTRIES as u32).to_le_bytes());
    for number in [places.redundant_directory, places.directory, places.overhead] {
        header.extend(number.to_le_bytes());
    }
    header.push(0); // shut down cleanly
    header.extend(*b"\n \r\n"); // what a transfer as text would have changed
    header.extend(places.compression.to_le_bytes());
    header.resize(SECTOR as usize, 0);
    header
}

/// The text that describes the disk, as long as its sectors are.
fn descriptor(disk: &Layout, kind: &str) -> Result<Vec<u8>, String> {
    let id = identity(disk, "vmdk").map_err(|error| error.to_string())?;
    // A content's id: any but 0xfffffffe and 0xffffffff, which mean "none".
    let id = id.as_u128() as u32 & 0x7fff_ffff;
    let sectors = disk.len() / SECTOR;
    let cylinders = (sectors / (255 * 63)).min(65_535);
    let mut text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={id:08x}\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n\
         # Extent description\nRW {sectors} SPARSE \"disk.vmdk\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\nddb.virtualHWVersion = \"13\"\n"
    )
    .into_bytes();
    text.resize((DESCRIPTOR_SECTORS * SECTOR) as usize, 0);
    Ok(text)
}

#[derive(Debug)]
struct Sparse {
    capacity: u64,
    descriptor: Vec<u8>,
    tables: u64,
    /// In grains, packed from 0.
    extents: Vec<Extent>,
}

impl Sparse {
    fn new(disk: &Layout) -> Result<Self, String> {
        let capacity = capacity(disk)?;
        let descriptor = descriptor(disk, "monolithicSparse")?;
        let tables = capacity.div_ceil(GRAIN_SECTORS * TABLE_ENTRIES);
        Ok(Self { capacity, descriptor, tables, extents: extents::touched(disk, GRAIN, 0) })
    }

    fn directory_sectors(&self) -> u64 {
        (self.tables * 4).div_ceil(SECTOR)
    }

    /// Where the redundant directory and the directory begin, each with its tables behind it.
    fn directories(&self) -> [u64; 2] {
        let first = DESCRIPTOR_START + DESCRIPTOR_SECTORS;
        [first, first + self.directory_sectors() + self.tables * TABLE_SECTORS]
    }

    /// The first grain's sector.
    fn grains(&self) -> u64 {
        let [first, second] = self.directories();
        (second + (second - first)).next_multiple_of(GRAIN_SECTORS)
    }

    fn places(&self) -> Places {
        let [redundant_directory, directory] = self.directories();
        let flags = NEWLINES | REDUNDANT;
        Places { version: 1, flags, redundant_directory, directory, overhead: self.grains(), compression: 0 }
    }
}

impl Container for Sparse {
    fn begin(&self, file: &File) -> io::Result<()> {
        file.set_len(self.grains() * SECTOR + extents::count(&self.extents) * GRAIN)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        for (range, packed) in extents::packed(&self.extents, GRAIN, chunk) {
            // The last grain of the disk may have more bytes than the disk: they stay a hole.
            file.write_all_at(&chunk.bytes[range], self.grains() * SECTOR + packed)?;
        }
        Ok(())
    }

    fn finish(&self, file: &File) -> io::Result<()> {
        let mut tables = vec![0; (self.tables * TABLE_SECTORS * SECTOR) as usize];
        for (grain, packed) in extents::units(&self.extents) {
            let sector = (self.grains() + packed * GRAIN_SECTORS) as u32;
            tables[grain as usize * 4..][..4].copy_from_slice(&sector.to_le_bytes());
        }
        for start in self.directories() {
            let first = start + self.directory_sectors();
            let entries =
                (0..self.tables).flat_map(|table| ((first + table * TABLE_SECTORS) as u32).to_le_bytes());
            file.write_all_at(&entries.collect::<Vec<u8>>(), start * SECTOR)?;
            file.write_all_at(&tables, first * SECTOR)?;
        }
        file.write_all_at(&self.descriptor, DESCRIPTOR_START * SECTOR)?;
        file.write_all_at(&header(self.capacity, &self.places()), 0)
    }
}

#[cfg(test)]
mod tests;
