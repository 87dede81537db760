use super::*;
use crate::discoverable::{BIOS_BOOT, ESP, ROOT_X86_64};

const MIB: u64 = 1 << 20;

fn partition(number: u32, type_guid: Uuid, size: Size) -> PartitionSpec {
    PartitionSpec {
        number,
        type_guid,
        guid: Uuid::from_u128(u128::from(number)),
        name: format!("part-{number}"),
        attributes: 0,
        size,
        layout: LayoutBuilder::new().finish(MIB).unwrap(),
    }
}

fn disk(len: u64, partitions: Vec<PartitionSpec>) -> DiskSpec {
    DiskSpec {
        guid: Uuid::from_u128(u128::MAX),
        sector_size: SectorSize::Bytes512,
        len,
        boot_code: None,
        partitions,
    }
}

#[test]
fn partitions_lie_in_the_given_order_under_their_own_numbers() {
    let spec = disk(
        2 * GIB,
        vec![
            partition(14, BIOS_BOOT, Size::Bytes(4 * MIB)),
            partition(15, ESP, Size::Bytes(106 * MIB + 512)),
            partition(1, ROOT_X86_64, Size::Rest),
        ],
    );
    let places: Vec<_> =
        spec.place().unwrap().partitions.iter().map(|p| (p.number, p.offset, p.len)).collect();
    let rest = 2 * GIB - 113 * MIB;
    assert_eq!(places, [(14, MIB, 4 * MIB), (15, 5 * MIB, 106 * MIB + 512), (1, 112 * MIB, rest)]);
    assert_eq!(rest_of_disk(2 * GIB, &[4 * MIB, 106 * MIB + 512]).unwrap(), rest);
}

#[test]
fn the_two_size_helpers_are_inverse_to_each_other() {
    for before in [&[][..], &[MIB], &[512 * MIB], &[1, 2, 3], &[GIB, GIB - 2 * MIB]] {
        for gib in 1..5 {
            let Ok(rest) = rest_of_disk(gib * GIB, before) else { continue };
            assert_eq!(smallest_disk(&[before, &[rest]].concat()).unwrap(), gib * GIB);
            assert_eq!(smallest_disk(&[before, &[rest + 1]].concat()).unwrap(), (gib + 1) * GIB);
        }
    }
    assert!(
        matches!(rest_of_disk(GIB, &[GIB - 2 * MIB]), Err(DiskError::NoRest { smallest, .. }) if smallest == 2 * GIB)
    );
    assert!(matches!(rest_of_disk(GIB + 1, &[]), Err(DiskError::NotWholeGib(_))));
    for huge in [u64::MAX, i64::MAX as u64 + 1, u64::MAX - GIB] {
        assert!(smallest_disk(&[huge, huge]).is_err());
        assert!(rest_of_disk(GIB, &[huge]).is_err());
    }
}

#[test]
fn every_error_names_its_partition_and_a_remedy() {
    let one = |change: fn(&mut PartitionSpec)| {
        let mut spec = partition(2, ESP, Size::Bytes(8 * MIB));
        change(&mut spec);
        disk(GIB, vec![partition(1, ROOT_X86_64, Size::Bytes(MIB)), spec]).place().unwrap_err().to_string()
    };
    let cases = [
        (one(|p| p.number = 0), "partition 0 `part-2`: its number is taken or not in 1 to 128"),
        (one(|p| p.number = 129), "partition 129"),
        (one(|p| p.number = 1), "choose a free one"),
        (one(|p| p.guid = Uuid::nil()), "partition 2 `part-2`: its GUID"),
        (one(|p| p.guid = Uuid::from_u128(1)), "another partition"),
        (one(|p| p.guid = Uuid::from_u128(u128::MAX)), "of the disk"),
        (one(|p| p.type_guid = Uuid::nil()), "must not be nil"),
        (one(|p| p.name = "x".repeat(37)), "at most 36 UTF-16 code units"),
        (one(|p| p.name = "\u{1f980}".repeat(19)), "shorten it"),
        (one(|p| p.size = Size::Bytes(0)), "its size, 0 bytes"),
        (one(|p| p.size = Size::Bytes(MIB + 1)), "positive multiple of the sector size, 512"),
        (one(|p| p.size = Size::Bytes(512)), "partition 2 `part-2` has 512 bytes, its content 1048576"),
        (
            one(|p| p.size = Size::Bytes(GIB)),
            "does not fit a disk of 1073741824 bytes: make it at least 2 GiB",
        ),
        (one(|p| p.size = Size::Bytes(u64::MAX - 511)), "make them smaller"),
    ];
    for (message, expected) in cases {
        assert!(message.contains(expected), "`{message}` lacks `{expected}`");
    }
    let rest_first = vec![partition(1, ESP, Size::Rest), partition(2, ESP, Size::Rest)];
    assert!(matches!(disk(GIB, rest_first).place(), Err(DiskError::RestNotLast(_))));
    let full = vec![partition(1, ESP, Size::Bytes(GIB - 2 * MIB)), partition(2, ESP, Size::Rest)];
    assert!(matches!(disk(GIB, full).place(), Err(DiskError::NoRoom { .. })));
    for len in [0, 1, GIB - 1, u64::MAX] {
        assert!(matches!(disk(len, vec![]).place(), Err(DiskError::NotWholeGib(_))), "{len}");
    }
}

#[test]
fn the_sector_size_moves_no_partition() {
    let mut spec =
        disk(GIB, vec![partition(1, ESP, Size::Bytes(64 * MIB)), partition(2, ROOT_X86_64, Size::Rest)]);
    let small = spec.place().unwrap().partitions;
    spec.sector_size = SectorSize::Bytes4096;
    assert_eq!(small, spec.place().unwrap().partitions);
}
