//! Secrets of a product that differ between generations. What an upgrade replaces is kept in the generation that it
//! leaves, and what it brings lies in the one that it makes, so that a rollback finds what belongs to it.

use std::collections::BTreeMap;

use bake_tree::{Content, EditError, Metadata, Node, Tree, TreePath};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use crate::generation::Number;
use crate::host::{HOME, Host, Present};
use crate::integration::{self, HostEntry};
use crate::product::Product;
use crate::{Failure, files, place};

/// Where a generation has them, by their paths on the host.
pub(crate) const SECRETS: &str = "secrets";
/// The largest one, in bytes.
pub(crate) const LIMIT: u64 = 1 << 20;

/// Secrets by their paths on the host.
pub(crate) type Secrets = BTreeMap<TreePath, Vec<u8>>;

/// The secrets that a generation has of its own.
pub(crate) fn kept(host: &Host, present: &Present) -> Result<Secrets, Failure> {
    let Some(bytes) = &present.product else { return Ok(Secrets::new()) };
    let product: Product = serde_json::from_slice(bytes).map_err(|error| {
        Failure::new(format!("the product of generation {} is none: {error}", present.number))
    })?;
    let mut secrets = Secrets::new();
    for path in integration::secret_paths(&product).map_err(Failure::each)?.into_keys() {
        if let Some(content) = files::read(&host.root, &place_of(present.number, &path), LIMIT)? {
            secrets.insert(path, content);
        }
    }
    Ok(secrets)
}

/// Keeps in generation `number` what the host has in the place of each of `new` that is something else.
pub(crate) fn keep(host: &Host, number: Number, new: &Secrets) -> Result<(), Failure> {
    for (path, new) in new {
        let Some(content) = files::read(&host.root, path, LIMIT)? else { continue };
        if content == *new {
            continue;
        }
        make(host, number)?;
        files::put(&host.root, &place_of(number, path), &HostEntry { mode: 0o600, content })?;
    }
    Ok(())
}

/// Adds secrets to a generation that is being made.
pub(crate) fn lay(new: &Secrets, tree: &mut Tree) -> Result<(), EditError> {
    let top = TreePath::root().join(SECRETS.as_bytes());
    for (path, content) in new {
        let mut at = top.clone();
        tree.make_directory(&at, Metadata::root(0o700))?;
        let (directory, name) = path.split().expect("no secret is the root");
        for name in directory.components() {
            at = at.join(name);
            tree.make_directory(&at, Metadata::root(0o700))?;
        }
        tree.put(&at.join(name), Metadata::root(0o600), Node::File(Content::bytes(content.as_slice())))?;
    }
    Ok(())
}

fn place_of(number: Number, path: &TreePath) -> TreePath {
    let top = place::path(&format!("{HOME}/{}/{SECRETS}", number.directory()));
    path.components().fold(top, |at, name| at.join(name))
}

/// Nobody but root may look into it, even while it is made.
fn make(host: &Host, number: Number) -> Result<(), Failure> {
    let generation = host.directory(&number.directory())?;
    let made = match rustix::fs::mkdirat(&generation, SECRETS, Mode::from_raw_mode(0o700)) {
        Err(Errno::EXIST) => Ok(()),
        Ok(()) => place::enter(&generation, SECRETS.as_bytes()).and_then(|directory| {
            if place::is_superuser() {
                rustix::fs::fchown(&directory, Some(Uid::ROOT), Some(Gid::ROOT))?;
            }
            rustix::fs::fsync(&generation)
        }),
        Err(error) => Err(error),
    };
    made.map_err(Failure::io("making", host.shown(&format!("{}/{SECRETS}", number.directory()))))
}
