//! Putting things in place, each by one rename in the directory that it belongs to.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::{Digest, Hasher};
use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::source::Source;
use crate::audit::scan;
use crate::audit::wanted::{Shape, Wanted};
use crate::files::{UNFINISHED, clear};
use crate::host::Host;
use crate::place;

/// Bytes copied at once.
const STEP: usize = 256 << 10;

/// The directory that a path of the install root lies in, and its name there.
fn open<'a>(host: &Host, path: &'a [u8]) -> Result<(OwnedFd, &'a [u8]), String> {
    let (parent, name) = scan::split_path(path);
    let directory = scan::open(&host.home, parent).map_err(|error| format!("its directory: {error}"))?;
    Ok((directory, name))
}

/// Takes something away, with everything in it.
pub(super) fn remove(host: &Host, path: &[u8]) -> Result<(), String> {
    let (directory, name) = open(host, path)?;
    clear_away(&directory, name).map_err(|error| error.to_string())?;
    rustix::fs::fsync(&directory).map_err(|error| error.to_string())
}

/// Whatever has this name, be it a whole tree, is gone.
fn clear_away(directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match place::stat(directory, name)?.map(|stat| place::kind(&stat)) {
        None => Ok(()),
        Some(FileType::Directory) => {
            let shown = String::from_utf8_lossy(name).into_owned();
            remove_tree_at(directory, OsStr::from_bytes(name), Path::new(&shown)).map_err(io::Error::other)
        }
        Some(_) => Ok(rustix::fs::unlinkat(directory, OsStr::from_bytes(name), AtFlags::empty())?),
    }
}

/// Makes what is at a path what should be there.
pub(super) fn put(host: &Host, path: &[u8], wanted: &Wanted, source: &mut Source) -> Result<(), String> {
    if path.is_empty() {
        return correct(host, path, wanted, &[]);
    }
    let (directory, name) = open(host, path)?;
    match &wanted.shape {
        Shape::Directory => make_directory(&directory, name, wanted.mode).map_err(|error| error.to_string()),
        Shape::Link(target) => {
            { unless_directory(&directory, name).and_then(|()| Ok(put_link(&directory, name, target)?)) }
                .map_err(|error| error.to_string())
        }
        Shape::File { sha256, bytes: Some(bytes), .. } => {
            put_file(&directory, name, wanted.mode, *sha256, &mut &bytes[..])
                .map_err(|error| error.to_string())
        }
        Shape::File { sha256, bytes: None, .. } => source
            .give(path, *sha256, &mut |content| put_file(&directory, name, wanted.mode, *sha256, content)),
        Shape::Secret => Err("secrets are never written".to_owned()),
    }
}

/// Puts a directory outside of the install root in the place of whatever else lies there.
pub(super) fn directory(host: &Host, path: &[u8]) -> Result<(), String> {
    let path = TreePath::parse(path).map_err(|error| error.to_string())?;
    let Some((parent, name)) = path.split() else { return Ok(()) };
    let parent = host.root.make(&parent).map_err(|failure| failure.to_string())?;
    make_directory(&parent, name, 0o755).map_err(|error| error.to_string())
}

/// A directory cannot be replaced by a rename.
fn unless_directory(directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match place::stat(directory, name)? {
        Some(stat) if place::kind(&stat) == FileType::Directory => clear_away(directory, name),
        _ => Ok(()),
    }
}

fn make_directory(directory: &OwnedFd, name: &[u8], mode: u32) -> io::Result<()> {
    let there = place::stat(directory, name)?;
    // One that could not be listed looks as if it held nothing: what it holds stays.
    if there.is_none_or(|stat| place::kind(&stat) != FileType::Directory) {
        clear_away(directory, name)?;
        rustix::fs::mkdirat(directory, OsStr::from_bytes(name), Mode::from_raw_mode(0o700))?;
    }
    let made = place::enter(directory, name)?;
    // Default rules of access, which parents hand down.
    for attribute in scan::attributes(&made)? {
        rustix::fs::fremovexattr(&made, OsStr::from_bytes(&attribute))?;
    }
    own(&made)?;
    rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?;
    rustix::fs::fsync(&made)?;
    Ok(rustix::fs::fsync(directory)?)
}

fn put_link(directory: &OwnedFd, name: &[u8], target: &[u8]) -> Result<(), Errno> {
    clear(directory)?;
    rustix::fs::symlinkat(OsStr::from_bytes(target), directory, UNFINISHED)?;
    if place::is_superuser() {
        let (uid, gid) = (Some(Uid::ROOT), Some(Gid::ROOT));
        rustix::fs::chownat(directory, UNFINISHED, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
    rustix::fs::fsync(directory)
}

/// Writes a file, which takes its place only if it has the digest that is expected.
fn put_file(
    directory: &OwnedFd,
    name: &[u8],
    mode: u32,
    sha256: Digest,
    content: &mut dyn Read,
) -> io::Result<()> {
    clear(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
    let written = (|| {
        let found = copy(content, &mut File::from(handle.try_clone()?))?;
        if found != sha256 {
            return Err(io::Error::other(format!(
                "what is at hand has the digest {found}: expected {sha256}"
            )));
        }
        for attribute in scan::attributes(&handle)? {
            rustix::fs::fremovexattr(&handle, OsStr::from_bytes(&attribute))?;
        }
        own(&handle)?;
        rustix::fs::fchmod(&handle, Mode::from_raw_mode(mode))?;
        rustix::fs::fsync(&handle)?;
        unless_directory(directory, name)?;
        rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
        Ok(rustix::fs::fsync(directory)?)
    })();
    if written.is_err() {
        // The first failure is the one to tell.
        let _ = clear(directory);
    }
    written
}

fn copy(from: &mut dyn Read, to: &mut File) -> io::Result<Digest> {
    let (mut buffer, mut hasher) = (vec![0; STEP], Hasher::new());
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                to.write_all(&buffer[..count])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives something to root, if this process may.
fn own(handle: &OwnedFd) -> Result<(), Errno> {
    if place::is_superuser() { rustix::fs::fchown(handle, Some(Uid::ROOT), Some(Gid::ROOT)) } else { Ok(()) }
}

/// Sets the permissions and the owner of what is what it should be, and takes its attributes away.
pub(super) fn correct(
    host: &Host,
    path: &[u8],
    wanted: &Wanted,
    attributes: &[Vec<u8>],
) -> Result<(), String> {
    let corrected = || -> Result<(), Errno> {
        if path.is_empty() {
            let home = place::enter(&host.home, b".")?;
            return correct_open(&home, wanted.mode);
        }
        let (parent, name) = scan::split_path(path);
        let directory = scan::open(&host.home, parent)?;
        correct_at(&directory, name, wanted, attributes)
    };
    corrected().map_err(|error| error.to_string())
}

fn correct_open(handle: &OwnedFd, mode: u32) -> Result<(), Errno> {
    own(handle)?;
    for attribute in scan::attributes(handle)? {
        rustix::fs::fremovexattr(handle, OsStr::from_bytes(&attribute))?;
    }
    rustix::fs::fchmod(handle, Mode::from_raw_mode(mode))?;
    rustix::fs::fsync(handle)
}

fn correct_at(
    directory: &OwnedFd,
    name: &[u8],
    wanted: &Wanted,
    attributes: &[Vec<u8>],
) -> Result<(), Errno> {
    let os_name = OsStr::from_bytes(name);
    if let Shape::Link(_) = wanted.shape {
        if place::is_superuser() {
            let (uid, gid) = (Some(Uid::ROOT), Some(Gid::ROOT));
            rustix::fs::chownat(directory, os_name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        for attribute in attributes {
            rustix::fs::lremovexattr(&path[..], OsStr::from_bytes(attribute))?;
        }
        return rustix::fs::fsync(directory);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match rustix::fs::openat(directory, os_name, flags, Mode::empty()) {
        // Its owner may not even read it, but may change that.
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(directory, os_name, Mode::from_raw_mode(wanted.mode), AtFlags::empty())?;
            rustix::fs::openat(directory, os_name, flags, Mode::empty())?
        }
        result => result?,
    };
    correct_open(&handle, wanted.mode)
}

/// Sets the permissions and the owner of a secret, wherever links of the host lead.
pub(super) fn secret(host: &Host, path: &[u8], wanted: &Wanted) -> Result<(), String> {
    let path = TreePath::parse(path).map_err(|error| error.to_string())?;
    let Some((parent, name)) = path.split() else { return Ok(()) };
    let directory = host.root.find(&parent).map_err(|failure| failure.to_string())?;
    let Some(directory) = directory else { return Ok(()) };
    correct_at(&directory, name, wanted, &[]).map_err(|error| error.to_string())
}
