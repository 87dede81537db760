//! What the end-to-end tests share: running the built `bake`, and the tools that judge its images.
#![allow(dead_code)] // every test file takes what it needs

pub mod ground;
pub mod tar;
pub mod tiny;
pub mod wrappings;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
    assert!(path.exists(), "{} is missing: `ci/test` makes it (see ci/rootfs and ci/product)", path.display());
    path
}

/// A real root file system.
pub fn rootfs(name: &str) -> PathBuf {
    made(&format!("rootfs/{name}.tar"))
}

/// A small but real product.
pub fn product() -> PathBuf {
    made("product/bootstrap.tar.xz")
}

/// A file of the project.
pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A scratch directory beside the other outputs, where there is room for disks.
pub fn scratch() -> TempDir {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tests");
    std::fs::create_dir_all(&target).unwrap();
    tempfile::tempdir_in(target).unwrap()
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
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: `ci/install-tools` installs what is needed"))
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

/// Whether the long tests run too.
pub fn full() -> bool {
    std::env::var_os("BAKE_TEST_FULL").is_some()
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
        let (offset, size) = self.partition(name);
        run(Command::new("dd")
            .args(["bs=1M", "conv=sparse", "status=none", "iflag=skip_bytes,count_bytes"])
            .arg(format!("if={}", self.raw().display()))
            .arg(format!("of={}", to.display()))
            .arg(format!("skip={offset}"))
            .arg(format!("count={size}")));
        std::fs::OpenOptions::new().write(true).open(to).unwrap().set_len(size).unwrap();
    }

    /// Lets every judge look at the disk and its file systems.
    pub fn judge(&self) {
        let scratch = scratch();
        let (esp, root) = (scratch.path().join("esp"), scratch.path().join("root"));
        self.extract("esp", &esp);
        self.extract("root", &root);
        run(Command::new("e2fsck").arg("-fn").arg(&root));
        run(Command::new("fsck.fat").arg("-n").arg(&esp));
        if self.manifest["disk"]["sector-size"] == 512 {
            let verdict = run(Command::new("sgdisk").arg("-v").arg(self.raw()));
            assert!(verdict.contains("No problems found"), "{verdict}");
        }
        for artifact in self.manifest["artifacts"].as_array().unwrap() {
            if artifact["format"] == "qcow2" {
                run(Command::new("qemu-img").arg("check").arg(self.directory.join(artifact["name"].as_str().unwrap())));
            }
        }
    }
}
