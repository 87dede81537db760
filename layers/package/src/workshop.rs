//! Everything that a run works with: where things lie, how sources are fetched, what packages are built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use bake_archive::{OpenOptions, open_rootfs};
use bake_base::Digest;
use bake_host::{Package, PackageId};
use bake_tree::{Member, Policy, Tree, TreePath, ValidTree};

use crate::Error;
use crate::builders::Builders;
use crate::cache::Cache;
use crate::extracted::ExtractedTrees;
use crate::fetch::{Fetched, Fetcher, Wanted};
use crate::kept::{make_directory, make_private_directory};
use crate::recipe::Recipe;
use crate::repository::TrustedKey;
use crate::sandbox::Limits;
use crate::source::Source;
use crate::store::{Store, Stored};

/// What happens while packages are made, for whoever watches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A package is being built.
    Building(&'a PackageId),
    /// A package was built.
    Built(&'a PackageId),
    /// A package was taken from a repository.
    Taken(&'a PackageId, &'a str),
    /// Something that the user should know.
    Warning(String),
}

/// What a run works with.
pub struct Workshop<'a> {
    /// Where outputs and sources lie.
    pub cache: Cache,
    /// The packages that are there.
    pub store: Store,
    /// What packages are built in.
    pub builders: Builders,
    /// How sources come here.
    pub fetcher: Fetcher,
    /// The `bake` executable, which becomes the sandbox.
    pub launcher: PathBuf,
    /// Where packages may be already: directories or URLs of web roots.
    pub repositories: Vec<String>,
    /// By which digests packages are taken from there.
    pub locked: BTreeMap<PackageId, Digest>,
    /// Whose signature on a repository's manifest makes its digests as good as locked ones; without any, no
    /// manifest is asked for.
    pub trusted: Vec<TrustedKey>,
    /// Whether `bake.lock` is about to be written anew, so that what moved is told and no error.
    pub relock: bool,
    /// What a build may use.
    pub limits: Limits,
    /// How many processors a build is told there are.
    pub cores: usize,
    /// How many threads compress.
    pub threads: usize,
    /// Whether the directories of builds stay.
    pub keep: bool,
    /// Set to end everything.
    pub stop: &'a AtomicBool,
    /// Hears what happens.
    pub report: &'a (dyn Fn(&Event<'_>) + Sync),
    /// Whether files are hashed again however unchanged they look.
    pub(crate) paranoid: bool,
    /// All digests by which packages are taken, once indexes were read.
    pub(crate) digests: Mutex<Option<BTreeMap<PackageId, Digest>>>,
    pub(crate) trees: ExtractedTrees,
    pub(crate) loaded: Mutex<BTreeMap<PackageId, Arc<Dependency>>>,
}

/// A package that builds can use.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub package: Package,
    /// Where it is extracted.
    pub root: PathBuf,
}

/// The parts of a [`Workshop`] that have no default.
pub struct Equipment<'a> {
    /// As [`Workshop::builders`].
    pub builders: Builders,
    /// As [`Workshop::fetcher`].
    pub fetcher: Fetcher,
    /// As [`Workshop::launcher`].
    pub launcher: PathBuf,
    /// As [`Workshop::stop`].
    pub stop: &'a AtomicBool,
    /// As [`Workshop::report`].
    pub report: &'a (dyn Fn(&Event<'_>) + Sync),
}

impl<'a> Workshop<'a> {
    /// A workshop for the tree in `directory`.
    pub fn new(directory: &Path, paranoid: bool, equipment: Equipment<'a>) -> Self {
        let cache = Cache::of(directory);
        let Equipment { builders, fetcher, launcher, stop, report } = equipment;
        Self {
            store: Store::new(cache.clone(), paranoid),
            trees: ExtractedTrees::new(cache.extracted(), paranoid),
            cache,
            builders,
            fetcher,
            launcher,
            repositories: Vec::new(),
            locked: BTreeMap::new(),
            trusted: Vec::new(),
            digests: Mutex::default(),
            relock: false,
            limits: Limits::default(),
            cores: 1,
            threads: 1,
            keep: false,
            paranoid,
            stop,
            report,
            loaded: Mutex::default(),
        }
    }

    /// The members of a package, read in place; its digest is checked.
    pub(crate) fn members(&self, stored: &Stored) -> Result<Vec<Member>, Error> {
        let scratch = make_private_directory(self.cache.build())?;
        let options = OpenOptions { scratch, threads: self.threads, ..OpenOptions::default() };
        let opened = open_rootfs(&stored.path, &options)?;
        for input in opened.inputs {
            let found = input.digest.wait()?;
            if found != stored.digest {
                let message = format!("its digest is {found}: when it was made it was {}", stored.digest);
                return Err(Error::damaged(&stored.path, message));
            }
        }
        Ok(opened.layers.into_iter().flat_map(|(members, _)| members).collect())
    }

    /// Has a source of a recipe in the cache.
    pub(crate) fn fetch(&self, recipe: &Recipe, name: &str, source: &Source) -> Result<Fetched, Error> {
        let cache_dir = self.cache.component(&recipe.name);
        make_directory(&cache_dir)?;
        let wanted = Wanted {
            package: recipe.name.as_str(),
            name,
            source,
            recipe_dir: recipe.directory(),
            cache_dir: &cache_dir,
        };
        let fetched = self.fetcher.ensure(&wanted)?;
        for warning in &fetched.warnings {
            let text = format!("package `{}`: source `{name}`: {warning}", recipe.name);
            (self.report)(&Event::Warning(text));
        }
        Ok(fetched)
    }

    /// The tree of a package.
    pub(crate) fn tree(&self, stored: &Stored) -> Result<ValidTree, Error> {
        tree_of(&stored.id, self.members(stored)?)
    }

    /// A package for builds to use.
    pub(crate) fn dependency(&self, stored: &Stored) -> Result<Arc<Dependency>, Error> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dependency) = loaded().get(&stored.id) {
            return Ok(Arc::clone(dependency));
        }
        let root = self.trees.get(&stored.digest, || self.tree(stored))?;
        let opened = open_rootfs(&root, &OpenOptions::default())?;
        let members = opened.layers.into_iter().flat_map(|(members, _)| members);
        let tree = tree_of(&stored.id, members.collect())?;
        let package = read_package(&stored.id, tree.tree(), &TreePath::root())?;
        let dependency = Arc::new(Dependency { package, root });
        loaded().insert(stored.id.clone(), Arc::clone(&dependency));
        Ok(dependency)
    }
}

/// What other packages need to know of the one at `at`.
pub(crate) fn read_package(id: &PackageId, tree: &Tree, at: &TreePath) -> Result<Package, Error> {
    Package::read(id.clone(), tree, at).map_err(|problems| Error::listed(id, &problems))
}

/// The members of a package as a tree.
fn tree_of(id: &PackageId, members: Vec<Member>) -> Result<ValidTree, Error> {
    let mut tree = Tree::new();
    tree.apply(members, Policy::TAR).map_err(|problems| Error::listed(id, &problems))?;
    tree.seal();
    ValidTree::new(tree).map_err(|problems| Error::listed(id, &problems))
}
