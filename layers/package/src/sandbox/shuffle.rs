//! A copy of a directory whose order of entries is the opposite one.
//!
//! Programs that go through a directory without sorting make output that depends on the file system. Most file
//! systems list a small directory in the same order every time, which hides that from whoever builds twice.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

/// Bytes of all files below a directory, as a bound of what a copy in memory takes.
pub(super) fn size(directory: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

/// How a file system lists what was made one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    OldestFirst,
    NewestFirst,
}

/// Copies what is in `from` into the empty directory `to` on a file system in memory, whose listings follow
/// the order in which entries were made; `owner` gets the copies.
pub(super) fn copy(from: &Path, to: &Path, owner: Option<u32>) -> io::Result<()> {
    Copy { listing: Some(probe(to)?), owner, links: BTreeMap::new() }.directory(from, to)
}

/// The same on a disk, whose file system has its own idea of order.
pub(super) fn copy_as_is(from: &Path, to: &Path, owner: u32) -> io::Result<()> {
    Copy { listing: None, owner: Some(owner), links: BTreeMap::new() }.directory(from, to)
}

/// Tries how the file system of `directory` lists.
fn probe(directory: &Path) -> io::Result<Listing> {
    let made = ["a", "b", "c"].map(OsString::from);
    for name in &made {
        fs::create_dir(directory.join(name))?;
    }
    let listed = names(directory)?;
    for name in &made {
        fs::remove_dir(directory.join(name))?;
    }
    match listed {
        listed if listed.iter().eq(made.iter()) => Ok(Listing::OldestFirst),
        listed if listed.iter().eq(made.iter().rev()) => Ok(Listing::NewestFirst),
        _ => Err(io::Error::other(
            "this kernel's file systems in memory list entries in an order of their own",
        )),
    }
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}

struct Copy {
    /// Nothing when the order is the file system's.
    listing: Option<Listing>,
    owner: Option<u32>,
    /// Where the copies of files with several names are.
    links: BTreeMap<(u64, u64), PathBuf>,
}

impl Copy {
    fn directory(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let listed = names(from)?;
        let mut wanted = listed;
        wanted.reverse();
        let mut making = wanted.clone();
        if self.listing == Some(Listing::NewestFirst) {
            making.reverse();
        }
        for name in making {
            self.entry(&from.join(&name), &to.join(&name))?;
        }
        if self.listing.is_some() && names(to)? != wanted {
            return Err(io::Error::other(format!(
                "`{}` could not be put into another order",
                from.display()
            )));
        }
        Ok(())
    }

    fn entry(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            return self.own(to);
        }
        let inode = (metadata.dev(), metadata.ino());
        if !kind.is_dir() && metadata.nlink() > 1 {
            if let Some(first) = self.links.get(&inode) {
                return fs::hard_link(first, to);
            }
            self.links.insert(inode, to.to_owned());
        }
        if kind.is_dir() {
            fs::create_dir(to)?;
            self.directory(from, to)?;
        } else if kind.is_file() {
            io::copy(&mut File::open(from)?, &mut OpenOptions::new().write(true).create_new(true).open(to)?)?;
        } else {
            return Err(io::Error::other(format!("`{}` is no file, directory or link", from.display())));
        }
        self.own(to)?;
        File::open(to)?.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
        fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o777))
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        self.owner.map_or(Ok(()), |id| lchown(path, Some(id), Some(id)))
    }
}
