//! What lies in a directory, all the way down: by handles, through no symbolic link, on many threads.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use bake_base::{Digest, names, parallel};
use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::place;

/// Labels that modules of the kernel give to every file of a host; they are the host's own.
const LABELS: [&[u8]; 3] = [b"security.selinux", b"security.ima", b"security.evm"];

/// Everything below a directory by its path relative to it; the directory itself is the empty path.
pub(crate) type Scan = BTreeMap<Vec<u8>, Found>;

/// Something that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub node: Node,
    pub stamp: Stamp,
    /// Names of extended attributes, without [`LABELS`].
    pub attributes: Vec<Vec<u8>>,
    /// Why it cannot be read.
    pub trouble: Option<String>,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    /// Without a digest until it is read.
    File(Option<Digest>),
    Link(Vec<u8>),
    Special(&'static str),
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Seconds and nanoseconds, as all times here.
    pub written: (i64, i64),
    /// When anything of it last changed, which no program can set.
    pub changed: (i64, i64),
    pub mode: u32,
    pub owner: (u32, u32),
}

impl Stamp {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)] // types differ between architectures
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
        }
    }
}

/// Scans `top`. Of a directory for whose path `enter` says no only itself is found, not what it holds.
pub(crate) fn scan(top: &OwnedFd, threads: usize, enter: &(dyn Fn(&[u8]) -> bool + Sync)) -> Scan {
    let mut scan = Scan::new();
    let stat = rustix::fs::fstat(top);
    if let Ok(stat) = stat {
        scan.insert(Vec::new(), Found::of(&stat));
    }
    let mut level = vec![Vec::new()];
    while !level.is_empty() {
        let listed =
            parallel::map(threads, level.len(), || (), |(), at| Ok::<_, Infallible>(list(top, &level[at])));
        let Ok(listed) = listed;
        let mut below = Vec::new();
        for (path, listed) in level.into_iter().zip(listed) {
            let (attributes, entries) = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    scan.entry(path).and_modify(|found| found.trouble = Some(error.to_string()));
                    continue;
                }
            };
            for (name, found) in entries {
                let path = join(&path, &name);
                if found.node == Node::Directory && enter(&path) {
                    below.push(path.clone());
                }
                scan.insert(path, found);
            }
            scan.entry(path).and_modify(|found| found.attributes = attributes);
        }
        level = below;
    }
    scan
}

/// The names in a directory with what they are, and the directory's own attributes.
type Listed = (Vec<Vec<u8>>, Vec<(Vec<u8>, Found)>);

fn list(top: &OwnedFd, path: &[u8]) -> Result<Listed, Errno> {
    let directory = open(top, path)?;
    let attributes = attributes(&directory)?;
    let mut entries = Vec::new();
    for name in names(&directory)? {
        // Gone since: then it is not there.
        let Some(stat) = place::stat(&directory, &name)? else { continue };
        let mut found = Found::of(&stat);
        if let Node::Link(target) = &mut found.node {
            match rustix::fs::readlinkat(&directory, OsStr::from_bytes(&name), Vec::new()) {
                Ok(read) => *target = read.into_bytes(),
                Err(error) => found.trouble = Some(error.to_string()),
            }
            found.attributes = link_attributes(&directory, &name);
        }
        entries.push((name, found));
    }
    Ok((attributes, entries))
}

/// The directory at a path below `top`, through no symbolic link.
pub(crate) fn open(top: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut directory = place::enter(top, b".")?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        directory = place::enter(&directory, name)?;
    }
    Ok(directory)
}

/// The extended attributes of an open file or directory.
pub(crate) fn attributes(file: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut list = [0; 4096];
    match rustix::fs::flistxattr(file, &mut list[..]) {
        Ok(size) => Ok(split(&list[..size])),
        Err(Errno::RANGE) => {
            let mut list = vec![0; 1 << 16];
            let size = rustix::fs::flistxattr(file, &mut list[..])?;
            Ok(split(&list[..size]))
        }
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Those of a link, which can only be asked for by a path; none where there is no `/proc` for one. They mean
/// nothing to anybody.
fn link_attributes(directory: &OwnedFd, name: &[u8]) -> Vec<Vec<u8>> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut list = [0; 4096];
    rustix::fs::llistxattr(&path[..], &mut list[..]).map(|size| split(&list[..size])).unwrap_or_default()
}

fn split(list: &[u8]) -> Vec<Vec<u8>> {
    let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !LABELS.contains(name));
    let mut names: Vec<_> = names.map(<[u8]>::to_vec).collect();
    names.sort_unstable();
    names
}

/// `name` in the directory at `path`.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The directory that a path lies in, and its name there.
pub(crate) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Found {
    /// From what `stat` says; the target of a link is not read yet.
    pub(crate) fn of(stat: &Stat) -> Self {
        let node = match place::kind(stat) {
            FileType::Directory => Node::Directory,
            FileType::RegularFile => Node::File(None),
            FileType::Symlink => Node::Link(Vec::new()),
            FileType::Fifo => Node::Special("a fifo"),
            FileType::Socket => Node::Special("a socket"),
            FileType::CharacterDevice => Node::Special("a character device"),
            FileType::BlockDevice => Node::Special("a block device"),
            FileType::Unknown => Node::Special("something unknown"),
        };
        Self { node, stamp: Stamp::of(stat), attributes: Vec::new(), trouble: None }
    }
}
