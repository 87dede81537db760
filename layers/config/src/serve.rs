//! The serve directory: a product as a web root.
//!
//! Files that are called after their content come first, then pointers to them, `dcos_install.sh` last: whoever
//! fetches while a run writes, or after it was killed, gets a whole configuration, the old one or the new one.

mod directory;
mod index;
mod prune;
mod release;
mod secrets;
mod sums;

use std::collections::BTreeMap;
use std::path::Path;

use bake_base::Digest;

use crate::Error;
use directory::Directory;
pub use index::{Page, Row};
use release::LIST_ID_DIGITS;
pub use release::{INSTALLER, Release, Source, installer_path, list_id, package_path};
pub use secrets::{SECRETS_TAR, write_secrets};

/// A file of a serve directory.
#[derive(Clone, Debug)]
pub struct Item {
    /// Below the serve directory.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Digest of the file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where its bytes come from.
    pub source: Source,
}

impl Item {
    /// A file of these bytes that everybody reads.
    pub fn bytes(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let (sha256, size) = (Digest::of(&bytes), bytes.len() as u64);
        Self { path: path.into(), mode: 0o644, sha256, size, source: Source::Bytes(bytes) }
    }

    /// The same as a program.
    #[must_use]
    pub fn executable(self) -> Self {
        Self { mode: 0o755, ..self }
    }
}

/// Brings `release` to the directory `out`, which is made if need be. Gives the paths of files that were
/// written or removed: none when all were right already. With `prune`, what no other release needs goes.
///
/// # Errors
/// When somebody else writes there, a file that is called after its content has another one, or the operating
/// system refuses. Then whatever was served before still is.
pub fn publish(
    release: &Release,
    out: &Path,
    prune: bool,
    report: &dyn Fn(&str),
) -> Result<Vec<String>, Error> {
    let mut directory = Directory::open(out)?;
    for item in &release.blobs {
        report(&item.path);
        directory.add(item)?;
    }
    directory.sync()?;
    let earlier = sums::earlier(out)?;
    let mut kept: BTreeMap<_, _> =
        sums::of_generations(&prune::generations(out, &release.product.config_id)?, out)?;
    kept.extend(earlier.clone());
    for item in &release.pointers {
        directory.replace(item)?;
    }
    directory.replace(&sums::item(release, kept))?;
    directory.sync()?;
    directory.replace(&release.installer)?;
    directory.sync()?;
    if prune {
        prune::prune(&mut directory, release, earlier.keys())?;
        // Last: whatever a run that is killed has left is still listed as ours.
        directory.replace(&sums::item(release, BTreeMap::new()))?;
        directory.sync()?;
    }
    Ok(directory.changed())
}

#[cfg(test)]
mod tests;
