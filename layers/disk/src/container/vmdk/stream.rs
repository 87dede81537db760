//! Stream-optimised disks: compressed grains one after the other, each table behind its grains, the directory and
//! a second header behind all, so that the file can be written and read without going back.

use std::io::{self, Write};

use bake_base::{Layout, is_zero};
use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::{
    COMPRESSED, DEFLATE, GRAIN, GRAIN_SECTORS, MARKERS, NEWLINES, Places, SECTOR, TABLE_ENTRIES,
    TABLE_SECTORS, capacity, descriptor, header,
};
use crate::container::Chunk;
use crate::container::in_order::{Encode, Out};

/// The directory is behind the grains: the second header says where.
const AT_END: u64 = u64::MAX;
/// Sectors before the first grain.
const OVERHEAD: u64 = GRAIN_SECTORS;

/// Types of markers that no grain has.
const TABLE_MARKER: u32 = 1;
const DIRECTORY_MARKER: u32 = 2;
const FOOTER_MARKER: u32 = 3;

/// A disk as a stream.
#[derive(Debug)]
pub(in super::super) struct Stream {
    capacity: u64,
    descriptor: Vec<u8>,
}

/// Tables as far as they are known.
#[derive(Debug, Default)]
pub(in super::super) struct Tables {
    /// Sectors of all tables that are written; 0 for those without a grain.
    directory: Vec<u32>,
    /// Sectors of the grains of the table after those.
    table: Vec<u32>,
}

/// A grain's number, and its marker, content and padding.
type Grain = (u64, Vec<u8>);

impl Stream {
    pub(in super::super) fn new(disk: &Layout) -> Result<Self, String> {
        Ok(Self { capacity: capacity(disk)?, descriptor: descriptor(disk, "streamOptimized")? })
    }

    fn header(&self, directory: u64) -> Vec<u8> {
        let flags = NEWLINES | COMPRESSED | MARKERS;
        let places = Places {
            version: 3,
            flags,
            redundant_directory: 0,
            directory,
            overhead: OVERHEAD,
            compression: DEFLATE,
        };
        header(self.capacity, &places)
    }
}

/// A marker of this type that `sectors` follow.
fn marker(kind: u32, sectors: u64) -> Vec<u8> {
    let mut marker = sectors.to_le_bytes().to_vec();
    marker.extend(0_u32.to_le_bytes());
    marker.extend(kind.to_le_bytes());
    marker.resize(SECTOR as usize, 0);
    marker
}

/// Sector numbers, filled up to whole sectors.
fn sectors(numbers: &[u32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    bytes
}

impl Tables {
    /// Writes all tables before `table`, so that the next grain belongs into it.
    fn advance(&mut self, table: u64, out: &mut Out<'_>) -> io::Result<()> {
        while (self.directory.len() as u64) < table {
            if self.table.is_empty() {
                self.directory.push(0);
                continue;
            }
            self.table.resize(TABLE_ENTRIES as usize, 0);
            out.put(&marker(TABLE_MARKER, TABLE_SECTORS))?;
            self.directory.push((out.at() / SECTOR) as u32);
            out.put(&sectors(&self.table))?;
            self.table.clear();
        }
        Ok(())
    }
}

impl Encode for Stream {
    type Body = Vec<Grain>;
    type State = Tables;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Tables> {
        out.put(&self.header(AT_END))?;
        out.put(&self.descriptor)?;
        out.put_zeros(OVERHEAD * SECTOR - out.at())?;
        Ok(Tables::default())
    }

    /// Every grain is a zlib stream of its own. Those of zeros are left out.
    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Vec<Grain>> {
        let first = chunk.offset / GRAIN;
        let grains = (first..).zip(chunk.bytes.chunks(GRAIN as usize)).filter(|(_, bytes)| !is_zero(bytes));
        let encoded = grains.map(|(grain, bytes)| {
            let mut encoder = ZlibEncoder::new(vec![0; 12], Compression::new(6));
            encoder.write_all(bytes)?;
            if bytes.len() < GRAIN as usize {
                encoder.write_all(&vec![0; GRAIN as usize - bytes.len()])?; // grains are whole
            }
            let mut body = encoder.finish()?;
            let size = (body.len() - 12) as u32;
            body[..8].copy_from_slice(&(grain * GRAIN_SECTORS).to_le_bytes());
            body[8..12].copy_from_slice(&size.to_le_bytes());
            body.resize(body.len().next_multiple_of(SECTOR as usize), 0);
            Ok((grain, body))
        });
        encoded.collect()
    }

    fn append(&self, tables: &mut Tables, out: &mut Out<'_>, _: u64, grains: Vec<Grain>) -> io::Result<()> {
        for (grain, body) in grains {
            tables.advance(grain / TABLE_ENTRIES, out)?;
            tables.table.resize((grain % TABLE_ENTRIES) as usize, 0);
            tables.table.push((out.at() / SECTOR) as u32);
            out.put(&body)?;
        }
        Ok(())
    }

    fn end(&self, mut tables: Tables, out: &mut Out<'_>) -> io::Result<()> {
        tables.advance(self.capacity.div_ceil(GRAIN_SECTORS * TABLE_ENTRIES), out)?;
        let directory = sectors(&tables.directory);
        out.put(&marker(DIRECTORY_MARKER, directory.len() as u64 / SECTOR))?;
        let place = out.at() / SECTOR;
        out.put(&directory)?;
        out.put(&marker(FOOTER_MARKER, 1))?;
        out.put(&self.header(place))?;
        out.put_zeros(SECTOR) // the end of the stream
    }
}
