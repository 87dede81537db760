//! Signed indexes: the `manifest.json` that a delivered tree has, with the signature that somebody put beside it.

use std::collections::BTreeMap;
use std::path::Path;

use bake_base::Digest;
use bake_host::PackageId;
use serde::Deserialize;

use super::key::{TrustedKey, verify};
use crate::Error;
use crate::deliver::SCHEMA;
use crate::error::chain;
use crate::fetch::{FetchProblem, Fetcher, shown};
use crate::kept::make_directory;
use crate::lock::LOCK;

/// The largest manifest that is read, in bytes; it has some hundreds for a package.
pub(super) const LARGEST: u64 = 16 << 20;
/// The largest signature that is read, in bytes; it has four lines.
const LARGEST_SIGNATURE: u64 = 8 << 10;
/// How many contradictions are spelled out; the rest is counted.
const SHOWN: usize = 20;

/// The part of a manifest that tells packages by their digests.
#[derive(Deserialize)]
struct Index {
    schema: String,
    packages: BTreeMap<PackageId, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    sha256: Digest,
}

/// The digests by which packages are taken: those of `bake.lock` and those of the indexes of all repositories,
/// given by their URLs.
///
/// # Errors
/// When a repository has no index with a right signature, and when two of them say different things of one
/// package.
pub(super) fn digests(
    locked: &BTreeMap<PackageId, Digest>,
    repositories: &[String],
    keys: &[TrustedKey],
    fetcher: &Fetcher,
    scratch: &Path,
) -> Result<BTreeMap<PackageId, Digest>, Error> {
    let mut known: BTreeMap<_, _> =
        locked.iter().map(|(id, digest)| (id.clone(), (*digest, LOCK.to_owned()))).collect();
    for repository in repositories {
        let url = format!("{repository}/manifest.json");
        let index = read(&url, keys, fetcher, scratch)?;
        let different = |(id, digest): (&PackageId, &Digest)| {
            let (other, place) = known.get(id).filter(|(other, _)| other != digest)?;
            Some(format!("\n  `{id}` is {digest} here and {other} in `{place}`"))
        };
        let contradictions: Vec<_> = index.iter().filter_map(different).collect();
        if !contradictions.is_empty() {
            let more = contradictions.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
            let shown = contradictions.into_iter().take(SHOWN).collect::<String>();
            return Err(wrong(&url, format!("contradicts what else is trusted:{shown}{more}")));
        }
        known.extend(index.into_iter().map(|(id, digest)| (id, (digest, shown(&url)))));
    }
    Ok(known.into_iter().map(|(id, (digest, _))| (id, digest)).collect())
}

/// What the manifest at `url` says, if one of `keys` has signed it.
fn read(
    url: &str,
    keys: &[TrustedKey],
    fetcher: &Fetcher,
    scratch: &Path,
) -> Result<BTreeMap<PackageId, Digest>, Error> {
    let signature_url = format!("{url}.minisig");
    make_directory(scratch)?;
    let own = tempfile::tempdir_in(scratch).map_err(Error::io("making a directory in", scratch))?;
    let fetch = |what: &str, limit| {
        fetcher.read(what, limit, own.path()).map_err(|problem| unavailable(url, what, &problem))
    };
    let manifest = fetch(url, LARGEST)?;
    let signature = fetch(&signature_url, LARGEST_SIGNATURE)?;
    verify(&manifest, &signature, keys).map_err(|reason| wrong(&signature_url, reason))?;
    let index: Index = serde_json::from_slice(&manifest)
        .map_err(|error| wrong(url, format!("is signed, and no manifest of a tree: {error}")))?;
    if index.schema != SCHEMA {
        let reason = format!("is signed, and its schema is `{}`: expected `{SCHEMA}`", index.schema);
        return Err(wrong(url, reason));
    }
    Ok(index.packages.into_iter().map(|(id, entry)| (id, entry.sha256)).collect())
}

/// A manifest or a signature that cannot be had.
fn unavailable(url: &str, what: &str, problem: &FetchProblem) -> Error {
    let is_absent =
        matches!(problem, FetchProblem::Failed(failed) if failed.iter().all(|failed| failed.is_absent));
    let (url, first) = if is_absent && what != url {
        (url, "is not signed: sign it with `minisign -Sm manifest.json`, or")
    } else {
        (what, "is needed to trust what lies beside it:")
    };
    wrong(url, format!("{first} leave out the repository or the trusted keys; {}", chain(problem)))
}

fn wrong(url: &str, reason: String) -> Error {
    Error::Index { url: shown(url), reason }
}
