//! Directories as handles: what is reached through one stays below it, whatever becomes of names meanwhile.

use std::ffi::OsStr;
use std::os::fd::AsRawFd;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens the directory `name` in `parent` so that entries can be made and removed in it, and gives its owner all
/// rights first if need be. A symbolic link is never followed, and a mount point is `EXDEV`.
pub(crate) fn enter(parent: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let parent = parent.as_fd();
    // This kind of handle needs no rights in the directory.
    let handle = pin(parent, name, OFlags::DIRECTORY)?;
    let stat = rustix::fs::fstat(&handle)?;
    if stat.st_mode & 0o700 != 0o700 {
        change_mode(&handle, 0o700)?;
    }
    rustix::fs::openat(&handle, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A handle (`O_PATH`) of what `name` in `parent` is, be it a link.
pub(crate) fn pin(parent: BorrowedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // Without BENEATH: a working directory (`CWD`) may be the parent.
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve) {
        // Older than Linux 5.6, or forbidden by a sandbox that has never heard of the call.
        Err(Errno::NOSYS | Errno::PERM) => {}
        result => return result,
    }
    let handle = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if rustix::fs::fstat(&handle)?.st_dev != rustix::fs::fstat(parent)?.st_dev {
        return Err(Errno::XDEV);
    }
    Ok(handle)
}

/// Changes the mode of exactly what `handle` is of; it may be one that [`pin`] gives, which `fchmod` refuses.
pub(crate) fn change_mode(handle: &OwnedFd, mode: u16) -> Result<(), Errno> {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode.into()), rustix::fs::AtFlags::empty())
}
