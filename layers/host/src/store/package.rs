//! A package as it is read, and whether it is what was built.

use std::num::NonZero;
use std::os::fd::AsFd;
use std::thread::available_parallelism;

use bake_archive::open_directory_at;
use bake_base::Digest;
use bake_tree::{Follow, Node, Tree, TreePath};
use rustix::io::Errno;

use crate::contents::{CONTENTS, Contents};
use crate::generation::PACKAGES;
use crate::host::Host;
use crate::{Failure, Package, PackageId, place};

/// The longest `contents.json`, in bytes.
const LIMIT: u64 = 64 << 20;
/// How many differences of one package are named.
const SHOWN: usize = 5;

/// A package that has been read.
pub(crate) struct Read {
    pub package: Package,
    /// Everything in it.
    pub tree: Tree,
    /// The bytes of its list of contents.
    pub contents: Option<Vec<u8>>,
}

/// Reads a package of the store.
pub(crate) fn read(host: &Host, id: &PackageId) -> Result<Read, Vec<String>> {
    let shown = host.shown(&format!("{PACKAGES}/{id}"));
    let failed = |failure: Failure| vec![failure.to_string()];
    let store = host.directory(PACKAGES).map_err(failed)?;
    let directory = match place::enter(store.as_fd(), id.as_str().as_bytes()) {
        Err(Errno::NOENT) => {
            return Err(vec![format!(
                "`{id}` is not on this host: bring it with `pkgpanda fetch` or `pkgpanda add`"
            )]);
        }
        result => result.map_err(Failure::io("opening", &shown)).map_err(failed)?,
    };
    let opened = open_directory_at(&shown, directory).map_err(|error| failed(Failure::of(&error)))?;
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        let applied = tree.apply(members, policy);
        applied
            .map_err(|found| found.iter().map(|problem| format!("`{id}`: {problem}")).collect::<Vec<_>>())?;
    }
    of_tree(id, tree)
}

/// The package that `tree` holds and nothing else.
pub(crate) fn of_tree(id: &PackageId, tree: Tree) -> Result<Read, Vec<String>> {
    let package = Package::read(id.clone(), &tree, &TreePath::root());
    let package = package.map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let list = TreePath::root().join(CONTENTS.as_bytes());
    let contents = match tree.lookup(&list, Follow::Parents).map(|list| &tree.inode(list).node) {
        None => None,
        Some(Node::File(content)) => {
            let bytes = content.read_all(LIMIT);
            Some(bytes.map_err(|error| vec![format!("`{id}`: {CONTENTS} cannot be read: {error}")])?)
        }
        Some(node) => {
            let found = node.describe();
            return Err(vec![format!("`{id}`: {CONTENTS} is {found}: expected a regular file")]);
        }
    };
    Ok(Read { package, tree, contents })
}

/// The digest of a package's list of contents, if the package is what the list says, and the list what is known.
pub(crate) fn verify(read: &Read, known: Option<Digest>) -> Result<Option<Digest>, Vec<String>> {
    let id = &read.package.id;
    let mend = "put it back with `pkgpanda repair`, or remove the package and bring it again";
    let damaged = |reason: String| vec![format!("`{id}` is damaged: {reason}; {mend}")];
    let digest = read.contents.as_deref().map(Digest::of);
    if let Some(known) = known
        && digest != Some(known)
    {
        return Err(damaged(format!("{CONTENTS} is not the one that a generation was made with ({known})")));
    }
    let mut differences = owners(&read.tree);
    if let Some(bytes) = &read.contents {
        let listed: Contents = serde_json::from_slice(bytes)
            .map_err(|error| damaged(format!("{CONTENTS} is no list of contents: {error}")))?;
        let found = Contents::of(&read.tree, threads())
            .map_err(|(path, error)| damaged(format!("reading `{path}` failed: {error}")))?;
        let (listed, found) = (&listed.entries, &found.entries);
        let paths = listed.keys().chain(found.keys().filter(|path| !listed.contains_key(*path)));
        differences.extend(paths.filter_map(|path| match (listed.get(path), found.get(path)) {
            (Some(_), None) => Some(format!("`{path}` is missing")),
            (None, Some(_)) => Some(format!("`{path}` is not in {CONTENTS}")),
            (listed, found) => (listed != found).then(|| format!("`{path}` is not what it was")),
        }));
    }
    if differences.is_empty() {
        return Ok(digest);
    }
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    if more > 0 {
        differences.push(format!("{more} more"));
    }
    Err(damaged(differences.join(", ")))
}

/// Whose files are not root's. Who is not root could not have made them so.
fn owners(tree: &Tree) -> Vec<String> {
    if !place::is_superuser() {
        return Vec::new();
    }
    let foreign = tree.walk().filter_map(|(path, id)| {
        let metadata = &tree.inode(id).metadata;
        let (user, group) = (metadata.uid, metadata.gid);
        ((user, group) != (0, 0)).then(|| format!("`{path}` belongs to {user}:{group} and not to root"))
    });
    foreign.collect()
}

#[expect(clippy::disallowed_methods, reason = "what is found does not depend on the number of threads")]
fn threads() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}
