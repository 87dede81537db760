//! What `bake tree --out` delivered: the bootstrap tarball, packages and what a tree adds to configurations.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bake_archive::{OpenOptions, open_rootfs};
use bake_base::Digest;
use bake_host::{Package, PackageId};
use bake_package::elf::Machines;
use bake_package::{ConfigTree, Entry, Program, TreeManifest, program};
use bake_tree::{Policy, Tree, TreePath};

use crate::Error;

/// The manifest's name.
const MANIFEST: &str = "manifest.json";
/// The list of all sums; it comes last.
const SUMS: &str = "SHA256SUMS";
/// The revision of manifests that is read.
const SCHEMA: &str = "bake-tree-1";
/// The largest manifest or list that is read, in bytes.
const LARGEST: u64 = 16 << 20;
/// What makes all of it anew.
const FIX: &str = "`bake tree --out DIR` delivers a tree's artifacts";

/// A delivered tree.
#[derive(Clone, Debug)]
pub struct Artifacts {
    /// Where it lies.
    pub directory: PathBuf,
    /// What it consists of.
    pub manifest: TreeManifest,
    /// Identifies all of it: the first 40 hex digits of the manifest's digest.
    pub commit: String,
}

/// What is known of the packages of a tree, once they were opened.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Every package.
    pub packages: Vec<Package>,
    /// The program that hosts get; it is one of the packages.
    pub pkgpanda: Program,
}

impl Artifacts {
    /// Reads what was delivered to `directory`. Files other than the manifest are verified when they are used.
    ///
    /// # Errors
    /// When something is missing, or the manifest is not the one that was delivered.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(MANIFEST);
        let (bytes, sums) = (read(&path)?, read(&directory.join(SUMS))?);
        let sums = parse_sums(&sums)
            .ok_or_else(|| Error::wrong(&directory.join(SUMS), format!("is no list of sums: {FIX}")))?;
        let digest = Digest::of(&bytes);
        if sums.get(MANIFEST) != Some(&digest) {
            let message = format!("has digest {digest}, which is not the one in {SUMS}: {FIX} anew");
            return Err(Error::wrong(&path, message));
        }
        let manifest: TreeManifest = serde_json::from_slice(&bytes)
            .map_err(|error| Error::wrong(&path, format!("is no manifest of a tree ({error}): {FIX}")))?;
        check(&manifest, &sums).map_err(|reason| Error::wrong(&path, reason))?;
        let commit = digest.to_string()[..40].to_owned();
        Ok(Self { directory: directory.to_owned(), manifest, commit })
    }

    /// The bootstrap tarball as an entry.
    pub fn bootstrap(&self) -> Entry {
        let bootstrap = &self.manifest.bootstrap;
        Entry { path: bootstrap.path.clone(), sha256: bootstrap.sha256, size: bootstrap.size }
    }

    /// The packages that hosts get beside those in the bootstrap tarball.
    pub fn beside_bootstrap(&self) -> impl Iterator<Item = (&PackageId, &Entry)> {
        let inside = &self.manifest.bootstrap.packages;
        self.manifest.packages.iter().filter(move |(id, _)| !inside.contains(id))
    }

    /// What the tree adds to configurations, verified: files by their path below `config/`.
    ///
    /// # Errors
    /// When a file is missing, damaged or was put there by somebody else.
    pub fn config(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let found = ConfigTree::read(&self.directory)?;
        let listed: BTreeMap<_, _> =
            self.manifest.config.iter().map(|entry| (entry.path.as_str(), entry)).collect();
        for (path, bytes) in found.files() {
            let at = self.directory.join(path);
            match listed.get(path.as_str()) {
                None => return Err(Error::wrong(&at, format!("is not in {MANIFEST}: remove it"))),
                Some(entry) if Digest::of(bytes) != entry.sha256 => return Err(damaged(&at, entry.sha256)),
                Some(_) => {}
            }
        }
        if let Some(missing) = listed.keys().find(|path| !found.files().contains_key(**path)) {
            return Err(Error::wrong(&self.directory.join(missing), format!("is missing: {FIX} anew")));
        }
        let below = |(path, bytes): (&String, &Vec<u8>)| {
            Some((path.strip_prefix("config/")?.to_owned(), bytes.clone()))
        };
        Ok(found.files().iter().filter_map(below).collect())
    }

    /// Opens every package; what is read is verified. Archives are decoded to unnamed files in `scratch`.
    ///
    /// # Errors
    /// When a file is missing or damaged, or no package; when there is no program for hosts, or one that does not
    /// run where the packages do.
    pub fn open(&self, scratch: &Path, threads: usize) -> Result<Inside, Error> {
        let options = OpenOptions { scratch: scratch.to_owned(), threads, ..OpenOptions::default() };
        let (mut packages, mut machines) = (Vec::new(), Machines::default());
        let in_bootstrap = &self.manifest.bootstrap.packages;
        let tree = self.tree(&self.bootstrap(), &options)?;
        for id in in_bootstrap {
            let at = TreePath::parse(format!("packages/{id}").as_bytes());
            let at = at.map_err(|error| Error::wrong(&self.directory, error.to_string()))?;
            packages.push(self.package(id, &tree, &at)?);
        }
        machines.count(&tree, program::place(in_bootstrap).as_ref());
        let unfit = |reason: String| {
            let tarball = self.directory.join(&self.manifest.bootstrap.path);
            Error::wrong(&tarball, format!("{reason}: {FIX} anew"))
        };
        let pkgpanda = Program::within(&tree, in_bootstrap).map_err(unfit)?;
        for (id, entry) in self.beside_bootstrap() {
            let tree = self.tree(entry, &options)?;
            packages.push(self.package(id, &tree, &TreePath::root())?);
            machines.count(&tree, None);
        }
        pkgpanda.check_machine(&machines).map_err(unfit)?;
        Ok(Inside { packages, pkgpanda })
    }

    fn tree(&self, entry: &Entry, options: &OpenOptions<'_>) -> Result<Tree, Error> {
        let path = self.directory.join(&entry.path);
        if !path.is_file() {
            return Err(Error::wrong(&path, format!("is missing: {FIX} anew")));
        }
        let opened = open_rootfs(&path, options)?;
        for input in opened.inputs {
            if input.digest.wait()? != entry.sha256 {
                return Err(damaged(&path, entry.sha256));
            }
        }
        let members = opened.layers.into_iter().flat_map(|(members, _)| members).collect();
        let mut tree = Tree::new();
        tree.apply(members, Policy::TAR).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            Error::wrong(&path, format!("cannot be used: {first}"))
        })?;
        Ok(tree)
    }

    fn package(&self, id: &PackageId, tree: &Tree, at: &TreePath) -> Result<Package, Error> {
        Package::read(id.clone(), tree, at).map_err(|problems| {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Error::wrong(&self.directory, format!("has a package that is none:\n  {}", lines.join("\n  ")))
        })
    }
}

/// A file that is not what it was when it was delivered.
pub(crate) fn damaged(path: &Path, expected: Digest) -> Error {
    Error::wrong(path, format!("is damaged: expected digest {expected}; {FIX} anew"))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let whole = path.parent().is_none_or(Path::is_dir);
            let message = if whole { "is missing" } else { "is missing, and so is its directory" };
            return Err(Error::wrong(path, format!("{message}: {FIX}")));
        }
        result => result.map_err(Error::io("opening", path))?,
    };
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(Error::io("reading", path))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::wrong(path, format!("is too large: {FIX}")));
    }
    Ok(bytes)
}

/// The digests of a `SHA256SUMS` by path.
pub(crate) fn parse_sums(bytes: &[u8]) -> Option<BTreeMap<String, Digest>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let parse = |line: &str| {
        let (digest, path) = line.split_once("  ")?;
        Some((path.to_owned(), digest.parse().ok()?))
    };
    text.lines().map(parse).collect()
}

fn check(manifest: &TreeManifest, sums: &BTreeMap<String, Digest>) -> Result<(), String> {
    if manifest.schema != SCHEMA {
        return Err(format!("has schema `{}`: expected `{SCHEMA}`; {FIX}", manifest.schema));
    }
    let bootstrap = &manifest.bootstrap;
    let is_id = bootstrap.id.len() == 40 && bootstrap.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || bootstrap.path != format!("bootstrap/{}.bootstrap.tar.xz", bootstrap.id) {
        return Err(format!("has a bootstrap tarball `{}` that is none: {FIX}", bootstrap.path));
    }
    for (id, entry) in &manifest.packages {
        if entry.path != format!("packages/{}/{id}.tar.xz", id.name()) {
            return Err(format!("has package `{id}` at `{}`: {FIX}", entry.path));
        }
    }
    if let Some(id) = bootstrap.packages.iter().find(|id| !manifest.packages.contains_key(id)) {
        return Err(format!("has `{id}` in its bootstrap tarball, but not among its packages: {FIX}"));
    }
    let packages = manifest.packages.values().map(|entry| (&entry.path, entry.sha256));
    let config = manifest.config.iter().map(|entry| (&entry.path, entry.sha256));
    for (path, digest) in packages.chain(config).chain([(&bootstrap.path, bootstrap.sha256)]) {
        if sums.get(path) != Some(&digest) {
            return Err(format!("says of `{path}` what {SUMS} does not: {FIX} anew"));
        }
    }
    Ok(())
}
