//! A whole tree onto this machine: for sources and dependencies of builds and the root file system that they run in.
//!
//! In goes a [`ValidTree`], which cannot name anything outside of itself, and everything is made relative to handles of
//! directories, as something new, and never through a symbolic link: not even somebody who changes the directory
//! meanwhile makes this write elsewhere. What has no time gets that of the newest that has. Owners, extended attributes, devices and set-id bits are left out for
//! every user alike, so that the result does not depend on who extracts; everything else is as in the tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bake_base::{ReadAt, Timestamp, names};
use bake_tree::{Content, InodeId, Metadata, Node, Tree, TreePath, ValidTree};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::ArchiveError;
use crate::directory::root::Root;
use crate::handle;

/// Bytes of content in memory at once.
const WINDOW: u64 = 256 << 10;
/// The time of everything where nothing has one: the beginning of 1980, which every archive can tell.
const OLDEST: Timestamp = Timestamp { seconds: 315_532_800, nanoseconds: 0 };
/// How many devices are named.
const SHOWN: usize = 8;

/// How a tree is extracted.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOptions {
    /// Whether the owner can read every file and look into every directory, whatever the tree says.
    pub readable: bool,
}

/// What was left out of an extraction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// How many names of devices are missing.
    pub devices: u64,
    /// The first of them.
    pub first_devices: Vec<TreePath>,
}

/// Writes `tree` into the directory `into`, which is made, or is there and empty. Entries are made in the order of
/// [`Tree::walk`]; the modes and times of directories are set at the end. The umask means nothing.
///
/// # Errors
/// When `into` holds something, an entry cannot be made, or content cannot be read. What was made until then stays
/// there, and directories in it may have no final modes yet: [`crate::remove_tree`] removes it.
pub fn extract(tree: &ValidTree, into: &Path, options: ExtractOptions) -> Result<Extracted, ArchiveError> {
    let label = into.display().to_string();
    let root = prepare(&label, into)?;
    run(tree, &label, root, options, 0o1777)
}

/// As [`extract`], into an empty directory that is open already and is `label` in messages; set-id bits stay.
///
/// # Errors
/// As [`extract`].
pub fn extract_at(tree: &ValidTree, label: &str, into: OwnedFd) -> Result<Extracted, ArchiveError> {
    run(tree, label, into, ExtractOptions::default(), 0o7777)
}

fn run(
    tree: &ValidTree,
    label: &str,
    root: OwnedFd,
    options: ExtractOptions,
    mode_bits: u16,
) -> Result<Extracted, ArchiveError> {
    let parent = rustix::io::fcntl_dupfd_cloexec(&root, 0);
    let parent = parent.map_err(|error| ArchiveError::io(label, "opening")(error.into()))?;
    let mut extraction = Extraction {
        tree,
        label,
        options,
        mode_bits,
        undated: tree.tree().newest_time().unwrap_or(OLDEST),
        root: Root::of(root),
        parent: (TreePath::root(), parent),
        linked: BTreeMap::new(),
        directories: vec![(TreePath::root(), Tree::ROOT)],
        buffer: vec![0; WINDOW as usize],
        extracted: Extracted::default(),
    };
    for (path, id) in tree.tree().walk().skip(1) {
        extraction.entry(&path, id)?;
    }
    extraction.finish()
}

/// The directory to extract into: new, or empty.
fn prepare(label: &str, into: &Path) -> Result<OwnedFd, ArchiveError> {
    let io = |action| move |error: Errno| ArchiveError::io(label, action)(error.into());
    let exists = match rustix::fs::mkdir(into, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => true,
        result => result.map(|()| false).map_err(io("making"))?,
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let pinned = rustix::fs::openat(CWD, into, flags, Mode::empty()).map_err(io("opening"))?;
    let root = handle::enter(&pinned, OsStr::new(".")).map_err(io("opening"))?;
    if exists && !names(&root).map_err(io("reading"))?.is_empty() {
        return Err(ArchiveError::Unrecognised {
            file: label.to_owned(),
            found: "a directory with something in it".to_owned(),
            expected: "an empty directory, or none yet, to extract into",
        });
    }
    Ok(root)
}

struct Extraction<'a> {
    tree: &'a ValidTree,
    label: &'a str,
    options: ExtractOptions,
    /// Which bits of modes are kept.
    mode_bits: u16,
    /// The time of what has none.
    undated: Timestamp,
    root: Root,
    /// The directory of the entry before: one handle at a time, since a tree may be deeper than there are handles.
    parent: (TreePath, OwnedFd),
    /// The first name of inodes with several, and what it became.
    linked: BTreeMap<InodeId, (TreePath, (u64, u64))>,
    /// What gets its mode and time at the end.
    directories: Vec<(TreePath, InodeId)>,
    buffer: Vec<u8>,
    extracted: Extracted,
}

impl Extraction<'_> {
    fn entry(&mut self, path: &TreePath, id: InodeId) -> Result<(), ArchiveError> {
        let (parent, name) = path.split().expect("the root has been made");
        if self.parent.0 != parent {
            let handle = self.open(&parent).map_err(self.failed(&parent, "opening"))?;
            self.parent = (parent, handle);
        }
        let name = OsStr::from_bytes(name);
        let inode = self.tree.inode(id);
        let has_links = inode.as_directory().is_none() && self.tree.link_count(id) > 1;
        if has_links && let Some((first, made)) = self.linked.get(&id) {
            return self.link(first, *made, path, name);
        }
        let directory = self.parent.1.as_fd();
        match &inode.node {
            Node::Directory(_) => {
                let made = rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o700));
                made.map_err(self.failed(path, "making"))?;
                let handle = handle::enter(directory, name).map_err(self.failed(path, "opening"))?;
                self.parent = (path.clone(), handle);
                self.directories.push((path.clone(), id));
                return Ok(());
            }
            Node::File(content) => self.file(path, name, &inode.metadata, content)?,
            Node::Symlink(target) => {
                let made = rustix::fs::symlinkat(OsStr::from_bytes(target), directory, name);
                made.map_err(self.failed(path, "making"))?;
                self.date(directory, path, name, inode.metadata.mtime)?;
            }
            Node::Fifo => self.fifo(path, name, &inode.metadata)?,
            Node::CharDevice(_) | Node::BlockDevice(_) => {
                self.extracted.devices += 1;
                if self.extracted.first_devices.len() < SHOWN {
                    self.extracted.first_devices.push(path.clone());
                }
                return Ok(());
            }
        }
        if has_links {
            let stat = rustix::fs::statat(&self.parent.1, name, AtFlags::SYMLINK_NOFOLLOW);
            let stat = stat.map_err(self.failed(path, "reading"))?;
            self.linked.insert(id, (path.clone(), identity(&stat)));
        }
        Ok(())
    }

    fn file(
        &mut self,
        path: &TreePath,
        name: &OsStr,
        metadata: &Metadata,
        content: &Content,
    ) -> Result<(), ArchiveError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.parent.1, name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(self.failed(path, "making"))?);
        let mut end = 0;
        for extent in content.extents() {
            let mut start = extent.start;
            end = extent.start + extent.len;
            while start < end {
                let n = WINDOW.min(end - start) as usize;
                let read = content.read_exact_at(start, &mut self.buffer[..n]);
                read.map_err(ArchiveError::io(&self.shown(path), "reading the content of"))?;
                let written = file.write_all_at(&self.buffer[..n], start);
                written.map_err(ArchiveError::io(&self.shown(path), "writing"))?;
                start += n as u64;
            }
        }
        if end < content.len() {
            rustix::fs::ftruncate(&file, content.len()).map_err(self.failed(path, "writing"))?;
        }
        self.finish_one(path, file.as_fd(), self.mode(metadata, 0o400), metadata.mtime)
    }

    fn fifo(&self, path: &TreePath, name: &OsStr, metadata: &Metadata) -> Result<(), ArchiveError> {
        let directory = self.parent.1.as_fd();
        let made = rustix::fs::mknodat(directory, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
        made.map_err(self.failed(path, "making"))?;
        let handle = handle::pin(directory, name, OFlags::empty()).map_err(self.failed(path, "opening"))?;
        let stat = rustix::fs::fstat(&handle).map_err(self.failed(path, "reading"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
            return Err(self.failed(path, "making")(Errno::EXIST));
        }
        let changed = handle::change_mode(&handle, self.mode(metadata, 0o400));
        changed.map_err(self.failed(path, "changing the mode of"))?;
        self.date(directory, path, name, metadata.mtime)
    }

    /// Another name of what is at `first`, if that is still what was made.
    fn link(
        &self,
        first: &TreePath,
        made: (u64, u64),
        path: &TreePath,
        name: &OsStr,
    ) -> Result<(), ArchiveError> {
        let (parent, first_name) = first.split().expect("the root is no link");
        let from = self.open(&parent).map_err(self.failed(first, "opening"))?;
        let directory = &self.parent.1;
        let linked =
            rustix::fs::linkat(&from, OsStr::from_bytes(first_name), directory, name, AtFlags::empty());
        linked.map_err(self.failed(path, "linking"))?;
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        if identity(&stat.map_err(self.failed(path, "reading"))?) != made {
            return Err(ArchiveError::Changed { file: self.shown(first) });
        }
        Ok(())
    }

    /// Sets the modes and times of directories, the deepest ones first, and gives the result.
    fn finish(self) -> Result<Extracted, ArchiveError> {
        for (path, id) in self.directories.iter().rev() {
            let metadata = &self.tree.inode(*id).metadata;
            let directory = self.open(path).map_err(self.failed(path, "opening"))?;
            self.finish_one(path, directory.as_fd(), self.mode(metadata, 0o500), metadata.mtime)?;
        }
        Ok(self.extracted)
    }

    fn finish_one(
        &self,
        path: &TreePath,
        handle: BorrowedFd,
        mode: u16,
        mtime: Timestamp,
    ) -> Result<(), ArchiveError> {
        let changed = rustix::fs::fchmod(handle, Mode::from_raw_mode(mode.into()));
        changed.map_err(self.failed(path, "changing the mode of"))?;
        rustix::fs::futimens(handle, &self.times(mtime)).map_err(self.failed(path, "dating"))
    }

    fn date(
        &self,
        directory: BorrowedFd,
        path: &TreePath,
        name: &OsStr,
        mtime: Timestamp,
    ) -> Result<(), ArchiveError> {
        let dated = rustix::fs::utimensat(directory, name, &self.times(mtime), AtFlags::SYMLINK_NOFOLLOW);
        dated.map_err(self.failed(path, "dating"))
    }

    /// The time of the last access is that of the tree too: nothing in the result tells when it was made.
    fn times(&self, mtime: Timestamp) -> Timestamps {
        let time = if mtime == Metadata::AT_EPOCH { self.undated } else { mtime };
        let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
        Timestamps { last_access: time, last_modification: time }
    }

    /// The mode with the bits that are kept, and with `needed` if everything is to be readable.
    fn mode(&self, metadata: &Metadata, needed: u16) -> u16 {
        metadata.mode & self.mode_bits | if self.options.readable { needed } else { 0 }
    }

    fn open(&self, directory: &TreePath) -> Result<OwnedFd, Errno> {
        self.root.resolve(directory, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn shown(&self, path: &TreePath) -> String {
        if path.is_root() { self.label.to_owned() } else { format!("{}{path}", self.label) }
    }

    fn failed(&self, path: &TreePath, action: &'static str) -> impl FnOnce(Errno) -> ArchiveError {
        let shown = self.shown(path);
        move |error| ArchiveError::io(&shown, action)(error.into())
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

#[cfg(test)]
#[path = "extract/tests.rs"]
mod tests;
