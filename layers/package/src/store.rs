//! Packages that are there, each with the digest that it had when it was made or accepted.
//!
//! The package appears first and its record last, so a package without a record is nobody's: a run was killed,
//! or somebody put it there. It is made again and never believed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader, FileState, Unnamed, json};
use bake_host::{PackageId, PackageName, Variant};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cache::Cache;

/// A package that is there, with the bytes that it had when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: PackageId,
    /// Where it lies.
    pub path: PathBuf,
    /// Digest of the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What lies beside a package.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    digest: Digest,
    size: u64,
    /// The state in which the file has that digest; none that is known until it has its name.
    seen: Option<FileState>,
}

/// The packages of a tree.
#[derive(Clone, Debug)]
pub struct Store {
    cache: Cache,
    paranoid: bool,
}

/// Keeps others from making a package of the same component, until it is dropped.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "holds the lock")] File);

impl Store {
    /// The packages in `cache`; with `paranoid`, files are hashed again however unchanged they look.
    pub fn new(cache: Cache, paranoid: bool) -> Self {
        Self { cache, paranoid }
    }

    /// The package of this id, if it was made or accepted here.
    ///
    /// # Errors
    /// When it is not what it was: damage is told and never mended in silence.
    pub fn find(&self, id: &PackageId) -> Result<Option<Stored>, Error> {
        let (path, at) = (self.cache.package(id), self.cache.record(id));
        let record = match fs::read(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("reading", &at))?,
        };
        let record: Record = serde_json::from_slice(&record)
            .map_err(|error| Error::damaged(&at, format!("it is no record of a package ({error})")))?;
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("opening", &path))?,
        };
        let state = FileState::of(&file).map_err(Error::io("reading", &path))?;
        if self.paranoid || record.seen != Some(state) {
            let (found, _) = DigestReader::new(file).drain().map_err(Error::io("reading", &path))?;
            if found != record.digest {
                let message = format!("its digest is {found}: when it was made it was {}", record.digest);
                return Err(Error::damaged(&path, message));
            }
            // Copied or restored, perhaps. Without a note the next run hashes again and nothing else.
            let _ = write_whole(&at, &Record { seen: Some(state), ..record });
        }
        let Record { digest, size, .. } = record;
        Ok(Some(Stored { id: id.clone(), path, digest, size }))
    }

    /// Waits until nobody else makes a package of this component, and keeps it so.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn claim(&self, name: &PackageName) -> Result<Claim, Error> {
        let path = self.cache.lock(name);
        let directory = self.cache.component(name);
        fs::create_dir_all(&directory).map_err(Error::io("making", &directory))?;
        let options = File::options().create(true).truncate(false).write(true).open(&path);
        let file = options.map_err(Error::io("opening", &path))?;
        file.lock().map_err(Error::io("locking", &path))?;
        Ok(Claim(file))
    }

    /// Takes in a package that `write` writes to an empty file and gives the digest and length of.
    ///
    /// # Errors
    /// When it cannot be written; then there is none.
    pub fn put(
        &self,
        _claim: &Claim,
        id: &PackageId,
        write: impl FnOnce(&File) -> Result<(Digest, u64), Error>,
    ) -> Result<Stored, Error> {
        let (path, at) = (self.cache.package(id), self.cache.record(id));
        let unnamed = Unnamed::new(&self.cache.component(&id.name())).map_err(Error::io("writing", &path))?;
        let (digest, size) = write(unnamed.file())?;
        unnamed.file().sync_all().map_err(Error::io("writing", &path))?;
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", &at)(error));
            }
            _ => {}
        }
        unnamed.name(&path).map_err(Error::io("naming", &path))?;
        // Only now: a name changes the state.
        let seen = FileState::of(unnamed.file()).ok();
        write_whole(&at, &Record { digest, size, seen })?;
        Ok(Stored { id: id.clone(), path, digest, size })
    }

    /// Notes that this is the id that was last built of a variant.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn set_latest(&self, id: &PackageId, variant: &Variant) -> Result<(), Error> {
        let path = self.cache.latest(&id.name(), variant);
        if fs::read(&path).is_ok_and(|there| there == id.as_str().as_bytes()) {
            return Ok(());
        }
        write_bytes(&path, id.as_str().as_bytes())
    }
}

fn write_whole(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = json::to_canonical(value).map_err(|error| Error::io("writing", path)(error.into()))?;
    write_bytes(path, &bytes)
}

/// Writes a small file that appears whole or not at all; its directory exists.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || {
        let unnamed = Unnamed::new(directory)?;
        (&**unnamed.file()).write_all(bytes)?;
        unnamed.file().sync_all()?;
        unnamed.name(path)
    };
    write().map_err(Error::io("writing", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, id: &PackageId, text: &str) -> Stored {
        let claim = store.claim(&id.name()).unwrap();
        let write = |mut file: &File| {
            file.write_all(text.as_bytes()).unwrap();
            Ok((Digest::of(text.as_bytes()), text.len() as u64))
        };
        store.put(&claim, id, write).unwrap()
    }

    #[test]
    fn a_package_is_found_as_it_was_put() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, id) = (Cache::of(scratch.path()), "zlib--1".parse().unwrap());
        let store = Store::new(cache.clone(), false);
        assert_eq!(store.find(&id).unwrap(), None);
        let stored = put(&store, &id, "bytes");
        assert_eq!(store.find(&id).unwrap(), Some(stored.clone()));
        assert_eq!(Store::new(cache.clone(), true).find(&id).unwrap(), Some(stored.clone()));
        // Copied to another machine: another state, the same bytes.
        fs::copy(&stored.path, scratch.path().join("copy")).unwrap();
        fs::rename(scratch.path().join("copy"), &stored.path).unwrap();
        assert_eq!(store.find(&id).unwrap(), Some(stored));
        store.set_latest(&id, &Variant::default()).unwrap();
        assert_eq!(fs::read_to_string(cache.latest(&id.name(), &Variant::default())).unwrap(), "zlib--1");
    }

    #[test]
    fn a_package_without_a_record_is_nobodys() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, id): (_, PackageId) = (Cache::of(scratch.path()), "zlib--1".parse().unwrap());
        fs::create_dir_all(cache.component(&id.name())).unwrap();
        fs::write(cache.package(&id), "from somewhere").unwrap();
        let store = Store::new(cache, false);
        assert_eq!(store.find(&id).unwrap(), None);
        let stored = put(&store, &id, "made here");
        assert_eq!(fs::read_to_string(stored.path).unwrap(), "made here");
    }

    #[test]
    fn damage_is_told_and_not_mended() {
        let scratch = tempfile::tempdir().unwrap();
        let (cache, id) = (Cache::of(scratch.path()), "zlib--1".parse().unwrap());
        let store = Store::new(cache.clone(), false);
        let stored = put(&store, &id, "bytes");
        fs::write(&stored.path, "other").unwrap();
        let error = store.find(&id).unwrap_err().to_string();
        assert!(error.contains("zlib--1.tar.xz") && error.contains("when it was made it was"), "{error}");
        fs::write(cache.record(&id), "{}").unwrap();
        let error = store.find(&id).unwrap_err().to_string();
        assert!(error.contains("zlib--1.json") && error.contains("no record of a package"), "{error}");
    }

    #[test]
    fn one_claims_a_component_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::new(Cache::of(scratch.path()), false);
        let name: PackageName = "zlib".parse().unwrap();
        let claim = store.claim(&name).unwrap();
        let other = File::open(Cache::of(scratch.path()).lock(&name)).unwrap();
        assert!(other.try_lock().is_err());
        drop(claim);
        other.try_lock().unwrap();
    }
}
