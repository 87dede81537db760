//! Damaged and hostile archives: an error or a tree, never a panic, never a byte outside of the archive.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bake_archive::{ArchiveError, Limits, OpenOptions, open_rootfs, read_tar};
use bake_base::{Bytes, ReadAt};
use bake_tree::MemberKind;
use proptest::prelude::*;

/// Small tars of every format, with everything that has a parser of its own.
fn tars() -> Vec<Vec<u8>> {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().join("tree");
    fs::create_dir(&top).unwrap();
    let script = "printf content >file; : >empty; ln -s file link; ln file also; mkfifo fifo; mkdir directory
        truncate -s 1M sparse; for i in 1 3 5 7 9 11 13; do
            printf x | dd of=sparse bs=64K seek=$i conv=notrunc status=none; done
        setfattr -n user.name -v value file";
    shell(&top, script);
    let mut tars = Vec::new();
    for writer in [
        "--format=v7 --exclude=fifo",
        "--format=ustar",
        "--format=gnu --sparse",
        "--format=oldgnu",
        "--format=pax --sparse --sparse-version=0.0 --xattrs",
        "--format=pax --sparse --sparse-version=0.1 --xattrs",
        "--format=pax --sparse --sparse-version=1.0 --xattrs --acls",
    ] {
        let long = match writer {
            _ if writer.contains("v7") => "",
            _ if writer.contains("ustar") => "touch $(printf 'n%.0s' $(seq 1 95));",
            _ => "touch $(printf 'n%.0s' $(seq 1 200)); touch -d @-1.5 empty;",
        };
        shell(&top, &format!("{long} tar {writer} -b 1 -cf ../it.tar . && rm -f n*"));
        tars.push(fs::read(scratch.path().join("it.tar")).unwrap());
    }
    tars
}

#[allow(clippy::disallowed_methods)]
fn shell(directory: &Path, script: &str) {
    let status = Command::new("sh").args(["-ec", script]).current_dir(directory).status().unwrap();
    assert!(status.success(), "{script}");
}

/// Reads a tar and everything that its members refer to.
fn digest(bytes: Vec<u8>) -> Result<usize, ArchiveError> {
    let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes));
    let members = read_tar("it.tar", &source)?.members;
    for member in &members {
        let MemberKind::File(content) = &member.kind else { continue };
        for extent in content.extents() {
            assert!(extent.source_offset + extent.len <= source.len());
            assert!(extent.start + extent.len <= content.len());
        }
        if content.len() < 1 << 22 {
            content.read_all(1 << 22).unwrap();
        }
    }
    Ok(members.len())
}

#[test]
fn every_format_is_an_error_wherever_it_is_cut() {
    for (i, tar) in tars().into_iter().enumerate() {
        assert!(digest(tar.clone()).unwrap() > 6, "{i}");
        // GNU tar writes exactly two zero blocks here; either of them missing is an end that is missing.
        for cut in (1..tar.len()).filter(|cut| cut % 512 == 0 || cut % 101 == 0) {
            assert!(digest(tar[..cut].to_vec()).is_err(), "format {i} cut at {cut} of {}", tar.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// With the checksum mended, so that the damage is looked at.
    #[test]
    fn any_bytes_in_headers_and_records(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 150),
        mend in any::<bool>(),
    ) {
        thread_local! { static TARS: Vec<Vec<u8>> = tars(); }
        TARS.with(|tars| for tar in tars {
            for (index, byte) in &flips {
                let mut damaged = tar.clone();
                let at = index.index(damaged.len());
                damaged[at] = *byte;
                if mend {
                    mend_checksum(&mut damaged, at);
                }
                let _ = digest(damaged);
            }
        });
    }

    #[test]
    fn any_field_of_any_header(
        at in any::<prop::sample::Index>(),
        field in prop::sample::select(vec![(0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100),
            (257, 8), (329, 8), (345, 155), (386, 24), (482, 13)]),
        bytes in prop::collection::vec(any::<u8>(), 155),
        fill in prop::option::of(prop::sample::select(vec![0, 0xff, 0x80, b'7', b'/', b' '])),
    ) {
        thread_local! { static TARS: Vec<Vec<u8>> = tars(); }
        TARS.with(|tars| for tar in tars {
            let mut damaged = tar.clone();
            let block = at.index(damaged.len() / 512) * 512;
            let field = block + field.0..block + field.0 + field.1;
            match fill {
                Some(byte) => damaged[field].fill(byte),
                None => damaged[field.clone()].copy_from_slice(&bytes[..field.len()]),
            }
            mend_checksum(&mut damaged, block);
            let _ = digest(damaged);
        });
    }
}

/// Mends the checksum of the header that holds byte `at`, should it be one.
fn mend_checksum(tar: &mut [u8], at: usize) {
    let start = at / 512 * 512;
    let Some(block) = tar.get_mut(start..start + 512) else { return };
    let sum: u64 = (0..512).map(|i| if (148..156).contains(&i) { 32 } else { u64::from(block[i]) }).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn bombs_stop_at_the_limit_and_leave_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let zeros = vec![0; 16 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&zeros).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&zeros[..], 3).unwrap();
    for (name, member) in [("bomb.gz", gzip), ("bomb.zst", zstd)] {
        // Ten GiB in a few hundred KiB.
        let path = scratch.path().join(name);
        fs::write(&path, member.repeat(640)).unwrap();
        for cache in [None, Some(scratch.path().join("cache"))] {
            let limits = Limits { decoded: 100 << 20, ..Limits::default() };
            let options =
                OpenOptions { limits, cache, scratch: scratch.path().to_owned(), ..OpenOptions::default() };
            let error = open_rootfs(&path, &options).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("raise `--max-decoded`"), "{error}");
        }
        fs::remove_file(&path).unwrap();
    }
    let kept = scratch.path().join("cache/layers/sha256");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 0);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

/// Empty files without end, made as they are read.
#[derive(Debug)]
struct Endless {
    members: u64,
}

impl ReadAt for Endless {
    fn len(&self) -> u64 {
        (self.members + 2) * 512
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        for (i, block) in buffer.chunks_mut(512).enumerate() {
            let number = offset / 512 + i as u64;
            block.fill(0);
            if number < self.members {
                let mut header = tar::Header::new_ustar();
                header.set_path(format!("directory/file-{number}")).unwrap();
                header.set_size(0);
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        Ok(())
    }
}

#[test]
fn many_members_take_time_in_proportion() {
    let source: Arc<dyn ReadAt> = Arc::new(Endless { members: 300_000 });
    let members = read_tar("endless", &source).unwrap().members;
    assert_eq!(members.len(), 300_000);
    assert_eq!(members[299_999].path.as_bytes(), b"directory/file-299999");
}

#[test]
fn what_is_no_root_file_system_is_named() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("input");
    for (content, found) in [
        (&b""[..], "is empty"),
        (b"hello", "is no tar"),
        (b"PK\x03\x04 and so on", "a zip archive"),
        (b"!<arch>\ndebian-binary", "Debian package"),
        (b"QFI\xfb and so on", "qcow2"),
        (b"\x1f\x8b\x08", "is cut short: its gzip stream does not end"),
        (&[0; 100], "is no tar"),
    ] {
        fs::write(&path, content).unwrap();
        let options = OpenOptions { scratch: scratch.path().to_owned(), ..OpenOptions::default() };
        let error = open_rootfs(&path, &options).unwrap_err().to_string();
        assert!(error.contains("/input` ") && error.contains(found), "{error}");
    }
    for (path, reason) in [("/dev/null", "no regular file"), ("/nowhere", "opening `/nowhere` failed")] {
        let error = open_rootfs(Path::new(path), &OpenOptions::default()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    shell(scratch.path(), "mkfifo fifo");
    let error = open_rootfs(&scratch.path().join("fifo"), &OpenOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}
