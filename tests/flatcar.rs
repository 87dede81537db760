//! Flatcar by its vendor's disk, and by a system extension: `bake image` on the disks that `ci/vendor-disk` makes.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

#[path = "flatcar/disk.rs"]
mod disk;
#[path = "flatcar/extension.rs"]
mod extension;
#[path = "flatcar/machine.rs"]
mod machine;
#[path = "flatcar/refused.rs"]
mod refused;
#[path = "flatcar/server.rs"]
mod server;
mod support;

#[path = "installer/host.rs"]
#[allow(dead_code)] // the installer's own tests need more of it
mod host;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bake_disk::{Table, read_gpt};
use support::made;

/// The stand-in with short partitions.
fn short() -> PathBuf {
    made("vendor/flatcar-short.raw")
}

fn table(disk: &Path) -> Table {
    read_gpt(&bake_base::FileBytes::new(File::open(disk).unwrap()).unwrap()).unwrap()
}

/// Where a partition begins, and its length.
fn place(disk: &Path, name: &str) -> (u64, u64) {
    let table = table(disk);
    let part = table.partitions.iter().find(|part| part.name == name).unwrap();
    (part.offset, part.len)
}

/// Fails at the first byte in which two files differ between two places.
fn same(one: &Path, other: &Path, start: u64, end: u64) {
    let (one, other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for at in (start..end).step_by(1 << 20) {
        let length = (end - at).min(1 << 20) as usize;
        one.read_exact_at(&mut ours[..length], at).unwrap();
        other.read_exact_at(&mut theirs[..length], at).unwrap();
        if ours[..length] != theirs[..length] {
            let first = (0..length).find(|i| ours[*i] != theirs[*i]).unwrap() as u64;
            panic!("byte {} differs, in what goes from {start} to {end}", at + first);
        }
    }
}
