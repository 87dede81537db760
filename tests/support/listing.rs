//! What the kernel shows of a directory tree: everything that an image has to bring through.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// One entry, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub time: (i64, i64),
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first of all names of the same inode.
    pub first_name: Vec<u8>,
    pub links: u64,
}

/// The type of an entry with what only this type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File { size: u64 },
    Link { target: Vec<u8> },
    CharacterDevice { number: u64 },
    BlockDevice { number: u64 },
    Fifo,
}

/// Every entry of a tree by its path without a leading slash; empty for the root.
pub type Listing = BTreeMap<Vec<u8>, Entry>;

/// Lists what lies in `root`, which the kernel must be able to read in full.
pub fn list(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut ahead = vec![Vec::new()];
    while let Some(path) = ahead.pop() {
        let metadata = fs::symlink_metadata(at(root, &path)).unwrap();
        if metadata.is_dir() {
            for entry in fs::read_dir(at(root, &path)).unwrap() {
                let name = entry.unwrap().file_name().into_vec();
                ahead.push(if path.is_empty() { name } else { [&path[..], b"/", &name].concat() });
            }
        }
        let entry = entry(&at(root, &path), &metadata);
        listing.insert(path, entry);
    }
    name_inodes(root, &mut listing);
    listing
}

/// A path of a listing below the root that was listed.
pub fn at(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// A path of a listing as a manifest writes it.
pub fn shown(path: &[u8]) -> String {
    format!("/{}", path.escape_ascii())
}

/// Whether two files hold the same bytes.
pub fn same_content(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let (read, also) = (fill(&mut one, &mut ours), fill(&mut other, &mut theirs));
        if ours[..read] != theirs[..also] {
            return false;
        }
        if read == 0 {
            return true;
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> usize {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]).unwrap() {
            0 => break,
            read => filled += read,
        }
    }
    filled
}

fn entry(path: &Path, metadata: &Metadata) -> Entry {
    let of_type = metadata.file_type();
    let kind = if of_type.is_dir() {
        Kind::Directory
    } else if of_type.is_file() {
        Kind::File { size: metadata.len() }
    } else if of_type.is_symlink() {
        Kind::Link { target: fs::read_link(path).unwrap().into_os_string().into_vec() }
    } else if of_type.is_char_device() {
        Kind::CharacterDevice { number: metadata.rdev() }
    } else if of_type.is_block_device() {
        Kind::BlockDevice { number: metadata.rdev() }
    } else {
        assert!(of_type.is_fifo(), "{}: {of_type:?}", path.display());
        Kind::Fifo
    };
    Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        owner: (metadata.uid(), metadata.gid()),
        time: (metadata.mtime(), metadata.mtime_nsec()),
        xattrs: xattrs(path),
        first_name: Vec::new(),
        links: metadata.nlink(),
    }
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    // The kernel's own limit for the list of names, and for one value.
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        // A file system that was made without any.
        Err(rustix::io::Errno::NOTSUP) => 0,
        length => length.unwrap(),
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 1 << 16];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect()
}

fn name_inodes(root: &Path, listing: &mut Listing) {
    let mut first_names = BTreeMap::new();
    for (path, entry) in listing.iter_mut() {
        let inode = fs::symlink_metadata(at(root, path)).unwrap().ino();
        entry.first_name.clone_from(first_names.entry(inode).or_insert_with(|| path.clone()));
    }
}

/// Link counts as the entries themselves imply them: how many names an inode has, and for a directory two and
/// one for every directory in it.
pub fn implied_links(listing: &Listing) -> BTreeMap<&[u8], u64> {
    let mut names: BTreeMap<&[u8], u64> = BTreeMap::new();
    let mut directories: BTreeMap<&[u8], u64> = BTreeMap::new();
    for (path, entry) in listing {
        *names.entry(&entry.first_name).or_default() += 1;
        if entry.kind == Kind::Directory && !path.is_empty() {
            let parent = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            *directories.entry(&path[..parent]).or_default() += 1;
        }
    }
    let links = listing.iter().map(|(path, entry)| match entry.kind {
        Kind::Directory => (&path[..], 2 + directories.get(&path[..]).copied().unwrap_or_default()),
        _ => (&path[..], names[&entry.first_name[..]]),
    });
    links.collect()
}
