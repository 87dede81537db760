//! Making the last partition of a disk longer, and the disk with it: for a disk that somebody else has laid out, of
//! which every other byte is to stay.

use bake_base::ReadAt;

use super::read::read_primary;
use super::{
    HEADER_SIZE, Table, TableError, Write, crc32, entry, get_u32, get_u64, header, mbr, put, read_gpt,
};

/// What a disk becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The table afterwards.
    pub table: Table,
    /// What changes, apart from what the partitions hold: both copies of the table, and the length in the protective
    /// MBR. The disk is to have zeros behind its old end otherwise, and where its old backup was.
    pub writes: Vec<Write>,
    /// Where the old backup was: the first byte, and the first one after it.
    pub old_backup: (u64, u64),
}

/// Plans to give partition `number` a length of `partition_len` bytes on a disk of `len` bytes. It has to be the one
/// that ends last, and neither may become shorter.
///
/// # Errors
/// When the table is damaged, or the partition is not there or cannot grow like that.
pub fn grow_last(disk: &dyn ReadAt, number: u32, partition_len: u64, len: u64) -> Result<Grown, TableError> {
    let before = read_gpt(disk)?;
    let sector = before.sector_size.bytes();
    let (primary, copy, _) = read_primary(disk, before.sector_size)?;
    let wrong = |problem| TableError::Partition { number, problem };
    let mut partitions = before.partitions.clone();
    let last = partitions.last_mut().filter(|last| last.number == number);
    let last = last.ok_or_else(|| wrong("it cannot grow, for another one lies behind it"))?;
    let array_lbas = (copy.array.len() as u64).div_ceil(sector);
    let backup_lba =
        (len / sector).checked_sub(1).filter(|_| len >= before.len && len.is_multiple_of(sector));
    let backup_lba = backup_lba.ok_or_else(|| wrong("it cannot grow on a disk that is to be shorter"))?;
    let last_usable = backup_lba.saturating_sub(array_lbas + 1).max(copy.last_usable);
    let end = last.offset.checked_add(partition_len).filter(|end| {
        partition_len >= last.len && end.is_multiple_of(sector) && end / sector <= last_usable + 1
    });
    let end = end.ok_or_else(|| wrong("it cannot have the length that is asked for"))?;
    last.len = partition_len;

    let mut array = copy.array.clone();
    let slot = &mut array[(number as usize - 1) * copy.entry_size..][..copy.entry_size];
    put(slot, entry::LAST_LBA, &(end / sector - 1).to_le_bytes());
    let backup_array = backup_lba - array_lbas;
    let header = |(lba, alternate): (u64, u64), array_lba: u64| {
        let mut bytes = primary.bytes.clone();
        let size = (get_u32(&bytes, header::SIZE) as usize).max(HEADER_SIZE);
        put(&mut bytes, header::MY_LBA, &lba.to_le_bytes());
        put(&mut bytes, header::ALTERNATE_LBA, &alternate.to_le_bytes());
        put(&mut bytes, header::LAST_USABLE, &last_usable.to_le_bytes());
        put(&mut bytes, header::ARRAY_LBA, &array_lba.to_le_bytes());
        put(&mut bytes, header::ARRAY_CHECKSUM, &crc32(&array).to_le_bytes());
        let checksum = crc32(&bytes[..size]);
        put(&mut bytes, header::CHECKSUM, &checksum.to_le_bytes());
        bytes
    };
    let at = |lba: u64, bytes: Vec<u8>| Write { offset: lba * sector, bytes };
    let mut padded = array.clone();
    padded.resize((array_lbas * sector) as usize, 0);
    let mut writes = vec![
        at(1, header((1, backup_lba), primary.array_lba)),
        at(primary.array_lba, padded.clone()),
        at(backup_array, padded),
        at(backup_lba, header((backup_lba, 1), backup_array)),
    ];
    writes.extend(protective_mbr(disk, backup_lba)?);
    writes.sort_by_key(|write| write.offset);

    let mut old = vec![0; sector as usize];
    disk.read_exact_at(before.len - sector, &mut old)?;
    let old_backup = (get_u64(&old, header::ARRAY_LBA) * sector, before.len);
    Ok(Grown { table: Table { len, partitions, ..before }, writes, old_backup })
}

/// The record of the protective MBR over the whole disk, where it is of another length.
pub(super) fn protective_mbr(disk: &dyn ReadAt, last_lba: u64) -> Result<Option<Write>, TableError> {
    let mut bytes = [0; mbr::SIZE];
    disk.read_exact_at(0, &mut bytes)?;
    let length = u32::try_from(last_lba).unwrap_or(u32::MAX);
    let is_protective = |at: &usize| {
        let record = &bytes[*at..];
        record[mbr::RECORD_TYPE] == mbr::PROTECTIVE && get_u32(record, mbr::RECORD_LBA) == 1
    };
    let at = (mbr::RECORDS..mbr::SIGNATURE_AT).step_by(mbr::RECORD_SIZE).find(is_protective);
    let at = at.map(|at| at + mbr::RECORD_LEN);
    // All ones is for every disk.
    let wrong = at.filter(|at| ![length, u32::MAX].contains(&get_u32(&bytes, *at)));
    Ok(wrong.map(|at| Write { offset: at as u64, bytes: length.to_le_bytes().to_vec() }))
}

#[cfg(test)]
mod tests {
    use bake_base::{LayoutBuilder, Uuid};

    use super::*;
    use crate::{DiskSpec, GIB, PartitionSpec, SectorSize, Size};

    fn disk(sector_size: SectorSize) -> Vec<u8> {
        let layout = LayoutBuilder::new().finish(0).unwrap();
        let partition = |number, len| PartitionSpec {
            number,
            type_guid: Uuid::from_u128(0x3884_dd41_8582_4404_b9a8_e9b8_4f2d_f50e),
            guid: Uuid::from_u128(0x100 + u128::from(number)),
            name: format!("part {number}"),
            attributes: 1 << 48,
            size: Size::Bytes(len),
            layout: layout.clone(),
        };
        let partitions = vec![partition(9, 4 << 20), partition(1, 8 << 20)];
        let guid = Uuid::from_u128(1);
        let spec = DiskSpec { guid, sector_size, len: GIB, boot_code: Some([7; 440]), partitions };
        let mut bytes = vec![0; GIB as usize];
        spec.build().unwrap().layout.read_exact_at(0, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_last_partition_grows_with_its_disk() {
        for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let old = disk(sector_size);
            let before = read_gpt(&old).unwrap();
            for len in [GIB, GIB + (64 << 20)] {
                let wanted = len - (40 << 20);
                let Grown { table, writes, old_backup } = grow_last(&old, 1, wanted, len).unwrap();
                let mut new = old.clone();
                new.resize(len as usize, 0);
                new[old_backup.0 as usize..old_backup.1 as usize].fill(0);
                for Write { offset, bytes } in &writes {
                    new[*offset as usize..*offset as usize + bytes.len()].copy_from_slice(bytes);
                }
                assert_eq!(read_gpt(&new).unwrap(), table);
                let mut expected = before.clone();
                (expected.len, expected.partitions[1].len) = (len, wanted);
                assert_eq!(table, expected);
                // Boot code stays, and so does everything between the tables.
                assert_eq!(new[..440], old[..440]);
                assert!(new[1 << 20..1000 << 20] == old[1 << 20..1000 << 20]);
            }
        }
    }

    #[test]
    fn a_partition_that_cannot_grow_is_refused() {
        let old = disk(SectorSize::Bytes512);
        for (number, partition_len, len, reason) in [
            (9, 5 << 20, GIB, "another one lies behind it"),
            (2, 5 << 20, GIB, "another one lies behind it"),
            (1, 7 << 20, GIB, "length that is asked for"),
            (1, (8 << 20) + 1, GIB, "length that is asked for"),
            (1, GIB, GIB, "length that is asked for"),
            (1, u64::MAX, GIB, "length that is asked for"),
            (1, 9 << 20, GIB - 512, "shorter"),
            (1, 9 << 20, GIB + 1, "shorter"),
        ] {
            let message = grow_last(&old, number, partition_len, len).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }
}
