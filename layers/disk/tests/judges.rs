//! Real tools judge whole disks.

#![allow(clippy::unwrap_used)] // Clippy takes only `#[test]` functions for tests, not their helpers.

mod common;

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use bake_base::{LayoutBuilder, Uuid};
use bake_disk::container::open;
use bake_disk::discoverable::{BIOS_BOOT, ESP, GROW_FILE_SYSTEM, ROOT_X86_64};
use bake_disk::{BlockDigests, Disk, DiskSpec, GIB, PartitionSpec, SectorSize, Size, read_gpt};
use common::{Written, judge};

const MIB: u64 = 1 << 20;

fn disk(sector_size: SectorSize) -> Disk {
    let partition = |number: u32, type_guid, name: &str, attributes, size, pieces: &[(u64, usize)]| {
        let mut builder = LayoutBuilder::new();
        for (offset, len) in pieces {
            builder.push_bytes(*offset, (0..*len).map(|byte| byte as u8 | 1).collect());
        }
        let guid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_ab00 + u128::from(number));
        let layout = builder.finish(MIB).unwrap();
        PartitionSpec { number, type_guid, guid, name: name.to_owned(), attributes, size, layout }
    };
    let spec = DiskSpec {
        guid: Uuid::from_u128(0xfedc_ba98_7654_4321_8fed_cba9_8765_4321),
        sector_size,
        len: 2 * GIB,
        boot_code: None,
        partitions: vec![
            partition(14, BIOS_BOOT, "bios", 0, Size::Bytes(MIB), &[]),
            partition(15, ESP, "esp", 0, Size::Bytes(512 * MIB), &[(0, 5000), (100_000, 1)]),
            partition(1, ROOT_X86_64, "röot", GROW_FILE_SYSTEM, Size::Rest, &[(MIB - 70_000, 70_000)]),
        ],
    };
    spec.build().unwrap()
}

#[test]
fn sgdisk_finds_no_problem_and_the_ids_that_were_given() {
    let written = Written::new(&disk(SectorSize::Bytes512).layout, 2);
    let raw = written.path("raw");
    let verdict = judge("gdisk", "sgdisk", &["-v"], &[&raw]);
    assert!(verdict.contains("No problems found"), "{verdict}");
    let table = judge("gdisk", "sgdisk", &["-p"], &[&raw]);
    assert!(table.contains("FEDCBA98-7654-4321-8FED-CBA987654321"), "{table}");
    let root = judge("gdisk", "sgdisk", &["-i", "1"], &[&raw]);
    for expected in [
        "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        "01234567-89AB-4CDE-8F01-23456789AB01",
        "First sector: 1052672 (at 514.0 MiB)",
        "Last sector: 4192255",
        "Attribute flags: 0800000000000000",
        "'röot'",
    ] {
        assert!(root.contains(expected), "{expected}: {root}");
    }
}

/// `sgdisk` takes every file for one of 512-byte sectors; libblkid, which checks all checksums, can be told.
#[test]
fn libblkid_accepts_a_disk_with_4096_byte_sectors() {
    let written = Written::new(&disk(SectorSize::Bytes4096).layout, 2);
    let arguments = ["--sector-size", "4096", "--raw", "--output", "NR,START,SECTORS,NAME,UUID"];
    let text = judge("util-linux", "partx", &arguments, &[&written.path("raw")]);
    // Its own sectors have 512 bytes whatever the disk's.
    let expected = "NR START SECTORS NAME UUID
1 1052672 3139584 r\\xc3\\xb6ot 01234567-89ab-4cde-8f01-23456789ab01
14 2048 2048 bios 01234567-89ab-4cde-8f01-23456789ab0e
15 4096 1048576 esp 01234567-89ab-4cde-8f01-23456789ab0f
";
    assert_eq!(text, expected);
}

#[test]
fn qemu_finds_no_error_and_no_difference() {
    let written = Written::new(&disk(SectorSize::Bytes512).layout, 2);
    let (raw, qcow2) = (written.path("raw"), written.path("qcow2"));
    judge("qemu-utils", "qemu-img", &["check", "-f", "qcow2"], &[&qcow2]);
    judge("qemu-utils", "qemu-img", &["compare", "-f", "raw", "-F", "qcow2"], &[&raw, &qcow2]);
    let map = judge("qemu-utils", "qemu-img", &["map", "--output=json", "-f", "qcow2"], &[&qcow2]);
    assert!(map.contains(r#""start": 0, "length": 65536"#), "{map}");
}

#[test]
fn what_qemu_wrote_is_read_and_has_the_same_digest() {
    let disk = disk(SectorSize::Bytes512);
    let written = Written::new(&disk.layout, 1);
    let raw = written.path("raw");
    let variants: &[&[&str]] = &[
        &["-o", "compat=1.1"],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M"],
        &["-o", "preallocation=metadata"],
    ];
    for options in variants {
        let made = written.path("made-by-qemu");
        judge(
            "qemu-utils",
            "qemu-img",
            &[&["convert", "-t", "unsafe", "-f", "raw", "-O", "qcow2"], *options].concat(),
            &[&raw, &made],
        );
        let opened = open(File::open(&made).unwrap()).unwrap();
        assert_eq!(opened.format.name(), "qcow2");
        assert_eq!(read_gpt(&*opened.disk).unwrap(), disk.table, "{options:?}");
        assert_eq!(BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap(), written.digests, "{options:?}");
    }
}

#[test]
fn images_that_qemu_compressed_are_read() {
    let disk = disk(SectorSize::Bytes512);
    let written = Written::new(&disk.layout, 1);
    for (format, options) in [
        ("qcow2", "compression_type=zlib"),
        ("qcow2", "compression_type=zstd"),
        ("qcow2", "cluster_size=4096"),
        ("vmdk", "subformat=streamOptimized"),
    ] {
        let made = written.path("compressed");
        let arguments = ["convert", "-c", "-f", "raw", "-O", format, "-o", options];
        judge("qemu-utils", "qemu-img", &arguments, &[&written.path("raw"), &made]);
        let opened = open(File::open(&made).unwrap()).unwrap();
        assert_eq!(read_gpt(&*opened.disk).unwrap(), disk.table, "{options}");
        assert_eq!(BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap(), written.digests, "{options}");
    }
}

#[test]
fn other_containers_that_qemu_made_are_read() {
    let disk = disk(SectorSize::Bytes512);
    let written = Written::new(&disk.layout, 1);
    for (driver, options, format) in [
        ("vmdk", "subformat=monolithicSparse", "vmdk"),
        ("vpc", "subformat=dynamic,force_size=on", "vhd-dynamic"),
        ("vpc", "subformat=fixed,force_size=on", "vhd"),
        ("vhdx", "subformat=dynamic", "vhdx"),
        ("vhdx", "subformat=fixed", "vhdx"),
    ] {
        let made = written.path("made");
        let arguments = ["convert", "-f", "raw", "-O", driver, "-o", options];
        judge("qemu-utils", "qemu-img", &arguments, &[&written.path("raw"), &made]);
        let opened = open(File::open(&made).unwrap()).unwrap();
        assert_eq!(opened.format.name(), format, "{options}");
        assert_eq!(BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap(), written.digests, "{options}");
    }
}

#[test]
fn holes_stay_holes_in_every_format() {
    let disk = disk(SectorSize::Bytes512);
    let written = Written::new(&disk.layout, 2);
    let allocated = |format: &str| written.path(format).metadata().unwrap().blocks() * 512;
    // Table 17 KiB + 5,000 + 1 + 70,000 bytes + table 17 KiB, in pages of 4 KiB.
    let pages = (5 + 2 + 1 + 18 + 5) * 4096;
    // Some file systems add a block or two of their own to a file with many extents.
    assert!((pages..=pages + 16384).contains(&allocated("raw")), "{}", allocated("raw"));
    // Header, L1, three L2 tables, refcount table and block; data in clusters of 64 KiB.
    let clusters = written.path("qcow2").metadata().unwrap().len() / 65536;
    assert_eq!(clusters, 7 + 1 + 2 + 2 + 1);
    assert!(allocated("qcow2") <= clusters * 65536 + 16384, "{}", allocated("qcow2"));
}

#[test]
fn a_table_is_read_from_every_container() {
    let disk = disk(SectorSize::Bytes4096);
    let written = Written::new(&disk.layout, 2);
    for format in ["raw", "qcow2"] {
        let opened = open(File::open(written.path(format)).unwrap()).unwrap();
        assert_eq!(opened.format.name(), format);
        assert_eq!(read_gpt(&*opened.disk).unwrap(), disk.table);
    }
}

/// As Compute Engine's users are told to make them, sparse and not.
#[test]
fn archives_that_tar_made_for_compute_engine_are_read() {
    let mut builder = LayoutBuilder::new();
    for offset in [0, 5 * MIB, 9 * MIB, 11 * MIB, 20 * MIB, 40 * MIB] {
        builder.push_bytes(offset, vec![7; 10_000]);
    }
    let written = Written::new(&builder.finish(64 * MIB).unwrap(), 2);
    let scratch = written.scratch.path();
    std::fs::hard_link(written.path("raw"), scratch.join("disk.raw")).unwrap();
    for sparse in [&["--sparse"][..], &[]] {
        let made = written.path("made.tar.gz");
        let from = ["--format=oldgnu", "-C", scratch.to_str().unwrap(), "-cz", "disk.raw", "-f"];
        judge("tar", "tar", &[sparse, &from].concat(), &[&made]);
        let opened = open(File::open(&made).unwrap()).unwrap();
        assert_eq!(opened.format.name(), "gce", "{sparse:?}");
        assert_eq!(BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap(), written.digests, "{sparse:?}");
    }
}

#[test]
fn tar_unpacks_an_archive_for_compute_engine_as_sparse_as_the_disk_was() {
    let written = Written::new(&disk(SectorSize::Bytes512).layout, 2);
    let scratch = written.scratch.path();
    judge("tar", "tar", &["-C", scratch.to_str().unwrap(), "-xzf"], &[&written.path("gce")]);
    let unpacked = scratch.join("disk.raw");
    judge("diffutils", "cmp", &[], &[&written.path("raw"), &unpacked]);
    assert!(unpacked.metadata().unwrap().blocks() * 512 < MIB);
}
