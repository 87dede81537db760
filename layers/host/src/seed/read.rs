//! A seed as it lies in `/usr`, which is believed only as far as its list goes.

use std::num::NonZero;
use std::thread::available_parallelism;

use bake_archive::open_directory_at;
use bake_base::Digest;
use bake_tree::{Follow, Metadata, Node, Tree, TreePath, Xattrs};

use super::{LIST, List, SEED};
use crate::contents::Contents;
use crate::generation::{Generation, Number, PACKAGES, PRODUCT, RECORD};
use crate::installer::{self, Loaded};
use crate::place::{self, Root};
use crate::{Failure, PackageId, files};

/// The longest list, record or document of a product, in bytes.
const LIMIT: u64 = 256 << 20;
/// How many differences are named.
const SHOWN: usize = 5;

/// A seed that lies on a system.
pub(super) struct Seed {
    list: List,
    /// The digest of its list.
    pub digest: Digest,
}

impl Seed {
    /// The seed of the system in `root`, if it has one.
    pub fn find(root: &Root) -> Result<Option<Self>, Failure> {
        let at = place::path(LIST);
        let Some(bytes) = files::read(root, &at, LIMIT)? else { return Ok(None) };
        let list = List::parse(&bytes);
        let list = list.map_err(|reason| Failure::new(format!("`{}` {reason}", root.shown(&at))))?;
        Ok(Some(Self { list, digest: Digest::of(&bytes) }))
    }

    /// The install root, if every entry of it is what was baked: root's, with the times that it was baked with, and
    /// each file for itself.
    pub fn read(&self, root: &Root) -> Result<Tree, Failure> {
        let at = place::path(SEED);
        let shown = root.shown(&at);
        let none = || Failure::new(format!("`{shown}` is missing, and its list is there"));
        let handle = root.find(&at)?.ok_or_else(none)?;
        let opened = open_directory_at(&shown, handle).map_err(|error| Failure::of(&error))?;
        let mut there = Tree::new();
        for (members, policy) in opened.layers {
            there.apply(members, policy).map_err(Failure::each)?;
        }
        let mut tree = Tree::new();
        for (path, id) in there.walk() {
            let inode = there.inode(id);
            let mtime = self.list.time_of(&path);
            let metadata =
                Metadata { uid: 0, gid: 0, xattrs: Xattrs::new(), mtime, ..inode.metadata.clone() };
            let made = match &inode.node {
                Node::Directory(_) if path.is_root() => {
                    *tree.metadata_mut(Tree::ROOT) = metadata;
                    continue;
                }
                Node::Directory(_) => tree.make_directory(&path, metadata),
                Node::File(_) | Node::Symlink(_) => tree.put(&path, metadata, inode.node.clone()),
                other => {
                    let found = other.describe();
                    return Err(Failure::new(format!(
                        "`{shown}/{path}` is {found}: expected a directory, a file or a link"
                    )));
                }
            };
            made.map_err(|error| Failure::of(&error))?;
        }
        let found = Contents::of(&tree, threads())
            .map_err(|(path, error)| Failure::new(format!("reading `{shown}/{path}` failed: {error}")))?;
        let mut differences = self.list.differences(&found.entries);
        if differences.is_empty() {
            return Ok(tree);
        }
        let more = differences.len().saturating_sub(SHOWN);
        differences.truncate(SHOWN);
        if more > 0 {
            differences.push(format!("{more} more"));
        }
        Err(Failure::new(format!(
            "the seed in `{shown}` is not what was baked: {}; check the system (`ostree fsck`) or deploy its image \
             again",
            differences.join(", ")
        )))
    }
}

/// The generation of a seed's install root.
pub(super) fn generation(tree: &Tree) -> Result<Generation, Failure> {
    let bytes = document(tree, RECORD)?.ok_or_else(|| {
        Failure::new(format!("the seed has no {RECORD}: expected an install root with one generation"))
    })?;
    Generation::parse(&bytes).map_err(|reason| Failure::new(format!("the seed's {RECORD} {reason}")))
}

/// What a seed was configured as, if it was.
pub(super) fn product(tree: &Tree) -> Result<Option<Loaded>, Failure> {
    let Some(bytes) = document(tree, PRODUCT)? else { return Ok(None) };
    let product =
        installer::parse(&bytes).map_err(|reason| Failure::new(format!("the seed's {PRODUCT} {reason}")))?;
    Ok(Some(Loaded { product, bytes }))
}

/// A package of a seed by itself.
pub(super) fn package(tree: &Tree, id: &PackageId) -> Result<Tree, Failure> {
    let at = place::path(&format!("{PACKAGES}/{id}"));
    let lacks = || Failure::new(format!("the seed lacks its active package `{id}`"));
    let top = tree.lookup(&at, Follow::Parents).ok_or_else(lacks)?;
    let mut package = Tree::new();
    for (path, id) in tree.walk_from(top) {
        let inode = tree.inode(id);
        let metadata = inode.metadata.clone();
        let made = match &inode.node {
            Node::Directory(_) if path.is_root() => {
                *package.metadata_mut(Tree::ROOT) = metadata;
                continue;
            }
            Node::Directory(_) => package.make_directory(&path, metadata),
            node => package.put(&path, metadata, node.clone()),
        };
        made.map_err(|error| Failure::of(&error))?;
    }
    Ok(package)
}

/// A file of the first generation, if it is there.
fn document(tree: &Tree, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let directory: TreePath = place::path(&Number::FIRST.directory());
    tree.read(&directory.join(name.as_bytes()), LIMIT).map_err(|error| Failure::of(&error))
}

#[expect(clippy::disallowed_methods, reason = "what is found does not depend on the number of threads")]
fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}
