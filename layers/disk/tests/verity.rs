//! `veritysetup` and libblkid judge hash trees.

#![allow(clippy::unwrap_used)] // Clippy takes only `#[test]` functions for tests, not their helpers.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bake_base::{Layout, LayoutBuilder, Uuid};
use bake_disk::container::{Format, write};
use bake_disk::discoverable::{READ_ONLY, ROOT_VERITY_X86_64, ROOT_X86_64};
use bake_disk::verity::{BLOCK, Options, Verity, hash_bytes};
use bake_disk::{DiskSpec, GIB, PartitionSpec, SectorSize, Size};
use common::judge;
use proptest::prelude::*;
use tempfile::TempDir;

const UUID: &str = "01234567-89ab-4cde-8f01-23456789abcd";

fn options(salt: &[u8]) -> Options {
    Options { uuid: UUID.parse().unwrap(), salt: salt.to_vec(), threads: 2 }
}

fn layout(len: u64, pieces: &[(u64, usize)]) -> Layout {
    let mut builder = LayoutBuilder::new();
    for (offset, len) in pieces {
        builder.push_bytes(*offset, (0..*len).map(|i| (i / 5) as u8).collect());
    }
    builder.finish(len).unwrap()
}

/// Content and tree in files, and the same content's tree by `veritysetup`.
struct Case {
    scratch: TempDir,
    root_hash: String,
}

impl Case {
    fn new(data: &Layout, salt: &[u8]) -> Self {
        let verity = Verity::compute(data, &options(salt), &|_| ()).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        for (name, layout) in [("data", data), ("hash", verity.layout())] {
            let path = scratch.path().join(name);
            let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
            write(layout, &[(Format::RAW, &file)], 2, &|_| ()).unwrap();
        }
        Self { scratch, root_hash: verity.root_hash().to_string() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Has `veritysetup` make a tree and compares all of it.
    fn compare_with_format(&self, salt: &[u8]) {
        let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let salt = format!("--salt={}", if salt.is_empty() { "-" } else { &salt });
        let uuid = format!("--uuid={UUID}");
        let made = self.path("made");
        let text =
            judge("cryptsetup-bin", "veritysetup", &["format", &salt, &uuid], &[&self.path("data"), &made]);
        assert!(text.contains(&self.root_hash), "{}: {text}", self.root_hash);
        let (mut theirs, ours) = (std::fs::read(&made).unwrap(), std::fs::read(self.path("hash")).unwrap());
        // It ends its file where it has nothing more to write, which over one block of data is after 512 bytes.
        theirs.resize(theirs.len().next_multiple_of(BLOCK as usize), 0);
        assert!(theirs == ours, "{} and {} bytes differ", theirs.len(), ours.len());
    }

    fn verify(&self) -> bool {
        veritysetup_verify(&self.path("data"), &self.path("hash"), &self.root_hash)
    }
}

fn veritysetup_verify(data: &Path, hash: &Path, root_hash: &str) -> bool {
    #[allow(clippy::disallowed_methods)] // Judges are other people's programs.
    let mut command = std::process::Command::new("veritysetup");
    command.arg("verify").args([data, hash]).arg(root_hash).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.output().unwrap().status.success()
}

#[test]
fn veritysetup_makes_the_same_tree_and_verifies_ours() {
    for (len, pieces) in [
        (BLOCK, &[(0, 4096)][..]),
        (BLOCK * 2, &[]),
        (BLOCK * 128, &[(4095, 2)]),
        (BLOCK * 129, &[(BLOCK * 128, 1)]),
        ((70 << 20) + BLOCK, &[(0, 3 << 20), (33 << 20, 1 << 20), (70 << 20, 4096)]),
    ] {
        for salt in [&b""[..], b"s", &[0xa5; 32], &[1; 256]] {
            let case = Case::new(&layout(len, pieces), salt);
            case.compare_with_format(salt);
            assert!(case.verify(), "{len} {pieces:?}");
        }
    }
}

#[test]
fn veritysetup_reads_the_superblock() {
    let case = Case::new(&layout(BLOCK * 1000, &[(5, 5)]), &[0xab; 32]);
    let text = judge("cryptsetup-bin", "veritysetup", &["dump"], &[&case.path("hash")]);
    let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        format!("UUID: {UUID}"),
        "Hash type: 1".to_owned(),
        "Data blocks: 1000".to_owned(),
        "Data block size: 4096".to_owned(),
        "Hash block size: 4096".to_owned(),
        "Hash algorithm: sha256".to_owned(),
        format!("Salt: {}", "ab".repeat(32)),
    ] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let len = BLOCK * 300;
    let case = Case::new(&layout(len, &[(0, 100_000)]), b"salt");
    assert!(case.verify());
    let tree = hash_bytes(len);
    let places = [("data", [0, 4096 * 7 + 5, len - 1]), ("hash", [BLOCK, BLOCK * 2 + 77, tree - BLOCK])];
    for (name, offsets) in places {
        for offset in offsets {
            let file = File::options().read(true).write(true).open(case.path(name)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
            assert!(!case.verify(), "{name} at {offset}");
            file.write_all_at(&byte, offset).unwrap();
        }
    }
    assert!(case.verify());
    let other = format!("{}0", &case.root_hash[..63]);
    let wrong = if other == case.root_hash { format!("{}1", &case.root_hash[..63]) } else { other };
    assert!(!veritysetup_verify(&case.path("data"), &case.path("hash"), &wrong));
}

/// Both partitions on a disk, by the rule of the discoverable partitions.
#[test]
fn partitions_are_found_and_verified_by_the_root_hash() {
    let data = layout(5 << 20, &[(0, 1 << 20)]);
    let verity = Verity::compute(&data, &options(b"salt"), &|_| ()).unwrap();
    let partition = |number, type_guid, guid, name: &str, layout: &Layout| PartitionSpec {
        number,
        type_guid,
        guid,
        name: name.to_owned(),
        attributes: READ_ONLY,
        size: Size::Bytes(layout.len()),
        layout: layout.clone(),
    };
    let spec = DiskSpec {
        guid: Uuid::from_u128(1),
        sector_size: SectorSize::Bytes512,
        len: GIB,
        boot_code: None,
        partitions: vec![
            partition(1, ROOT_X86_64, verity.data_guid(), "root", &data),
            partition(2, ROOT_VERITY_X86_64, verity.hash_guid(), "root-verity", verity.layout()),
        ],
    };
    let written = common::Written::new(&spec.build().unwrap().layout, 2);
    assert_eq!(written.digests.disk_size(), GIB);
    let raw = written.path("raw");
    let arguments = ["--bytes", "--raw", "--noheadings", "--output", "START,SIZE,UUID"];
    let text = judge("util-linux", "partx", &arguments, &[&raw]);
    let hash = verity.root_hash().to_string();
    let mut parts = Vec::new();
    for (line, half) in text.lines().zip([&hash[..32], &hash[32..]]) {
        let fields: Vec<_> = line.split_whitespace().collect();
        assert_eq!(fields[2].replace('-', ""), half);
        let (start, size) = (fields[0].parse::<u64>().unwrap() * 512, fields[1].parse::<usize>().unwrap());
        let mut bytes = vec![0; size];
        File::open(&raw).unwrap().read_exact_at(&mut bytes, start).unwrap();
        let path = written.scratch.path().join(half);
        std::fs::write(&path, bytes).unwrap();
        parts.push(path);
    }
    assert!(veritysetup_verify(&parts[0], &parts[1], &hash));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn veritysetup_agrees_about_any_layout(
        blocks in 1_u64..40_000,
        pieces in prop::collection::vec((any::<prop::sample::Index>(), 1_usize..50_000), 0..6),
        salt in prop::collection::vec(any::<u8>(), 0..=256),
    ) {
        let len = blocks * BLOCK;
        let mut places: Vec<_> = pieces.iter().map(|(at, n)| (at.index(len as usize) as u64, *n)).collect();
        places.sort_unstable();
        let mut free = 0;
        places.retain_mut(|(at, n)| {
            *n = (*n).min((len - *at) as usize);
            let fits = *at >= free;
            free = if fits { *at + *n as u64 } else { free };
            fits
        });
        let case = Case::new(&layout(len, &places), &salt);
        case.compare_with_format(&salt);
        prop_assert!(case.verify());
    }
}
