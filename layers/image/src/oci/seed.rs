//! The product as a seed in `/usr`, with the units that have hosts take it and start it.

use std::collections::BTreeMap;

use bake_base::Digest;
use bake_host::seed::{LIST, List, PROGRAM, SEED, image_files, image_links};
use bake_host::{PKGPANDA, PackageId, ROOT};
use bake_tree::{Content, Follow, InodeId, Member, MemberKind, Metadata, Node, Policy, Tree, TreePath};

use crate::Error;
use crate::error::path;

/// Puts the install root of `product` into the tree as the seed of hosts, and gives the digest of its list.
pub(super) fn lay(
    tree: &mut Tree,
    product: &Tree,
    packages: &[PackageId],
    threads: usize,
) -> Result<Digest, Error> {
    let top = product.lookup(&path(ROOT)?, Follow::Last);
    let top = top.ok_or_else(|| Error::Product("it has no install root".to_owned()))?;
    let root = alone(product, top)?;
    let list = List::of(&root, threads).map_err(|error| Error::Product(error.to_string()))?.to_json();
    let digest = Digest::of(&list);
    let below = path(SEED)?;
    let moved = |at: &TreePath| at.components().fold(below.clone(), |at, name| at.join(name));
    let members = members(product, top).into_iter().map(|mut member| {
        member.path = moved(&member.path);
        if let MemberKind::HardLink(target) = &mut member.kind {
            *target = moved(target);
        }
        member
    });
    tree.apply(members.collect(), Policy::TAR)
        .map_err(|problems| Error::Merge { layer: "the product's seed".to_owned(), problems })?;
    tree.seal();
    let mut put =
        |at: &TreePath, mode, content| tree.put(at, Metadata::root(mode), Node::File(content)).map(drop);
    put(&path(LIST)?, 0o644, Content::bytes(list))?;
    put(&path(PROGRAM)?, 0o755, program(product, packages)?)?;
    for (at, file) in image_files() {
        put(&at, file.mode, Content::bytes(file.content))?;
    }
    for (at, target) in image_links() {
        tree.put(&at, Metadata::root(0o777), Node::Symlink(target.into_bytes().into()))?;
    }
    Ok(digest)
}

/// The program itself, which the seed has too: there, nobody would start it.
fn program(product: &Tree, packages: &[PackageId]) -> Result<Content, Error> {
    let lacks =
        |what: &str| Error::Product(format!("it has no {what}, so nothing would take it to its hosts"));
    let id = packages.iter().find(|id| id.name().as_str() == PKGPANDA);
    let id = id.ok_or_else(|| lacks("active package `pkgpanda`"))?;
    let at = path(&format!("{ROOT}/packages/{id}/bin/{PKGPANDA}"))?;
    product.file(&at)?.cloned().ok_or_else(|| lacks("`bin/pkgpanda` in its package `pkgpanda`"))
}

/// The entry `top` and all below it, as a tree of its own.
fn alone(tree: &Tree, top: InodeId) -> Result<Tree, Error> {
    let mut alone = Tree::new();
    alone
        .apply(members(tree, top), Policy::TAR)
        .map_err(|problems| Error::Merge { layer: "the product's seed".to_owned(), problems })?;
    Ok(alone)
}

/// What is below `top`, relative to it.
fn members(tree: &Tree, top: InodeId) -> Vec<Member> {
    let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    let member = |(path, id): (TreePath, InodeId)| {
        let inode = tree.inode(id);
        let kind = match (&inode.node, first_names.get(&id)) {
            (Node::Directory(_), _) => MemberKind::Directory,
            (_, Some(first)) => MemberKind::HardLink(first.clone()),
            (Node::File(content), None) => MemberKind::File(content.clone()),
            (Node::Symlink(target), None) => MemberKind::Symlink(target.clone()),
            (Node::CharDevice(device), None) => MemberKind::CharDevice(*device),
            (Node::BlockDevice(device), None) => MemberKind::BlockDevice(*device),
            (Node::Fifo, None) => MemberKind::Fifo,
        };
        first_names.entry(id).or_insert_with(|| path.clone());
        Member { path, metadata: inode.metadata.clone(), kind }
    };
    tree.walk_from(top).map(member).collect()
}
