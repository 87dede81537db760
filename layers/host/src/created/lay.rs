//! The record in an install root that is being put together, be it an image's or one that is staged.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_tree::{Content, EditError, Follow, Metadata, Node, Tree, TreePath};
use rustix::fs::{AtFlags, Gid, Mode, Uid};
use rustix::io::Errno;

use super::plan::{self, Plan};
use super::{CREATED, Created, Ground, Record, keep, shown};
use crate::Failure;
use crate::generation::{Number, RECORD as GENERATION};
use crate::place::{self, path};

/// A record and everything that it says is kept, on their way into an install root.
pub(crate) struct Laid {
    pub(super) record: Record,
    pub(super) kept: BTreeMap<TreePath, (Metadata, Node)>,
}

impl Laid {
    /// What an install root is to have when `things` are going to be made in `ground`.
    pub(crate) fn new(ground: &dyn Ground, things: &[Created]) -> Result<Self, Failure> {
        let Plan { record, keep } = plan::plan(ground, &Record::default(), things)?;
        let kept = keep.into_iter().map(|path| Ok((path.clone(), ground.original(&path)?)));
        Ok(Self { record, kept: kept.collect::<Result<_, Failure>>()? })
    }

    /// With directories that are there by now, and are ours.
    pub(crate) fn with(mut self, made: &[TreePath]) -> Result<Self, Failure> {
        for path in made {
            self.record.directories.insert(shown(path).map_err(Failure::new)?);
        }
        Ok(self)
    }

    /// Puts it into the install root at `at` of a tree, as old as the first generation.
    pub(crate) fn lay(&self, tree: &mut Tree, at: &TreePath) -> Result<(), Failure> {
        let below = |path: &TreePath| path.components().fold(at.clone(), |at, name| at.join(name));
        let generation = below(&path(&format!("{}/{GENERATION}", Number::FIRST.directory())));
        let time = tree.lookup(&generation, Follow::Parents);
        let time = time.map_or(Metadata::AT_EPOCH, |id| tree.inode(id).metadata.mtime);
        let dated = |mode| Metadata { mtime: time, ..Metadata::root(mode) };
        let put = |tree: &mut Tree| {
            let content = Node::File(Content::bytes(self.record.to_json()));
            tree.put(&at.join(CREATED.as_bytes()), dated(0o644), content)?;
            for (path, (metadata, node)) in &self.kept {
                let kept = keep::place_of(at, path);
                let mut directory = TreePath::root();
                let (parent, _) = kept.split().expect("it lies in the install root");
                for name in parent.components() {
                    directory = directory.join(name);
                    tree.make_directory(&directory, dated(0o755))?;
                }
                tree.put(&kept, metadata.clone(), node.clone())?;
            }
            Ok(())
        };
        put(tree).map_err(|error: EditError| Failure::of(&error))
    }

    /// Gives what is kept to its owners in an install root that was unpacked, where everything is root's.
    pub(crate) fn give(&self, home: &OwnedFd) -> Result<(), Failure> {
        let others = self.kept.iter().filter(|(_, (metadata, _))| (metadata.uid, metadata.gid) != (0, 0));
        for (path, (metadata, node)) in others.filter(|_| place::is_superuser()) {
            let give = || {
                let kept = keep::place_of(&TreePath::root(), path);
                let (parent, name) = kept.split().ok_or(Errno::INVAL)?;
                let mut directory = place::enter(home, b".")?;
                for name in parent.components() {
                    directory = place::enter(&directory, name)?;
                }
                let name = OsStr::from_bytes(name);
                let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(&directory, name, Some(uid), Some(gid), flags)?;
                if let Node::File(_) = node {
                    // Another owner takes bits away.
                    let mode = Mode::from_raw_mode(metadata.mode.into());
                    rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
                }
                Ok(())
            };
            give().map_err(|error: Errno| Failure::io("keeping", path)(error))?;
        }
        Ok(())
    }
}
