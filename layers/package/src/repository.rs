//! Packages that somebody made already: in a directory, or behind a URL, laid out as the cache of a tree is.
//!
//! An id says what went into a package and nothing about its bytes, so a package is taken only by the digest that
//! `bake.lock` or a signed index gives for it. What else lies beside it over there is never asked.

mod index;
mod key;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::PoisonError;

use bake_base::{Digest, DigestWriter};
use bake_host::PackageId;

pub use self::key::{KeyError, TrustedKey};
use crate::Error;
use crate::error::chain;
use crate::fetch::{Content, Wanted};
use crate::source::{Download, Pin, Source};
use crate::store::{Claim, Stored};
use crate::workshop::{Event, Workshop};

impl Workshop<'_> {
    /// Takes a package from the first repository that has it; nothing when none has, or nothing says by which
    /// digest.
    pub(crate) fn take(&self, claim: &Claim, id: &PackageId) -> Result<Option<Stored>, Error> {
        if self.repositories.is_empty() {
            return Ok(None);
        }
        let Some(digest) = self.digest(id)? else { return Ok(None) };
        for repository in &self.repositories {
            if let Some(stored) = self.take_from(repository, claim, id, digest)? {
                (self.report)(&Event::Taken(id, repository));
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    /// By which digest a package is taken. Indexes are read when the first package is wanted.
    fn digest(&self, id: &PackageId) -> Result<Option<Digest>, Error> {
        if self.trusted.is_empty() {
            return Ok(self.locked.get(id).copied());
        }
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if digests.is_none() {
            let urls = self.repositories.iter().map(|repository| url(repository));
            let urls = urls.collect::<Result<Vec<_>, _>>()?;
            let scratch = self.cache.downloads();
            *digests = Some(index::digests(&self.locked, &urls, &self.trusted, &self.fetcher, &scratch)?);
        }
        Ok(digests.as_ref().and_then(|digests| digests.get(id)).copied())
    }

    fn take_from(
        &self,
        repository: &str,
        claim: &Claim,
        id: &PackageId,
        digest: Digest,
    ) -> Result<Option<Stored>, Error> {
        let url = format!("{}/packages/{}/{id}.tar.xz", url(repository)?, id.name());
        let source = Source::Url(Download { url, pin: Pin { sha256: Some(digest), sha1: None } });
        let cache_dir = self.cache.downloads();
        let wanted = Wanted {
            package: id.as_str(),
            name: id.as_str(),
            source: &source,
            recipe_dir: Path::new("/"),
            cache_dir: &cache_dir,
        };
        let fetched = match self.fetcher.ensure(&wanted) {
            Err(error) if error.is_absent() => return Ok(None),
            result => result.map_err(|error| {
                Error::package(id, format!("repository `{repository}`: {}", chain(&*error.problem)))
            })?,
        };
        let Content::File { path, .. } = fetched.content else { return Ok(None) };
        let copy = |file: &File| {
            let mut from = File::open(&path).map_err(Error::io("opening", &path))?;
            let mut to = DigestWriter::new(file);
            io::copy(&mut from, &mut to).map_err(Error::io("copying", &path))?;
            let (found, size) = to.finish();
            if found != digest {
                let message = format!("its digest is {found}: expected {digest}");
                return Err(Error::damaged(&path, message));
            }
            Ok((found, size))
        };
        let stored = self.store.put(claim, id, copy)?;
        // It lies in the store now; what stays here costs space and nothing else.
        let _ = fs::remove_dir_all(cache_dir.join(id.as_str()));
        Ok(Some(stored))
    }
}

/// The URL of a repository.
fn url(repository: &str) -> Result<String, Error> {
    if repository.contains("://") {
        return Ok(repository.trim_end_matches('/').to_owned());
    }
    let path = Path::new(repository);
    let path = path.canonicalize().map_err(Error::io("opening", path))?;
    Ok(format!("file://{}", path.display()))
}
