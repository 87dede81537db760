//! Initrds of tests: what a kernel needs for running a few commands and going off again.

use std::fs;
use std::path::Path;

use super::made;

/// An initrd in the making (Linux, early-userspace/buffer-format.rst: `newc`).
pub struct Initrd(Vec<u8>);

impl Initrd {
    /// The smallest one in which something can be run: a static shell and the static program, and nothing else.
    pub fn with_a_shell() -> Self {
        let mut initrd = Self(Vec::new());
        for name in ["bin", "dev", "proc", "sys"] {
            initrd.directory(name);
        }
        initrd.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap());
        initrd.file("bin/pkgpanda", 0o755, &fs::read(made("pkgpanda/pkgpanda")).unwrap());
        initrd
    }

    /// Adds an empty directory.
    pub fn directory(&mut self, name: &str) {
        self.member(name, 0o040_755, &[]);
    }

    /// Adds a file of root's.
    pub fn file(&mut self, name: &str, mode: u32, bytes: &[u8]) {
        self.member(name, 0o100_000 | mode, bytes);
    }

    /// The directories and files of `from`, as `name`.
    pub fn tree(&mut self, from: &Path, name: &str) {
        self.directory(name);
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                self.tree(&path, &name);
            } else {
                self.file(&name, 0o644, &fs::read(&path).unwrap());
            }
        }
    }

    fn member(&mut self, name: &str, mode: u32, bytes: &[u8]) {
        // Without a number of its own, a member could be taken for a hard link to another.
        let fields =
            [self.0.len() as u32, mode, 0, 0, 1, 0, bytes.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.0.extend(b"070701");
        for field in fields {
            self.0.extend(format!("{field:08X}").bytes());
        }
        self.0.extend(name.bytes());
        self.0.push(0);
        self.align();
        self.0.extend(bytes);
        self.align();
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// The archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, &[]);
        self.0
    }
}
