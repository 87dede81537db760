//! The files of a host that name partitions and file systems, replaced one by one while the host boots from any mixture.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use bake_tree::TreePath;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::text::{Rename, rewrite};
use crate::Failure;
use crate::files::{self, UNFINISHED, read_at};
use crate::place::{self, Root, path};

/// The largest file, in bytes.
const LIMIT: u64 = 4 << 20;
/// The longest list of attributes, and the longest value.
const ATTRIBUTE_LIMIT: usize = 1 << 16;
/// The longest way from link to link.
const MAX_LINKS: u32 = place::MAX_LINKS;

/// Files by their paths, and directories of which every file with the ending counts.
const FILES: [&str; 9] = [
    "etc/fstab",
    "etc/crypttab",
    "etc/kernel/cmdline",
    "etc/default/grub",
    "boot/grub/grub.cfg",
    "boot/grub/custom.cfg",
    "boot/grub/grubenv",
    "boot/grub2/grub.cfg",
    "boot/grub2/grubenv",
];
const DIRECTORIES: [(&str, &str); 3] =
    [("etc/default/grub.d", ".cfg"), ("etc/cmdline.d", ".conf"), ("boot/loader/entries", ".conf")];
/// Where an EFI system partition is mounted.
const ESP: [&str; 3] = ["efi", "boot/efi", "boot"];
/// Configurations of loaders there, in a directory of each vendor.
const VENDORS: &str = "EFI";
const OF_VENDORS: [&str; 2] = ["grub.cfg", "grubenv"];
/// Entries of loaders there.
const ENTRIES: &str = "loader/entries";
/// What the name of an entry's copy begins with, while the entry itself is replaced.
const COPY: &[u8] = b"pkgpanda-own-";
/// GRUB writes into this file's blocks at boot: it keeps its length, up to which it is filled with this.
const GRUBENV: (&[u8], u8) = (b"grubenv", b'#');

/// A file that may name ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Through no link but those above it.
    path: TreePath,
    /// An entry on a FAT file system, which has no journal: a copy is there before the entry goes.
    is_entry: bool,
}

/// Rewrites every file that these concern. Says which.
pub(super) fn rename(root: &Root, renames: &[Rename], say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    if renames.is_empty() {
        return Ok(());
    }
    for place in places(root)? {
        let Some(content) = files::read(root, &place.path, LIMIT)? else { continue };
        let wanted = fit(root, &place.path, &content, rewrite(&content, renames))?;
        if wanted == content {
            continue;
        }
        replace(root, &place, &wanted).map_err(Failure::io("writing", root.shown(&place.path)))?;
        say(format!("rewrote {}", root.shown(&place.path)));
    }
    Ok(())
}

/// Ends what a run that was cut off began with entries. `renames`: all that this run is going to do.
pub(super) fn recover(root: &Root, renames: &[Rename]) -> Result<(), Failure> {
    for esp in ESP {
        let at = path(esp).join_all(ENTRIES);
        let Some(directory) = root.find(&at)? else { continue };
        if !is_fat(root, &at, esp != "boot")? {
            continue;
        }
        mend(&directory, renames).map_err(Failure::io("mending", root.shown(&at)))?;
    }
    Ok(())
}

fn mend(directory: &OwnedFd, renames: &[Rename]) -> std::io::Result<()> {
    for copy in names(directory)? {
        let Some(name) = copy.strip_prefix(COPY).filter(|name| !name.is_empty()) else { continue };
        let there = match read_at(directory, name, LIMIT) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            result => Some(result?),
        };
        let content = read_at(directory, &copy, LIMIT)?;
        // An entry that is still to be rewritten is the one from before: its copy may be half of one.
        let is_old = there.as_ref().is_some_and(|there| rewrite(there, renames) != *there);
        if !is_old && there.as_ref() != Some(&content) {
            put(directory, name, &copy, &content)?;
        }
        remove(directory, &copy)?;
    }
    Ok(())
}

/// Every file that is there, once.
fn places(root: &Root) -> Result<BTreeSet<Place>, Failure> {
    let mut found = BTreeSet::new();
    let mut entries = BTreeSet::new();
    for esp in ESP.map(path) {
        let at = esp.join_all(ENTRIES);
        if is_fat(root, &at, esp != path("boot"))? {
            entries.extend(list(root, &at, ".conf")?);
        }
        let vendors = esp.join_all(VENDORS);
        for vendor in list(root, &vendors, "")? {
            found.extend(OF_VENDORS.iter().map(|name| vendor.join(name.as_bytes())));
        }
    }
    found.extend(FILES.map(path));
    for (directory, ending) in DIRECTORIES {
        found.extend(list(root, &path(directory), ending)?);
    }
    let mut places = BTreeSet::new();
    for (file, is_entry) in
        entries.into_iter().map(|file| (file, true)).chain(found.into_iter().map(|file| (file, false)))
    {
        let Some(path) = regular(root, &file)? else { continue };
        if is_entry || !places.contains(&Place { path: path.clone(), is_entry: true }) {
            places.insert(Place { path, is_entry });
        }
    }
    Ok(places)
}

/// Whether a directory is on a FAT file system; where it is an EFI system partition's, it is one.
fn is_fat(root: &Root, at: &TreePath, is_esp: bool) -> Result<bool, Failure> {
    /// MSDOS_SUPER_MAGIC of statfs(2).
    const MAGIC: i64 = 0x4d44;
    let Some(directory) = root.find(at)? else { return Ok(false) };
    let stat = rustix::fs::fstatfs(&directory).map_err(Failure::io("reading", root.shown(at)))?;
    Ok(is_esp || stat.f_type == MAGIC)
}

/// What is in a directory, if there is one, and ends so.
fn list(root: &Root, at: &TreePath, ending: &str) -> Result<Vec<TreePath>, Failure> {
    // Beside a file of that name nothing of ours is.
    let Ok(Some(directory)) = root.find(at) else { return Ok(Vec::new()) };
    let names = names(&directory).map_err(Failure::io("reading", root.shown(at)))?;
    let names = names.iter().filter(|name| name.ends_with(ending.as_bytes()));
    Ok(names.map(|name| at.join(name)).collect())
}

/// The regular file that a path leads to, through links.
fn regular(root: &Root, file: &TreePath) -> Result<Option<TreePath>, Failure> {
    let mut at = file.clone();
    for _ in 0..=MAX_LINKS {
        let Some((above, name)) = at.split() else { return Ok(None) };
        let Ok(Some(directory)) = root.find(&above) else { return Ok(None) };
        let stat = place::stat(&directory, name).map_err(Failure::io("reading", root.shown(&at)))?;
        match stat.as_ref().map(place::kind) {
            Some(FileType::RegularFile) => return crate::created::physical(root, &at).map(Some),
            Some(FileType::Symlink) => {}
            _ => return Ok(None),
        }
        let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new());
        let target = target.map_err(Failure::io("reading", root.shown(&at)))?.into_bytes();
        at = files::follow(&above, &target);
    }
    Ok(None)
}

/// What is to be written for `wanted`: the file of GRUB's variables keeps its length.
fn fit(root: &Root, at: &TreePath, before: &[u8], mut wanted: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let (name, fill) = GRUBENV;
    if at.split().is_none_or(|(_, last)| last != name) || wanted == before {
        return Ok(wanted);
    }
    let used = wanted.iter().rposition(|byte| *byte != fill).map_or(0, |last| last + 1);
    wanted.truncate(used);
    if used > before.len() {
        return Err(Failure::new(format!("`{}` has no room for other ids", root.shown(at))));
    }
    wanted.resize(before.len(), fill);
    Ok(wanted)
}

fn replace(root: &Root, place: &Place, content: &[u8]) -> std::io::Result<()> {
    let (above, name) = place.path.split().expect("no file is the root");
    let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let directory = root.find(&above).map_err(std::io::Error::other)?.ok_or_else(missing)?;
    if !place.is_entry {
        write(&directory, UNFINISHED.as_bytes(), name, content)?;
        rustix::fs::renameat(&directory, UNFINISHED, &directory, OsStr::from_bytes(name))?;
        return Ok(rustix::fs::fsync(&directory)?);
    }
    let copy = [COPY, name].concat();
    put(&directory, &copy, name, content)?;
    remove(&directory, name)?;
    put(&directory, name, &copy, content)?;
    remove(&directory, &copy)
}

/// Writes a file under its name, over what is there, and has it on the disk.
fn put(directory: &OwnedFd, name: &[u8], like: &[u8], content: &[u8]) -> std::io::Result<()> {
    write(directory, name, like, content)?;
    rustix::fs::fsync(directory)?;
    Ok(rustix::fs::syncfs(directory)?)
}

fn remove(directory: &OwnedFd, name: &[u8]) -> std::io::Result<()> {
    rustix::fs::unlinkat(directory, OsStr::from_bytes(name), AtFlags::empty())?;
    rustix::fs::fsync(directory)?;
    Ok(rustix::fs::syncfs(directory)?)
}

/// Writes a new file with the owner, mode and attributes of another.
fn write(directory: &OwnedFd, name: &[u8], like: &[u8], content: &[u8]) -> std::io::Result<()> {
    match rustix::fs::unlinkat(directory, OsStr::from_bytes(name), AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        result => result?,
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let like = rustix::fs::openat(directory, OsStr::from_bytes(like), flags, Mode::empty())?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(file);
    file.write_all(content)?;
    let (there, here) = (rustix::fs::fstat(&like)?, rustix::fs::fstat(&file)?);
    if (there.st_uid, there.st_gid) != (here.st_uid, here.st_gid) {
        rustix::fs::fchown(&file, Some(Uid::from_raw(there.st_uid)), Some(Gid::from_raw(there.st_gid)))?;
    }
    copy_attributes(&like, &file)?;
    if there.st_mode != here.st_mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(there.st_mode))?;
    }
    file.sync_all()
}

fn copy_attributes(from: &OwnedFd, to: &File) -> Result<(), Errno> {
    let mut list = Vec::with_capacity(ATTRIBUTE_LIMIT);
    match rustix::fs::flistxattr(from, spare_capacity(&mut list)) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        result => result?,
    };
    for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = Vec::with_capacity(ATTRIBUTE_LIMIT);
        rustix::fs::fgetxattr(from, name, spare_capacity(&mut value))?;
        rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

trait JoinAll {
    /// A path of several steps below this one.
    fn join_all(&self, below: &str) -> TreePath;
}

impl JoinAll for TreePath {
    fn join_all(&self, below: &str) -> TreePath {
        below.split('/').fold(self.clone(), |at, name| at.join(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
