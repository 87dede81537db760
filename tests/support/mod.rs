//! What the end-to-end tests share: running the built `bake`, and the tools that judge its images.
#![allow(dead_code)] // every test file takes what it needs
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

pub mod container;
pub mod ground;
pub mod initrd;
pub mod listing;
pub mod machine;
pub mod members;
pub mod mount;
pub mod tar;
pub mod tiny;
pub mod wrappings;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::SeekFrom;
use serde_json::Value;
use tempfile::TempDir;

/// The built program, in surroundings of its own: no cache and no environment of whoever runs the tests.
pub fn bake() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bake"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Something that a script in `ci` has made under `target`.
pub fn made(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target").join(path);
    assert!(
        path.exists(),
        "{} is missing: `ci/test` makes it (see ci/rootfs and ci/product)",
        path.display()
    );
    path
}

/// A real root file system.
pub fn rootfs(name: &str) -> PathBuf {
    made(&format!("rootfs/{name}.tar"))
}

/// Two small packages of the sample tree (tests/tree), for what is baked often.
pub fn small_product() -> PathBuf {
    made("product/small.tar.xz")
}

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A scratch directory beside the other outputs, where there is room for disks.
pub fn scratch() -> TempDir {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests");
    std::fs::create_dir_all(&target).unwrap();
    // By the path that messages name it by.
    tempfile::tempdir_in(target.canonicalize().unwrap()).unwrap()
}

/// Runs a command that must succeed, and gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{out}\n{err}", output.status);
    out
}

/// Runs a command that may fail.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}: `ci/install-tools` installs what is needed"))
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the tests run as root, which the kernel's own mount needs. What is skipped is said.
pub fn is_root(what: &str) -> bool {
    let root = run(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        eprintln!("SKIPPED for want of root: {what}");
    }
    root
}

/// Extracts a tar over what is in `directory`: as root with everything it says, otherwise without owners,
/// device nodes and attributes.
pub fn extract(tar: &Path, directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let mut command = Command::new("tar");
    command.args(["--extract", "--preserve-permissions", "--keep-directory-symlink", "--numeric-owner"]);
    if is_root("what only root can extract") {
        command.args(["--xattrs", "--xattrs-include=*", "--acls"]);
    } else {
        command.args(["--no-same-owner", "--exclude=./dev/*", "--exclude=./srv/hard-cases/device-*"]);
    }
    run(command.arg("--directory").arg(directory).arg("--file").arg(tar));
}

/// The e2fsck of a later distribution, unpacked into `directory`; run by its own loader, it needs no root.
fn newer_e2fsck(directory: &Path) -> Command {
    let libraries = "./usr/lib/x86_64-linux-gnu";
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory).arg("-xf").arg(rootfs("debian-13"));
    run(tar.args(["--wildcards", "./usr/sbin/e2fsck", &format!("{libraries}/*.so*")]));
    let libraries = directory.join(libraries);
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(&libraries).arg(directory.join("usr/sbin/e2fsck"));
    command
}

/// Whether the long tests run too.
pub fn full() -> bool {
    std::env::var_os("BAKE_TEST_FULL").is_some()
}

/// A sparse copy of a part of a file, given by offset and size.
pub fn copy_part(from: &Path, (offset, size): (u64, u64), to: &Path) {
    let (file, copy) = (File::open(from).unwrap(), File::create(to).unwrap());
    copy.set_len(size).unwrap();
    let mut at = offset;
    while let Ok(data) = rustix::fs::seek(&file, SeekFrom::Data(at)) {
        let hole = rustix::fs::seek(&file, SeekFrom::Hole(data)).unwrap();
        at = hole.min(offset + size);
        if data >= at {
            break;
        }
        let mut part = (&file).take(at - data);
        rustix::fs::seek(&file, SeekFrom::Start(data)).unwrap();
        rustix::fs::seek(&copy, SeekFrom::Start(data - offset)).unwrap();
        std::io::copy(&mut part, &mut &copy).unwrap();
    }
}

/// A baked image.
pub struct Baked {
    pub directory: PathBuf,
    pub manifest: Value,
}

/// Bakes into `directory` with further arguments.
pub fn bake_image(rootfs: &Path, directory: &Path, arguments: &[&str]) -> Baked {
    let mut command = bake();
    command.args(["image", "--quiet", "--no-cache", "--rootfs"]).arg(rootfs).arg("--out").arg(directory);
    run(command.args(arguments));
    Baked::read(directory)
}

impl Baked {
    /// The image that was baked into `directory`.
    pub fn read(directory: &Path) -> Self {
        let manifest = std::fs::read(directory.join("manifest.json")).unwrap();
        Self { directory: directory.to_owned(), manifest: serde_json::from_slice(&manifest).unwrap() }
    }

    /// The disk digest.
    pub fn digest(&self) -> &str {
        self.manifest["disk"]["digest"].as_str().unwrap()
    }

    /// Its raw disk.
    pub fn raw(&self) -> PathBuf {
        self.directory.join(format!("{}.raw", self.manifest["name"].as_str().unwrap()))
    }

    /// Offset and size of a partition, in bytes.
    pub fn partition(&self, name: &str) -> (u64, u64) {
        let partitions = self.manifest["disk"]["partitions"].as_array().unwrap();
        let found = partitions.iter().find(|partition| partition["name"] == name).unwrap();
        (found["offset"].as_u64().unwrap(), found["size"].as_u64().unwrap())
    }

    /// A sparse copy of a partition, as the judges want it.
    pub fn extract(&self, name: &str, to: &Path) {
        copy_part(&self.raw(), self.partition(name), to);
    }

    /// Lets every judge look at the disk and its file systems.
    pub fn judge(&self) {
        let scratch = scratch();
        let (esp, root) = (scratch.path().join("esp"), scratch.path().join("root"));
        self.extract("esp", &esp);
        self.extract("root", &root);
        run(Command::new("e2fsck").arg("-fn").arg(&root));
        run(newer_e2fsck(scratch.path()).arg("-fn").arg(&root));
        run(Command::new("fsck.fat").arg("-n").arg(&esp));
        self.judge_partitions();
        for artifact in self.manifest["artifacts"].as_array().unwrap() {
            if artifact["format"] == "qcow2" {
                let qcow2 = self.directory.join(artifact["name"].as_str().unwrap());
                run(Command::new("qemu-img").args(["check", "--format=qcow2"]).arg(&qcow2));
                let mut compare = Command::new("qemu-img");
                compare.args(["compare", "-f", "raw", "-F", "qcow2"]).arg(self.raw()).arg(&qcow2);
                run(&mut compare);
            }
        }
    }

    /// Lets e2fsck look at the root alone.
    pub fn judge_root(&self) {
        let scratch = scratch();
        let root = scratch.path().join("root");
        self.extract("root", &root);
        run(Command::new("e2fsck").arg("-fn").arg(&root));
    }

    /// `sgdisk` checks the whole table, but knows only sectors of 512 bytes in files; `partx` is told of others.
    fn judge_partitions(&self) {
        let sector = self.manifest["disk"]["sector-size"].as_u64().unwrap();
        if sector == 512 {
            let verdict = run(Command::new("sgdisk").arg("-v").arg(self.raw()));
            assert!(verdict.contains("No problems found"), "{verdict}");
        }
        let mut partx = Command::new("partx");
        partx.args(["--raw", "--noheadings", "--output=NR,START,SECTORS,NAME,UUID,TYPE"]);
        partx.arg(format!("--sector-size={sector}")).arg(self.raw());
        let mut expected = Vec::new();
        for partition in self.manifest["disk"]["partitions"].as_array().unwrap() {
            let number = |key: &str| partition[key].as_u64().unwrap();
            let text = |key: &str| partition[key].as_str().unwrap();
            // `partx` counts in 512 bytes, whatever the sectors are.
            let (start, sectors) = (number("offset") / 512, number("size") / 512);
            let (name, guid, of_type) = (text("name"), text("guid"), text("type-guid"));
            expected.push(format!("{} {start} {sectors} {name} {guid} {of_type}", number("number")));
        }
        let seen = run(&mut partx);
        assert_eq!(seen.lines().collect::<Vec<_>>(), expected);
    }
}
