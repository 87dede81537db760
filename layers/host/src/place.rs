//! The root of a host: every path is resolved below it, as the kernel would if it were the root of this process.

use std::error::Error;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bake_tree::TreePath;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Failure;

/// How many symbolic links one path may lead through, as for the kernel.
pub(crate) const MAX_LINKS: u32 = 40;

/// An open root.
#[derive(Debug)]
pub(crate) struct Root {
    handle: OwnedFd,
    label: PathBuf,
    /// Whether this process runs in it.
    running: bool,
}

/// A directory by its handle, as a path for those who need one.
pub(crate) struct Scratch {
    path: PathBuf,
    shown: String,
    _handle: OwnedFd,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error of work in here, by the name that people know the directory by.
    pub(crate) fn failure(&self, error: &dyn Error) -> Failure {
        let text = Failure::of(error).to_string();
        Failure::new(text.replace(&self.path.display().to_string(), &self.shown))
    }
}

impl Root {
    /// Opens a root, and makes sure that this process may own what it makes there and read all that there is.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let root = Self::open_to_look(path)?;
        if root.running && !is_superuser() {
            let message = "this needs root: run it with sudo, or give --root DIR for a host that lies there";
            return Err(Failure::new(message));
        }
        Ok(root)
    }

    /// Opens a root of which only what everybody may read is looked at.
    pub(crate) fn open_to_look(path: &Path) -> Result<Self, Failure> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| {
            let handle = rustix::fs::openat(CWD, path, flags, Mode::empty());
            let handle = handle.map_err(Failure::io("opening", path.display()))?;
            let stat = rustix::fs::fstat(&handle).map_err(Failure::io("reading", path.display()))?;
            Ok((handle, (stat.st_dev, stat.st_ino)))
        };
        let (handle, id) = open(path)?;
        let running = open(Path::new("/"))?.1 == id;
        // Everything gets the mode that it is made with.
        rustix::process::umask(Mode::from_raw_mode(0o022));
        Ok(Self { handle, label: path.to_owned(), running })
    }

    /// Whether this is the root of the machine that is running.
    pub(crate) fn is_running(&self) -> bool {
        self.running
    }

    /// A path in this root, for messages.
    pub(crate) fn shown(&self, path: &TreePath) -> String {
        self.label.join(OsStr::from_bytes(path.as_bytes())).display().to_string()
    }

    /// The directory that `path` leads to, which is made if need be.
    pub(crate) fn make(&self, path: &TreePath) -> Result<OwnedFd, Failure> {
        self.walk(path, true).map_err(Failure::io("making", self.shown(path)))
    }

    /// The directory that `path` leads to; none if there is nothing.
    pub(crate) fn find(&self, path: &TreePath) -> Result<Option<OwnedFd>, Failure> {
        match self.walk(path, false) {
            Err(Errno::NOENT) => Ok(None),
            result => result.map(Some).map_err(Failure::io("opening", self.shown(path))),
        }
    }

    /// Where archives are decoded to, in files without a name: on the file system that they are unpacked to.
    pub(crate) fn scratch(&self) -> Result<Scratch, Failure> {
        let place = path("opt");
        let (handle, shown) = (self.make(&place)?, self.shown(&place));
        let path = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
        Ok(Scratch { path, shown, _handle: handle })
    }

    fn walk(&self, path: &TreePath, make: bool) -> Result<OwnedFd, Errno> {
        let through = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut way: Vec<OwnedFd> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        ahead.reverse();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                way.pop();
                continue;
            }
            let from = way.last().map_or(self.handle.as_fd(), OwnedFd::as_fd);
            let name = OsStr::from_bytes(&name);
            let found = match rustix::fs::openat(from, name, through, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(from, name, Mode::from_raw_mode(0o755)) {
                        Err(Errno::EXIST) => {}
                        result => result?,
                    }
                    rustix::fs::fsync(reopen(from)?)?;
                    rustix::fs::openat(from, name, through, Mode::empty())?
                }
                result => result?,
            };
            match kind(&rustix::fs::fstat(&found)?) {
                FileType::Directory => way.push(found),
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    let steps =
                        target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                    ahead.extend(steps.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
                }
                _ => return Err(Errno::NOTDIR),
            }
        }
        reopen(way.last().map_or(self.handle.as_fd(), OwnedFd::as_fd))
    }
}

/// A directory that can be read and synced, from a handle that only points at one.
fn reopen(directory: impl AsFd) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// The entry called `name` itself, be it a link; none if there is nothing.
pub(crate) fn stat(directory: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(None),
        result => result.map(Some),
    }
}

/// What an entry is.
pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Opens a directory by its name, which is no link.
pub(crate) fn enter(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())
}

/// Opens a file by its name, which is no link, to have it on disk.
pub(crate) fn open_file(directory: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())
}

/// Whether files can be made root's.
pub(crate) fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

/// A path that this program itself names.
pub(crate) fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a relative path without `..`")
}
