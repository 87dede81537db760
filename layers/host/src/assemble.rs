//! Packages in a tree become the install root of a host: by one function for `pkgpanda` and for `bake image`, so
//! that a host that was installed and one that was baked hold the same entries.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{
    Content, EditError, Follow, InodeId, Member, MemberKind, Metadata, Node, PathError, Tree, TreePath,
    Xattrs,
};

use bake_base::Digest;

use crate::contents::CONTENTS;
use crate::generation::{self, GENERATIONS, Generation, Number, PACKAGES};
use crate::product::{Blob, Product};
use crate::{Entry, InstallRoot, Package, PackageId, Problem, Role};

/// The largest `contents.json`, in bytes.
const CONTENTS_LIMIT: u64 = 64 << 20;
/// How many flaws of one archive are named.
const SHOWN: usize = 10;

/// An install root that cannot be put together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// Members that no package may have.
    #[error("{}", .0.join("\n"))]
    Members(Vec<String>),
    /// The packages do not fit together, or are no packages.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Packages(BTreeSet<Problem>),
    /// A path becomes too long below the install root.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Something is in the way.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The list of a package's contents cannot be read.
    #[error("package {0}: {CONTENTS} cannot be read: {1}")]
    Contents(PackageId, String),
}

/// An archive of a product and the directory of the install root that it fills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer<'a> {
    /// The package in it; none for the bootstrap tarball.
    pub package: Option<&'a PackageId>,
    /// The file.
    pub blob: &'a Blob,
}

/// What a product is put together from, in order: what changes often, the packages of the configuration, comes
/// last.
pub fn layers(product: &Product) -> Vec<Layer<'_>> {
    let packages = product.packages.iter().map(|(id, blob)| Layer { package: Some(id), blob });
    let of_configuration = format!("setup_{}", product.config_id);
    let (last, first): (Vec<_>, Vec<_>) =
        packages.partition(|layer| layer.package.is_some_and(|id| id.version().as_str() == of_configuration));
    let bootstrap = Layer { package: None, blob: &product.bootstrap.blob };
    std::iter::once(bootstrap).chain(first).chain(last).collect()
}

impl Layer<'_> {
    /// The members of this archive as they lie in an install root at `root`, owned by root.
    ///
    /// # Errors
    /// When a member lies below a link of the same archive, is a device, or has extended attributes; and when a
    /// path becomes too long.
    pub fn place(&self, mut members: Vec<Member>, root: &TreePath) -> Result<Vec<Member>, AssembleError> {
        check(&members).map_err(AssembleError::Members)?;
        let mut base = format!("/{root}/").into_bytes();
        if let Some(id) = self.package {
            base.extend_from_slice(format!("{PACKAGES}/{id}/").as_bytes());
        }
        let moved = |path: &TreePath| TreePath::from_root(&[&base, path.as_bytes()].concat());
        for member in &mut members {
            member.path = moved(&member.path)?;
            if let MemberKind::HardLink(target) = &mut member.kind {
                *target = moved(target)?;
            }
            (member.metadata.uid, member.metadata.gid) = (0, 0);
        }
        Ok(members)
    }
}

/// What members of an archive of packages may not be.
pub(crate) fn check(members: &[Member]) -> Result<(), Vec<String>> {
    let links = members.iter().filter(|member| matches!(member.kind, MemberKind::Symlink(_)));
    let links: BTreeSet<&TreePath> = links.map(|member| &member.path).collect();
    let mut flaws = Vec::new();
    for member in members {
        let path = &member.path;
        let mut above = path.split().map(|(parent, _)| parent);
        while let Some(directory) = above {
            if links.contains(&directory) {
                flaws.push(format!("`{path}` lies below `{directory}`, which is a symbolic link"));
            }
            above = directory.split().map(|(parent, _)| parent);
        }
        match member.kind {
            MemberKind::Directory
            | MemberKind::File(_)
            | MemberKind::Symlink(_)
            | MemberKind::HardLink(_) => {}
            _ => flaws.push(format!("`{path}`: expected a directory, a file or a link")),
        }
        if member.metadata.xattrs != Xattrs::new() {
            flaws.push(format!("`{path}` has extended attributes: expected none in packages"));
        }
    }
    let more = flaws.len().saturating_sub(SHOWN);
    flaws.truncate(SHOWN);
    if more > 0 {
        flaws.push(format!("and {more} more"));
    }
    if flaws.is_empty() { Ok(()) } else { Err(flaws) }
}

/// Makes the install root at `at` of a tree, which holds `packages/`: its first generation is that of the `active`
/// packages on a host with `roles`, and has `product` beside it. What a bootstrap tarball had linked goes; whatever
/// has no time of its own is as old as the newest that has.
///
/// # Errors
/// When a package is missing or damaged, or the packages do not fit together.
pub fn assemble(
    tree: &mut Tree,
    at: &TreePath,
    active: &[PackageId],
    roles: &BTreeSet<Role>,
    product: Option<&[u8]>,
) -> Result<(InstallRoot, Generation), AssembleError> {
    let root = resolve(tree, at, active, roles)?;
    let mut contents = BTreeMap::new();
    for id in root.active.values() {
        contents.insert(id.clone(), contents_digest(tree, at, id)?);
    }
    let mut generation = Generation::new(&root, roles, &BTreeSet::new(), |id| contents[id]);
    generation.product = product.map(Digest::of);
    let below =
        |top: &TreePath, path: &TreePath| path.components().fold(top.clone(), |at, name| at.join(name));
    let first = below(at, &TreePath::parse(Number::FIRST.directory().as_bytes())?);
    let mut wanted = BTreeMap::from([
        (at.join(GENERATIONS.as_bytes()), Entry::Directory),
        (first.clone(), Entry::Directory),
    ]);
    let of_generation = generation.entries(Number::FIRST, &root, product);
    wanted.extend(of_generation.into_iter().map(|(path, entry)| (below(&first, &path), entry)));
    let links = generation::top_links(Number::FIRST, product.is_some());
    wanted.extend(links.into_iter().map(|(path, entry)| (below(at, &path), entry)));
    drop_others(tree, at, &wanted);
    for (path, entry) in wanted {
        if !is_there(tree, &path, &entry) {
            tree.remove(&path);
            make(tree, &path, entry)?;
        }
    }
    date(tree, at);
    Ok((root, generation))
}

/// Makes an entry where there is nothing.
pub(crate) fn make(tree: &mut Tree, path: &TreePath, entry: Entry) -> Result<(), EditError> {
    let (mode, node) = match entry {
        Entry::Directory => return tree.make_directory(path, Metadata::root(0o755)).map(drop),
        Entry::Symlink(target) => (0o777, Node::Symlink(target)),
        Entry::File(bytes) => (0o644, Node::File(Content::bytes(bytes))),
    };
    tree.put(path, Metadata::root(mode), node).map(drop)
}

/// The digest of a package's list of contents; none if it has no such list.
fn contents_digest(tree: &Tree, at: &TreePath, id: &PackageId) -> Result<Option<Digest>, AssembleError> {
    let path = at.join(PACKAGES.as_bytes()).join(id.as_str().as_bytes()).join(CONTENTS.as_bytes());
    let Some(Node::File(content)) = tree.lookup(&path, Follow::Parents).map(|id| &tree.inode(id).node) else {
        return Ok(None);
    };
    let bytes = content.read_all(CONTENTS_LIMIT);
    let bytes = bytes.map_err(|error| AssembleError::Contents(id.clone(), error.to_string()))?;
    Ok(Some(Digest::of(&bytes)))
}

/// The rules applied to the packages in the tree.
fn resolve(
    tree: &Tree,
    at: &TreePath,
    active: &[PackageId],
    roles: &BTreeSet<Role>,
) -> Result<InstallRoot, AssembleError> {
    let (mut packages, mut problems) = (Vec::new(), BTreeSet::new());
    for id in active {
        let directory = at.join(PACKAGES.as_bytes()).join(id.as_str().as_bytes());
        match Package::read(id.clone(), tree, &directory) {
            Ok(package) => packages.push(package),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(AssembleError::Packages(problems));
    }
    InstallRoot::resolve(&packages, roles).map_err(|found| AssembleError::Packages(found.0))
}

/// Takes away what is not wanted, deepest first.
fn drop_others(tree: &mut Tree, at: &TreePath, wanted: &BTreeMap<TreePath, Entry>) {
    let packages = at.join(PACKAGES.as_bytes());
    let below = tree.lookup(at, Follow::Last).map(|id| tree.walk_from(id).skip(1).collect::<Vec<_>>());
    for (path, _) in below.unwrap_or_default().into_iter().rev() {
        let path = path.components().fold(at.clone(), |directory, name| directory.join(name));
        if !path.starts_with(&packages) && !wanted.contains_key(&path) {
            tree.remove(&path);
        }
    }
}

fn is_there(tree: &Tree, path: &TreePath, entry: &Entry) -> bool {
    let Some(inode) = tree.lookup(path, Follow::Parents).map(|id| tree.inode(id)) else { return false };
    let mode = if matches!(entry, Entry::Directory) { 0o755 } else { 0o644 };
    match (&inode.node, entry) {
        (Node::Directory(_), Entry::Directory) => inode.metadata.mode == mode,
        (Node::Symlink(there), Entry::Symlink(target)) => there == target,
        (Node::File(there), Entry::File(bytes)) => {
            let same = there.len() == bytes.len() as u64
                && there.read_all(there.len()).is_ok_and(|read| read == *bytes);
            same && inode.metadata.mode == mode
        }
        _ => false,
    }
}

/// Gives a time to what has none.
fn date(tree: &mut Tree, at: &TreePath) {
    let Some(top) = tree.lookup(at, Follow::Last) else { return };
    let ids: Vec<InodeId> = tree.walk_from(top).map(|(_, id)| id).collect();
    let times = ids.iter().map(|id| tree.inode(*id).metadata.mtime);
    let Some(newest) = times.filter(|time| *time != Metadata::AT_EPOCH).max() else { return };
    for id in ids {
        let metadata = tree.metadata_mut(id);
        if metadata.mtime == Metadata::AT_EPOCH {
            metadata.mtime = newest;
        }
    }
}

#[cfg(test)]
mod tests;
