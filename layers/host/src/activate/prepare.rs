//! What a change needs to know: packages are read, checked against each other and against what was built.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::thread::available_parallelism;

use bake_archive::open_directory_at;
use bake_base::{Digest, Timestamp};
use bake_tree::{Follow, InodeId, Metadata, Node, Tree, TreePath, ValidTree};
use rustix::io::Errno;

use super::Wanted;
use crate::assemble::make;
use crate::contents::{CONTENTS, Contents};
use crate::generation::{Generation, Number, PACKAGES};
use crate::host::{Host, Present};
use crate::{Entry, Failure, InstallRoot, Listing, Package, PackageId, overrides, place};

/// The longest `contents.json`, in bytes.
const LIMIT: u64 = 64 << 20;
/// How many differences of one package are named.
const SHOWN: usize = 5;

/// A generation that can be made.
pub(super) struct Prepared {
    pub root: InstallRoot,
    pub generation: Generation,
    pub product: Option<Vec<u8>>,
    /// What the operator should know.
    pub notes: Vec<String>,
    /// The time of the newest file of any package: no clock has a say in a generation.
    newest: Option<Timestamp>,
    /// Packages of which an operator has changed something.
    shapes: BTreeMap<PackageId, overrides::Shape>,
}

/// A package that has been read.
struct Read {
    package: Package,
    tree: Tree,
    /// The bytes of its list of contents.
    contents: Option<Vec<u8>>,
}

/// Reads what is wanted, and checks all of it before anything changes.
pub(super) fn prepare(host: &Host, current: &Present, wanted: &Wanted) -> Result<Prepared, Failure> {
    let known = known(host)?;
    let (mut packages, mut digests, mut shapes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (mut problems, mut notes, mut newest) = (Vec::new(), Vec::new(), None);
    for id in &wanted.active {
        let read = match read(host, id) {
            Ok(read) => read,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        let digest = match current.generation.active.get(id) {
            // What is active is the audit's; the record keeps what it said when this package came.
            Some(digest) => *digest,
            None => match verify(&read, known.get(id).copied()) {
                Ok(digest) => digest,
                Err(found) => {
                    problems.extend(found);
                    None
                }
            },
        };
        if digest.is_none() && !current.generation.active.contains_key(id) {
            notes.push(format!("`{id}` has no {CONTENTS}: nobody can tell whether it is what was built"));
        }
        newest = newest.max(read.tree.newest_time());
        digests.insert(id.clone(), digest);
        if overrides::each(&wanted.overrides).any(|(_, its, _)| its == id) {
            shapes.insert(id.clone(), overrides::shape(&read.tree, &TreePath::root()));
        }
        packages.push(read.package);
    }
    // What is damaged or missing would only be told again, as something that others lack.
    if !problems.is_empty() {
        return Err(Failure::each(problems));
    }
    let root = InstallRoot::resolve(&packages, &wanted.roles);
    let root = root.map_err(|found| Failure::each(found.0.into_iter().collect()))?;
    if wanted.roles.is_empty() && !current.generation.roles.is_empty() {
        notes.push("the host has no role any more: it starts nothing until it gets one".to_owned());
    }
    let contents = |id: &PackageId| digests.get(id).copied().flatten();
    let mut generation = Generation::new(&root, &wanted.roles, &wanted.seen, contents);
    generation.before = Some(current.number);
    generation.overrides.clone_from(&wanted.overrides);
    generation.removing = wanted.removing;
    Ok(Prepared { root, generation, product: wanted.product.clone(), notes, newest, shapes })
}

/// Checks a generation that is there: its packages, as if they were activated anew.
pub(super) fn check(host: &Host, current: &Present, to: &Present) -> Result<Vec<String>, Failure> {
    prepare(host, current, &Wanted::of(to)).map(|prepared| prepared.notes)
}

impl Prepared {
    /// Everything in the directory of generation `number`.
    pub fn entries(&self, number: Number) -> Result<BTreeMap<TreePath, Entry>, Failure> {
        let mut entries = self.generation.entries(number, &self.root, self.product.as_deref());
        overrides::apply(&mut entries, number, &self.generation.overrides, &mut |id| {
            self.shapes.get(id).cloned().ok_or_else(|| Failure::new(format!("`{id}` is not active")))
        })?;
        Ok(entries)
    }

    /// The same as a tree.
    pub fn tree(&self, number: Number) -> Result<ValidTree, Failure> {
        let mut tree = Tree::new();
        for (path, entry) in self.entries(number)? {
            make(&mut tree, &path, entry).map_err(|error| Failure::of(&error))?;
        }
        let time = self.newest.unwrap_or(Timestamp { seconds: 0, nanoseconds: 0 });
        let ids: Vec<InodeId> = tree.walk().map(|(_, id)| id).collect();
        for id in ids {
            let metadata: &mut Metadata = tree.metadata_mut(id);
            metadata.mtime = time;
        }
        ValidTree::new(tree).map_err(Failure::each)
    }
}

/// The files of a package that matter to others.
pub(super) fn listing(host: &Host, id: &PackageId) -> Result<Listing, Failure> {
    read(host, id).map(|read| read.package.listing).map_err(Failure::each)
}

/// The digests of lists of contents that the records of generations vouch for.
fn known(host: &Host) -> Result<BTreeMap<PackageId, Digest>, Failure> {
    let mut known = BTreeMap::new();
    for number in host.generations()? {
        // A generation that nobody can read is no reason to keep a host from another.
        let Ok(present) = host.present(number) else { continue };
        known.extend(present.generation.active.into_iter().filter_map(|(id, digest)| Some((id, digest?))));
    }
    Ok(known)
}

fn read(host: &Host, id: &PackageId) -> Result<Read, Vec<String>> {
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
fn verify(read: &Read, known: Option<Digest>) -> Result<Option<Digest>, Vec<String>> {
    let id = &read.package.id;
    let mend = "put it back with `pkgpanda repair`, or remove the package and bring it again";
    let damaged = |reason: String| vec![format!("`{id}` is damaged: {reason}; {mend}")];
    let digest = read.contents.as_deref().map(Digest::of);
    if let Some(known) = known
        && digest != Some(known)
    {
        return Err(damaged(format!("{CONTENTS} is not the one that a generation was made with ({known})")));
    }
    let Some(bytes) = &read.contents else { return Ok(None) };
    let listed: Contents = serde_json::from_slice(bytes)
        .map_err(|error| damaged(format!("{CONTENTS} is no list of contents: {error}")))?;
    let threads = available_parallelism().map_or(1, NonZero::get);
    let found = Contents::of(&read.tree, threads)
        .map_err(|(path, error)| damaged(format!("reading `{path}` failed: {error}")))?;
    let (listed, found) = (&listed.entries, &found.entries);
    let paths = listed.keys().chain(found.keys().filter(|path| !listed.contains_key(*path)));
    let mut differences: Vec<String> = paths
        .filter_map(|path| match (listed.get(path), found.get(path)) {
            (Some(_), None) => Some(format!("`{path}` is missing")),
            (None, Some(_)) => Some(format!("`{path}` is not in {CONTENTS}")),
            (listed, found) => (listed != found).then(|| format!("`{path}` is not what it was")),
        })
        .collect();
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
