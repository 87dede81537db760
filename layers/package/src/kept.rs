//! Files that are kept between runs, each with a record of what it was when it was made.
//!
//! The file appears first and its record last, so a file without a record is nobody's: a run was killed, or
//! somebody put it there. It is made again and never believed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader, FileState, Unnamed, json};
use bake_host::PackageId;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What lies beside a file that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// Digest of the file.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The packages that it was made from, with their digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made_from: BTreeMap<PackageId, Digest>,
    /// The state in which the file has that digest; none that is known until it has its name.
    seen: Option<FileState>,
}

/// Where a file and its record lie.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub file: PathBuf,
    pub record: PathBuf,
}

impl Place {
    /// What is there, with the digest that it had when it was made. The file is hashed again unless it looks
    /// unchanged, and always if `paranoid`.
    pub fn find(&self, paranoid: bool) -> Result<Option<Record>, Error> {
        let (path, at) = (&self.file, &self.record);
        let record = match fs::read(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("reading", at))?,
        };
        let record: Record = serde_json::from_slice(&record)
            .map_err(|error| Error::damaged(at, format!("it is no record of a file ({error})")))?;
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(Error::io("opening", path))?,
        };
        let state = FileState::of(&file).map_err(Error::io("reading", path))?;
        if !paranoid && record.seen == Some(state) {
            return Ok(Some(record));
        }
        let (found, _) = DigestReader::new(file).drain().map_err(Error::io("reading", path))?;
        if found != record.digest {
            let message = format!("its digest is {found}: when it was made it was {}", record.digest);
            return Err(Error::damaged(path, message));
        }
        let record = Record { seen: Some(state), ..record };
        // Copied or restored, perhaps. Without a note the next run hashes again and nothing else.
        let _ = write_json(at, &record);
        Ok(Some(record))
    }

    /// Keeps what `write` writes to an empty file and gives the digest and length of.
    pub fn put(
        &self,
        made_from: BTreeMap<PackageId, Digest>,
        write: impl FnOnce(&File) -> Result<(Digest, u64), Error>,
    ) -> Result<Record, Error> {
        let (path, at) = (&self.file, &self.record);
        let unnamed = Unnamed::new(parent(path)).map_err(Error::io("writing", path))?;
        let (digest, size) = write(unnamed.file())?;
        unnamed.file().sync_all().map_err(Error::io("writing", path))?;
        match fs::remove_file(at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("removing", at)(error));
            }
            _ => {}
        }
        unnamed.name(path).map_err(Error::io("naming", path))?;
        // Only now: a name changes the state.
        let seen = FileState::of(unnamed.file()).ok();
        let record = Record { digest, size, made_from, seen };
        write_json(at, &record)?;
        Ok(record)
    }
}

/// Writes a small document that appears whole or not at all; its directory exists.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let bytes = json::to_canonical(value).map_err(|error| Error::io("writing", path)(error.into()))?;
    write_bytes(path, &bytes)
}

/// Writes a small file that appears whole or not at all; its directory exists.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        let unnamed = Unnamed::new(parent(path))?;
        (&**unnamed.file()).write_all(bytes)?;
        unnamed.file().sync_all()?;
        unnamed.name(path)
    };
    write().map_err(Error::io("writing", path))
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("making", path))
}

/// Makes a directory that nobody else looks into, and those above it.
pub(crate) fn make_private_directory(path: PathBuf) -> Result<PathBuf, Error> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(Error::io("making", &path))?;
    Ok(path)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
