//! What a tree was built into, as a directory for others: packages, bootstrap tarball, manifest and sums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use bake_base::{Digest, DigestWriter, Unnamed, json};
use bake_host::{PackageId, Variant};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::bootstrap::{Bootstrap, completion};
use crate::config_tree::ConfigTree;
use crate::kept::{make_directory, write_bytes, write_json};
use crate::store::Stored;

/// The revision of the manifest's format.
pub(crate) const SCHEMA: &str = "bake-tree-1";

/// What a tree was built into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeManifest {
    /// `bake-tree-1`.
    pub schema: String,
    /// Name and version of the tool.
    pub tool: String,
    /// Which tree, empty for the default one.
    pub variant: String,
    /// The bootstrap tarball.
    pub bootstrap: BootstrapEntry,
    /// Every package of the tree.
    pub packages: BTreeMap<PackageId, Entry>,
    /// What the tree adds to configurations: files below `config/`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<Entry>,
}

/// The bootstrap tarball of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootstrapEntry {
    /// Its id: it says which packages it holds.
    pub id: String,
    /// The packages that it holds, sorted.
    pub packages: Vec<PackageId>,
    /// Below the directory of the manifest.
    pub path: String,
    /// Digest of the file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Below the directory of the manifest.
    pub path: String,
    /// Digest of the file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl TreeManifest {
    /// The manifest of a tree.
    pub fn new(
        tool: String,
        variant: &Variant,
        bootstrap: &Bootstrap,
        packages: &[Stored],
        config: &ConfigTree,
    ) -> Self {
        let entry = |stored: &Stored| {
            let path = format!("packages/{}/{}.tar.xz", stored.id.name(), stored.id);
            (stored.id.clone(), Entry { path, sha256: stored.digest, size: stored.size })
        };
        let config_entry = |(path, bytes): (&String, &Vec<u8>)| Entry {
            path: path.clone(),
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        Self {
            schema: SCHEMA.to_owned(),
            tool,
            variant: variant.name().unwrap_or_default().to_owned(),
            packages: packages.iter().map(entry).collect(),
            bootstrap: BootstrapEntry {
                id: bootstrap.id.clone(),
                packages: bootstrap.packages.clone(),
                path: format!("bootstrap/{}.bootstrap.tar.xz", bootstrap.id),
                sha256: bootstrap.digest,
                size: bootstrap.size,
            },
            config: config.0.iter().map(config_entry).collect(),
        }
    }
}

/// Copies everything that `manifest` lists to `directory`, laid out as the cache of a tree is, so that it can be
/// anybody's repository. The sums come last: while they are missing the directory is not finished.
///
/// # Errors
/// When something cannot be copied, or is not what it was.
pub fn deliver(
    manifest: &TreeManifest,
    variant: &Variant,
    bootstrap: &Bootstrap,
    packages: &[Stored],
    config: &ConfigTree,
    directory: &Path,
) -> Result<(), Error> {
    let sums_path = directory.join("SHA256SUMS");
    match std::fs::remove_file(&sums_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("removing", &sums_path)(error));
        }
        _ => {}
    }
    let mut sums = BTreeMap::new();
    for stored in packages {
        let entry = &manifest.packages[&stored.id];
        copy(&stored.path, &directory.join(&entry.path), entry.sha256)?;
        sums.insert(entry.path.clone(), entry.sha256);
    }
    let entry = &manifest.bootstrap;
    copy(&bootstrap.path, &directory.join(&entry.path), entry.sha256)?;
    sums.insert(entry.path.clone(), entry.sha256);
    for (path, bytes) in &config.0 {
        let to = directory.join(path);
        make_directory(to.parent().unwrap_or(directory))?;
        write_bytes(&to, bytes)?;
        sums.insert(path.clone(), Digest::of(bytes));
    }
    let prefix = variant.prefix();
    let complete = directory.join("complete");
    make_directory(&complete)?;
    let active = directory.join(format!("bootstrap/{}.active.json", bootstrap.id));
    write_json(&active, &bootstrap.packages)?;
    write_bytes(&directory.join(format!("bootstrap/{prefix}bootstrap.latest")), bootstrap.id.as_bytes())?;
    let latest = complete.join(format!("{prefix}complete.latest.json"));
    write_json(&latest, &completion(bootstrap, packages))?;
    let path = directory.join("manifest.json");
    let bytes = json::to_canonical(manifest).map_err(|error| Error::io("writing", &path)(error.into()))?;
    write_bytes(&path, &bytes)?;
    sums.insert("manifest.json".to_owned(), Digest::of(&bytes));
    let text: String = sums.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    write_bytes(&sums_path, text.as_bytes())
}

/// Copies a file, which appears whole or not at all, and makes sure of its digest.
fn copy(from: &Path, to: &Path, expected: Digest) -> Result<(), Error> {
    let directory = to.parent().unwrap_or(Path::new("."));
    make_directory(directory)?;
    let mut source = File::open(from).map_err(Error::io("opening", from))?;
    let unnamed = Unnamed::new(directory).map_err(Error::io("writing", to))?;
    let mut target = DigestWriter::new(&**unnamed.file());
    io::copy(&mut source, &mut target).map_err(Error::io("copying", from))?;
    let (found, _) = target.finish();
    if found != expected {
        return Err(Error::damaged(
            from,
            format!("its digest is {found}: when it was made it was {expected}"),
        ));
    }
    unnamed.name(to).map_err(Error::io("naming", to))
}
