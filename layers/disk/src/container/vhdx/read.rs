//! Reading a VHDX, made here or elsewhere: one that was closed cleanly and stands on no other.

use std::io;

use bake_base::{FileBytes, ReadAt, Uuid};

use super::{
    BAT_REGION, DISK_SIZE, FILE_PARAMETERS, FORMAT, FULLY_PRESENT, HEADER_LEN, HEADERS, LOGICAL_SECTOR,
    MAX_SIZE, METADATA_REGION, MIB, REGION_TABLES, REQUIRED, TABLE_LEN, chunk_ratio, entry_of, sum,
};
use crate::container::{OpenError, fields};

/// The format's limit of regions, and of metadata.
const MAX_ENTRIES: usize = 2047;
/// Bits of an entry that are its state, and those that are its place.
const STATE: u64 = 7;
const PLACE: u64 = !0xf_ffff;
/// State of a block that is partly in another file.
const PARTIALLY_PRESENT: u64 = 7;

#[derive(Debug)]
pub(super) struct Reader {
    file: FileBytes,
    len: u64,
    block: u64,
    chunk_ratio: u64,
    bat: u64,
}

/// A structure with its checksum, unless that is wrong.
fn whole(file: &FileBytes, at: u64, len: usize, signature: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; len];
    if at + len as u64 > file.len() {
        return Ok(None);
    }
    file.read_exact_at(at, &mut bytes)?;
    let mut own = bytes.clone();
    sum(&mut own);
    Ok((own == bytes && bytes.starts_with(signature)).then_some(bytes))
}

fn uuid(bytes: &[u8], at: usize) -> Uuid {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[at..at + 16]);
    Uuid::from_bytes_le(id)
}

impl Reader {
    pub(super) fn new(file: FileBytes) -> Result<Self, OpenError> {
        let damaged = |problem: String| OpenError::Damaged { format: FORMAT, problem };
        let unsupported = |feature: String| OpenError::Unsupported { format: FORMAT, feature };
        let mut headers = Vec::new();
        for at in HEADERS {
            headers.extend(whole(&file, at, HEADER_LEN, b"head")?);
        }
        let header = headers.iter().max_by_key(|header| fields::le64(header, 8));
        let header = header.ok_or_else(|| damaged("neither header has a right checksum".to_owned()))?;
        if fields::le16(header, 66) != 1 {
            return Err(unsupported(format!("version {}", fields::le16(header, 66))));
        }
        if header[48..64] != [0; 16] {
            return Err(unsupported("changes in its log that were never made".to_owned()));
        }
        let [bat, metadata] = Self::regions(&file)?;
        let item = |id| Self::item(&file, metadata, id);
        let (parameters, size, sector) = (item(FILE_PARAMETERS)?, item(DISK_SIZE)?, item(LOGICAL_SECTOR)?);
        let (block, len) = (u64::from(fields::le32(&parameters, 0)), fields::le64(&size, 0));
        let sector = u64::from(fields::le32(&sector, 0));
        if fields::le32(&parameters, 4) & 2 != 0 {
            return Err(unsupported("a parent".to_owned()));
        }
        if ![512, 4096].contains(&sector) || !block.is_power_of_two() || !(MIB..=256 * MIB).contains(&block) {
            return Err(damaged(format!("sectors of {sector} and blocks of {block} bytes")));
        }
        if len == 0 || len > MAX_SIZE || !len.is_multiple_of(sector) {
            return Err(damaged(format!("{len} bytes are no size of a disk in this format")));
        }
        let chunk_ratio = chunk_ratio(sector, block);
        let needed = (entry_of((len - 1) / block, chunk_ratio) + 1) * 8;
        if bat.1 < needed {
            return Err(damaged(format!("a block table of {} bytes: expected {needed}", bat.1)));
        }
        Ok(Self { file, len, block, chunk_ratio, bat: bat.0 })
    }

    /// Place and length of the block table and of the metadata.
    fn regions(file: &FileBytes) -> Result<[(u64, u64); 2], OpenError> {
        let damaged = |problem: &str| OpenError::Damaged { format: FORMAT, problem: problem.to_owned() };
        let mut tables = Vec::new();
        for at in REGION_TABLES {
            tables.extend(whole(file, at, TABLE_LEN, b"regi")?);
        }
        let table = tables.first().ok_or_else(|| damaged("neither region table has a right checksum"))?;
        let mut found = [None; 2];
        for entry in table[16..].chunks_exact(32).take((fields::le32(table, 8) as usize).min(MAX_ENTRIES)) {
            let (at, len) = (fields::le64(entry, 16), u64::from(fields::le32(entry, 24)));
            let end = at.checked_add(len).filter(|end| at >= MIB && *end <= file.len());
            let place = end.map(|_| (at, len)).ok_or_else(|| damaged("a region lies outside of the file"))?;
            match uuid(entry, 0) {
                BAT_REGION => found[0] = Some(place),
                METADATA_REGION => found[1] = Some(place),
                other if fields::le32(entry, 28) & 1 != 0 => {
                    return Err(OpenError::Unsupported {
                        format: FORMAT,
                        feature: format!("the region {other}"),
                    });
                }
                _ => {}
            }
        }
        match found {
            [Some(bat), Some(metadata)] => Ok([bat, metadata]),
            _ => Err(damaged("it has no block table or no metadata")),
        }
    }

    /// The first bytes of an item of the metadata.
    fn item(file: &FileBytes, (region, len): (u64, u64), wanted: Uuid) -> Result<[u8; 8], OpenError> {
        let damaged = |problem: String| OpenError::Damaged { format: FORMAT, problem };
        let mut table = vec![0; TABLE_LEN.min(len as usize)];
        file.read_exact_at(region, &mut table)?;
        if table.len() < TABLE_LEN || !table.starts_with(b"metadata") {
            return Err(damaged("its metadata is damaged".to_owned()));
        }
        let count = usize::from(fields::le16(&table, 10)).min(MAX_ENTRIES);
        let known = |entry: &&[u8]| uuid(entry, 0) == wanted && fields::le32(entry, 24) & REQUIRED != 0;
        let entry = table[32..].chunks_exact(32).take(count).find(known);
        let entry = entry.ok_or_else(|| damaged(format!("its metadata lacks {wanted}")))?;
        let (offset, size) = (u64::from(fields::le32(entry, 16)), u64::from(fields::le32(entry, 20)));
        if offset + size > len || !(4..=8).contains(&size) {
            return Err(damaged(format!("{wanted} lies outside of the metadata")));
        }
        let mut value = [0; 8];
        file.read_exact_at(region + offset, &mut value[..size as usize])?;
        Ok(value)
    }

    /// Where a block begins, unless it is zeros.
    fn place(&self, block: u64) -> io::Result<Option<u64>> {
        let mut entry = [0; 8];
        self.file.read_exact_at(self.bat + entry_of(block, self.chunk_ratio) * 8, &mut entry)?;
        let entry = u64::from_le_bytes(entry);
        match entry & STATE {
            FULLY_PRESENT if entry & PLACE >= MIB => Ok(Some(entry & PLACE)),
            FULLY_PRESENT | PARTIALLY_PRESENT | 4 | 5 => {
                let problem = format!("damaged vhdx image: block {block} cannot be {entry:#x}");
                Err(io::Error::new(io::ErrorKind::InvalidData, problem))
            }
            _ => Ok(None),
        }
    }
}

impl ReadAt for Reader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = fields::end(offset, buffer.len(), self.len)?;
        fields::each_unit(offset, end, self.block, |block, within, range| {
            let part = &mut buffer[range];
            match self.place(block)? {
                Some(start) => self.file.read_exact_at(start.saturating_add(within), part),
                None => {
                    part.fill(0);
                    Ok(())
                }
            }
        })
    }
}
