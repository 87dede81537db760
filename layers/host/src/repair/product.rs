//! Where the document of a product is had from: another generation, or the serve directory that it came from, by the
//! digest that the record vouches for.

use std::fs;
use std::path::{Path, PathBuf};

use bake_base::Digest;

use super::source::{Source, Take};
use crate::fetch::Expected;
use crate::files;
use crate::generation::PRODUCT;

/// Where a serve directory has the documents of all its products.
const PRODUCTS: &str = "products";
/// What packages of a configuration have for a version, before its id.
const OF_CONFIGURATION: &str = "setup_";
/// The longest document, in bytes.
const LIMIT: u64 = 64 << 20;

impl Source<'_> {
    /// Has `take` take the document that has this digest.
    pub(super) fn document(&self, sha256: Digest, take: Take) -> Result<(), String> {
        let found = self.of_generations(sha256).map_or_else(|| self.served(sha256), Ok)?;
        take(&mut &found[..]).map_err(|error| error.to_string())
    }

    /// Generations that differ in roles or packages alone have the same.
    fn of_generations(&self, sha256: Digest) -> Option<Vec<u8>> {
        self.host.generations().unwrap_or_default().into_iter().find_map(|number| {
            let directory = self.host.directory(&number.directory()).ok()?;
            let bytes = files::read_at(&directory, PRODUCT.as_bytes(), LIMIT).ok()?;
            (Digest::of(&bytes) == sha256).then_some(bytes)
        })
    }

    fn served(&self, sha256: Digest) -> Result<Vec<u8>, String> {
        let Some(from) = &self.request.from else {
            return self.fetched(sha256).map_err(|why| {
                format!("{why}; give --from with the serve directory that the host was installed from")
            });
        };
        let has_it = |path: PathBuf| fs::read(path).ok().filter(|bytes| Digest::of(bytes) == sha256);
        documents(from).into_iter().find_map(has_it).ok_or_else(|| {
            let (from, one) = (from.display(), from.join(PRODUCTS));
            format!(
                "`{from}` has no document with sha256 {sha256}: expected it among `{}`; give --from with the serve \
                 directory that the host was installed from",
                one.display()
            )
        })
    }

    fn fetched(&self, sha256: Digest) -> Result<Vec<u8>, String> {
        let id_of = |version: &str| version.strip_prefix(OF_CONFIGURATION).map(str::to_owned);
        let found = self.active.iter().find_map(|id| Some((*id, id_of(id.version().as_str())?)));
        let (id, config_id) = found.ok_or("no active package says which configuration it is of")?;
        let expected = Expected { sha256: Some(sha256), size: None };
        let part = self.fetch_as(&format!("{PRODUCTS}/{config_id}.json"), id, expected);
        let part = part.map_err(|failure| failure.to_string())?;
        let bytes = fs::read(part.path()).map_err(|error| error.to_string())?;
        part.remove().map_err(|failure| failure.to_string())?;
        Ok(bytes)
    }
}

/// The documents of a serve directory, the current one first.
fn documents(from: &Path) -> Vec<PathBuf> {
    let mut others: Vec<PathBuf> = fs::read_dir(from.join(PRODUCTS))
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    others.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    others.sort();
    [from.join(PRODUCT)].into_iter().chain(others).collect()
}
