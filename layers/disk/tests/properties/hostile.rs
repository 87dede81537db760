//! Damaged containers of every format: errors or other bytes, never a panic, and no end of memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bake_base::{Layout, LayoutBuilder};
use bake_disk::container::{Format, open};
use bake_disk::{BLOCK_SIZE, GIB};

use crate::common::Written;

/// Bytes that compress and some that do not, in three places of a disk.
fn disk() -> Layout {
    let mut builder = LayoutBuilder::new();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    builder.push_bytes(0, (0..70_000_u32).map(|at| (at >> 9) as u8 | 1).collect());
    builder.push_bytes(5 << 20, (0..100_000).map(|_| noise()).collect());
    builder.push_bytes(GIB - 9000, vec![7; 9000]);
    builder.finish(GIB).unwrap()
}

/// Reads the places of the disk that hold something.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let disk = open(File::open(file).unwrap()).map_err(|error| error.to_string())?.disk;
    if disk.len() != GIB {
        return Err(format!("it has {} bytes", disk.len()));
    }
    let mut bytes = vec![0; 3 * BLOCK_SIZE as usize];
    for (offset, part) in
        [0, 5 << 20, GIB - BLOCK_SIZE].into_iter().zip(bytes.chunks_mut(BLOCK_SIZE as usize))
    {
        disk.read_exact_at(offset, part).map_err(|error| error.to_string())?;
    }
    Ok(bytes)
}

fn damageable() -> impl Iterator<Item = &'static Format> {
    Format::all().iter().filter(|format| format.holds_disk() && **format != Format::RAW)
}

/// Whether a reader has to go through the whole file, which takes a while.
fn is_stream(format: &Format) -> bool {
    ["gce", "raw.gz", "raw.xz", "raw.zst"].contains(&format.name())
}

#[test]
fn a_changed_byte_gives_an_error_or_bytes_never_a_panic() {
    let written = Written::new(&disk(), 2);
    for format in damageable() {
        let path = written.path(format.name());
        let good = read(&path).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        let mut places: Vec<u64> =
            if is_stream(format) { (0..24).step_by(3).collect() } else { (0..640).collect() };
        // Where the tables of the formats begin, and ends of files.
        let far = if is_stream(format) { 0 } else { 48 };
        for start in [
            1024,
            1536,
            2048,
            10_752,
            65_536,
            131_072,
            196_608,
            2 << 20,
            3 << 20,
            len - 1536,
            len - 1024,
            len - 512,
        ] {
            places.extend((start..start + far).step_by(5));
        }
        let mut noticed = 0;
        for at in places.into_iter().filter(|at| *at < len) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            for changed in [0xff, byte[0] ^ 0x01, byte[0] ^ 0x80] {
                file.write_all_at(&[changed], at).unwrap();
                noticed += usize::from(read(&path).as_ref() != Ok(&good));
            }
            file.write_all_at(&byte, at).unwrap();
        }
        assert!(noticed > 0, "{format}: no change was noticed");
        assert_eq!(read(&path).as_ref(), Ok(&good), "{format}");
    }
}

/// A cut between two frames of zstd is only seen by the length; a fixed VHD without its footer is a
/// raw disk, as long as one.
#[test]
fn a_file_that_was_cut_is_not_taken_for_whole() {
    let written = Written::new(&disk(), 2);
    for format in damageable() {
        let path = written.path(format.name());
        let good = read(&path).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        let cuts = [len - 1, len - 700, len * 3 / 4, len / 2, len / 3, 4096, 600, 100, 9];
        let file = File::options().write(true).open(&path).unwrap();
        for cut in cuts {
            file.set_len(cut).unwrap();
            let is_noticed = read(&path) != Ok(good.clone());
            let is_last_but_whole = format.name() == "vhd" && cut + 700 >= len;
            // What QEMU reads of these lies before the end: padding, or tables that nobody asks.
            let is_padding = ["ova", "qcow2-compressed", "vhd-dynamic", "vmdk"].contains(&format.name())
                && cut + 700 >= len;
            assert!(is_noticed || is_last_but_whole || is_padding, "{format} cut to {cut} of {len} bytes");
        }
    }
}
