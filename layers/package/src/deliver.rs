//! What a tree was built into, as a directory for others: packages, bootstrap tarball, manifest and sums.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use bake_base::{Digest, DigestWriter, Unnamed, json};
use bake_host::{PackageId, Variant};
use serde::Serialize;

use crate::Error;
use crate::bootstrap::{Bootstrap, completion};
use crate::kept::{make_directory, write_bytes, write_json};
use crate::store::Stored;

/// The revision of the manifest's format.
pub(crate) const SCHEMA: &str = "bake-tree-1";

/// What a tree was built into.
#[derive(Clone, Debug, Serialize)]
pub struct TreeManifest {
    schema: &'static str,
    /// Name and version of the tool.
    tool: String,
    /// Which tree, empty for the default one.
    variant: String,
    /// The bootstrap tarball.
    bootstrap: BootstrapEntry,
    /// Every package of the tree.
    packages: BTreeMap<PackageId, Entry>,
}

#[derive(Clone, Debug, Serialize)]
struct BootstrapEntry {
    id: String,
    packages: Vec<PackageId>,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    /// Below the directory of the manifest.
    path: String,
    sha256: Digest,
    size: u64,
}

impl TreeManifest {
    /// The manifest of a tree.
    pub fn new(tool: String, variant: &Variant, bootstrap: &Bootstrap, packages: &[Stored]) -> Self {
        let entry = |stored: &Stored| {
            let path = format!("packages/{}/{}.tar.xz", stored.id.name(), stored.id);
            (stored.id.clone(), Entry { path, sha256: stored.digest, size: stored.size })
        };
        Self {
            schema: SCHEMA,
            tool,
            variant: variant.name().unwrap_or_default().to_owned(),
            packages: packages.iter().map(entry).collect(),
            bootstrap: BootstrapEntry {
                id: bootstrap.id.clone(),
                packages: bootstrap.packages.clone(),
                entry: Entry {
                    path: format!("bootstrap/{}.bootstrap.tar.xz", bootstrap.id),
                    sha256: bootstrap.digest,
                    size: bootstrap.size,
                },
            },
        }
    }
}

impl TreeManifest {
    /// Where the bootstrap tarball is, below the directory of the manifest.
    pub fn bootstrap_path(&self) -> &str {
        &self.bootstrap.entry.path
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
    let entry = &manifest.bootstrap.entry;
    copy(&bootstrap.path, &directory.join(&entry.path), entry.sha256)?;
    sums.insert(entry.path.clone(), entry.sha256);
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
