//! What is replaced on a host is kept in the install root, and put back.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_tree::{Content, Metadata, Node, Timestamp, TreePath, Xattrs};
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Ground, REPLACED};
use crate::Failure;
use crate::files::{self, UNFINISHED, read_at};
use crate::host::HOME;
use crate::place::{self, Root};

/// The largest file that is kept, in bytes.
const LIMIT: u64 = 64 << 20;

/// What a file has of the one that it replaces.
const INHERITED: [&str; 2] = ["security.selinux", "system.posix_acl_access"];
/// The largest of these, in bytes, as the kernel has it.
const ATTRIBUTE_LIMIT: usize = 1 << 16;

/// Where the install root at `home` keeps what was at `path`.
pub(crate) fn place_of(home: &TreePath, path: &TreePath) -> TreePath {
    path.components().fold(home.join(REPLACED.as_bytes()), |at, name| at.join(name))
}

/// Keeps a file or a link that no record names yet: what an earlier run kept that was killed may be older.
pub(super) fn keep(root: &Root, path: &TreePath) -> Result<(), Failure> {
    let kept = place_of(&place::path(HOME), path);
    let (parent, name) = kept.split().expect("it lies in the install root");
    let directory = root.make(&parent)?;
    let (metadata, node) = original(root, path)?;
    write(&directory, name, &metadata, &node).map_err(Failure::io("writing", root.shown(&kept)))
}

/// Everything about a file or a link of a host but its extended attributes.
pub(crate) fn original(root: &Root, path: &TreePath) -> Result<(Metadata, Node), Failure> {
    let (parent, name) = path.split().expect("no file is the root");
    let read = |directory: OwnedFd| -> std::io::Result<(Metadata, Node)> {
        let stat = place::stat(&directory, name)?.ok_or(std::io::ErrorKind::NotFound)?;
        let node = match place::kind(&stat) {
            FileType::RegularFile => Node::File(Content::bytes(read_at(&directory, name, LIMIT)?)),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new())?;
                Node::Symlink(target.into_bytes().into())
            }
            _ => return Err(std::io::Error::other("it is neither a file nor a link")),
        };
        let mtime = Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
        let mode = (stat.st_mode & 0o7777) as u16;
        Ok((Metadata { mode, uid: stat.st_uid, gid: stat.st_gid, mtime, xattrs: Xattrs::new() }, node))
    };
    let directory = super::enter(root, &parent)?;
    let directory = directory.ok_or_else(|| Failure::new(format!("`{}` is gone", root.shown(path))))?;
    read(directory).map_err(Failure::io("reading", root.shown(path)))
}

/// What became of a file that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was not there, or is somebody else's by now: a directory, or below a link.
    Not,
    /// It is gone.
    Removed,
    /// What was there before is there again.
    PutBack,
}

/// Takes a file or a link away that was made. Where it `replaced` something, that is put back, which the install root
/// at `home` keeps; if it keeps nothing, nothing was replaced yet, or it is there again already.
pub(crate) fn put_back(
    root: &Root,
    home: &TreePath,
    path: &TreePath,
    replaced: bool,
) -> Result<Gone, Failure> {
    let (parent, name) = path.split().expect("no file is the root");
    let Some(directory) = super::enter(root, &parent)? else { return Ok(Gone::Not) };
    if replaced {
        let kept = place_of(home, path);
        if root.at(&kept)?.is_none() {
            return Ok(Gone::Not);
        }
        let (metadata, node) = original(root, &kept)?;
        let written = write(&directory, name, &metadata, &node);
        return written.map(|()| Gone::PutBack).map_err(Failure::io("putting back", root.shown(path)));
    }
    let remove = || {
        files::clear(&directory)?;
        match rustix::fs::unlinkat(&directory, OsStr::from_bytes(name), AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&directory).map(|()| Gone::Removed),
            Err(Errno::NOENT | Errno::ISDIR) => Ok(Gone::Not),
            Err(error) => Err(error),
        }
    };
    remove().map_err(Failure::io("removing", root.shown(path)))
}

/// Makes a file or a link as it was, in one step; one without a time of its own is new. Of what it replaces, a file
/// has the label and the rules of access.
pub(crate) fn write(
    directory: &OwnedFd,
    name: &[u8],
    metadata: &Metadata,
    node: &Node,
) -> std::io::Result<()> {
    files::clear(directory)?;
    let (uid, gid) = (Some(Uid::from_raw(metadata.uid)), Some(Gid::from_raw(metadata.gid)));
    match node {
        Node::File(content) => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let handle = rustix::fs::openat(directory, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
            let mut file = File::from(handle);
            file.write_all(&content.read_all(LIMIT)?)?;
            if place::is_superuser() {
                rustix::fs::fchown(&file, uid, gid)?;
            }
            inherit(directory, name, &file)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(metadata.mode.into()))?;
            file.sync_all()?;
        }
        Node::Symlink(target) => {
            rustix::fs::symlinkat(OsStr::from_bytes(target), directory, UNFINISHED)?;
            if place::is_superuser() {
                rustix::fs::chownat(directory, UNFINISHED, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        _ => return Err(std::io::Error::other("it is neither a file nor a link")),
    }
    if metadata.mtime != Metadata::AT_EPOCH {
        let time = Timespec { tv_sec: metadata.mtime.seconds, tv_nsec: metadata.mtime.nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(directory, UNFINISHED, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Gives a file the label and the rules of access of the regular file that it is going to replace, if there is one.
fn inherit(directory: &OwnedFd, name: &[u8], file: &File) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let there = match rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
        result => result?,
    };
    for attribute in INHERITED {
        let mut value = Vec::with_capacity(ATTRIBUTE_LIMIT);
        match rustix::fs::fgetxattr(&there, attribute, spare_capacity(&mut value)) {
            Ok(_) => rustix::fs::fsetxattr(file, attribute, &value, XattrFlags::empty())?,
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
