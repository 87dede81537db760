//! The packages of a tree that are there.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bake_base::Digest;
use bake_host::{PackageId, PackageName, Variant};

use crate::Error;
use crate::cache::Cache;
use crate::kept::{Place, Record, make_directory, write_bytes};

/// How long to wait until a claim is tried again.
const PATIENCE: Duration = Duration::from_millis(50);

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

/// The packages of a tree.
#[derive(Clone, Debug)]
pub struct Store {
    cache: Cache,
    paranoid: bool,
}

/// Keeps others from making a package of the same component, until it is dropped.
#[derive(Debug)]
pub struct Claim {
    /// The lock goes when the file is closed.
    _lock: File,
}

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
        let place = self.place(id);
        Ok(place.find(self.paranoid)?.map(|record| stored(id, place, record)))
    }

    /// Waits until nobody else makes a package of this component, and keeps it so.
    ///
    /// # Errors
    /// When the cache cannot be written, or `stop` is set meanwhile.
    pub fn claim(&self, name: &PackageName, stop: &AtomicBool) -> Result<Claim, Error> {
        loop {
            if let Some(claim) = self.try_claim(name)? {
                return Ok(claim);
            }
            // Whoever waits in the kernel hears of no signal, and others may build for hours.
            if stop.load(Ordering::SeqCst) {
                return Err(Error::io("locking", &self.cache.lock(name))(io::ErrorKind::Interrupted.into()));
            }
            thread::sleep(PATIENCE);
        }
    }

    /// The claim, unless somebody has it.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn try_claim(&self, name: &PackageName) -> Result<Option<Claim>, Error> {
        let path = self.cache.lock(name);
        make_directory(&self.cache.component(name))?;
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(Error::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::io("locking", &path)(error)),
        }
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
        let place = self.place(id);
        let record = place.put(std::collections::BTreeMap::new(), write)?;
        Ok(stored(id, place, record))
    }

    /// Takes a package out again, that of a variant.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn withdraw(&self, _claim: &Claim, id: &PackageId, variant: &Variant) -> Result<(), Error> {
        let latest = self.cache.latest(&id.name(), variant);
        let place = self.place(id);
        let is_latest = fs::read(&latest).is_ok_and(|there| there == id.as_str().as_bytes());
        // The record first: without it the package is nobody's.
        for path in
            [Some(&place.record), Some(&place.file), is_latest.then_some(&latest)].into_iter().flatten()
        {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("removing", path)(error));
                }
                _ => {}
            }
        }
        Ok(())
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

    fn place(&self, id: &PackageId) -> Place {
        Place { file: self.cache.package(id), record: self.cache.record(id) }
    }
}

fn stored(id: &PackageId, place: Place, record: Record) -> Stored {
    Stored { id: id.clone(), path: place.file, digest: record.digest, size: record.size }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn put(store: &Store, id: &PackageId, text: &str) -> Stored {
        let claim = store.claim(&id.name(), &AtomicBool::new(false)).unwrap();
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
        assert!(error.contains("zlib--1.json") && error.contains("no record of a file"), "{error}");
    }

    #[test]
    fn one_claims_a_component_at_a_time() {
        let scratch = tempfile::tempdir().unwrap();
        let store = Store::new(Cache::of(scratch.path()), false);
        let name: PackageName = "zlib".parse().unwrap();
        let claim = store.claim(&name, &AtomicBool::new(false)).unwrap();
        let other = File::open(Cache::of(scratch.path()).lock(&name)).unwrap();
        assert!(other.try_lock().is_err());
        let error = store.claim(&name, &AtomicBool::new(true)).unwrap_err().to_string();
        assert!(error.contains("locking"), "{error}");
        drop(claim);
        other.try_lock().unwrap();
    }
}
