//! Secrets, which come in an archive of their own: exactly the files that the product names.

use std::collections::BTreeMap;
use std::path::Path;

use bake_archive::{OpenOptions, open_overlay};
use bake_tree::{Follow, Node, Tree, TreePath};

use crate::Failure;

/// The largest secret, in bytes.
const LIMIT: u64 = 1 << 20;

/// The secrets of a product by their paths.
pub(crate) fn read(
    archive: &Path,
    wanted: &BTreeMap<TreePath, String>,
) -> Result<BTreeMap<TreePath, Vec<u8>>, Failure> {
    let shown = archive.display();
    let mut tree = Tree::new();
    if !archive.is_file() {
        return Err(Failure::new(format!("`{shown}` is no file: expected the archive of secrets")));
    }
    let opened = open_overlay(archive, &OpenOptions::default()).map_err(|error| Failure::of(&error))?;
    for (members, policy) in opened.layers {
        tree.apply(members, policy)
            .map_err(|found| Failure::new(format!("`{shown}`: {}", Failure::each(found))))?;
    }
    let mut problems = Vec::new();
    let mut secrets = BTreeMap::new();
    for (path, id) in tree.walk() {
        match &tree.inode(id).node {
            Node::Directory(_) => {}
            Node::File(content) if wanted.contains_key(&path) => match content.read_all(LIMIT) {
                Ok(bytes) => drop(secrets.insert(path, bytes)),
                Err(error) => problems.push(format!("`{shown}`: `{path}` cannot be read: {error}")),
            },
            other => {
                let found = other.describe();
                problems
                    .push(format!("`{shown}` holds {found} `{path}`: expected the product's secrets alone"));
            }
        }
    }
    let absent = wanted.iter().filter(|(path, _)| tree.lookup(path, Follow::Parents).is_none());
    problems.extend(absent.map(|(_, path)| format!("`{shown}` lacks the secret `{path}`")));
    if problems.is_empty() { Ok(secrets) } else { Err(Failure::each(problems)) }
}
