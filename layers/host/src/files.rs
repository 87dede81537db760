//! Files and links of a host: each appears whole, by a rename, and only if it is not so already.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::Failure;
use crate::integration::HostEntry;
use crate::place::{self, Root};

/// What a file is called until it is whole. One name does: one change of a host at a time.
pub(crate) const UNFINISHED: &str = ".pkgpanda.unfinished";

/// Makes a file of the host and the directories above it. Says whether it was not so already.
pub(crate) fn put(root: &Root, path: &TreePath, file: &HostEntry) -> Result<bool, Failure> {
    let (directory, name) = path.split().expect("no file is the root");
    let directory = root.make(&directory)?;
    if is_there(&directory, name, file).map_err(Failure::io("reading", root.shown(path)))? {
        return Ok(false);
    }
    write_at(&directory, name, file).map_err(Failure::io("writing", root.shown(path)))?;
    Ok(true)
}

/// Makes a link, or leads one elsewhere. Says whether it was not so already.
pub(crate) fn link(root: &Root, path: &TreePath, target: &str) -> Result<bool, Failure> {
    let (directory, name) = path.split().expect("no link is the root");
    let directory = root.make(&directory)?;
    match rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new()) {
        Ok(there) if there.as_bytes() == target.as_bytes() => return Ok(false),
        Ok(_) | Err(Errno::NOENT) => {}
        Err(Errno::INVAL) => {
            let shown = root.shown(path);
            return Err(Failure::new(format!("`{shown}` is no symbolic link: move it away")));
        }
        Err(error) => return Err(Failure::io("reading", root.shown(path))(error)),
    }
    link_at(&directory, name, target).map_err(Failure::io("making", root.shown(path)))?;
    Ok(true)
}

/// Takes a file or a link away. Says whether it was there.
pub(crate) fn remove(root: &Root, path: &TreePath) -> Result<bool, Failure> {
    let (directory, name) = path.split().expect("no file is the root");
    let Some(directory) = root.find(&directory)? else { return Ok(false) };
    match rustix::fs::unlinkat(&directory, OsStr::from_bytes(name), AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(false),
        result => result
            .and_then(|()| rustix::fs::fsync(&directory))
            .map(|()| true)
            .map_err(Failure::io("removing", root.shown(path))),
    }
}

/// The bytes of a regular file of at most `limit` bytes; none if there is nothing.
pub(crate) fn read(root: &Root, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let (directory, name) = path.split().expect("no file is the root");
    let Some(directory) = root.find(&directory)? else { return Ok(None) };
    match read_at(&directory, name, limit) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(Failure::io("reading", root.shown(path))),
    }
}

/// As [`read`], also through links, each resolved below the root.
pub(crate) fn read_through(root: &Root, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut at = path.clone();
    for _ in 0..=place::MAX_LINKS {
        let Some((directory, name)) = at.split() else { break };
        let Some(handle) = root.find(&directory)? else { return Ok(None) };
        let target = match rustix::fs::readlinkat(&handle, OsStr::from_bytes(name), Vec::new()) {
            // No link, or nothing.
            Err(Errno::INVAL | Errno::NOENT) => return read(root, &at, limit),
            result => result.map_err(Failure::io("reading", root.shown(&at)))?.into_bytes(),
        };
        at = follow(&directory, &target);
    }
    Err(Failure::new(format!("`{}` leads through too many links, or to the root", root.shown(path))))
}

/// Where a link in a directory leads, below the root.
pub(crate) fn follow(directory: &TreePath, target: &[u8]) -> TreePath {
    let from = if target.starts_with(b"/") { TreePath::root() } else { directory.clone() };
    target.split(|byte| *byte == b'/').fold(from, |at, step| match step {
        b"" | b"." => at,
        b".." => at.split().map_or_else(TreePath::root, |(above, _)| above),
        name => at.join(name),
    })
}

/// As [`read`], by the name in a directory.
pub(crate) fn read_at(directory: impl AsFd, name: &[u8], limit: u64) -> std::io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
    if place::kind(&rustix::fs::fstat(&file)?) != FileType::RegularFile {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Whether a file is so already.
pub(crate) fn is_there(directory: &OwnedFd, name: &[u8], file: &HostEntry) -> Result<bool, Errno> {
    let Some(stat) = place::stat(directory, name)? else { return Ok(false) };
    match place::kind(&stat) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        // A link is replaced and never followed.
        _ => return Ok(false),
    }
    let same_owner = !place::is_superuser() || (stat.st_uid, stat.st_gid) == (0, 0);
    let mode = u32::from(file.mode);
    if !same_owner || stat.st_mode & 0o7777 != mode || stat.st_size != file.content.len() as i64 {
        return Ok(false);
    }
    Ok(read_at(directory, name, file.content.len() as u64).is_ok_and(|content| content == file.content))
}

/// Writes a file whole, and has it on disk.
pub(crate) fn write_at(directory: &OwnedFd, name: &[u8], file: &HostEntry) -> std::io::Result<()> {
    clear(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
    let mut handle = File::from(handle);
    handle.write_all(&file.content)?;
    if place::is_superuser() {
        rustix::fs::fchown(&handle, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    rustix::fs::fchmod(&handle, Mode::from_raw_mode(file.mode.into()))?;
    handle.sync_all()?;
    rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Makes a link in the place of whatever but a directory is there, in one step, and has it on disk.
pub(crate) fn link_at(directory: &OwnedFd, name: &[u8], target: &str) -> Result<(), Errno> {
    clear(directory)?;
    rustix::fs::symlinkat(target, directory, UNFINISHED)?;
    if place::is_superuser() {
        let (uid, gid) = (Some(Uid::ROOT), Some(Gid::ROOT));
        rustix::fs::chownat(directory, UNFINISHED, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
    rustix::fs::fsync(directory)
}

/// Takes away what a run that was killed left.
pub(crate) fn clear(directory: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, UNFINISHED, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
