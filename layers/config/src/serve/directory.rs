//! Files of a serve directory: each appears whole or not at all, and stays as it is when it is right.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bake_base::{DigestReader, DigestWriter, Unnamed};
use bake_host::product::PRODUCT;

use super::{Item, Source};
use crate::{Error, artifacts};

/// Keeps two runs apart; empty.
const LOCK: &str = ".lock";
/// What names begin with that a killed run may leave behind where files cannot be unnamed (`bake_base::Unnamed`).
const UNFINISHED: &str = ".unfinished-";

/// A serve directory that nobody else writes to.
pub struct Directory {
    root: PathBuf,
    _lock: File,
    changed: BTreeSet<String>,
    /// Directories with names that may not be on disk yet.
    unsynced: BTreeSet<PathBuf>,
    swept: BTreeSet<PathBuf>,
}

/// How a file that is there compares.
#[derive(PartialEq, Eq)]
enum State {
    Missing,
    Different,
    Same,
}

impl Directory {
    /// Makes the directory if need be and keeps others from writing to it.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let is_new = is_unused(root)?;
        fs::create_dir_all(root).map_err(Error::io("making", root))?;
        if is_new {
            // Whatever the umask of whoever runs this: a web server reads it.
            set_mode(root, 0o755)?;
        }
        let path = root.join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(Error::io("opening", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::wrong(root, "is being written by another run: wait for its end"));
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("locking", &path)(error)),
        }
        set_mode(&path, 0o644)?;
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
            changed: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            swept: BTreeSet::new(),
        })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Has a file that is called after its content.
    pub fn add(&mut self, item: &Item) -> Result<(), Error> {
        let path = self.place(item)?;
        match state(&path, item)? {
            State::Same => Ok(()),
            State::Missing => self.write(&path, item),
            State::Different => {
                let message = format!(
                    "is damaged, or somebody put it there: expected digest {}; remove it and run again",
                    item.sha256
                );
                Err(Error::wrong(&path, message))
            }
        }
    }

    /// Has a file whose content changes.
    pub fn replace(&mut self, item: &Item) -> Result<(), Error> {
        let path = self.place(item)?;
        if state(&path, item)? == State::Same { Ok(()) } else { self.write(&path, item) }
    }

    /// Takes a file away, and its directory when that was the last one there.
    pub fn remove(&mut self, path: &str) -> Result<(), Error> {
        let at = self.root.join(path);
        match fs::remove_file(&at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(Error::io("removing", &at))?,
        }
        self.changed.insert(path.to_owned());
        if let Some(parent) = at.parent().filter(|parent| *parent != self.root) {
            // Somebody else's files may be there.
            let _ = fs::remove_dir(parent);
        }
        Ok(())
    }

    /// Has every name on disk that was given.
    pub fn sync(&mut self) -> Result<(), Error> {
        for directory in std::mem::take(&mut self.unsynced) {
            let synced = File::open(&directory).and_then(|file| file.sync_all());
            synced.map_err(Error::io("writing", &directory))?;
        }
        Ok(())
    }

    /// The paths of files that were written or removed.
    pub fn changed(self) -> Vec<String> {
        self.changed.into_iter().collect()
    }

    /// Where an item goes; its directory is there then, and free of what killed runs left.
    fn place(&mut self, item: &Item) -> Result<PathBuf, Error> {
        let mut directory = self.root.clone();
        let names: Vec<_> = item.path.split('/').collect();
        self.sweep(&directory)?;
        for name in &names[..names.len() - 1] {
            directory.push(name);
            match fs::create_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Error::io("making", &directory)(error));
                }
                Err(_) => refuse_link(&directory)?,
                Ok(()) => {
                    self.unsynced.extend(directory.parent().map(Path::to_owned));
                }
            }
            set_mode(&directory, 0o755)?;
            self.sweep(&directory)?;
        }
        Ok(self.root.join(&item.path))
    }

    fn sweep(&mut self, directory: &Path) -> Result<(), Error> {
        if !self.swept.insert(directory.to_owned()) {
            return Ok(());
        }
        for entry in fs::read_dir(directory).map_err(Error::io("reading", directory))? {
            let path = entry.map_err(Error::io("reading", directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(UNFINISHED) {
                fs::remove_file(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, path: &Path, item: &Item) -> Result<(), Error> {
        let parent = path.parent().unwrap_or(&self.root);
        let unnamed = Unnamed::new(parent).map_err(Error::io("writing", path))?;
        let mut out = DigestWriter::new(&**unnamed.file());
        match &item.source {
            Source::Bytes(bytes) => out.write_all(bytes).map_err(Error::io("writing", path))?,
            Source::File(from) => {
                let mut file = File::open(from).map_err(Error::io("opening", from))?;
                io::copy(&mut file, &mut out).map_err(Error::io("copying", from))?;
            }
        }
        let (digest, size) = out.finish();
        if let Source::File(from) = &item.source
            && (digest, size) != (item.sha256, item.size)
        {
            return Err(artifacts::damaged(from, item.sha256));
        }
        let finish = || {
            unnamed.file().set_permissions(Permissions::from_mode(item.mode))?;
            unnamed.file().sync_all()?;
            unnamed.name(path)
        };
        finish().map_err(Error::io("writing", path))?;
        self.unsynced.insert(parent.to_owned());
        self.changed.insert(item.path.clone());
        Ok(())
    }
}

/// Whether there is nothing in a directory yet. What somebody else has put there is left alone: another run's
/// lock or product says that it is a serve directory.
fn is_unused(root: &Path) -> Result<bool, Error> {
    let mut entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        result => result.map_err(Error::io("reading", root))?,
    };
    if [LOCK, PRODUCT].iter().any(|name| root.join(name).is_file()) {
        return Ok(false);
    }
    // The top of a file system may hold that.
    let first = entries.find(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != "lost+found"));
    let Some(first) = first.transpose().map_err(Error::io("reading", root))? else { return Ok(true) };
    let name = first.file_name();
    let message = format!("holds `{}` and is no serve directory: name a new or an empty one", name.display());
    Err(Error::wrong(root, message))
}

/// A link would have files written to elsewhere.
fn refuse_link(directory: &Path) -> Result<(), Error> {
    let metadata = fs::symlink_metadata(directory).map_err(Error::io("reading", directory))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(Error::wrong(directory, "is no directory: remove it and run again"))
}

/// What is at the place of an item; permissions of a file that is right are mended.
fn state(path: &Path, item: &Item) -> Result<State, Error> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::Missing),
        result => result.map_err(Error::io("reading", path))?,
    };
    if metadata.is_dir() {
        return Err(Error::wrong(path, "is a directory: expected a file; remove it and run again"));
    }
    if !metadata.is_file() || metadata.len() != item.size {
        return Ok(State::Different);
    }
    let file = File::open(path).map_err(Error::io("opening", path))?;
    let (digest, _) = DigestReader::new(file).drain().map_err(Error::io("reading", path))?;
    if digest != item.sha256 {
        return Ok(State::Different);
    }
    set_mode(path, item.mode)?;
    Ok(State::Same)
}

/// Gives a file or directory its permissions, unless it has them.
fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(Error::io("reading", path))?;
    if metadata.permissions().mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("changing the mode of", path))
}
