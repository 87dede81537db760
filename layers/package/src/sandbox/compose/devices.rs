//! `/dev`: the devices that every program may expect, and no others.

use std::path::Path;

use rustix::mount::{MountFlags, mount, mount_bind};

use super::{Composer, PLAIN, remount};
use crate::sandbox::channel::{During, Failure};

/// Devices of the machine that are shown, because a user name space may make none.
const SHOWN: [&str; 6] = ["full", "null", "random", "tty", "urandom", "zero"];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

impl Composer {
    pub(super) fn devices(&self, at: &Path) -> Result<(), Failure> {
        self.memory(at, 0o755, 1 << 20, MountFlags::NOEXEC)?;
        for name in SHOWN {
            let path = at.join(name);
            self.make_file(&path)?;
            mount_bind(Path::new("/dev").join(name), &path).during(|| format!("show `/dev/{name}`"))?;
        }
        for (name, target) in LINKS {
            self.link(Path::new(target), &at.join(name))?;
        }
        self.make_directory(&at.join("shm"))?;
        self.memory(&at.join("shm"), 0o1777, self.tmp_size, MountFlags::empty())?;
        let terminals = at.join("pts");
        self.make_directory(&terminals)?;
        let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("devpts", &terminals, "devpts", flags, c"newinstance,ptmxmode=0666,mode=620")
            .during(|| "mount terminals of its own".into())?;
        remount(at, PLAIN | MountFlags::NOEXEC | MountFlags::RDONLY)
    }
}
