//! What lies where something is going to be made: on a host, or in the tree of an image.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_tree::{Follow, Metadata, Node, Tree, TreePath};
use rustix::fs::FileType;

use crate::integration::HostEntry;
use crate::place::{self, Root};
use crate::{Failure, files};

/// The largest file that is kept or compared, in bytes.
const LIMIT: u64 = 64 << 20;
/// How many symbolic links one path may lead through, as for the kernel.
const MAX_LINKS: u32 = 40;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    Link(Vec<u8>),
    File,
    Other,
}

/// Where things are made. Its paths lead through no link.
pub(crate) trait Ground {
    /// What lies there.
    fn at(&self, path: &TreePath) -> Result<Option<What>, Failure>;
    /// Whether a regular file is what it is to be.
    fn is(&self, path: &TreePath, file: &HostEntry) -> Result<bool, Failure>;
    /// Everything about a file or a link.
    fn original(&self, path: &TreePath) -> Result<(Metadata, Node), Failure>;
    /// The bytes of a regular file, if there is one.
    fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, Failure>;
}

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Spot {
    /// The same place, through no link. What is there itself may be a link.
    pub path: TreePath,
    /// What lies there.
    pub there: Option<What>,
    /// Directories above it that are not there.
    pub missing: Vec<TreePath>,
}

/// Goes where the kernel would, in a root where it would make the directories that are missing.
pub(super) fn resolve(ground: &dyn Ground, path: &TreePath) -> Result<Spot, Failure> {
    let mut spot = Spot { path: TreePath::root(), there: Some(What::Directory), missing: Vec::new() };
    let mut ahead: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
    ahead.reverse();
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == b".." {
            spot.path = spot.path.split().map_or_else(TreePath::root, |(parent, _)| parent);
            continue;
        }
        let here = spot.path.join(&name);
        let there = ground.at(&here)?;
        match &there {
            _ if ahead.is_empty() => {}
            None if spot.missing.contains(&here) => {}
            None => spot.missing.push(here.clone()),
            Some(What::Directory) => {}
            Some(What::Link(target)) if links < MAX_LINKS => {
                links += 1;
                if target.starts_with(b"/") {
                    spot.path = TreePath::root();
                }
                let steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                ahead.extend(steps.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
                continue;
            }
            Some(_) => {
                return Err(Failure::new(format!("`{here}` is no directory: `{path}` cannot be there")));
            }
        }
        (spot.path, spot.there) = (here, there);
    }
    Ok(spot)
}

impl Ground for Root {
    fn at(&self, path: &TreePath) -> Result<Option<What>, Failure> {
        let (parent, name) = path.split().expect("no path of a thing is the root");
        let Some(directory) = super::enter(self, &parent)? else { return Ok(None) };
        let io = Failure::io("reading", self.shown(path));
        let look = || {
            let Some(stat) = place::stat(&directory, name)? else { return Ok(None) };
            Ok(Some(match place::kind(&stat) {
                FileType::Directory => What::Directory,
                FileType::RegularFile => What::File,
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new())?;
                    What::Link(target.into_bytes())
                }
                _ => What::Other,
            }))
        };
        look().map_err(|error: rustix::io::Errno| io(error))
    }

    fn is(&self, path: &TreePath, file: &HostEntry) -> Result<bool, Failure> {
        let (parent, name) = path.split().expect("no file is the root");
        let Some(directory) = super::enter(self, &parent)? else { return Ok(false) };
        files::is_there(&directory, name, file).map_err(Failure::io("reading", self.shown(path)))
    }

    fn original(&self, path: &TreePath) -> Result<(Metadata, Node), Failure> {
        super::keep::original(self, path)
    }

    fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, Failure> {
        files::read(self, path, LIMIT)
    }
}

impl Ground for Tree {
    fn at(&self, path: &TreePath) -> Result<Option<What>, Failure> {
        let found = self.lookup(path, Follow::Parents).map(|id| &self.inode(id).node);
        Ok(found.map(|node| match node {
            Node::Directory(_) => What::Directory,
            Node::File(_) => What::File,
            Node::Symlink(target) => What::Link(target.to_vec()),
            _ => What::Other,
        }))
    }

    fn is(&self, path: &TreePath, file: &HostEntry) -> Result<bool, Failure> {
        let Some(inode) = self.lookup(path, Follow::Parents).map(|id| self.inode(id)) else {
            return Ok(false);
        };
        let (Node::File(content), metadata) = (&inode.node, &inode.metadata) else { return Ok(false) };
        let same = (metadata.uid, metadata.gid, metadata.mode) == (0, 0, file.mode)
            && content.len() == file.content.len() as u64;
        Ok(same && content.read_all(LIMIT).is_ok_and(|bytes| bytes == file.content))
    }

    fn original(&self, path: &TreePath) -> Result<(Metadata, Node), Failure> {
        let gone = || Failure::new(format!("`{path}` is not there"));
        let id = self.lookup(path, Follow::Parents).ok_or_else(gone)?;
        let inode = self.inode(id);
        Ok((inode.metadata.clone(), inode.node.clone()))
    }

    fn read(&self, path: &TreePath) -> Result<Option<Vec<u8>>, Failure> {
        Tree::read(self, path, LIMIT).map_err(|error| Failure::of(&error))
    }
}
