//! Builders: root file systems that packages are built in, by the name that recipes give them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bake_archive::{ArchiveError, OpenOptions, open_rootfs};
use bake_base::Digest;
use bake_tree::{Tree, ValidTree};

use crate::Error;
use crate::extracted::ExtractedTrees;

/// What the spec file calls the builder of every recipe that names none it knows.
pub const DEFAULT: &str = "default";

/// A builder as the user gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// Anything that is a root file system.
    pub rootfs: PathBuf,
    /// What its digest has to be. Without it the file is hashed whenever it has changed.
    pub sha256: Option<Digest>,
}

/// The builders of a run.
#[derive(Debug)]
pub struct Builders {
    by_name: BTreeMap<String, Builder>,
    /// Where digests and decoded files are kept.
    cache: Option<PathBuf>,
    scratch: PathBuf,
    paranoid: bool,
    threads: usize,
    known: Mutex<BTreeMap<PathBuf, Digest>>,
}

impl Builders {
    /// The builders of `by_name`. Compressed ones are decoded in `cache`, or in `scratch` without one.
    pub fn new(
        by_name: BTreeMap<String, Builder>,
        cache: Option<PathBuf>,
        scratch: PathBuf,
        paranoid: bool,
        threads: usize,
    ) -> Self {
        Self { by_name, cache, scratch, paranoid, threads, known: Mutex::default() }
    }

    /// The digest of the builder that `docker` names.
    ///
    /// # Errors
    /// What is wrong, and how to mend it.
    pub fn digest(&self, docker: Option<&str>) -> Result<Digest, String> {
        let builder = self.named(docker)?;
        if let Some(sha256) = builder.sha256 {
            return Ok(sha256);
        }
        if let Some(known) = self.known().get(&builder.rootfs) {
            return Ok(*known);
        }
        let digest = self.open(&builder.rootfs).map_err(|error| crate::error::chain(&error))?.1;
        self.known().insert(builder.rootfs.clone(), digest);
        Ok(digest)
    }

    /// The directory with the builder that `docker` names.
    pub(crate) fn root(&self, docker: Option<&str>, trees: &ExtractedTrees) -> Result<PathBuf, Error> {
        let wrong = |message: String| Error::Builder { name: docker.unwrap_or(DEFAULT).to_owned(), message };
        let builder = self.named(docker).map_err(wrong)?;
        let expected = self.digest(docker).map_err(wrong)?;
        trees.get(&expected, || {
            let (tree, found) = self.open(&builder.rootfs)?;
            if found != expected {
                let shown = builder.rootfs.display();
                let message = format!("`{shown}` has SHA-256 {found}, expected {expected}: correct `sha256` if it is what it should be");
                return Err(wrong(message));
            }
            Ok(tree)
        })
    }

    fn named(&self, docker: Option<&str>) -> Result<&Builder, String> {
        let found = docker.and_then(|name| self.by_name.get(name)).or_else(|| self.by_name.get(DEFAULT));
        found.ok_or_else(|| match docker {
            None => "no builder is given: expected `--builder PATH`, or `[builders.default]` in bake.toml".to_owned(),
            Some(name) => format!(
                "the builder `{name}` is unknown: expected `--builder PATH`, or `[builders.\"{name}\"]` in bake.toml with a root file system"
            ),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Digest>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn open(&self, path: &Path) -> Result<(ValidTree, Digest), Error> {
        let options = OpenOptions {
            cache: self.cache.clone(),
            scratch: self.scratch.clone(),
            paranoid: self.paranoid,
            threads: self.threads,
            ..OpenOptions::default()
        };
        let opened = open_rootfs(path, &options)?;
        let mut tree = Tree::new();
        for (members, policy) in opened.layers {
            tree.apply(members, policy).map_err(|problems| unusable(path, &problems))?;
            tree.seal();
        }
        let tree = ValidTree::new(tree).map_err(|problems| unusable(path, &problems))?;
        let digests: Result<Vec<_>, ArchiveError> =
            opened.inputs.into_iter().map(|input| input.digest.wait()).collect();
        let digest = *digests?.first().expect("what was opened is an input");
        Ok((tree, digest))
    }
}

fn unusable(path: &Path, problems: &[impl ToString]) -> Error {
    let message = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
    Error::Builder { name: path.display().to_string(), message }
}
