//! What both kinds of tests need: tools as judges, and files in a scratch directory.

use std::fs::File;
use std::path::{Path, PathBuf};

use bake_base::{Layout, ReadAt};
use bake_disk::container::{Format, write};
use tempfile::TempDir;

/// Runs a tool, which must succeed, and gives what it printed. `package` is the Debian package that has it.
pub fn judge(package: &str, program: &str, arguments: &[&str], files: &[&Path]) -> String {
    #[allow(clippy::disallowed_methods)] // Judges are other people's programs.
    let mut command = std::process::Command::new(program);
    let output = command.args(arguments).args(files).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    let output =
        output.unwrap_or_else(|error| panic!("cannot run `{program}` ({error}): install `{package}`"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {text}");
    text
}

/// Whether a format takes a disk: some ask for more than whole sectors, and those of clouds for small ones.
fn takes(format: Format, disk: &Layout) -> bool {
    let len = disk.len();
    match format.name() {
        "gce" => len > 0 && len.is_multiple_of(1 << 30) && !has_large_sectors(disk),
        "vhd" => len.is_multiple_of(1 << 20) && !has_large_sectors(disk),
        "vhdx" => len > 0,
        "ova" | "vhd-dynamic" | "vmdk" | "vmdk-stream" => !has_large_sectors(disk),
        _ => true,
    }
}

fn has_large_sectors(disk: &Layout) -> bool {
    let mut signature = [0; 8];
    disk.len() > 8192 && disk.read_exact_at(4096, &mut signature).is_ok() && signature == *b"EFI PART"
}

/// One disk in every format that takes it.
pub struct Written {
    pub scratch: TempDir,
    pub digests: bake_disk::BlockDigests,
}

impl Written {
    pub fn new(disk: &Layout, threads: usize) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let create = |format: &Format| {
            let mut options = File::options();
            let path = scratch.path().join(format.name());
            options.read(true).write(true).create_new(true).open(path).unwrap()
        };
        let formats: Vec<Format> =
            Format::all().iter().copied().filter(|format| takes(*format, disk)).collect();
        let files: Vec<File> = formats.iter().map(create).collect();
        let outputs: Vec<_> = formats.iter().copied().zip(&files).collect();
        let digests = write(disk, &outputs, threads, &|_| ()).unwrap();
        Self { scratch, digests }
    }

    pub fn path(&self, format: &str) -> PathBuf {
        self.scratch.path().join(format)
    }
}
