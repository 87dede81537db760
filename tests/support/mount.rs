//! A partition of an image, mounted read-write by the kernel through a loop device. Needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{output, run, scratch};

/// A mounted part of a file; unmounted when dropped.
pub struct Mount {
    directory: TempDir,
    device: String,
    mounted: bool,
}

impl Mount {
    /// Mounts `size` bytes from `offset` on; the machine may have no nodes for partitions.
    pub fn part(file: &Path, (offset, size): (u64, u64)) -> Self {
        Self::attach(file, &[format!("--offset={offset}"), format!("--sizelimit={size}")])
    }

    /// Mounts a whole file.
    pub fn whole(file: &Path) -> Self {
        Self::attach(file, &[])
    }

    fn attach(file: &Path, options: &[String]) -> Self {
        let mut command = Command::new("losetup");
        let device = run(command.args(["--find", "--show"]).args(options).arg(file)).trim().to_owned();
        let mut mount = Self { directory: scratch(), device, mounted: false };
        run(Command::new("mount").args(["-o", "rw"]).arg(&mount.device).arg(mount.directory.path()));
        mount.mounted = true;
        mount
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The loop device.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Unmounts, which must work.
    pub fn unmount(mut self) {
        self.mounted = false;
        run(Command::new("umount").arg(self.directory.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted {
            output(Command::new("umount").arg(self.directory.path()));
        }
        output(Command::new("losetup").args(["--detach", &self.device]));
    }
}
