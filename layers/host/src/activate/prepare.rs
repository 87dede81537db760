//! What a change needs to know: packages are read, checked against each other and against what was built.

use std::collections::BTreeMap;

use bake_base::{Digest, Timestamp};
use bake_tree::{InodeId, Metadata, Tree, TreePath, ValidTree};

use super::Wanted;
use crate::assemble::make;
use crate::contents::CONTENTS;
use crate::generation::{Generation, Number};
use crate::host::{Host, Present};
use crate::name::PKGPANDA;
use crate::secrets::{self, Secrets};
use crate::store::{known, read, verify};
use crate::{Entry, Failure, InstallRoot, Listing, PackageId, overrides, setup};

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

/// Reads what is wanted, and checks all of it before anything changes.
pub(super) fn prepare(host: &Host, current: &Present, wanted: &Wanted) -> Result<Prepared, Failure> {
    // A generation must not lose its product because the document of the one before is damaged.
    if wanted.product.is_none() && !wanted.removing {
        host.check_no_product(current)?;
    }
    prepared(host, current, wanted)
}

fn prepared(host: &Host, current: &Present, wanted: &Wanted) -> Result<Prepared, Failure> {
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
    if let Some(id) = program(current.generation.active.keys())
        && program(wanted.active.iter()).is_none()
        && !wanted.removing
    {
        problems.push(format!("`{id}` is what starts this host at boot: keep it among the packages"));
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
    generation.product = wanted.product.as_deref().map(Digest::of);
    generation.overrides.clone_from(&wanted.overrides);
    generation.removing = wanted.removing;
    setup::check_users(&host.root, &generation).map_err(Failure::each)?;
    if !wanted.removing {
        setup::check_roles(&host.root)?;
    }
    Ok(Prepared { root, generation, product: wanted.product.clone(), notes, newest, shapes })
}

/// The package of this program.
fn program<'a>(mut ids: impl Iterator<Item = &'a PackageId>) -> Option<&'a PackageId> {
    ids.find(|id| id.name().as_str() == PKGPANDA)
}

/// Checks a generation that is there: its packages, as if they were activated anew.
pub(super) fn check(host: &Host, current: &Present, to: &Present) -> Result<Vec<String>, Failure> {
    host.check_product(to)?;
    prepared(host, current, &Wanted::of(to)).map(|prepared| prepared.notes)
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

    /// The same as a tree, with secrets that come with this generation.
    pub fn tree(&self, number: Number, new: &Secrets) -> Result<ValidTree, Failure> {
        let mut tree = Tree::new();
        for (path, entry) in self.entries(number)? {
            make(&mut tree, &path, entry).map_err(|error| Failure::of(&error))?;
        }
        secrets::lay(new, &mut tree).map_err(|error| Failure::of(&error))?;
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
