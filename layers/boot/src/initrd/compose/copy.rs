//! What goes into the initrd, taken out of the tree by path: the file with every link on the way to it.

use std::collections::BTreeSet;

use bake_tree::{Content, Directory, Follow, InodeId, Metadata, Node, Tree, TreePath};

use super::ComposeError;
use crate::path;

/// How many symbolic links one path may lead through (`MAXSYMLINKS` of Linux).
const MAX_LINKS: u32 = 40;

/// The initrd in the making.
pub(super) struct Copier<'a> {
    /// Where things are taken from.
    pub tree: &'a Tree,
    /// What was taken or made.
    pub out: Tree,
    /// Regular files that were taken since somebody last asked: they may need others.
    fresh: Vec<(TreePath, Content)>,
    taken: BTreeSet<TreePath>,
}

/// Where a path leads.
struct Way {
    /// Without links.
    real: TreePath,
    inode: InodeId,
    /// The links that led there, by their own paths without links.
    links: Vec<(TreePath, InodeId)>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(tree: &'a Tree) -> Self {
        Self { tree, out: Tree::new(), fresh: Vec::new(), taken: BTreeSet::new() }
    }

    /// Takes what `path` leads to, and every link on the way; of a directory not what it holds. Gives its path
    /// without links, or nothing if the path leads nowhere or to a device.
    pub(super) fn take(&mut self, path: &TreePath) -> Result<Option<TreePath>, ComposeError> {
        let Some(Way { real, inode, links }) = self.follow(path) else { return Ok(None) };
        for (at, id) in links {
            self.put(&at, id)?;
        }
        match &self.tree.inode(inode).node {
            Node::Directory(_) => {
                self.out.make_directory(&real, Metadata::root(0o755))?;
            }
            Node::File(content) => {
                if self.taken.insert(real.clone()) {
                    self.put(&real, inode)?;
                    self.fresh.push((real.clone(), content.clone()));
                }
            }
            _ => return Ok(None),
        }
        Ok(Some(real))
    }

    /// Takes the first of `places` that the tree has.
    pub(super) fn take_one_of(&mut self, places: &[String]) -> Result<Option<TreePath>, ComposeError> {
        for place in places {
            if let Some(real) = self.take(&path(place))? {
                return Ok(Some(real));
            }
        }
        Ok(None)
    }

    /// Regular files that were taken since the last call.
    pub(super) fn fresh(&mut self) -> Vec<(TreePath, Content)> {
        std::mem::take(&mut self.fresh)
    }

    /// Writes a file of our own.
    pub(super) fn write(
        &mut self,
        at: &str,
        mode: u16,
        bytes: impl Into<Vec<u8>>,
    ) -> Result<(), ComposeError> {
        self.out.put(&path(at), Metadata::root(mode), Node::File(Content::bytes(bytes.into())))?;
        Ok(())
    }

    /// Makes a link of our own.
    pub(super) fn link(&mut self, at: &TreePath, target: &[u8]) -> Result<(), ComposeError> {
        self.out.put(at, Metadata::root(0o777), Node::Symlink(target.into()))?;
        Ok(())
    }

    /// Makes a directory of our own.
    pub(super) fn directory(&mut self, at: &str, mode: u16) -> Result<(), ComposeError> {
        self.out.make_directory(&path(at), Metadata::root(mode))?;
        Ok(())
    }

    /// Where a path leads in the tree.
    pub(super) fn real(&self, path: &TreePath) -> Option<TreePath> {
        self.follow(path).map(|way| way.real)
    }

    /// Whether there is a regular file.
    pub(super) fn has(&self, at: &str) -> bool {
        self.tree.file(&path(at)).is_ok_and(|file| file.is_some())
    }

    /// A copy of an entry of the tree, owned by root; privileges of programs are of no use to it.
    fn put(&mut self, at: &TreePath, id: InodeId) -> Result<(), ComposeError> {
        let inode = self.tree.inode(id);
        let (mode, mtime) = (inode.metadata.mode & 0o777, inode.metadata.mtime);
        self.out.put(at, Metadata { mtime, ..Metadata::root(mode) }, inode.node.clone())?;
        Ok(())
    }

    /// Follows a path as the kernel would, and remembers the links.
    fn follow(&self, path: &TreePath) -> Option<Way> {
        let mut way = vec![(TreePath::root(), Tree::ROOT)];
        let mut ahead: Vec<&[u8]> = path.components().collect();
        ahead.reverse();
        let mut links = Vec::new();
        while let Some(name) = ahead.pop() {
            if name == b".." {
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let (at, directory) = way.last()?;
            let id = self.tree.inode(*directory).as_directory()?.get(name)?;
            let here = at.join(name);
            match &self.tree.inode(id).node {
                Node::Directory(_) => way.push((here, id)),
                Node::Symlink(target) => {
                    links.push((here, id));
                    if links.len() > MAX_LINKS as usize {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    let steps = target.split(|byte| *byte == b'/');
                    let steps: Vec<_> = steps.filter(|step| !matches!(*step, b"" | b".")).collect();
                    ahead.extend(steps.into_iter().rev());
                }
                _ if ahead.is_empty() => return Some(Way { real: here, inode: id, links }),
                _ => return None,
            }
        }
        let (real, inode) = way.pop()?;
        Some(Way { real, inode, links })
    }
}

/// Names in a directory of the tree that are text, sorted; none when there is no such directory.
pub(super) fn names(tree: &Tree, directory: &str) -> Vec<String> {
    let id = tree.lookup(&path(directory), Follow::Last);
    let entries = id.and_then(|id| tree.inode(id).as_directory());
    let names = entries.into_iter().flat_map(Directory::iter);
    names.filter_map(|(name, _)| String::from_utf8(name.to_vec()).ok()).collect()
}
