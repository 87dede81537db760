//! From bytes back to a [`Table`]: strict, because a table that two tools read differently is worse than none.
//!
//! Both copies are read and must agree. Memory is bounded by [`MAX_ARRAY`] whatever the headers say.

use std::io;

use bake_base::{ReadAt, Uuid, is_zero};

use super::{
    ENTRY_SIZE, HEADER_SIZE, NAME_UNITS, Partition, REVISION, SIGNATURE, SectorSize, Table, crc32, entry,
    get_guid, get_u32, get_u64, header, mbr, put,
};

/// The largest array of entries that is read: 64 times the usual one.
const MAX_ARRAY: u64 = 1 << 20;

/// Why there is no partition table to be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The disk cannot be read.
    #[error("cannot read the partition table")]
    Read(#[from] io::Error),
    /// Nothing looks like a GPT.
    #[error("no GUID partition table: neither sector size has `EFI PART` in its second sector")]
    NotFound,
    /// The first sector has no protective record.
    #[error("no protective MBR: expected one record of type 0xee that begins at sector 1")]
    NoProtectiveMbr,
    /// A copy contradicts the specification, its checksum or the disk.
    #[error(
        "{copy} partition table: {problem}; if the other copy is good, `sgdisk -e` or `gdisk` can rebuild it"
    )]
    Damaged {
        /// `primary` or `backup`.
        copy: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Both copies are sound by themselves but differ.
    #[error("the primary and the backup partition table differ: `gdisk` can replace either by the other")]
    CopiesDiffer,
    /// There is no place for a second array of entries while ids change.
    #[error(
        "no room for other ids: expected sectors {first} to {last}, before the first partition, to be unused and zero"
    )]
    NoRoom {
        /// The first sector that is needed.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// An entry contradicts the specification or another entry.
    #[error("partition {number}: {problem}")]
    Partition {
        /// Its entry, from 1 on.
        number: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A copy of the table whose checksums and places are right.
#[derive(PartialEq, Eq)]
pub(super) struct TableCopy {
    pub guid: Uuid,
    pub first_usable: u64,
    pub last_usable: u64,
    pub entry_size: usize,
    pub array: Vec<u8>,
}

/// A header of which a [`TableCopy`] was made.
pub(super) struct Header {
    /// Its sector, with the checksum's field zero.
    pub bytes: Vec<u8>,
    /// Where the other copy is.
    pub alternate_lba: u64,
    /// Where its array begins.
    pub array_lba: u64,
}

/// Reads the partition table of `disk`, whichever of the two sector sizes it was made for.
///
/// # Errors
/// When there is no table, or when either copy breaks the specification or reaches outside of the disk.
pub fn read_gpt(disk: &dyn ReadAt) -> Result<Table, TableError> {
    let mut first_error = None;
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        match read_with(disk, sector_size) {
            Ok(table) => return Ok(table),
            Err(TableError::NotFound) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or(TableError::NotFound))
}

fn read_with(disk: &dyn ReadAt, sector_size: SectorSize) -> Result<Table, TableError> {
    let sector = sector_size.bytes();
    let last_lba =
        (disk.len() / sector).checked_sub(1).filter(|last| *last > 1).ok_or(TableError::NotFound)?;
    check_signature(disk, sector)?;
    let (_, primary) = read_copy(disk, sector, (1, Some(last_lba)), "primary")?;
    let (_, backup) = read_copy(disk, sector, (last_lba, Some(1)), "backup")?;
    if primary != backup {
        return Err(TableError::CopiesDiffer);
    }
    Ok(Table { guid: primary.guid, sector_size, len: disk.len(), partitions: primary.partitions(sector)? })
}

/// Reads the primary copy alone, wherever it says that the backup is: a disk may have been enlarged.
pub(super) fn read_primary(
    disk: &dyn ReadAt,
    sector_size: SectorSize,
) -> Result<(Header, TableCopy, Vec<Partition>), TableError> {
    let sector = sector_size.bytes();
    if disk.len() / sector < 3 {
        return Err(TableError::NotFound);
    }
    check_signature(disk, sector)?;
    let (header, copy) = read_copy(disk, sector, (1, None), "primary")?;
    let partitions = copy.partitions(sector)?;
    Ok((header, copy, partitions))
}

fn check_signature(disk: &dyn ReadAt, sector: u64) -> Result<(), TableError> {
    let mut signature = [0; 8];
    disk.read_exact_at(sector, &mut signature)?;
    if signature != *SIGNATURE {
        return Err(TableError::NotFound);
    }
    check_mbr(disk)
}

fn check_mbr(disk: &dyn ReadAt) -> Result<(), TableError> {
    let mut bytes = [0; mbr::SIZE];
    disk.read_exact_at(0, &mut bytes)?;
    let protective =
        |record: &[u8]| record[mbr::RECORD_TYPE] == mbr::PROTECTIVE && get_u32(record, mbr::RECORD_LBA) == 1;
    let mut records = bytes[mbr::RECORDS..mbr::SIGNATURE_AT].chunks_exact(mbr::RECORD_SIZE);
    if bytes[mbr::SIGNATURE_AT..] != mbr::SIGNATURE || !records.any(protective) {
        return Err(TableError::NoProtectiveMbr);
    }
    Ok(())
}

/// Reads the header at `lba`, which must point to the other one at `other` (where that is known), and its array.
fn read_copy(
    disk: &dyn ReadAt,
    sector: u64,
    (lba, other): (u64, Option<u64>),
    copy: &'static str,
) -> Result<(Header, TableCopy), TableError> {
    let require = |right: bool, problem: &str| {
        if right { Ok(()) } else { Err(TableError::Damaged { copy, problem: problem.to_owned() }) }
    };
    let mut bytes = vec![0; sector as usize];
    disk.read_exact_at(lba * sector, &mut bytes)?;
    require(bytes.starts_with(SIGNATURE), "no signature `EFI PART` where the disk's length says it is")?;
    require(get_u32(&bytes, header::REVISION) == REVISION, "its revision is not 1.0")?;
    let size = get_u32(&bytes, header::SIZE) as usize;
    require((HEADER_SIZE..=bytes.len()).contains(&size), "its header size is not 92 bytes to a sector")?;
    let checksum = get_u32(&bytes, header::CHECKSUM);
    put(&mut bytes, header::CHECKSUM, &[0; 4]);
    require(crc32(&bytes[..size]) == checksum, "the header's checksum does not match")?;
    require(is_zero(&bytes[20..24]) && is_zero(&bytes[size..]), "reserved bytes are not zero")?;
    require(get_u64(&bytes, header::MY_LBA) == lba, "it names another place than its own")?;
    // Also what remains when a disk was enlarged or cut without its table.
    let alternate_lba = get_u64(&bytes, header::ALTERNATE_LBA);
    let right =
        other.map_or((2..disk.len() / sector).contains(&alternate_lba), |other| other == alternate_lba);
    require(right, "it names another place for the other copy")?;

    let (first_usable, last_usable) =
        (get_u64(&bytes, header::FIRST_USABLE), get_u64(&bytes, header::LAST_USABLE));
    let array_lba = get_u64(&bytes, header::ARRAY_LBA);
    let (count, entry_size) = (get_u32(&bytes, header::ENTRY_COUNT), get_u32(&bytes, header::ENTRY_SIZE));
    let valid_size = entry_size as usize >= ENTRY_SIZE && entry_size.is_power_of_two();
    require(valid_size, "its entry size is not 128 times a power of two")?;
    let array_len = u64::from(count) * u64::from(entry_size);
    require(array_len <= MAX_ARRAY, "its array of entries is longer than 1 MiB")?;
    // Header, array, usable range, array, header: in this order and disjoint.
    let array_end = array_lba.saturating_add(array_len.div_ceil(sector));
    let (room_start, room_end) =
        if lba == 1 { (2, first_usable) } else { (last_usable.saturating_add(1), lba) };
    require(array_lba >= room_start && array_end <= room_end, "its array lies outside of its own room")?;
    require(
        first_usable >= 2 && first_usable <= last_usable && last_usable < lba.max(alternate_lba),
        "its usable range lies outside of the disk",
    )?;

    let mut array = vec![0; array_len as usize];
    disk.read_exact_at(array_lba * sector, &mut array)?;
    let array_checksum = get_u32(&bytes, header::ARRAY_CHECKSUM);
    require(crc32(&array) == array_checksum, "the checksum of its entries does not match")?;
    let guid = get_guid(&bytes, header::DISK_GUID);
    let table = TableCopy { guid, first_usable, last_usable, entry_size: entry_size as usize, array };
    Ok((Header { bytes, alternate_lba, array_lba }, table))
}

impl TableCopy {
    fn partitions(&self, sector: u64) -> Result<Vec<Partition>, TableError> {
        let mut partitions = Vec::new();
        for (number, slot) in (1..).zip(self.array.chunks_exact(self.entry_size)) {
            let wrong = |problem| TableError::Partition { number, problem };
            let type_guid = get_guid(slot, entry::TYPE);
            if type_guid.is_nil() {
                continue;
            }
            let (first, last) = (get_u64(slot, entry::FIRST_LBA), get_u64(slot, entry::LAST_LBA));
            if first > last {
                return Err(wrong("it ends before it begins"));
            }
            if first < self.first_usable || last > self.last_usable {
                return Err(wrong("it lies outside of the range that the table may use"));
            }
            let units: Vec<u16> = (0..NAME_UNITS)
                .map(|index| entry::NAME + 2 * index)
                .map(|at| u16::from_le_bytes([slot[at], slot[at + 1]]))
                .take_while(|unit| *unit != 0)
                .collect();
            partitions.push(Partition {
                number,
                type_guid,
                guid: get_guid(slot, entry::GUID),
                name: String::from_utf16(&units).map_err(|_| wrong("its name is not UTF-16"))?,
                attributes: get_u64(slot, entry::ATTRIBUTES),
                offset: first * sector,
                len: (last - first + 1) * sector,
            });
        }
        partitions.sort_by_key(|partition| partition.offset);
        match partitions.windows(2).find(|pair| pair[0].end() > pair[1].offset) {
            Some(pair) => {
                let problem = "it overlaps the partition before it";
                Err(TableError::Partition { number: pair[1].number, problem })
            }
            None => Ok(partitions),
        }
    }
}
