use bake_base::{Layout, LayoutBuilder};

use super::*;
use crate::discoverable::{ESP, GROW_FILE_SYSTEM, ROOT_X86_64};
use crate::{DiskSpec, GIB, PartitionSpec, Size};

fn spec(sector_size: SectorSize) -> DiskSpec {
    let partition = |number: u32, type_guid, name: &str, size| PartitionSpec {
        number,
        type_guid,
        guid: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_ee00 + u128::from(number)),
        name: name.to_owned(),
        attributes: GROW_FILE_SYSTEM,
        size,
        layout: LayoutBuilder::new().finish(0).unwrap(),
    };
    let partitions = vec![
        partition(15, ESP, "esp", Size::Bytes(64 << 20)),
        partition(1, ROOT_X86_64, &"\u{1f980}".repeat(18), Size::Rest),
    ];
    DiskSpec { guid: Uuid::from_u128(7), sector_size, len: GIB, boot_code: None, partitions }
}

/// A disk of which only the tables exist.
fn disk(primary: &[u8], backup: &[u8], len: u64) -> Layout {
    let mut builder = LayoutBuilder::new();
    builder.push_bytes(0, primary.to_vec());
    builder.push_bytes(len - backup.len() as u64, backup.to_vec());
    builder.finish(len).unwrap()
}

#[test]
fn the_checksum_is_the_one_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn guids_are_mixed_endian_and_the_disk_signature_is_zero() {
    let (primary, backup) = encode(&spec(SectorSize::Bytes512).place().unwrap());
    assert_eq!(primary.len(), 34 * 512);
    assert_eq!(backup.len(), 33 * 512);
    let esp =
        [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
    assert_eq!(primary[1024 + 14 * 128..][..16], esp);
    assert!(bake_base::is_zero(&primary[..446]));
}

#[test]
fn what_is_planned_is_read_back_with_either_sector_size() {
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let disk = spec(sector_size).build().unwrap();
        assert_eq!(read_gpt(&disk.layout).unwrap(), disk.table);
    }
}

#[test]
fn a_stale_header_of_the_other_sector_size_is_passed_over() {
    let (stale, _) = encode(&spec(SectorSize::Bytes512).place().unwrap());
    let table = spec(SectorSize::Bytes4096).place().unwrap();
    let (mut primary, backup) = encode(&table);
    primary[512..1024].copy_from_slice(&stale[512..1024]);
    assert_eq!(read_gpt(&disk(&primary, &backup, GIB)).unwrap(), table);
}

#[test]
fn every_changed_byte_is_noticed_outside_of_boot_code() {
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let sector = sector_size.bytes() as usize;
        let (mut primary, mut backup) = encode(&spec(sector_size).place().unwrap());
        for at in 0..2 * sector + ARRAY_SIZE {
            // The array is one checksum: its used entries and a sample of the others will do.
            if at >= 2 * sector + 16 * ENTRY_SIZE && at % 97 != 0 {
                continue;
            }
            primary[at] ^= 0x10;
            let result = read_gpt(&disk(&primary, &backup, GIB));
            primary[at] ^= 0x10;
            assert!(result.is_err() || at < sector, "primary byte {at}");
        }
        for at in (0..backup.len()).filter(|at| *at >= ARRAY_SIZE || at % 97 == 0) {
            backup[at] ^= 0x10;
            assert!(read_gpt(&disk(&primary, &backup, GIB)).is_err(), "backup byte {at}");
            backup[at] ^= 0x10;
        }
    }
}

#[test]
fn a_cut_or_enlarged_disk_is_an_error() {
    let (primary, backup) = encode(&spec(SectorSize::Bytes512).place().unwrap());
    for len in (0..primary.len()).step_by(64).chain([512, 1023, 1024, 1536]) {
        assert!(read_gpt(&bake_base::Bytes::from(&primary[..len])).is_err(), "{len}");
    }
    for len in [GIB - 512, GIB + 512, 2 * GIB, u64::MAX, i64::MAX as u64] {
        let error = read_gpt(&disk(&primary, &backup, len)).unwrap_err().to_string();
        assert!(error.contains("another place for the other copy"), "{len}: {error}");
    }
    assert!(matches!(read_gpt(&disk(&[], &[], GIB)), Err(TableError::NotFound)));
}

/// Sets a field of both headers, mends the checksums and reads.
fn forged(field: usize, value: &[u8]) -> Result<Table, TableError> {
    let (mut primary, mut backup) = encode(&spec(SectorSize::Bytes512).place().unwrap());
    let backup_at = backup.len() - 512;
    for header in [&mut primary[512..1024], &mut backup[backup_at..]] {
        put(header, field, value);
        put(header, header::CHECKSUM, &[0; 4]);
        let checksum = crc32(&header[..HEADER_SIZE]);
        put(header, header::CHECKSUM, &checksum.to_le_bytes());
    }
    read_gpt(&disk(&primary, &backup, GIB))
}

#[test]
fn forged_headers_with_right_checksums_are_errors() {
    let sizes = [0, 1, 2, 33, 1 << 20, 1 << 31, (1 << 55) - 1, (1 << 55), (1 << 63) - 1, 1 << 63, u64::MAX];
    for field in [header::MY_LBA, header::ALTERNATE_LBA, header::ARRAY_LBA] {
        for value in sizes {
            assert!(forged(field, &value.to_le_bytes()).is_err(), "{field}: {value}");
        }
    }
    for value in [0_u64, 1, 2, 33, 1 << 63, u64::MAX] {
        assert!(forged(header::FIRST_USABLE, &value.to_le_bytes()).is_err(), "first usable {value}");
    }
    for value in [0_u64, 33, GIB / 512 - 33, GIB / 512, 1 << 63, u64::MAX] {
        assert!(forged(header::LAST_USABLE, &value.to_le_bytes()).is_err(), "last usable {value}");
    }
    for value in [0_u32, 1, 64, 92, 127, 129, 192, 1 << 20, 1 << 31, u32::MAX] {
        assert!(forged(header::ENTRY_SIZE, &value.to_le_bytes()).is_err(), "entry size {value}");
    }
    for value in [0_u32, 1, 129, 8192, 8193, 1 << 31, u32::MAX] {
        assert!(forged(header::ENTRY_COUNT, &value.to_le_bytes()).is_err(), "entry count {value}");
    }
    for value in [0_u32, 91, 513, u32::MAX] {
        assert!(forged(header::SIZE, &value.to_le_bytes()).is_err(), "header size {value}");
    }
    assert!(forged(header::DISK_GUID, &[0xff; 16]).is_ok());
}

/// Sets a field of the first used entry in both arrays, mends all checksums and reads.
fn forged_entry(field: usize, value: &[u8]) -> String {
    let (mut primary, mut backup) = encode(&spec(SectorSize::Bytes512).place().unwrap());
    put(&mut primary[1024..], field, value);
    put(&mut backup, field, value);
    let checksum = crc32(&backup[..ARRAY_SIZE]);
    for header in [&mut primary[512..1024], &mut backup[ARRAY_SIZE..]] {
        put(header, header::ARRAY_CHECKSUM, &checksum.to_le_bytes());
        put(header, header::CHECKSUM, &[0; 4]);
        let checksum = crc32(&header[..HEADER_SIZE]);
        put(header, header::CHECKSUM, &checksum.to_le_bytes());
    }
    read_gpt(&disk(&primary, &backup, GIB)).unwrap_err().to_string()
}

#[test]
fn forged_entries_with_right_checksums_are_errors() {
    for (field, value, expected) in [
        (entry::FIRST_LBA, 0_u64, "outside"),
        (entry::FIRST_LBA, 33, "outside"),
        (entry::FIRST_LBA, u64::MAX, "ends before"),
        (entry::FIRST_LBA, 2048, "overlaps"),
        (entry::LAST_LBA, 0, "ends before"),
        (entry::LAST_LBA, i64::MAX as u64, "outside"),
        (entry::LAST_LBA, u64::MAX, "outside"),
        (entry::NAME, 0xd800, "not UTF-16"),
    ] {
        let error = forged_entry(field, &value.to_le_bytes());
        assert!(error.contains(expected), "{field} {value}: {error}");
    }
}
