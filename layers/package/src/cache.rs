//! Where a tree's outputs and sources lie: `cache/` below the tree's directory, as DC/OS has it.

use std::path::{Path, PathBuf};

use bake_host::{PackageId, PackageName, Variant};

/// The paths below a tree's `cache/`. Deleting any of it costs time and nothing else.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// The cache of the tree in `tree`.
    pub fn of(tree: &Path) -> Self {
        Self(tree.join("cache"))
    }

    /// The directory of a component: its packages, and a directory for each of its sources.
    pub fn component(&self, name: &PackageName) -> PathBuf {
        self.0.join("packages").join(name.as_str())
    }

    /// A package.
    pub fn package(&self, id: &PackageId) -> PathBuf {
        self.component(&id.name()).join(format!("{id}.tar.xz"))
    }

    /// Digest and size of a package that was made or accepted here.
    pub fn record(&self, id: &PackageId) -> PathBuf {
        self.component(&id.name()).join(format!("{id}.json"))
    }

    /// What a build printed; the one that makes a package has its id as name.
    pub fn log(&self, name: &PackageName, build: &str) -> PathBuf {
        self.component(name).join(format!("{build}.log"))
    }

    /// The id that was last built of a variant.
    pub fn latest(&self, name: &PackageName, variant: &Variant) -> PathBuf {
        self.component(name).join(format!("{}latest", variant.prefix()))
    }

    /// Held by whoever makes a package of this component.
    pub fn lock(&self, name: &PackageName) -> PathBuf {
        self.component(name).join(".lock")
    }

    /// Bootstrap tarballs.
    pub fn bootstrap(&self) -> PathBuf {
        self.0.join("bootstrap")
    }

    /// What belongs to a whole tree.
    pub fn complete(&self) -> PathBuf {
        self.0.join("complete")
    }

    /// Where a package is being built; private, since what a build leaves there is nobody else's business.
    pub fn build(&self) -> PathBuf {
        self.0.join("build")
    }

    /// Packages on their way from a repository.
    pub fn downloads(&self) -> PathBuf {
        self.0.join("downloads")
    }

    /// Builders and packages that were extracted, by digest.
    pub fn extracted(&self) -> PathBuf {
        self.0.join("extracted")
    }

    /// The checked-out tree that `upstream.json` names.
    pub fn upstream(&self) -> PathBuf {
        self.0.join("upstream")
    }
}
