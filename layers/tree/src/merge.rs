//! Merging an ordered list of members into the tree.
//!
//! The order of members within a layer means nothing: paths are sorted first, links are followed once all
//! of the layer's directories and links are known, and hard links are resolved last. So the same tree comes
//! out of any order in which an archive was written.

mod links;

use crate::edit::Resolution;
use crate::model::Entry;
use crate::{Directory, Follow, InodeId, LayerId, Member, MemberKind, Metadata, Node, Tree, TreePath};

/// How a layer meets what lies below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a member below a symbolic link to a directory goes where the link points (as extracting a tar
    /// does), or takes the link's place (as OCI layers do).
    pub through_links: bool,
    /// Whether a directory that exists keeps its owner, mode and time.
    pub keep_directories: bool,
}

impl Policy {
    /// Root file systems and overlays given as tars.
    pub const TAR: Self = Self { through_links: true, keep_directories: false };
    /// Layers of OCI and docker images.
    pub const OCI: Self = Self { through_links: false, keep_directories: false };
    /// Overlays given as directories of a checkout, whose own modes mean nothing.
    pub const CHECKOUT: Self = Self { through_links: true, keep_directories: true };
}

/// A member that cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeProblem {
    /// One layer gives a path twice, and not the same.
    #[error("`{path}` is given twice by one layer, with {difference}")]
    Contradiction {
        /// The path.
        path: TreePath,
        /// What differs.
        difference: String,
    },
    /// A parent is something else than a directory.
    #[error("`{path}` cannot be put there: {parent}")]
    NoParent {
        /// The member.
        path: TreePath,
        /// What is wrong with its parent.
        parent: &'static str,
    },
    /// A directory would vanish.
    #[error("`{path}` is a directory in a layer below: expected a directory, not {found}")]
    ReplacesDirectory {
        /// The path.
        path: TreePath,
        /// What the member is.
        found: &'static str,
    },
    /// A hard link whose target is not there, or is itself.
    #[error("`{path}` is a hard link to `{target}`, which does not exist")]
    NoTarget {
        /// The link.
        path: TreePath,
        /// Its target.
        target: TreePath,
    },
    /// A hard link to a directory.
    #[error("`{path}` is a hard link to the directory `{target}`: directories have one name")]
    LinkToDirectory {
        /// The link.
        path: TreePath,
        /// Its target.
        target: TreePath,
    },
    /// The root is something else than a directory.
    #[error("the root of the tree is {0}: expected a directory")]
    Root(&'static str),
    /// Content that had to be compared could not be read.
    #[error("reading `{path}` failed: {reason}")]
    Read {
        /// Whose content.
        path: TreePath,
        /// Why.
        reason: String,
    },
}

impl Tree {
    /// Merges the members of one archive, in whatever order they come.
    ///
    /// # Errors
    /// All problems at once, in the order of their paths. The tree is then of no use any more.
    pub fn apply(&mut self, mut members: Vec<Member>, policy: Policy) -> Result<(), Vec<MergeProblem>> {
        members.sort_by(|a, b| a.path.cmp(&b.path));
        for member in &mut members {
            if matches!(member.kind, MemberKind::Symlink(_)) {
                member.metadata.mode = Metadata::OF_LINKS;
            }
        }
        self.generation += 1;
        let mut merge = Merge { tree: self, policy, root_seen: None, problems: Vec::new() };
        merge.run(members);
        let problems = merge.problems;
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

struct Merge<'a> {
    tree: &'a mut Tree,
    policy: Policy,
    root_seen: Option<Metadata>,
    problems: Vec<MergeProblem>,
}

impl Merge<'_> {
    fn run(&mut self, members: Vec<Member>) {
        let mut links = Vec::new();
        let mut through = Vec::new();
        // Whiteouts concern the layers below, wherever they stand in the archive.
        for member in &members {
            match member.kind {
                MemberKind::Whiteout => self.white_out(&member.path),
                MemberKind::Opaque => self.empty(&member.path),
                _ => {}
            }
        }
        for member in members {
            match member.kind {
                MemberKind::Whiteout | MemberKind::Opaque => {}
                MemberKind::HardLink(target) => links.push((member.path, target)),
                _ => match self.lexical_parent(&member.path) {
                    Ok(Some(parent)) => self.place(parent, member),
                    Ok(None) => through.push(member),
                    Err(problem) => self.problems.push(problem),
                },
            }
        }
        for member in through {
            match self.parent_through_links(&member.path) {
                Ok(parent) => self.place(parent, member),
                Err(problem) => self.problems.push(problem),
            }
        }
        self.place_links(&links);
    }

    /// Removes an entry of the layers below.
    fn white_out(&mut self, path: &TreePath) {
        let Some((parent, name)) = path.split() else { return };
        if let Some(parent) = self.directory(&parent) {
            self.tree.unlink(parent, name);
        }
    }

    /// The directory at `path` itself: whiteouts follow no links, as the members beside them replace links.
    fn directory(&self, path: &TreePath) -> Option<InodeId> {
        path.components().try_fold(Tree::ROOT, |directory, name| {
            let id = self.tree.inode(directory).as_directory()?.get(name)?;
            self.tree.inode(id).as_directory().map(|_| id)
        })
    }

    /// Removes everything in a directory.
    fn empty(&mut self, path: &TreePath) {
        let Some(id) = self.directory(path) else { return };
        let names: Vec<Box<[u8]>> = match self.tree.inode(id).as_directory() {
            Some(directory) => directory.iter().map(|(name, _)| name.into()).collect(),
            None => return,
        };
        for name in names {
            self.tree.unlink(id, &name);
        }
    }

    /// The directory that holds `path`, made if need be; nothing when a symbolic link lies on the way and is
    /// to be followed, which has to wait until the whole layer is known.
    fn lexical_parent(&mut self, path: &TreePath) -> Result<Option<InodeId>, MergeProblem> {
        let generation = self.tree.generation;
        let mut directory = Tree::ROOT;
        let Some((parents, _)) = path.split() else { return Ok(Some(directory)) };
        for name in parents.components() {
            let entry = entry(self.tree, directory, name);
            directory = match entry.and_then(|entry| entry.inode) {
                None => self.tree.add_directory(directory, name),
                Some(id) => match &self.tree.inode(id).node {
                    Node::Directory(_) => id,
                    Node::Symlink(_) if self.policy.through_links => return Ok(None),
                    _ if !self.policy.through_links
                        && entry.is_some_and(|entry| entry.generation != generation) =>
                    {
                        self.tree.add_directory(directory, name)
                    }
                    other => {
                        let parent = match other {
                            Node::Symlink(_) => "its parent is a symbolic link",
                            _ => "its parent is no directory",
                        };
                        return Err(MergeProblem::NoParent { path: path.clone(), parent });
                    }
                },
            };
        }
        Ok(Some(directory))
    }

    fn parent_through_links(&mut self, path: &TreePath) -> Result<InodeId, MergeProblem> {
        let refuse = |parent| MergeProblem::NoParent { path: path.clone(), parent };
        let (parents, _) = path.split().unwrap_or_default();
        match self.tree.resolve(&parents, Follow::Last) {
            Ok(Resolution { escaped: true, .. }) => {
                Err(refuse("a symbolic link on the way leads out of the tree"))
            }
            Ok(Resolution { dangling: true, .. }) => Err(refuse("a symbolic link on the way leads nowhere")),
            Ok(Resolution { inode: Some(id), .. }) => match &self.tree.inode(id).node {
                Node::Directory(_) => Ok(id),
                _ => Err(refuse("its parent is no directory")),
            },
            Ok(resolution) => Ok(self.tree.make_missing(&resolution)),
            Err(crate::EditError::Loop(_)) => Err(refuse("the symbolic links on the way form a loop")),
            Err(_) => Err(refuse("its parent is no directory")),
        }
    }

    fn place(&mut self, parent: InodeId, member: Member) {
        let Some((_, name)) = member.path.split() else { return self.place_root(member) };
        let generation = self.tree.generation;
        let entry = entry(self.tree, parent, name);
        let there = entry.and_then(|entry| entry.inode);
        let by_this_layer = entry.is_some_and(|entry| entry.generation == generation);
        match there {
            Some(id) if by_this_layer => self.compare(id, &member),
            Some(id) => {
                let is_directory = matches!(self.tree.inode(id).node, Node::Directory(_));
                match member.kind {
                    MemberKind::Directory if is_directory => {
                        if !self.policy.keep_directories {
                            *self.tree.metadata_mut(id) = member.metadata;
                        }
                        self.tree.link(parent, name, id, generation);
                    }
                    // The directory that the link leads to is the one that is meant (`/lib` on `usr/lib`).
                    MemberKind::Directory
                        if self.policy.through_links && self.leads_to_directory(&member.path) => {}
                    _ if is_directory && self.policy.through_links => {
                        let found = member.kind.describe();
                        self.problems
                            .push(MergeProblem::ReplacesDirectory { path: member.path.clone(), found });
                    }
                    _ => self.insert(parent, &member.path, member.metadata, member.kind),
                }
            }
            None => self.insert(parent, &member.path, member.metadata, member.kind),
        }
    }

    fn insert(&mut self, parent: InodeId, path: &TreePath, metadata: Metadata, kind: MemberKind) {
        let node = match kind {
            MemberKind::Directory => Node::Directory(Directory::default()),
            MemberKind::File(content) => Node::File(content),
            MemberKind::Symlink(target) => Node::Symlink(target),
            MemberKind::CharDevice(device) => Node::CharDevice(device),
            MemberKind::BlockDevice(device) => Node::BlockDevice(device),
            MemberKind::Fifo => Node::Fifo,
            MemberKind::HardLink(_) | MemberKind::Whiteout | MemberKind::Opaque => {
                unreachable!("`run` keeps these apart")
            }
        };
        let id = self.tree.add(metadata, node);
        let (_, name) = path.split().expect("the root is placed elsewhere");
        self.tree.link(parent, name, id, self.tree.generation);
    }

    fn place_root(&mut self, member: Member) {
        if !matches!(member.kind, MemberKind::Directory) {
            return self.problems.push(MergeProblem::Root(member.kind.describe()));
        }
        if let Some(before) = &self.root_seen {
            let difference = metadata_difference(before, &member.metadata, true);
            return self.contradict(&member.path, difference);
        }
        self.root_seen = Some(member.metadata.clone());
        // The root of an overlay is wherever it was packed; only the root file system knows its own.
        if !self.policy.keep_directories && self.tree.layer == LayerId(0) {
            *self.tree.metadata_mut(Tree::ROOT) = member.metadata;
        }
    }

    /// Whether `path` leads to a directory inside of the tree.
    fn leads_to_directory(&self, path: &TreePath) -> bool {
        let resolution = self.tree.resolve(path, Follow::Last).ok().filter(|resolution| !resolution.escaped);
        let id = resolution.and_then(|resolution| resolution.inode);
        id.is_some_and(|id| self.tree.inode(id).as_directory().is_some())
    }

    fn contradict(&mut self, path: &TreePath, difference: Option<String>) {
        if let Some(difference) = difference {
            self.problems.push(MergeProblem::Contradiction { path: path.clone(), difference });
        }
    }

    /// A path that one layer gives twice: the same is fine, anything else is not.
    fn compare(&mut self, id: InodeId, member: &Member) {
        let inode = self.tree.inode(id);
        let is_directory = matches!(inode.node, Node::Directory(_));
        let same_kind = match (&inode.node, &member.kind) {
            (Node::Directory(_), MemberKind::Directory) | (Node::Fifo, MemberKind::Fifo) => true,
            (Node::Symlink(ours), MemberKind::Symlink(theirs)) => ours == theirs,
            (Node::CharDevice(ours), MemberKind::CharDevice(theirs))
            | (Node::BlockDevice(ours), MemberKind::BlockDevice(theirs)) => ours == theirs,
            (Node::File(ours), MemberKind::File(theirs)) => match ours.same_bytes(theirs) {
                Ok(same) => same,
                Err(error) => {
                    let (path, reason) = (member.path.clone(), error.to_string());
                    return self.problems.push(MergeProblem::Read { path, reason });
                }
            },
            _ => false,
        };
        let difference = if same_kind {
            metadata_difference(&inode.metadata, &member.metadata, is_directory)
        } else if inode.node.describe() == member.kind.describe() {
            Some("different content".to_owned())
        } else {
            Some(format!("different types: {} and {}", inode.node.describe(), member.kind.describe()))
        };
        if is_directory && difference.is_none() {
            // Directories are repeated with the times of their copying; the newest does not depend on order.
            let time = &mut self.tree.metadata_mut(id).mtime;
            *time = member.metadata.mtime.max(*time);
        }
        self.contradict(&member.path, difference);
    }
}

fn entry(tree: &Tree, directory: InodeId, name: &[u8]) -> Option<Entry> {
    tree.inode(directory).as_directory()?.entries.get(name).copied()
}

/// The first difference, in words.
fn metadata_difference(ours: &Metadata, theirs: &Metadata, any_time: bool) -> Option<String> {
    if ours.mode != theirs.mode {
        return Some(format!("different modes: {:04o} and {:04o}", ours.mode, theirs.mode));
    }
    if (ours.uid, ours.gid) != (theirs.uid, theirs.gid) {
        return Some(format!(
            "different owners: {}:{} and {}:{}",
            ours.uid, ours.gid, theirs.uid, theirs.gid
        ));
    }
    if ours.xattrs != theirs.xattrs {
        return Some("different extended attributes".to_owned());
    }
    (!any_time && ours.mtime != theirs.mtime).then(|| "different times".to_owned())
}

#[cfg(test)]
#[path = "merge/tests.rs"]
mod tests;
