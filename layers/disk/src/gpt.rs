//! The GUID partition table on disk (UEFI 2.10, section 5): protective MBR, two headers, two arrays of entries.
//!
//! Written and read here, not by the crate `gpt`: that one turns on `uuid`'s random ids for the whole
//! workspace and draws one in its header builder, writes only to a seekable device as long as the disk, and
//! its reader asserts the entry size and allocates what a hostile header asks for.

mod grow;
mod ids;
mod read;

use bake_base::Uuid;

use crate::{Partition, SectorSize, Table};

pub use grow::{Grown, grow_last};
pub use ids::{IdChange, IdSteps, NewId, Standing, Write, change_ids, read_partitions};
pub use read::{TableError, read_gpt};

/// Entries in each array: the least that the specification allows and the most that all tools expect.
pub(crate) const ENTRY_COUNT: u32 = 128;
/// UTF-16 code units of a partition's name.
pub(crate) const NAME_UNITS: usize = 36;
/// Bytes of the protective MBR that a BIOS runs (UEFI 2.10, table 5.3, "Boot Code").
pub const BOOT_CODE: usize = 440;

const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
const HEADER_SIZE: usize = 92;
const ENTRY_SIZE: usize = 128;
const ARRAY_SIZE: usize = ENTRY_SIZE * ENTRY_COUNT as usize;

/// Where the fields of a header lie (UEFI 2.10, table 5.5).
mod header {
    pub(super) const REVISION: usize = 8;
    pub(super) const SIZE: usize = 12;
    pub(super) const CHECKSUM: usize = 16;
    pub(super) const MY_LBA: usize = 24;
    pub(super) const ALTERNATE_LBA: usize = 32;
    pub(super) const FIRST_USABLE: usize = 40;
    pub(super) const LAST_USABLE: usize = 48;
    pub(super) const DISK_GUID: usize = 56;
    pub(super) const ARRAY_LBA: usize = 72;
    pub(super) const ENTRY_COUNT: usize = 80;
    pub(super) const ENTRY_SIZE: usize = 84;
    pub(super) const ARRAY_CHECKSUM: usize = 88;
}

/// Where the fields of an entry lie (UEFI 2.10, table 5.6).
mod entry {
    pub(super) const TYPE: usize = 0;
    pub(super) const GUID: usize = 16;
    pub(super) const FIRST_LBA: usize = 32;
    pub(super) const LAST_LBA: usize = 40;
    pub(super) const ATTRIBUTES: usize = 48;
    pub(super) const NAME: usize = 56;
}

/// Where the fields of the protective MBR lie (UEFI 2.10, tables 5.3 and 5.4).
mod mbr {
    /// Operating system type that says "there is a GPT".
    pub(super) const PROTECTIVE: u8 = 0xee;
    pub(super) const SIGNATURE: [u8; 2] = [0x55, 0xaa];
    pub(super) const SIZE: usize = 512;
    pub(super) const RECORDS: usize = 446;
    pub(super) const RECORD_SIZE: usize = 16;
    pub(super) const RECORD_TYPE: usize = 4;
    pub(super) const RECORD_LBA: usize = 8;
    pub(super) const RECORD_LEN: usize = 12;
    pub(super) const SIGNATURE_AT: usize = 510;
}

/// The bytes at the disk's start (MBR, header, array) and those at its end (array, header).
pub(crate) fn encode(table: &Table) -> (Vec<u8>, Vec<u8>) {
    let sector = table.sector_size.bytes() as usize;
    let array = array(table);
    let last_lba = table.len / table.sector_size.bytes() - 1;
    let array_lbas = (ARRAY_SIZE / sector) as u64;
    let (first_usable, last_usable) = (2 + array_lbas, last_lba - array_lbas - 1);
    let header = |my_lba: u64, alternate_lba: u64, array_lba: u64| {
        let mut bytes = vec![0; sector];
        put(&mut bytes, 0, SIGNATURE);
        put(&mut bytes, header::REVISION, &REVISION.to_le_bytes());
        put(&mut bytes, header::SIZE, &(HEADER_SIZE as u32).to_le_bytes());
        put(&mut bytes, header::MY_LBA, &my_lba.to_le_bytes());
        put(&mut bytes, header::ALTERNATE_LBA, &alternate_lba.to_le_bytes());
        put(&mut bytes, header::FIRST_USABLE, &first_usable.to_le_bytes());
        put(&mut bytes, header::LAST_USABLE, &last_usable.to_le_bytes());
        put(&mut bytes, header::DISK_GUID, &table.guid.to_bytes_le());
        put(&mut bytes, header::ARRAY_LBA, &array_lba.to_le_bytes());
        put(&mut bytes, header::ENTRY_COUNT, &ENTRY_COUNT.to_le_bytes());
        put(&mut bytes, header::ENTRY_SIZE, &(ENTRY_SIZE as u32).to_le_bytes());
        put(&mut bytes, header::ARRAY_CHECKSUM, &crc32(&array).to_le_bytes());
        // Computed while its own field is still zero (section 5.3.2).
        let checksum = crc32(&bytes[..HEADER_SIZE]);
        put(&mut bytes, header::CHECKSUM, &checksum.to_le_bytes());
        bytes
    };
    let primary = [protective_mbr(last_lba, sector), header(1, last_lba, 2), array.clone()].concat();
    let backup_header = header(last_lba, 1, last_usable + 1);
    (primary, [array, backup_header].concat())
}

fn array(table: &Table) -> Vec<u8> {
    let sector = table.sector_size.bytes();
    let mut bytes = vec![0; ARRAY_SIZE];
    for Partition { number, type_guid, guid, name, attributes, offset, len } in &table.partitions {
        let slot = &mut bytes[(*number as usize - 1) * ENTRY_SIZE..][..ENTRY_SIZE];
        put(slot, entry::TYPE, &type_guid.to_bytes_le());
        put(slot, entry::GUID, &guid.to_bytes_le());
        put(slot, entry::FIRST_LBA, &(offset / sector).to_le_bytes());
        put(slot, entry::LAST_LBA, &((offset + len) / sector - 1).to_le_bytes());
        put(slot, entry::ATTRIBUTES, &attributes.to_le_bytes());
        for (index, unit) in name.encode_utf16().enumerate() {
            put(slot, entry::NAME + 2 * index, &unit.to_le_bytes());
        }
    }
    bytes
}

/// One record over the whole disk, so that tools from before GPT see no free space (section 5.2.3). The disk
/// signature stays zero: nothing looks for it, and every value but zero would be one more id.
fn protective_mbr(last_lba: u64, sector: usize) -> Vec<u8> {
    let mut bytes = vec![0; sector];
    let record = &mut bytes[mbr::RECORDS..][..mbr::RECORD_SIZE];
    // Start in cylinder, head, sector: 0, 0, 2; the end does not fit those fields and reads all ones.
    put(record, 1, &[0x00, 0x02, 0x00, mbr::PROTECTIVE, 0xff, 0xff, 0xff]);
    put(record, mbr::RECORD_LBA, &1_u32.to_le_bytes());
    put(record, mbr::RECORD_LEN, &u32::try_from(last_lba).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut bytes, mbr::SIGNATURE_AT, &mbr::SIGNATURE);
    bytes
}

fn put(target: &mut [u8], at: usize, bytes: &[u8]) {
    target[at..at + bytes.len()].copy_from_slice(bytes);
}

/// CRC-32 as in Ethernet (polynomial 0x04c11db7, reflected), which is that of UEFI.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn get_guid(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes_le(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

#[cfg(test)]
mod tests;
