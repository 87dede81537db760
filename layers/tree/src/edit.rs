//! Looking things up in a tree and changing it one entry at a time.

use std::io;

use crate::{Content, InodeId, Metadata, Node, Tree, TreePath};

/// How many symbolic links one path may lead through (`MAXSYMLINKS` of Linux).
const MAX_LINKS: u32 = 40;

/// What to do about a symbolic link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Go on to what it points to, as `stat` does.
    Last,
    /// Take the link itself, as `lstat` does.
    Parents,
}

/// A path that cannot be used as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// Too many symbolic links.
    #[error("`{0}` leads through more than 40 symbolic links")]
    Loop(TreePath),
    /// A parent is something else than a directory.
    #[error("`{0}` has a parent that is no directory")]
    NotADirectory(TreePath),
    /// Something else is expected there.
    #[error("`{path}` is {found}: expected {expected}")]
    WrongKind {
        /// Where.
        path: TreePath,
        /// What is there.
        found: &'static str,
        /// What should be.
        expected: &'static str,
    },
    /// The content cannot be read.
    #[error("reading `{path}` of the tree failed")]
    Read {
        /// Whose content.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// What is there, if the path exists.
    pub inode: Option<InodeId>,
    /// The last directory on the way.
    pub directory: InodeId,
    /// The name in `directory` that the path ends at, if it ends at something else than a directory.
    pub name: Box<[u8]>,
    /// What is missing below `directory`, from there downwards.
    pub missing: Vec<Box<[u8]>>,
    /// Whether what is missing is (also) part of a link's target.
    pub dangling: bool,
    /// Whether a link went above the root; as in a chroot, that leads to the root.
    pub escaped: bool,
}

impl Metadata {
    /// The mode of every symbolic link that Linux makes. Archives give others, which mean nothing.
    pub(crate) const OF_LINKS: u16 = 0o777;
}

impl Tree {
    /// Follows `path` through the symbolic links of the tree, as the kernel would with the tree as its root.
    pub(crate) fn resolve(&self, path: &TreePath, follow: Follow) -> Result<Resolution, EditError> {
        let mut way = vec![Self::ROOT];
        let mut ahead: Vec<&[u8]> = path.components().collect();
        ahead.reverse();
        // How many of `ahead` are components of the path itself and not of a link's target.
        let mut own = ahead.len();
        let (mut links, mut escaped) = (0, false);
        while let Some(name) = ahead.pop() {
            let from_link = ahead.len() >= own;
            own = own.min(ahead.len());
            if name == b".." {
                escaped |= way.len() == 1;
                way.truncate((way.len() - 1).max(1));
                continue;
            }
            let directory = way[way.len() - 1];
            let found = self.inode(directory).as_directory().and_then(|entries| entries.get(name));
            let resolution = |inode| Resolution {
                inode,
                directory,
                name: name.into(),
                missing: Vec::new(),
                dangling: false,
                escaped,
            };
            let Some(id) = found else {
                ahead.push(name);
                let missing = ahead.iter().rev().map(|name| Box::from(*name)).collect();
                return Ok(Resolution { missing, dangling: from_link, ..resolution(None) });
            };
            match &self.inode(id).node {
                Node::Directory(_) => way.push(id),
                Node::Symlink(target) if !ahead.is_empty() || follow == Follow::Last => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(EditError::Loop(path.clone()));
                    }
                    if target.starts_with(b"/") {
                        way.truncate(1);
                    }
                    let components = target.split(|byte| *byte == b'/');
                    let mut steps: Vec<_> = components.filter(|step| !matches!(*step, b"" | b".")).collect();
                    steps.reverse();
                    ahead.extend(steps);
                }
                _ if ahead.is_empty() => return Ok(resolution(Some(id))),
                _ => return Err(EditError::NotADirectory(path.clone())),
            }
        }
        let directory = way[way.len() - 1];
        let (name, missing) = (Box::default(), Vec::new());
        Ok(Resolution { inode: Some(directory), directory, name, missing, dangling: false, escaped })
    }

    /// What `path` leads to; nothing when it leads nowhere.
    pub fn lookup(&self, path: &TreePath, follow: Follow) -> Option<InodeId> {
        self.resolve(path, follow).ok()?.inode
    }

    /// The content of the regular file that `path` leads to; nothing when there is none.
    ///
    /// # Errors
    /// When something else than a regular file is there.
    pub fn file(&self, path: &TreePath) -> Result<Option<&Content>, EditError> {
        match self.lookup(path, Follow::Last).map(|id| &self.inode(id).node) {
            None => Ok(None),
            Some(Node::File(content)) => Ok(Some(content)),
            Some(other) => Err(wrong_kind(path, other, "a regular file")),
        }
    }

    /// The bytes of the regular file that `path` leads to, at most `limit` of them; nothing when there is none.
    ///
    /// # Errors
    /// When something else is there, or it is longer, or it cannot be read.
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>, EditError> {
        let content = self.file(path)?;
        let bytes = content.map(|content| content.read_all(limit)).transpose();
        bytes.map_err(|source| EditError::Read { path: path.clone(), source })
    }

    /// Puts an entry at `path`, which replaces anything there but a directory. Missing parents are made.
    ///
    /// # Errors
    /// When there is a directory, or a parent is none.
    pub fn put(&mut self, path: &TreePath, metadata: Metadata, node: Node) -> Result<InodeId, EditError> {
        let Some((parent, name)) = path.split() else {
            return Err(wrong_kind(path, &self.inode(Self::ROOT).node, node.describe()));
        };
        let parent = self.make_directories(&parent)?;
        let there = self.inode(parent).as_directory().and_then(|directory| directory.get(name));
        if let Some(there @ Node::Directory(_)) = there.map(|id| &self.inode(id).node) {
            return Err(wrong_kind(path, there, node.describe()));
        }
        let mode = if matches!(node, Node::Symlink(_)) { Metadata::OF_LINKS } else { metadata.mode };
        let id = self.add(Metadata { mode, ..metadata }, node);
        self.link(parent, name, id, 0);
        Ok(id)
    }

    /// Gives the regular file that `path` leads to new content, keeping owner, mode and attributes; or makes
    /// it, with `metadata`.
    ///
    /// # Errors
    /// When something else is there.
    pub fn write(&mut self, path: &TreePath, metadata: Metadata, content: Content) -> Result<(), EditError> {
        let resolution = self.resolve(path, Follow::Last)?;
        let Some(id) = resolution.inode else {
            return self.put(path, metadata, Node::File(content)).map(drop);
        };
        self.file(path)?;
        let metadata = Metadata { mtime: Metadata::AT_EPOCH, ..self.inode(id).metadata.clone() };
        let fresh = self.add(metadata, Node::File(content));
        self.link(resolution.directory, &resolution.name, fresh, 0);
        Ok(())
    }

    /// Makes a directory and its missing parents; one that exists is left as it is.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn make_directory(&mut self, path: &TreePath, metadata: Metadata) -> Result<InodeId, EditError> {
        let existed = self.lookup(path, Follow::Last).is_some();
        let id = self.make_directories(path)?;
        if !existed {
            *self.metadata_mut(id) = metadata;
        }
        Ok(id)
    }

    /// Takes away the entry at `path` with everything below it; whether there was one. A link goes, not its target.
    pub fn remove(&mut self, path: &TreePath) -> bool {
        let Some((parent, name)) = path.split() else { return false };
        let Some(parent) = self.lookup(&parent, Follow::Last) else { return false };
        self.inode(parent).as_directory().is_some() && self.unlink(parent, name)
    }

    fn make_directories(&mut self, path: &TreePath) -> Result<InodeId, EditError> {
        let resolution = self.resolve(path, Follow::Last)?;
        if let Some(id) = resolution.inode {
            return match &self.inode(id).node {
                Node::Directory(_) => Ok(id),
                other => Err(wrong_kind(path, other, "a directory")),
            };
        }
        Ok(self.make_missing(&resolution))
    }

    /// Makes the directories that a resolution misses, as an archive implies them: 0755, root, the epoch.
    pub(crate) fn make_missing(&mut self, resolution: &Resolution) -> InodeId {
        let mut directory = resolution.directory;
        for name in &resolution.missing {
            directory = match &**name {
                // Only a link's target has these; it was dangling, so there is nothing to climb back from.
                b".." => continue,
                name => self.add_directory(directory, name),
            };
        }
        directory
    }

    pub(crate) fn add_directory(&mut self, parent: InodeId, name: &[u8]) -> InodeId {
        let id = self.add(Metadata::root(0o755), Node::Directory(crate::Directory::default()));
        self.link(parent, name, id, 0);
        id
    }
}

pub(crate) fn wrong_kind(path: &TreePath, found: &Node, expected: &'static str) -> EditError {
    EditError::WrongKind { path: path.clone(), found: found.describe(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    fn tree(entries: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (name, target) in entries {
            let node = match target.strip_prefix("-> ") {
                Some(target) => Node::Symlink(target.as_bytes().into()),
                None => Node::File(Content::bytes(target.as_bytes())),
            };
            tree.put(&path(name), Metadata::root(0o644), node).unwrap();
        }
        tree
    }

    #[test]
    fn links_lead_where_a_chroot_would_lead() {
        let tree = tree(&[
            ("/usr/lib/os-release", "ID=x"),
            ("/etc/os-release", "-> ../usr/lib/os-release"),
            ("/etc/far", "-> ../../../../usr/lib/os-release"),
            ("/etc/absolute", "-> /usr/lib/./os-release"),
            ("/lib", "-> usr/lib"),
            ("/loop", "-> loop"),
            ("/nowhere", "-> usr/none"),
        ]);
        for name in ["/etc/os-release", "/etc/far", "/etc/absolute", "/lib/os-release"] {
            assert_eq!(tree.read(&path(name), 9).unwrap().unwrap(), b"ID=x", "{name}");
        }
        for name in ["/loop", "/loop/x", "/nowhere", "/etc/os-release/x", "/none"] {
            assert!(tree.lookup(&path(name), Follow::Last).is_none(), "{name}");
        }
        assert!(tree.read(&path("/lib"), 9).is_err());
        assert!(tree.read(&path("/lib/os-release"), 3).is_err());
    }

    #[test]
    fn writing_keeps_the_owner_and_the_link() {
        let mut tree = tree(&[("/real/passwd", "old"), ("/etc/passwd", "-> ../real/passwd")]);
        let id = tree.lookup(&path("/real/passwd"), Follow::Parents).unwrap();
        tree.metadata_mut(id).uid = 7;
        tree.write(&path("/etc/passwd"), Metadata::root(0o600), Content::bytes(&b"new"[..])).unwrap();
        let id = tree.lookup(&path("/real/passwd"), Follow::Parents).unwrap();
        let metadata = &tree.inode(id).metadata;
        assert_eq!(
            (metadata.uid, metadata.mode, tree.read(&path("/etc/passwd"), 9).unwrap().unwrap()),
            (7, 0o644, b"new".to_vec())
        );
    }

    #[test]
    fn removing_takes_the_whole_directory_but_never_a_links_target() {
        let mut tree = tree(&[("/a/b/c", "x"), ("/link", "-> a")]);
        assert!(tree.remove(&path("/link")) && !tree.remove(&path("/link")) && !tree.remove(&path("/")));
        assert!(tree.lookup(&path("/a/b/c"), Follow::Last).is_some());
        assert!(tree.remove(&path("/a")));
        assert_eq!(tree.walk().count(), 1);
    }

    #[test]
    fn a_directory_is_never_replaced_by_accident() {
        let mut tree = tree(&[("/a/b", "x")]);
        assert!(tree.put(&path("/a"), Metadata::root(0), Node::Fifo).is_err());
        assert!(tree.put(&path("/"), Metadata::root(0), Node::Fifo).is_err());
        assert!(tree.put(&path("/a/b/c"), Metadata::root(0), Node::Fifo).is_err());
        assert!(tree.make_directory(&path("/a/b"), Metadata::root(0)).is_err());
    }
}
