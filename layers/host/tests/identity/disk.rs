//! A disk as an image has it, made and judged by other people's tools, and the tree of its root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::{Digest, FileBytes};
use bake_disk::{SectorSize, read_partitions};
use bake_host::identity::{FileSystem, Partition, RECORD, Record, Serial};

use crate::wares;

pub const OLD_DISK: &str = "d0000000-0000-4000-8000-000000000000";
pub const OLD_PARTITIONS: [&str; 2] =
    ["a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"];
pub const OLD_ROOT: &str = "f0000000-0000-4000-8000-000000000002";
pub const OLD_FAT: &str = "1A2B-3C4D";
const OLD_SERIAL: u32 = 0x1a2b_3c4d;

const MIB: u64 = 1 << 20;
/// Where the partitions lie, in MiB, and how long they are.
const ESP: (u64, u64) = (1, 40);
const ROOT: (u64, u64) = (41, 32);
const SIZE: u64 = 80;
/// Where the ids of files are read.
const NAMING: [&str; 6] = [
    "etc/fstab",
    "etc/kernel/cmdline",
    "boot/grub/grub.cfg",
    "boot/grub/grubenv",
    "boot/loader/entries/one.conf",
    "boot/efi/loader/entries",
];

/// What the root file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// Its UUID can change while it is mounted.
    Free,
    /// Its checksums have the UUID in them.
    Bound,
}

/// What is on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    pub disk: String,
    pub partitions: [String; 2],
    pub fat: String,
    pub root: String,
}

pub struct Machine {
    scratch: tempfile::TempDir,
    features: Features,
}

/// Runs a tool on a file, which must succeed.
pub fn tool(program: &str, arguments: &[&str], file: &Path) {
    output(program, arguments, file);
}

fn output(program: &str, arguments: &[&str], file: &Path) -> String {
    let mut command = Command::new(program);
    let output = wares::ends(command.args(arguments).arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Machine {
    pub fn new(features: Features) -> Self {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let machine = Self { scratch: tempfile::tempdir_in(above).unwrap(), features };
        machine.make_disk(&machine.at("image"));
        Self::make_root(&machine.at("tree"));
        machine.fresh();
        machine
    }

    /// Disk and root as the image has them.
    pub fn fresh(&self) {
        let _ = fs::remove_dir_all(self.root());
        wares::succeeds(Command::new("cp").arg("-a").arg(self.at("tree")).arg(self.root()));
        wares::succeeds(Command::new("cp").arg("--sparse=always").arg(self.at("image")).arg(self.disk()));
    }

    fn make_disk(&self, at: &Path) {
        fs::File::create(at).unwrap().set_len(SIZE * MIB).unwrap();
        let place = |number: u32, (start, len): (u64, u64)| {
            format!("{number}:{}:{}", start * 2048, (start + len) * 2048 - 1)
        };
        let guid = |number: usize| format!("{number}:{}", OLD_PARTITIONS[number - 1]);
        let arguments =
            ["-o", "-U", OLD_DISK, "-n", &place(1, ESP), "-t", "1:ef00", "-u", &guid(1), "-c", "1:esp"];
        tool("sgdisk", &arguments, at);
        tool("sgdisk", &["-n", &place(2, ROOT), "-t", "2:8304", "-u", &guid(2), "-c", "2:root"], at);
        let (offset, blocks) = ((ESP.0 * 2048).to_string(), (ESP.1 * 1024).to_string());
        let mut fat = Command::new("mkfs.fat");
        fat.args(["-F", "32", "-s", "1", "-i", "1a2b3c4d", "--offset", &offset]).arg(at).arg(blocks);
        wares::succeeds(fat.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
        let seed = match self.features {
            Features::Free => "metadata_csum,metadata_csum_seed",
            Features::Bound => "metadata_csum,^metadata_csum_seed",
        };
        let extra = format!("offset={}", ROOT.0 * MIB);
        let mut ext4 = Command::new("mke2fs");
        ext4.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-O", seed, "-U", OLD_ROOT, "-E", &extra]);
        wares::succeeds(
            ext4.arg(at).arg((ROOT.1 * 256).to_string()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        );
    }

    fn make_root(at: &Path) {
        let [esp, root] = OLD_PARTITIONS;
        let partitions = vec![
            Partition {
                number: 1,
                guid: esp.parse().unwrap(),
                file_system: Some(FileSystem::Vfat { id: Serial(OLD_SERIAL) }),
            },
            Partition {
                number: 2,
                guid: root.parse().unwrap(),
                file_system: Some(FileSystem::Ext4 { id: OLD_ROOT.parse().unwrap() }),
            },
        ];
        let record = Record::new(OLD_DISK.parse().unwrap(), Some("/boot/efi".to_owned()), partitions);
        let mut variables = format!("# GRUB Environment Block\nkernelopts=root=PARTUUID={root} ro\n");
        variables.push_str(&"#".repeat(1024 - variables.len()));
        let entry = format!("title a\noptions root=PARTUUID={root} ro\nlinux /linux\n");
        for (path, text) in [
            (RECORD, String::from_utf8(record.to_json()).unwrap()),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
            (
                "etc/fstab",
                format!(
                    "PARTUUID={root} / ext4 defaults 0 1\nUUID={OLD_FAT} /boot/efi vfat umask=0077 0 2\n"
                ),
            ),
            ("etc/kernel/cmdline", format!("root=UUID={OLD_ROOT} ro\n")),
            (
                "boot/grub/grub.cfg",
                format!("search --fs-uuid --set=root {OLD_ROOT}\nlinux /vmlinuz root=PARTUUID={root} ro\n"),
            ),
            ("boot/grub/grubenv", variables),
            ("boot/loader/entries/one.conf", entry.clone()),
            ("boot/efi/loader/entries/two.conf", entry.clone()),
            ("boot/efi/loader/entries/three+2.conf", entry),
        ] {
            let path = at.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    pub fn grow(&self, bytes: u64) {
        let disk = fs::File::options().write(true).open(self.disk()).unwrap();
        disk.set_len(SIZE * MIB + bytes).unwrap();
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub fn root(&self) -> PathBuf {
        self.at("root")
    }

    pub fn disk(&self) -> PathBuf {
        self.at("disk")
    }

    pub fn log(&self) -> PathBuf {
        self.at("log")
    }

    pub fn clone_of_disk(&self) -> PathBuf {
        let clone = self.at("clone");
        wares::succeeds(Command::new("cp").arg("--sparse=always").arg(self.disk()).arg(&clone));
        clone
    }

    pub fn program() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    pub fn command(&self) -> Command {
        let mut command = Self::program();
        command.arg("--root").arg(self.root()).arg("identity").arg("--disk").arg(self.disk());
        command
    }

    pub fn succeeds(&self) -> String {
        let output = wares::ends(&mut self.command());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the disk has, as tools say; the table's is the primary one's.
    pub fn ids(&self) -> Ids {
        let disk = self.disk();
        let dump = output("partx", &["--raw", "--noheadings", "--output", "UUID"], &disk);
        let mut guids = dump.lines().map(str::to_owned);
        let probe = |offset: u64| {
            let offset = (offset * MIB).to_string();
            let mut command = Command::new("blkid");
            command.args(["-p", "-O", &offset, "-s", "UUID", "-o", "value"]).arg(&disk);
            let output = wares::ends(command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"));
            String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
        };
        let (fat, root) = (probe(ESP.0), probe(ROOT.0));
        let table = output("blkid", &["-p", "-s", "PTUUID", "-o", "value"], &disk);
        // The tools would be content with the backup, a kernel is not.
        let file = FileBytes::new(fs::File::open(&disk).unwrap()).unwrap();
        let primary = read_partitions(&file, SectorSize::Bytes512).unwrap();
        let partitions = [guids.next().unwrap(), guids.next().unwrap()];
        assert!(primary.iter().map(|partition| partition.guid.to_string()).eq(partitions.iter().cloned()));
        Ids { disk: table.trim_end().to_lowercase(), partitions, fat, root }
    }

    /// All texts that name ids.
    pub fn names(&self) -> String {
        let mut texts = String::new();
        for path in NAMING.map(|path| self.root().join(path)) {
            let files = if path.is_dir() {
                let mut files: Vec<_> =
                    fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
                files.sort();
                files
            } else {
                vec![path]
            };
            for file in files {
                texts.push_str(&format!("== {}\n", file.file_name().unwrap().to_str().unwrap()));
                // GRUB's variables are filled up.
                texts.push_str(fs::read_to_string(file).unwrap().trim_end_matches('#'));
            }
        }
        // What GRUB looks for is not found for a moment, and it goes on.
        texts.lines().filter(|line| !line.starts_with("search")).map(|line| format!("{line}\n")).collect()
    }

    /// Every file names what is there; of each entry of the loader there is a whole one.
    pub fn names_lead_somewhere(&self, ids: &Ids, what: &str) {
        let entries = self.root().join("boot/efi/loader/entries");
        let is_right = |text: &str| {
            let names = text.split_whitespace().filter_map(|word| {
                let name = word.rsplit_once("root=").map_or(word, |(_, name)| name);
                name.contains("UUID=").then_some(name)
            });
            let mut count = 0;
            let mut right = true;
            for name in names {
                count += 1;
                right &= match name.split_once('=').unwrap() {
                    ("PARTUUID", id) => ids.partitions.iter().any(|there| there == id),
                    ("UUID", id) => id == ids.root || id == ids.fat,
                    _ => false,
                };
            }
            right && count > 0
        };
        for path in &NAMING[..5] {
            let text = fs::read_to_string(self.root().join(path)).unwrap();
            assert!(is_right(&text), "{what}: {path}: {text}\n{ids:?}");
            assert!(!path.ends_with("grubenv") || text.len() == 1024, "{what}");
        }
        for name in ["two.conf", "three+2.conf"] {
            let read = |name: String| fs::read_to_string(entries.join(name)).unwrap_or_default();
            let copies = [read(name.to_owned()), read(format!("pkgpanda-own-{name}"))];
            let is_whole = |text: &String| text.ends_with("linux /linux\n") && is_right(text);
            assert!(copies.iter().any(is_whole), "{what}: {name}: {copies:?}\n{ids:?}");
        }
    }

    /// No judge finds anything.
    pub fn is_sound(&self) {
        let disk = self.disk();
        let verdict = output("sgdisk", &["-v"], &disk);
        assert!(verdict.contains("No problems found"), "{verdict}");
        for (name, (start, len), program, arguments) in
            [("root.part", ROOT, "e2fsck", "-fn"), ("esp.part", ESP, "fsck.fat", "-n")]
        {
            let part = self.at(name);
            let mut copy = Command::new("dd");
            copy.args([
                "bs=1M",
                "status=none",
                "conv=sparse",
                &format!("skip={start}"),
                &format!("count={len}"),
            ]);
            copy.arg(format!("if={}", disk.display())).arg(format!("of={}", part.display()));
            let _ = fs::remove_file(&part);
            wares::succeeds(&mut copy);
            fs::File::options().write(true).open(&part).unwrap().set_len(len * MIB).unwrap();
            tool(program, &[arguments], &part);
        }
    }

    /// Every file of the root with its digest, and the disk's.
    pub fn everything(&self) -> BTreeMap<PathBuf, Digest> {
        let mut found = BTreeMap::from([(self.disk(), Digest::of(&fs::read(self.disk()).unwrap()))]);
        let mut ahead = vec![self.root()];
        while let Some(at) = ahead.pop() {
            if at.is_dir() {
                ahead.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                let digest = Digest::of(&fs::read(&at).unwrap());
                found.insert(at, digest);
            }
        }
        found
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// A file as a disk of the kernel.
pub struct Loop(String);

/// A mounted directory.
pub struct Mounted(pub PathBuf);

impl Loop {
    pub fn new(file: &Path) -> Self {
        let made = Self(output("losetup", &["--find", "--show"], file).trim_end().to_owned());
        // A kernel without GPT, which is all that some machines for tests have, has to be told.
        if !Path::new(&format!("{}p1", made.0)).exists() {
            tool("partx", &["--add"], Path::new(&made.0));
        }
        made
    }

    pub fn mount(&self, number: u32, at: &Path) -> Mounted {
        fs::create_dir_all(at).unwrap();
        wares::succeeds(Command::new("mount").arg(format!("{}p{number}", self.0)).arg(at));
        Mounted(at.to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("partx").args(["--delete", &self.0]).status();
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
