//! A directory of the machine that bakes, as members.
//!
//! Exactly as it is, for root file systems; or as what a checkout means, for overlays: owners, modes beyond
//! "executable", times, attributes and hard links of a checkout are accidents of the machine that it lies on
//! (git records none of them), so they are replaced by constants. Names are sorted by their bytes, symbolic
//! links are never followed, and files are opened when their content is read, by a path that cannot leave the
//! directory; a file that has changed by then is an error.

mod digest;
pub(crate) mod root;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use bake_base::{ReadAt, Timestamp, names};
use bake_tree::{Content, Device, Extent, Member, MemberKind, Metadata, TreePath, Xattrs};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::ArchiveError;
use crate::input::PendingDigest;
use root::{LazyFile, Root};

/// How many dropped entries are named.
const NOTES_MAX: usize = 32;

/// A directory that has been walked.
pub(crate) struct Walked {
    pub members: Vec<Member>,
    pub notes: Vec<String>,
    pub digest: PendingDigest,
}

/// Walks the directory at `path`: as it is if `exact`, else as a checkout.
pub(crate) fn read(label: &str, path: &Path, exact: bool) -> Result<Walked, ArchiveError> {
    walk(label, Root::open(path).map_err(ArchiveError::io(label, "opening"))?, exact)
}

/// Walks a directory that is open already.
pub(crate) fn walk(label: &str, root: Root, exact: bool) -> Result<Walked, ArchiveError> {
    let mut walk = Walk {
        label,
        device: root.stat().map_err(ArchiveError::io(label, "reading"))?.st_dev,
        root: Arc::new(root),
        exact,
        linked: BTreeMap::new(),
        members: Vec::new(),
        notes: Vec::new(),
    };
    walk.run()?;
    let Walk { members, notes, .. } = walk;
    let digest = digest::of(label, members.clone());
    Ok(Walked { members, notes, digest })
}

struct Walk<'a> {
    label: &'a str,
    root: Arc<Root>,
    /// The file system that the directory lies on.
    device: u64,
    exact: bool,
    /// Where inodes with several names were first seen.
    linked: BTreeMap<(u64, u64), TreePath>,
    members: Vec<Member>,
    notes: Vec<String>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), ArchiveError> {
        // One descriptor at a time: a tree may be deeper than there are descriptors.
        let mut ahead = vec![TreePath::root()];
        while let Some(path) = ahead.pop() {
            let directory = self.root.resolve(&path, OFlags::RDONLY | OFlags::DIRECTORY);
            let directory = directory.map_err(self.failed(&path, "opening"))?;
            if path.is_root() {
                let stat = rustix::fs::fstat(&directory).map_err(self.failed(&path, "reading"))?;
                let xattrs = self.xattrs(&path, &directory, b".")?;
                self.add(path.clone(), &stat, xattrs, MemberKind::Directory);
            }
            let mut below = Vec::new();
            for name in names(&directory).map_err(self.failed(&path, "reading"))? {
                if let Some(next) = self.entry(&path, &directory, &name)? {
                    below.push(next);
                }
            }
            ahead.extend(below.into_iter().rev());
        }
        self.members.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    /// Adds one entry; its path if it is a directory that is to be walked.
    fn entry(
        &mut self,
        parent: &TreePath,
        directory: &OwnedFd,
        name: &[u8],
    ) -> Result<Option<TreePath>, ArchiveError> {
        let path = parent.join(name);
        let stat = rustix::fs::statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(self.failed(&path, "reading"))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 && self.exact {
            let first = self.linked.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.clone());
            if *first != path {
                let kind = MemberKind::HardLink(first.clone());
                self.add(path, &stat, Xattrs::new(), kind);
                return Ok(None);
            }
        }
        let device =
            || Device { major: rustix::fs::major(stat.st_rdev), minor: rustix::fs::minor(stat.st_rdev) };
        let kind = match kind {
            FileType::Directory => {
                if stat.st_dev != self.device {
                    self.check_mount(&path, directory, name)?;
                }
                MemberKind::Directory
            }
            FileType::RegularFile => MemberKind::File(self.content(&path, &stat)?),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, OsStr::from_bytes(name), Vec::new());
                let target = target.map_err(self.failed(&path, "reading the link"))?;
                MemberKind::Symlink(target.into_bytes().into())
            }
            FileType::CharacterDevice => MemberKind::CharDevice(device()),
            FileType::BlockDevice => MemberKind::BlockDevice(device()),
            FileType::Fifo => MemberKind::Fifo,
            // A socket is an address of a running program.
            _ => {
                if self.notes.len() < NOTES_MAX {
                    self.notes.push(format!("the socket `{path}` is left out"));
                }
                return Ok(None);
            }
        };
        let next = matches!(kind, MemberKind::Directory).then(|| path.clone());
        let xattrs = self.xattrs(&path, directory, name)?;
        self.add(path, &stat, xattrs, kind);
        Ok(next)
    }

    fn content(&self, path: &TreePath, stat: &Stat) -> Result<Content, ArchiveError> {
        let file: Arc<dyn ReadAt> = Arc::new(LazyFile::new(Arc::clone(&self.root), path.clone(), stat));
        let len = file.len();
        // st_blocks counts units of 512 bytes (stat(2)). Reading holes would only take time: they are zeros.
        let content = if stat.st_blocks.cast_unsigned().saturating_mul(512) < len {
            let opened = self.root.resolve(path, OFlags::RDONLY).map_err(self.failed(path, "opening"))?;
            let runs = data_runs(&opened, len).map_err(self.failed(path, "reading"))?;
            let extent = |run: Range<u64>| Extent {
                start: run.start,
                len: run.end - run.start,
                source: Arc::clone(&file),
                source_offset: run.start,
            };
            Content::sparse(len, runs.into_iter().map(extent).collect())
        } else {
            Content::whole(file, 0, len)
        };
        content.map_err(|error| ArchiveError::document(self.label, &format!("`{path}`"), error.to_string()))
    }

    fn add(&mut self, path: TreePath, stat: &Stat, xattrs: Xattrs, kind: MemberKind) {
        let metadata = if self.exact {
            Metadata {
                mode: (stat.st_mode & 0o7777) as u16,
                uid: stat.st_uid,
                gid: stat.st_gid,
                mtime: Timestamp { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 },
                xattrs,
            }
        } else {
            Metadata::root(match kind {
                MemberKind::Symlink(_) => 0o777,
                MemberKind::Directory => 0o755,
                MemberKind::File(_) if stat.st_mode & 0o100 != 0 => 0o755,
                _ => 0o644,
            })
        };
        self.members.push(Member { path, metadata, kind });
    }

    /// All attributes of an entry. They are asked for by a path below the directory's descriptor, since that
    /// needs no descriptor of the entry itself: links and devices cannot be opened just to look at them.
    fn xattrs(&self, path: &TreePath, directory: &OwnedFd, name: &[u8]) -> Result<Xattrs, ArchiveError> {
        let mut xattrs = Xattrs::new();
        if !self.exact {
            return Ok(xattrs);
        }
        let prefix = format!("/proc/self/fd/{}/", directory.as_raw_fd());
        let entry = [prefix.as_bytes(), name].concat();
        let entry = OsStr::from_bytes(&entry);
        let failed = |error| self.failed(path, "reading attributes of")(error);
        let names = match grown(|buffer| rustix::fs::llistxattr(entry, buffer)) {
            Err(Errno::OPNOTSUPP) => return Ok(xattrs),
            result => result.map_err(failed)?,
        };
        // XFS shows ACLs a second time, in its own encoding and only to root.
        let is_own = |name: &&[u8]| !name.is_empty() && !name.starts_with(b"trusted.SGI_ACL_");
        for name in names.split(|byte| *byte == 0).filter(is_own) {
            let value = grown(|buffer| rustix::fs::lgetxattr(entry, OsStr::from_bytes(name), buffer));
            xattrs.insert(name.into(), value.map_err(failed)?.into());
        }
        Ok(xattrs)
    }

    /// A mount point is part of the tree, unless what is mounted is no files but a view of this kernel.
    fn check_mount(&self, path: &TreePath, directory: &OwnedFd, name: &[u8]) -> Result<(), ArchiveError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mounted =
            rustix::fs::openat(directory, OsStr::from_bytes(name), flags, rustix::fs::Mode::empty());
        let mounted = mounted.map_err(self.failed(path, "opening"))?;
        let kind = rustix::fs::fstatfs(&mounted).map_err(self.failed(path, "reading"))?.f_type;
        // linux/magic.h
        let kernel = match kind {
            0x9fa0 => "proc",
            0x6265_6572 => "sysfs",
            0x1cd1 => "devpts",
            0x0027_e0eb | 0x6367_7270 => "cgroup",
            0x6462_6720 => "debugfs",
            0x7472_6163 => "tracefs",
            0x7363_6673 => "securityfs",
            0xde5e_81e4 => "efivarfs",
            0xcafe_4a11 => "bpf",
            0x1980_0202 => "mqueue",
            _ => return Ok(()),
        };
        let reason =
            format!("is a mounted {kernel} of this machine: expected the tree alone, unmount it first");
        Err(ArchiveError::document(self.label, &format!("`{path}`"), reason))
    }

    fn failed(&self, path: &TreePath, action: &'static str) -> impl FnOnce(Errno) -> ArchiveError {
        let file = if path.is_root() { self.label.to_owned() } else { format!("{}{path}", self.label) };
        move |error| ArchiveError::io(&file, action)(error.into())
    }
}

/// What of a file of `len` bytes is not a hole, as far as its file system tells; ascending.
fn data_runs(file: &OwnedFd, len: u64) -> Result<Vec<Range<u64>>, Errno> {
    let mut runs = Vec::new();
    let mut end = 0;
    while end < len {
        let start = match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(start) => start,
            // No data from here on (lseek(2)).
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error),
        };
        end = rustix::fs::seek(file, SeekFrom::Hole(start))?.min(len);
        // A file that changes meanwhile is noticed when it is read.
        if start >= end {
            break;
        }
        runs.push(start..end);
    }
    Ok(runs)
}

/// What a call fills a buffer with that has to be large enough.
fn grown(call: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match call(&mut buffer) {
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer);
            }
            // XATTR_SIZE_MAX and XATTR_LIST_MAX are 64 KiB.
            Err(Errno::RANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 16, 0),
            Err(error) => return Err(error),
        }
    }
}
