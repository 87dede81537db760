use bake_base::{Layout, LayoutBuilder};

use super::*;
use crate::discoverable::{ESP, ROOT_X86_64};
use crate::{DiskSpec, GIB, PartitionSpec, Size, Table, read_gpt};

const MIB: u64 = 1 << 20;

/// A disk with what was written to it since.
#[derive(Clone, Debug)]
struct Written {
    disk: Layout,
    len: u64,
    writes: Vec<Write>,
}

impl Written {
    fn new(table: &Table) -> Self {
        let (primary, backup) = super::super::encode(table);
        let mut builder = LayoutBuilder::new();
        builder.push_bytes(0, primary);
        builder.push_bytes(table.len - backup.len() as u64, backup);
        Self { disk: builder.finish(table.len).unwrap(), len: table.len, writes: Vec::new() }
    }

    fn grown(mut self, len: u64) -> Self {
        self.len = len;
        self
    }

    fn with(&self, writes: &[Write]) -> Self {
        let mut next = self.clone();
        next.writes.extend_from_slice(writes);
        next
    }

    /// Everything that anything of this may be at.
    fn ends(&self) -> Vec<u8> {
        let mut bytes = vec![0; 2 * MIB as usize];
        let (start, end) = bytes.split_at_mut(MIB as usize);
        self.read_exact_at(0, start).unwrap();
        self.read_exact_at(self.len - MIB, end).unwrap();
        bytes
    }
}

impl ReadAt for Written {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let end = offset + buffer.len() as u64;
        if end > self.len {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        let there = self.disk.len().saturating_sub(offset).min(buffer.len() as u64) as usize;
        if there > 0 {
            self.disk.read_exact_at(offset, &mut buffer[..there])?;
        }
        for write in &self.writes {
            let (from, to) = (write.offset.max(offset), (write.offset + write.bytes.len() as u64).min(end));
            if from < to {
                let source = &write.bytes[(from - write.offset) as usize..(to - write.offset) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
            }
        }
        Ok(())
    }
}

fn table(sector_size: SectorSize, ids: u128) -> Table {
    let partition = |number: u32, type_guid, name: &str, size| PartitionSpec {
        number,
        type_guid,
        guid: Uuid::from_u128(if number == 14 { 14 } else { ids + u128::from(number) }),
        name: name.to_owned(),
        attributes: 0,
        size,
        layout: LayoutBuilder::new().finish(0).unwrap(),
    };
    let partitions = vec![
        partition(15, ESP, "esp", Size::Bytes(64 * MIB)),
        partition(14, ESP, "kept", Size::Bytes(64 * MIB)),
        partition(1, ROOT_X86_64, "root", Size::Rest),
    ];
    DiskSpec { guid: Uuid::from_u128(ids), sector_size, len: GIB, boot_code: None, partitions }
        .place()
        .unwrap()
}

const OLD: u128 = 0x1000;
const NEW: u128 = 0x2000;

fn change() -> IdChange {
    let id = |number: u32| {
        let (old, new) =
            (Uuid::from_u128(OLD + u128::from(number)), Uuid::from_u128(NEW + u128::from(number)));
        NewId { number, old, new }
    };
    IdChange { disk: (Uuid::from_u128(OLD), Uuid::from_u128(NEW)), partitions: vec![id(1), id(15)] }
}

fn all(steps: &IdSteps) -> Vec<Write> {
    [&steps.commit[..], &steps.tidy].concat()
}

/// The bytes of a table with the new ids, on a disk of `len` bytes.
fn expected(sector_size: SectorSize, len: u64) -> Written {
    let mut table = table(sector_size, NEW);
    table.len = len;
    Written::new(&table)
}

#[test]
fn the_table_is_what_it_had_been_with_the_new_ids_from_the_start() {
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let disk = Written::new(&table(sector_size, OLD));
        let steps = change_ids(&disk, sector_size, &change()).unwrap();
        assert_eq!(steps.standing, Standing::Old);
        let done = disk.with(&all(&steps));
        assert_eq!(read_gpt(&done).unwrap(), table(sector_size, NEW));
        assert!(done.ends() == expected(sector_size, GIB).ends());
        let again = change_ids(&done, sector_size, &change()).unwrap();
        assert_eq!(again, IdSteps { standing: Standing::New, commit: vec![], tidy: vec![] });
    }
}

#[test]
fn the_backup_moves_to_the_end_of_a_disk_that_grew() {
    for sector_size in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        for len in [GIB + sector_size.bytes(), 3 * GIB] {
            let disk = Written::new(&table(sector_size, OLD)).grown(len);
            let done = disk.with(&all(&change_ids(&disk, sector_size, &change()).unwrap()));
            let read = read_gpt(&done).unwrap();
            assert_eq!(read.partitions, table(sector_size, NEW).partitions);
            if len > 2 * GIB {
                assert!(done.ends() == expected(sector_size, len).ends());
            }
        }
    }
}

/// After every sector that can have been the last one written, on disks that grew and did not.
#[test]
fn a_cut_after_any_sector_leaves_old_ids_or_new_ones_and_the_next_run_ends_it() {
    for (sector_size, len) in [
        (SectorSize::Bytes512, GIB),
        (SectorSize::Bytes512, 2 * GIB),
        (SectorSize::Bytes4096, GIB),
        (SectorSize::Bytes4096, 3 * GIB),
    ] {
        let sector = sector_size.bytes() as usize;
        let disk = Written::new(&table(sector_size, OLD)).grown(len);
        let steps = change_ids(&disk, sector_size, &change()).unwrap();
        let done = disk.with(&all(&steps)).ends();
        let (mut before, mut seen) = (Vec::new(), Vec::new());
        for write in all(&steps) {
            for sectors in 0..=write.bytes.len().div_ceil(sector) {
                let bytes = write.bytes[..(sectors * sector).min(write.bytes.len())].to_vec();
                let torn = Write { offset: write.offset, bytes };
                let cut = disk.with(&before).with(&[torn]);
                let (_, copy, partitions) = read_primary(&cut, sector_size).unwrap();
                assert_eq!(partitions.len(), 3);
                let standing = copy.standing(&change());
                assert!([Standing::Old, Standing::New].contains(&standing));
                let rest = change_ids(&cut, sector_size, &change()).unwrap();
                seen.push(rest.standing);
                assert_eq!(rest.standing == Standing::Old, standing == Standing::Old);
                let ended = cut.with(&all(&rest));
                // What tools call the length of the disk may be left to them, as the last thing of all.
                assert!(ended.ends()[512..] == done[512..], "{} {sectors}", write.offset);
                let again = change_ids(&ended, sector_size, &change()).unwrap();
                assert_eq!(again, IdSteps { standing: Standing::New, commit: vec![], tidy: vec![] });
            }
            before.push(write);
        }
        let order = |standing: &Standing| match standing {
            Standing::Old => 0,
            Standing::Begun => 1,
            Standing::New => 2,
            Standing::Other => 3,
        };
        assert!(seen.is_sorted_by_key(order) && seen.contains(&Standing::Begun));
    }
}

#[test]
fn a_disk_that_grows_between_two_runs_keeps_its_backup_where_it_is() {
    let sector_size = SectorSize::Bytes512;
    let disk = Written::new(&table(sector_size, OLD));
    let steps = change_ids(&disk, sector_size, &change()).unwrap();
    let grown = disk.with(&steps.commit).grown(2 * GIB);
    let rest = change_ids(&grown, sector_size, &change()).unwrap();
    assert_eq!(rest.standing, Standing::Begun);
    assert!(grown.with(&rest.tidy).ends()[512..34 * 512] == expected(sector_size, GIB).ends()[512..34 * 512]);
}

#[test]
fn another_disk_is_left_alone() {
    let sector_size = SectorSize::Bytes512;
    let disk = Written::new(&table(sector_size, OLD));
    let other = |change: IdChange| {
        let steps = change_ids(&disk, sector_size, &change).unwrap();
        assert_eq!(steps, IdSteps { standing: Standing::Other, commit: vec![], tidy: vec![] });
    };
    other(IdChange { disk: (Uuid::from_u128(1), Uuid::from_u128(2)), ..change() });
    for number in [0, 2, 129, u32::MAX] {
        let mut change = change();
        change.partitions[0].number = number;
        other(change);
    }
    let mut mixed = change();
    mixed.partitions[1].old = Uuid::from_u128(1);
    other(mixed);
}

#[test]
fn what_lies_behind_the_table_is_not_overwritten() {
    let sector_size = SectorSize::Bytes512;
    let disk = Written::new(&table(sector_size, OLD));
    for sector in [34, 65] {
        let firmware = Write { offset: sector * 512 + 511, bytes: vec![1] };
        let error = change_ids(&disk.with(&[firmware]), sector_size, &change()).unwrap_err().to_string();
        assert!(error.contains("sectors 34 to 65"), "{error}");
    }
    let behind = Write { offset: 66 * 512, bytes: vec![1] };
    assert!(change_ids(&disk.with(&[behind]), sector_size, &change()).is_ok());

    let mut table = table(sector_size, OLD);
    table.partitions[0].offset = 65 * 512;
    table.partitions[0].len = MIB;
    let error = change_ids(&Written::new(&table), sector_size, &change()).unwrap_err();
    assert!(matches!(error, TableError::NoRoom { first: 34, last: 65 }), "{error}");
}

#[test]
fn a_damaged_primary_table_is_an_error_and_a_damaged_backup_none() {
    let sector_size = SectorSize::Bytes512;
    let disk = Written::new(&table(sector_size, OLD));
    for offset in [512, 600, 1024 + 16] {
        let damaged = disk.with(&[Write { offset, bytes: vec![0x5a] }]);
        assert!(change_ids(&damaged, sector_size, &change()).is_err(), "{offset}");
    }
    let damaged = disk.with(&[Write { offset: GIB - 512, bytes: vec![0; 512] }]);
    let steps = change_ids(&damaged, sector_size, &change()).unwrap();
    assert_eq!(read_gpt(&damaged.with(&all(&steps))).unwrap(), table(sector_size, NEW));
    let cut = disk.grown(GIB / 2);
    assert!(change_ids(&cut, sector_size, &change()).is_err());
}
