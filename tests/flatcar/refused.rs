//! What is no vendor's disk, or cannot be done to one: an error with a name, and nothing written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::disk::hollow;
use super::place;
use crate::support::{bake, output, run, scratch, text};

const SECTOR: u64 = 512;

/// A disk that is damaged and mended again.
struct Disk {
    scratch: TempDir,
    path: PathBuf,
    root: u64,
    len: u64,
}

impl Disk {
    fn new() -> Self {
        let scratch = scratch();
        let path = hollow(scratch.path());
        let (root, len) = (place(&path, "ROOT").0, fs::metadata(&path).unwrap().len());
        Self { scratch, path, root, len }
    }

    fn file(&self) -> File {
        File::options().read(true).write(true).open(&self.path).unwrap()
    }

    fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file().read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.file().write_all_at(bytes, at).unwrap();
    }

    /// It is refused with all of these words, and there is no output.
    fn is_refused(&self, expected: &[&str], arguments: &[&str]) {
        refuses(self.scratch.path(), &self.path, expected, arguments);
    }

    /// Changes a place, sees the disk refused with these words, and changes it back.
    fn refused_with(&self, at: u64, bytes: &[u8], expected: &[&str]) {
        let before = self.read(at, bytes.len());
        assert_ne!(before, bytes);
        self.write(at, bytes);
        self.is_refused(expected, &[]);
        self.write(at, &before);
    }

    /// Changes both copies of the table and their checksums.
    fn refused_table(&self, change: impl Fn(&mut [u8], &mut [u8]), expected: &[&str]) {
        let last = self.len / SECTOR - 1;
        let places = [(1, 2), (last, last - 32)];
        let before = places
            .map(|(header, array)| (self.read(header * SECTOR, 512), self.read(array * SECTOR, 32 * 512)));
        for ((header_at, array_at), (header, array)) in places.into_iter().zip(&before) {
            let (mut header, mut array) = (header.clone(), array.clone());
            change(&mut header, &mut array);
            header[88..92].copy_from_slice(&crc32(&array[..128 * 128]).to_le_bytes());
            header[16..20].fill(0);
            let sum = crc32(&header[..92]);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            self.write(header_at * SECTOR, &header);
            self.write(array_at * SECTOR, &array);
        }
        self.is_refused(expected, &[]);
        for ((header_at, array_at), (header, array)) in places.into_iter().zip(&before) {
            self.write(header_at * SECTOR, header);
            self.write(array_at * SECTOR, array);
        }
    }

    /// Lets debugfs change ROOT, which mends checksums.
    fn refused_root(&self, request: &str, expected: &[&str]) {
        // The superblock and the descriptors of groups.
        let before = self.read(self.root, 64 << 10);
        let at = format!("{}?offset={}", self.path.display(), self.root);
        run(Command::new("debugfs").args(["-w", "-R", request]).arg(at));
        assert_ne!(self.read(self.root, 64 << 10), before, "{request}");
        self.is_refused(expected, &[]);
        self.write(self.root, &before);
    }
}

fn refuses(scratch: &Path, disk: &Path, expected: &[&str], arguments: &[&str]) {
    let out = scratch.join("out");
    let mut command = bake();
    command.args(["image", "--no-cache", "--rootfs"]).arg(disk).arg("--out").arg(&out).args(arguments);
    let output = output(&mut command);
    let said = text(&output.stderr);
    // A panic ends with 101.
    let status = output.status.code();
    assert!(matches!(status, Some(1..=10)), "{expected:?}: {status:?}: {said}");
    assert!(!out.exists(), "{expected:?}: {said}");
    for part in expected {
        assert!(said.contains(part), "no `{part}`: {said}");
    }
}

/// CRC-32 as the table has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    })
}

#[test]
fn what_no_vendor_s_disk_can_have_is_refused_with_a_way_out() {
    let disk = Disk::new();
    let at = |name: &str| disk.scratch.path().join(name);
    let put = |name: &str, content: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), content).unwrap();
        at(name).display().to_string()
    };
    let users = put("users.toml", "format-revision = 1\n[users.ops]\nuid = 1000\n");
    let units = put("units.toml", "format-revision = 1\n[units]\nenable = ['docker.service']\n");
    let key = put("key.pem", "");
    put("usr/usr/lib/site", "x");
    put("bin/bin/site", "x");
    let overlay = |name: &str| at(name).display().to_string();
    let (usr, bin) = (overlay("usr"), overlay("bin"));
    let cases: [(&[&str], &[&str]); 17] = [
        (&["--loader", "grub"], &["leave --loader out"]),
        (&["--read-only", "usr"], &["leave --read-only out"]),
        (&["--read-only-format", "erofs"], &["leave --read-only out"]),
        (&["--sector-size", "4096"], &["512 bytes", "leave --sector-size"]),
        (&["--kernel-arg", "quiet"], &["`quiet`", "`kernelArguments`"]),
        (&["--sign-certificate", &key, "--sign-key", &key], &["leave signing out"]),
        (&["--spec", &users], &["users.ops", "`passwd`"]),
        (&["--spec", &units], &["docker.service", "have Ignition enable"]),
        (&["--overlay", &usr], &["/usr/lib/site", "system extension"]),
        (&["--overlay", &bin], &["/bin/site", "system extension"]),
        (&["--role", "master"], &["--product"]),
        (&["--arch", "arm64"], &["it is for x86-64", "--arch x86-64"]),
        (&["--profile", "debian"], &["`debian`", "not for disk images"]),
        (&["--size", "1G"], &["at least 2 GiB are needed"]),
        (&["--url", "https://example.org/"], &["--format sysext"]),
        (&["--format", "oci"], &["disk image"]),
        (&["--format", "sysext"], &["--rootfs"]),
    ];
    for (arguments, expected) in cases {
        disk.is_refused(expected, arguments);
    }
}

#[test]
fn damaged_tables_are_refused_by_name() {
    let disk = Disk::new();
    let last = disk.len / SECTOR - 1;
    disk.refused_with(SECTOR + 60, b"x", &["primary", "header", "checksum"]);
    disk.refused_with(2 * SECTOR + 60, b"x", &["primary", "checksum"]);
    disk.refused_with(last * SECTOR + 60, b"x", &["backup", "checksum"]);
    disk.refused_with((last - 32) * SECTOR + 60, b"x", &["backup", "checksum"]);
    disk.refused_table(|header, _| header[80..84].fill(0xff), &["array of entries"]);
    disk.refused_table(|header, _| header[84..88].fill(0xff), &["entry size"]);
    disk.refused_table(|header, _| header[84..88].fill(0), &["entry size"]);
    disk.refused_table(|header, _| header[40..48].fill(0xff), &["usable"]);
    disk.refused_table(|header, _| header[12..16].fill(0xff), &["header"]);
    // The second entry begins where the first does; the last one ends behind the disk, or before its begin.
    disk.refused_table(|_, array| array.copy_within(32..40, 128 + 32), &["partition 2", "overlaps"]);
    let root = |array: &[u8]| array.chunks(128).position(|entry| entry[56..58] == *b"R\0").unwrap() * 128;
    disk.refused_table(
        |_, array| {
            let at = root(array);
            array[at + 40..at + 48].fill(0x7f);
        },
        &["partition 9", "outside"],
    );
    disk.refused_table(
        |_, array| {
            let at = root(array);
            array[at + 40..at + 48].fill(0);
        },
        &["partition 9", "ends before it begins"],
    );
    disk.refused_table(
        |_, array| {
            let at = root(array);
            array[at..at + 16].copy_from_slice(&[7; 16]);
        },
        &["no profile is for a disk with these partitions"],
    );
    // Cut ever shorter, which cannot be taken back.
    for len in [disk.len - SECTOR, disk.len / 2, disk.len / 2 + 100, 1 << 20, 3 * SECTOR] {
        disk.file().set_len(len).unwrap();
        disk.is_refused(&["primary partition table", "is the image whole"], &[]);
    }
    for len in [2 * SECTOR, 1000] {
        disk.file().set_len(len).unwrap();
        disk.is_refused(&["no GUID partition table"], &[]);
    }
}

#[test]
fn a_root_that_nobody_can_be_sure_of_is_refused_by_name() {
    let disk = Disk::new();
    let superblock = disk.root + 1024;
    disk.refused_with(superblock + 56, b"\0\0", &["ROOT", "ext4"]);
    disk.refused_with(superblock, &[0xff; 4], &["checksum"]);
    // Another file system that is whole.
    disk.refused_with(superblock, &[0; 1024], &["ext4"]);
    disk.refused_root("feature needs_recovery", &["journal has to be replayed"]);
    disk.refused_root("ssv feature_incompat 0x802042c2", &["unknown features (0x80200000)"]);
    disk.refused_root("ssv volume_name OTHER", &["the label `OTHER`"]);
    disk.refused_root("ssv blocks_count 0x7fffffff", &["2147483647 blocks", "is the image whole?"]);
    disk.refused_root("ssv inodes_count 0xffffffff", &["number of inodes"]);
    disk.refused_root("ssv inodes_per_group 0xffffffff", &["groups of an impossible size"]);
    disk.refused_root("ssv blocks_per_group 1", &["ROOT", "group"]);
    disk.refused_root("ssv inode_size 3", &["inodes of an impossible size"]);
    disk.refused_root("ssv state 2", &["errors that the kernel found"]);
}

#[test]
fn a_disk_that_has_been_booted_is_refused() {
    let disk = Disk::new();
    let scratch = disk.scratch.path();
    let id = scratch.join("machine-id");
    fs::write(&id, "0123456789abcdef0123456789abcdef\n").unwrap();
    let commands = scratch.join("commands");
    fs::write(&commands, format!("rm /etc/machine-id\nwrite {} /etc/machine-id\n", id.display())).unwrap();
    let at = format!("{}?offset={}", disk.path.display(), disk.root);
    run(Command::new("debugfs").args(["-w", "-f"]).arg(&commands).arg(at));
    disk.is_refused(&["has been booted", "0123456789abcdef0123456789abcdef", "as it comes"], &[]);
}
