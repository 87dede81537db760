//! The root that a build sees: a small file system in memory, over which the builder's own directories and
//! everything else are mounted.
//!
//! Nothing is ever made in the builder's root file system, so sandboxes can share it. Where a mount point is
//! missing there, the directory that lacks it is *opened up*: a directory in memory takes its place, in which
//! each entry of the original is mounted alone, beside the new one.

mod devices;
mod linked;
mod plan;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, StatVfsMountFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_remount, unmount,
};

use self::plan::{Children, Node, Point};
use super::channel::{During, Failure};
use super::shuffle;
use super::spec::Spec;

pub(super) use self::linked::{Composed, link};

/// No set-id bits and no devices count on anything a build sees, but for the devices of `/dev`.
const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Entries of each file system in memory: its size bounds bytes only.
const MAX_ENTRIES: u64 = 1 << 20;

/// Composes the root and moves into it; the machine's own is gone then. `owner` is who the build will be,
/// when that is not who this process is.
pub(super) fn enter(spec: &Spec, owner: Option<u32>) -> Result<(), Failure> {
    let plan = plan::plan(spec)?;
    // Mounts made here must not show in the machine's own name space, nor the other way round.
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .during(|| "make mounts private".into())?;

    // Sources are held by descriptors by now, so the root can lie over any of them.
    let at = &spec.root;
    let composer = Composer { tmp_size: spec.limits.tmp_size, owner };
    composer.memory(at, 0o755, 16 << 20, MountFlags::empty())?;
    composer.fill(Some(&plan.root.path()), at, &plan.children)?;

    let step = || "move into the new root".to_owned();
    std::env::set_current_dir(at).during(step)?;
    // The old root lies over the new one then, and is taken off (pivot_root(2), "pivot_root(".", ".")").
    rustix::process::pivot_root(".", ".").during(step)?;
    unmount(".", UnmountFlags::DETACH).during(step)?;
    std::env::set_current_dir("/").during(step)?;
    remount(Path::new("/"), PLAIN | MountFlags::RDONLY)
}

struct Composer {
    tmp_size: u64,
    owner: Option<u32>,
}

impl Composer {
    /// Fills a directory in memory with the entries of `backing`, and with what has to be mounted there.
    fn fill(&self, backing: Option<&Path>, at: &Path, children: &Children) -> Result<(), Failure> {
        if let Some(backing) = backing {
            let step = || format!("read the directory of which `{}` is made", at.display());
            for entry in fs::read_dir(backing).during(step)? {
                let name = entry.during(step)?.file_name();
                if name.to_str().is_none_or(|name| !children.contains_key(name)) {
                    self.attach(&backing.join(&name), &at.join(&name))?;
                }
            }
        }
        for (name, node) in children {
            let backing = backing.map(|backing| backing.join(name));
            self.child(node, backing.as_deref(), &at.join(name), true)?;
        }
        Ok(())
    }

    /// Shows one entry of the builder's root in a directory in memory.
    fn attach(&self, from: &Path, at: &Path) -> Result<(), Failure> {
        let step = || format!("show `{}`", at.display());
        let kind = fs::symlink_metadata(from).during(step)?.file_type();
        if kind.is_symlink() {
            return self.link(&fs::read_link(from).during(step)?, at);
        }
        if kind.is_dir() {
            self.make_directory(at)?;
        } else if kind.is_file() {
            self.make_file(at)?;
        } else {
            return Ok(()); // no build needs the builder's pipes and devices
        }
        bind(from, at, false)
    }

    /// Mounts what belongs at `at` and below. `ours` is whether the directory around it is one in memory, in
    /// which things can be made.
    fn child(&self, node: &Node, backing: Option<&Path>, at: &Path, ours: bool) -> Result<(), Failure> {
        let Some(point) = &node.point else {
            return match backing {
                _ if !ours => self.below(&node.children, at),
                Some(backing) if is_directory(backing) && node.lies_in(backing) => {
                    self.make_directory(at)?;
                    bind(backing, at, false)?;
                    self.below(&node.children, at)
                }
                backing => {
                    self.make_directory(at)?;
                    self.fill(backing.filter(|backing| is_directory(backing)), at, &node.children)
                }
            };
        };
        if let Point::Link(target) = point {
            return self.link(target, at);
        }
        if ours {
            if point.is_directory() { self.make_directory(at)? } else { self.make_file(at)? }
        }
        match point {
            Point::Link(_) => Ok(()),
            Point::Bind { source, .. } if node.lies_in(&source.path()) => {
                bind(&source.path(), at, point.is_writable())?;
                self.below(&node.children, at)
            }
            Point::Bind { source, writable: false } => {
                if !ours {
                    // The mount point is there, but what belongs on it has to be opened up.
                    self.memory(at, 0o755, 1 << 20, MountFlags::empty())?;
                }
                self.fill(Some(&source.path()), at, &node.children)
            }
            Point::Bind { source, .. } => {
                let error = io::Error::new(io::ErrorKind::NotFound, "no such mount points in it");
                let names: Vec<&str> = node.children.keys().map(String::as_str).collect();
                Err(Failure::new(
                    format!("mount {names:?} in `{}`, which is writable `{}`", at.display(), source.name()),
                    error,
                ))
            }
            Point::Shuffled(source) => {
                let step = || format!("copy `{}` in another order", source.name());
                let size = shuffle::size(&source.path()).during(step)?;
                self.memory(at, 0o755, self.tmp_size.saturating_add(size), MountFlags::empty())?;
                shuffle::copy(&source.path(), at, self.owner).during(step)?;
                self.fill(None, at, &node.children)
            }
            Point::Memory { mode } => {
                self.memory(at, *mode, self.tmp_size, MountFlags::empty())?;
                self.fill(None, at, &node.children)
            }
            Point::Devices => self.devices(at),
            Point::Processes => processes(at),
        }
    }

    /// Mounts what belongs into a mount that has all of the mount points.
    fn below(&self, children: &Children, at: &Path) -> Result<(), Failure> {
        children.iter().try_for_each(|(name, node)| self.child(node, None, &at.join(name), false))
    }

    /// Mounts an empty file system in memory.
    fn memory(&self, at: &Path, mode: u32, size: u64, flags: MountFlags) -> Result<(), Failure> {
        let step = || format!("mount a file system in memory on `{}`", at.display());
        let entries = MAX_ENTRIES.min(size / 512).max(4096);
        let data = format!("mode={mode:o},size={size},nr_inodes={entries}");
        let data = CString::new(data).during(step)?;
        mount("tmpfs", at, "tmpfs", PLAIN | flags, data.as_c_str()).during(step)?;
        self.own(at).during(step)
    }

    fn make_directory(&self, at: &Path) -> Result<(), Failure> {
        let step = || format!("make the directory `{}`", at.display());
        fs::create_dir(at).during(step)?;
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).during(step)?;
        self.own(at).during(step)
    }

    fn make_file(&self, at: &Path) -> Result<(), Failure> {
        File::create_new(at).and_then(|_| self.own(at)).during(|| format!("make the file `{}`", at.display()))
    }

    fn link(&self, target: &Path, at: &Path) -> Result<(), Failure> {
        symlink(target, at).and_then(|()| self.own(at)).during(|| format!("make the link `{}`", at.display()))
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        self.owner.map_or(Ok(()), |id| lchown(path, Some(id), Some(id)))
    }
}

fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// Mounts a file or directory at `at`, without what is mounted in it.
fn bind(from: &Path, at: &Path, writable: bool) -> Result<(), Failure> {
    mount_bind(from, at).during(|| format!("mount on `{}`", at.display()))?;
    remount(at, if writable { PLAIN } else { PLAIN | MountFlags::RDONLY })
}

/// Changes what may be done through a mount. Flags that the machine's own mount has must stay: in a user name
/// space nobody may take them off.
fn remount(at: &Path, flags: MountFlags) -> Result<(), Failure> {
    let step = || format!("remount `{}`", at.display());
    let given = rustix::fs::statvfs(at).during(step)?.f_flag;
    let mut flags = flags | MountFlags::BIND;
    if given.contains(StatVfsMountFlags::RDONLY) {
        flags |= MountFlags::RDONLY;
    }
    if given.contains(StatVfsMountFlags::NOEXEC) {
        flags |= MountFlags::NOEXEC;
    }
    mount_remount(at, flags, "").during(step)
}

/// Mounts the new name space's `/proc`. What shows or changes the machine rather than the build's processes is
/// hidden or read-only.
fn processes(at: &Path) -> Result<(), Failure> {
    let step = || format!("mount the name space's own processes on `{}`", at.display());
    mount("proc", at, "proc", PLAIN | MountFlags::NOEXEC, None).during(step)?;
    for name in ["bus", "fs", "irq", "sys", "sysrq-trigger"] {
        let path = at.join(name);
        if path.exists() {
            bind(&path, &path, false)?;
        }
    }
    for name in ["kcore", "keys", "key-users", "latency_stats", "sched_debug", "timer_list"] {
        let path = at.join(name);
        if path.exists() {
            mount_bind("/dev/null", &path).during(step)?;
        }
    }
    for name in ["acpi", "scsi"] {
        let path = at.join(name);
        if path.exists() {
            mount("tmpfs", &path, "tmpfs", PLAIN | MountFlags::RDONLY, c"size=0,nr_inodes=1").during(step)?;
        }
    }
    Ok(())
}

/// A file or directory of the machine, held by a descriptor, so that mounts over it don't matter.
#[derive(Debug)]
struct Source {
    file: rustix::fd::OwnedFd,
    name: PathBuf,
    is_directory: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        use rustix::fs::{FileType, Mode, OFlags};
        let step = || format!("find `{}`", path.display());
        let file =
            rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).during(step)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file).during(step)?.st_mode);
        Ok(Self { file, name: path.to_owned(), is_directory: kind == FileType::Directory })
    }

    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    fn name(&self) -> std::path::Display<'_> {
        self.name.display()
    }
}
