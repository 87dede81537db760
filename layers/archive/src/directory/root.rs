//! Opening what lies below a directory, and nothing else.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::TreePath;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// An open directory that paths are resolved below.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Paths below a directory that is open already.
    pub(crate) fn of(directory: OwnedFd) -> Self {
        Self(directory)
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.0)?)
    }

    /// Opens what lies at `path`, through no symbolic link at all: what was a directory when it was walked may
    /// have been replaced since.
    pub(crate) fn resolve(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&self.0, OsStr::from_bytes(name), flags, Mode::empty(), beneath) {
            // Older than Linux 5.6, or forbidden by a sandbox that has never heard of the call.
            Err(Errno::NOSYS | Errno::PERM) => self.step_down(path, flags),
            result => result,
        }
    }

    /// The same, one component at a time.
    fn step_down(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let Some((parents, name)) = path.split() else {
            return rustix::fs::openat(&self.0, ".", flags, Mode::empty());
        };
        let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory: Option<OwnedFd> = None;
        for component in parents.components() {
            let from = directory.as_ref().map_or(self.0.as_fd(), OwnedFd::as_fd);
            directory = Some(rustix::fs::openat(from, OsStr::from_bytes(component), through, Mode::empty())?);
        }
        let from = directory.as_ref().map_or(self.0.as_fd(), OwnedFd::as_fd);
        rustix::fs::openat(from, OsStr::from_bytes(name), flags, Mode::empty())
    }
}

/// A regular file that is opened whenever it is read: there may be more files than descriptors.
#[derive(Debug)]
pub(crate) struct LazyFile {
    root: Arc<Root>,
    path: TreePath,
    len: u64,
    state: (u64, u64, i64, u64),
}

impl LazyFile {
    pub(crate) fn new(root: Arc<Root>, path: TreePath, stat: &Stat) -> Self {
        Self { root, path, len: stat.st_size.cast_unsigned(), state: state(stat) }
    }
}

/// What cannot stay the same when the content changes.
fn state(stat: &Stat) -> (u64, u64, i64, u64) {
    (stat.st_ino, stat.st_size.cast_unsigned(), stat.st_mtime, stat.st_mtime_nsec)
}

impl ReadAt for LazyFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let changed =
            || io::Error::other(format!("`{}` changed while the image was baked: bake again", self.path));
        let file = match self.root.resolve(&self.path, OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => return Err(changed()),
            result => File::from(result?),
        };
        let read = file.read_exact_at(buffer, offset);
        // After reading, so that a change at any time since the walk is seen.
        if state(&rustix::fs::fstat(&file)?) != self.state {
            return Err(changed());
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_outside_is_reached_either_way() {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("top");
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "inside").unwrap();
        fs::write(scratch.path().join("secret"), "outside").unwrap();
        std::os::unix::fs::symlink("../secret", top.join("link")).unwrap();
        std::os::unix::fs::symlink("a", top.join("also-a")).unwrap();
        let root = Root::open(&top).unwrap();
        for (path, there) in
            [("a/b/file", true), ("", true), ("link", false), ("also-a/b/file", false), ("a/x", false)]
        {
            let path = TreePath::parse(path.as_bytes()).unwrap();
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            assert_eq!(root.resolve(&path, OFlags::RDONLY).is_ok(), there, "{path}");
            assert_eq!(root.step_down(&path, flags).is_ok(), there, "{path}");
        }
    }

    #[test]
    fn a_file_that_changed_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("file");
        fs::write(&path, "before").unwrap();
        let root = Arc::new(Root::open(scratch.path()).unwrap());
        let stat = rustix::fs::stat(&path).unwrap();
        let file = LazyFile::new(root, TreePath::parse(b"file").unwrap(), &stat);
        let mut bytes = [0; 6];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"before");
        fs::write(&path, "after!").unwrap();
        File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(file.read_exact_at(0, &mut bytes).unwrap_err().to_string().contains("changed"));
        fs::remove_file(&path).unwrap();
        assert!(file.read_exact_at(0, &mut bytes).unwrap_err().to_string().contains("changed"));
    }
}
