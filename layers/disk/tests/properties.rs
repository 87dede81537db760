//! Any layout comes out of every container as it went in, with one digest.

#![allow(clippy::unwrap_used)] // Clippy takes only `#[test]` functions for tests, not their helpers.

mod common;
#[path = "properties/hostile.rs"]
mod hostile;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bake_base::{Bytes, Layout, LayoutBuilder, ReadAt};
use bake_disk::BlockDigests;
use bake_disk::container::{Format, WriteError, open, touched_bytes, write};
use common::{Written, judge};
use proptest::prelude::*;

/// Gaps and lengths near the sizes that matter: sector, page, cluster, block, the reach of an L2 table.
fn distance() -> impl Strategy<Value = u64> {
    let near = |size: u64| size.saturating_sub(2)..size + 3;
    prop_oneof![0..3_u64, near(512), near(4096), near(65_536), near(524_288), 0..3_000_000_u64]
}

fn pieces() -> impl Strategy<Value = (LayoutBuilder, u64)> {
    let far = prop_oneof![99 => Just(0_u64), 1 => (510_u64 << 20)..(520 << 20)];
    let piece = (distance(), far, distance(), any::<u8>());
    (prop::collection::vec(piece, 0..12), distance()).prop_map(|(pieces, tail)| {
        let mut builder = LayoutBuilder::new();
        let mut at = 0;
        for (gap, far, len, seed) in pieces {
            at += gap + far;
            // Some pieces are zeros: covered all the same.
            let content: Vec<u8> = (0..len).map(|i| (i >> 3) as u8 & seed).collect();
            builder.push(at, len, Arc::new(Bytes::from(content)), 0);
            at += len;
        }
        (builder, at + tail)
    })
}

fn layout() -> impl Strategy<Value = Layout> {
    (pieces(), prop_oneof![12 => Just(512_u64), 3 => Just(1 << 20), 1 => Just(1 << 30)])
        .prop_map(|((builder, end), multiple)| builder.finish(end.next_multiple_of(multiple)).unwrap())
}

/// Formats with the names that QEMU has for them.
const QEMU: [(&str, &str); 8] = [
    ("raw", "raw"),
    ("qcow2", "qcow2"),
    ("qcow2-compressed", "qcow2"),
    ("vmdk", "vmdk"),
    ("vmdk-stream", "vmdk"),
    ("vhd", "vpc"),
    ("vhd-dynamic", "vpc"),
    ("vhdx", "vhdx"),
];
/// Those of which it can check the tables.
const CHECKED: [&str; 3] = ["qcow2", "vmdk", "vhdx"];

/// Those that take the disk.
fn formats(written: &Written) -> impl Iterator<Item = Format> {
    Format::all().iter().copied().filter(|format| written.path(format.name()).exists())
}

fn same_bytes(left: &dyn ReadAt, right: &dyn ReadAt) {
    assert_eq!(left.len(), right.len());
    let (mut a, mut b) = (vec![0; 1 << 20], vec![1; 1 << 20]);
    for offset in (0..left.len()).step_by(1 << 20) {
        let len = (left.len() - offset).min(1 << 20) as usize;
        left.read_exact_at(offset, &mut a[..len]).unwrap();
        right.read_exact_at(offset, &mut b[..len]).unwrap();
        assert!(a[..len] == b[..len], "bytes differ in the MiB at {offset}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_container_holds_the_layout(disk in layout()) {
        let written = Written::new(&disk, 2);
        for format in formats(&written).filter(|format| format.holds_disk()) {
            let opened = open(File::open(written.path(format.name())).unwrap()).unwrap();
            prop_assert_eq!(opened.format, format);
            same_bytes(&disk, &*opened.disk);
            prop_assert_eq!(&BlockDigests::compute(&*opened.disk, 2, &|_| ()).unwrap(), &written.digests);
        }
    }

    /// An empty disk is nothing that QEMU opens.
    #[test]
    fn qemu_reads_the_same_disk_from_every_container_that_it_knows(disk in layout().prop_filter("empty", |disk| !disk.is_empty())) {
        let written = Written::new(&disk, 2);
        for (format, driver) in QEMU {
            let container = written.path(format);
            if !container.exists() {
                continue;
            }
            if CHECKED.contains(&driver) {
                judge("qemu-utils", "qemu-img", &["check", "-q", "-f", driver], &[&container]);
            }
            let converted = written.path("converted");
            judge("qemu-utils", "qemu-img", &["convert", "-t", "unsafe", "-f", driver, "-O", "raw"], &[&container, &converted]);
            same_bytes(&disk, &*open(File::open(converted).unwrap()).unwrap().disk);
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_byte(disk in layout()) {
        let all = [1, 2, 3].map(|threads| Written::new(&disk, threads));
        for other in &all[1..] {
            prop_assert_eq!(&other.digests, &all[0].digests);
            for format in formats(&all[0]) {
                let files = [&all[0], other].map(|written| open_plain(&written.path(format.name())));
                same_bytes(&files[0], &files[1]);
            }
        }
    }

    #[test]
    fn progress_adds_up_and_hashing_alone_gives_the_same(disk in layout()) {
        let done = AtomicU64::new(0);
        let count = |bytes| { done.fetch_add(bytes, Ordering::Relaxed); };
        let digests = write(&disk, &[], 2, &count).unwrap();
        prop_assert_eq!(done.load(Ordering::Relaxed), touched_bytes(&disk));
        prop_assert_eq!(&digests, &BlockDigests::compute(&disk, 2, &|_| ()).unwrap());
        prop_assert_eq!(digests.iter().count() as u64, digests.block_count());
    }
}

/// The container itself, not the disk in it.
fn open_plain(path: &std::path::Path) -> bake_base::FileBytes {
    bake_base::FileBytes::new(File::open(path).unwrap()).unwrap()
}

#[test]
fn what_a_file_held_before_is_gone() {
    let mut builder = LayoutBuilder::new();
    builder.push_bytes(1 << 20, vec![7; 5]);
    let disk = builder.finish(1 << 30).unwrap();
    for format in Format::all().iter().filter(|format| format.holds_disk()) {
        let scratch = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut scratch.as_file(), &vec![0xaa; 9 << 20]).unwrap();
        write(&disk, &[(*format, scratch.as_file())], 2, &|_| ()).unwrap();
        same_bytes(&disk, &*open(scratch.reopen().unwrap()).unwrap().disk);
    }
}

/// A medium with one bad place.
#[derive(Debug)]
struct Bad;

impl ReadAt for Bad {
    fn len(&self) -> u64 {
        u64::MAX
    }

    fn read_exact_at(&self, offset: u64, _: &mut [u8]) -> std::io::Result<()> {
        if offset >= 600_000 { Err(std::io::Error::other("bad place")) } else { Ok(()) }
    }
}

#[test]
fn errors_say_where_and_of_which_format() {
    let mut builder = LayoutBuilder::new();
    builder.push(0, 2 << 20, Arc::new(Bad), 0);
    let disk = builder.finish(2 << 20).unwrap();
    let error = write(&disk, &[], 2, &|_| ()).unwrap_err();
    assert!(matches!(error, WriteError::Read { offset: 1_048_576, .. }), "{error:?}");

    let odd = LayoutBuilder::new().finish(513).unwrap();
    let unwritable = File::open("/dev/null").unwrap();
    let qcow2 = "qcow2".parse().unwrap();
    let error = write(&odd, &[(Format::RAW, &unwritable), (qcow2, &unwritable)], 1, &|_| ()).unwrap_err();
    assert!(error.to_string().starts_with("qcow2 cannot hold this disk"), "{error}");
    let error = write(&odd, &[(Format::RAW, &unwritable)], 1, &|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the raw file");
}
