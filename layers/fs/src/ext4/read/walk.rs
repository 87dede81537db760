//! From the root directory to every entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::{Content, Extent, Member, MemberKind, Metadata, TreePath};

use super::inode::{Inode, Kind, flags};
use super::superblock::Superblock;
use super::{Flaw, MOST_BYTES, ReadError};

/// The inode of the root directory.
const ROOT: u32 = 2;
/// Inodes below this are the file system's own.
const FIRST: u32 = 11;
/// The longest target of a symbolic link (`PATH_MAX` without its NUL).
const LONGEST_TARGET: u64 = 4095;
/// How many paths a note names.
const NAMED: usize = 3;

/// What is being read, and what was found so far.
pub(super) struct Walk<'a> {
    pub source: &'a Arc<dyn ReadAt>,
    pub superblock: &'a Superblock,
    /// Blocks that nobody has claimed yet.
    pub left: u64,
    /// Blocks of directories, extents and maps that have been read.
    pub structures: BTreeSet<u64>,
    /// Blocks of attributes.
    pub attributes: BTreeMap<u64, Vec<u8>>,
    /// The block of an inode table that was read last, and where it begins in bytes.
    pub table: Vec<u8>,
    pub table_at: Option<u64>,
    /// What was found.
    members: Vec<Member>,
    /// Which member each inode with more than one name, and each directory, is.
    seen: BTreeMap<u32, usize>,
    /// Bytes of paths and attributes.
    kept: u64,
    sockets: Vec<TreePath>,
    flagged: Vec<TreePath>,
}

impl<'a> Walk<'a> {
    pub fn new(source: &'a Arc<dyn ReadAt>, superblock: &'a Superblock) -> Self {
        Self {
            source,
            superblock,
            left: superblock.blocks,
            structures: BTreeSet::new(),
            attributes: BTreeMap::new(),
            table: Vec::new(),
            table_at: None,
            members: Vec::new(),
            seen: BTreeMap::new(),
            kept: 0,
            sockets: Vec::new(),
            flagged: Vec::new(),
        }
    }

    /// Reads everything.
    pub fn run(&mut self) -> Result<(), ReadError> {
        let mut ahead = vec![(TreePath::root(), ROOT)];
        while let Some((path, number)) = ahead.pop() {
            if let Some(index) = self.seen.get(&number) {
                let first = &self.members[*index];
                if matches!(first.kind, MemberKind::Directory) {
                    return Err(Flaw::from("is a directory in two places").of(&path));
                }
                let (metadata, kind) = (Metadata::root(0), MemberKind::HardLink(first.path.clone()));
                self.members.push(Member { path, metadata, kind });
                continue;
            }
            let below = self.entry(&path, number).map_err(|flaw| flaw.of(&path))?;
            // The last one is read first: in the order of the names, from the first.
            for (name, number) in below.into_iter().rev() {
                let below = TreePath::parse(path.join(&name).as_bytes());
                let below = below.map_err(|error| Flaw::Unfit(error.to_string()).of(&path))?;
                self.keep(below.as_bytes().len()).map_err(|flaw| flaw.of(&path))?;
                ahead.push((below, number));
            }
        }
        Ok(())
    }

    /// Reads one inode; gives the names in it if it is a directory, in their order.
    fn entry(&mut self, path: &TreePath, number: u32) -> Result<Vec<super::directory::Name>, Flaw> {
        if number < FIRST && number != ROOT {
            return Err(Flaw::Damage(format!("has inode {number}, which is the file system's own")));
        }
        let inode = self.inode(number)?;
        if path.is_root() && inode.kind != Kind::Directory {
            return Err("is no directory".into());
        }
        if inode.has(flags::REFUSED) {
            return Err("has flags of a feature that the file system has not".into());
        }
        let mut below = Vec::new();
        let kind = match inode.kind {
            Kind::Directory => {
                below = self.names(&inode)?;
                below.sort();
                MemberKind::Directory
            }
            Kind::File => MemberKind::File(self.content(&inode)?),
            Kind::Symlink => MemberKind::Symlink(self.target(&inode)?),
            Kind::CharDevice => MemberKind::CharDevice(inode.device()),
            Kind::BlockDevice => MemberKind::BlockDevice(inode.device()),
            Kind::Fifo => MemberKind::Fifo,
            Kind::Socket => {
                self.sockets.push(path.clone());
                return Ok(below);
            }
        };
        if inode.has(flags::NOT_KEPT) {
            self.flagged.push(path.clone());
        }
        let xattrs = self.xattrs(&inode)?;
        self.keep(xattrs.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        let Inode { mode, uid, gid, mtime, .. } = inode;
        let metadata = Metadata { mode, uid, gid, mtime, xattrs };
        self.seen.insert(number, self.members.len());
        self.members.push(Member { path: path.clone(), metadata, kind });
        Ok(below)
    }

    /// Counts bytes that stay in memory: paths repeat their parents, and inodes share attributes, so that they can
    /// be many more than the file system has.
    fn keep(&mut self, bytes: usize) -> Result<(), Flaw> {
        self.kept += bytes as u64;
        if self.kept > MOST_BYTES {
            let reason = "and what was read before it have more than 1 GiB of paths and attributes";
            return Err(Flaw::Unfit(reason.to_owned()));
        }
        Ok(())
    }

    /// What a file holds, where it lies.
    fn content(&mut self, inode: &Inode) -> Result<Content, Flaw> {
        let block = self.superblock.block;
        let extent = |run: super::blocks::Run| {
            let start = run.logical * block;
            let len = (run.count * block).min(inode.size.saturating_sub(start));
            Extent { start, len, source: Arc::clone(self.source), source_offset: run.physical * block }
        };
        let runs = self.runs(inode)?;
        let extents = runs.into_iter().map(extent).collect();
        Content::sparse(inode.size, extents)
            .map_err(|error| Flaw::Damage(format!("has content that is none: {error}")))
    }

    /// The target of a symbolic link, in the inode or in a block.
    fn target(&mut self, inode: &Inode) -> Result<Box<[u8]>, Flaw> {
        if !(1..=LONGEST_TARGET).contains(&inode.size) {
            return Err(Flaw::Damage(format!("links to a path of {} bytes", inode.size)));
        }
        let target = if inode.has_blocks {
            let content = self.content(inode)?;
            content.read_all(LONGEST_TARGET)?
        } else {
            inode.content.get(..inode.size as usize).ok_or("links to a path that is nowhere")?.to_vec()
        };
        if target.contains(&0) {
            return Err("links to a path with a NUL byte".into());
        }
        Ok(target.into())
    }

    /// What was found, and what of it cannot be carried over.
    pub fn finish(self) -> (Vec<Member>, Vec<String>) {
        let mut notes = Vec::new();
        let mut note = |paths: &[TreePath], what: &str| {
            if paths.is_empty() {
                return;
            }
            let named: Vec<_> = paths.iter().take(NAMED).map(|path| format!("`{path}`")).collect();
            let more = paths.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            notes.push(format!("{what}: {}{more}", named.join(", ")));
        };
        note(&self.sockets, "sockets are left out, as their services make them anew");
        note(&self.flagged, "flags of inodes are lost (such as `immutable`, see `lsattr`)");
        (self.members, notes)
    }
}
