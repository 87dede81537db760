//! A copy of a recipe's directory as builds see it: what was hashed, and the same on every machine.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Entry, RecipeFiles, executable, hash, open};
use crate::EPOCH;

/// A recipe's directory that could not be copied as it was hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Somebody writes there.
    #[error("`{}` has changed since it was read: run it again when nobody edits it", .0.display())]
    Changed(PathBuf),
    /// The operating system refused.
    #[error("{action} `{}` failed", path.display())]
    Io {
        /// What was tried, such as `reading`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl SnapshotError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl RecipeFiles {
    /// Makes the directory `into` and writes into it what was listed: files of mode 0644 or 0755, everything
    /// dated [`EPOCH`].
    ///
    /// # Errors
    /// When `into` exists, when it cannot be written, and when a file is not what it was when it was listed.
    pub fn snapshot(&self, into: &Path) -> Result<(), SnapshotError> {
        directory(into)?;
        for (path, entry) in self.entries() {
            let (from, to) = (self.directory().join(path), into.join(path));
            match entry {
                Entry::Directory => directory(&to)?,
                Entry::File { executable, size, sha256 } => {
                    let (file, found) = copy(&from, &to, *size)?;
                    if found != (*executable, *size, *sha256) {
                        return Err(SnapshotError::Changed(from));
                    }
                    finish(&file, *executable).map_err(SnapshotError::io("writing", &to))?;
                }
                Entry::Link { target } => {
                    let found = fs::read_link(&from).map_err(changed(&from))?;
                    if found != Path::new(target) {
                        return Err(SnapshotError::Changed(from));
                    }
                    symlink(target, &to).map_err(SnapshotError::io("writing", &to))?;
                    date(&to).map_err(SnapshotError::io("dating", &to))?;
                }
            }
        }
        // What is written into a directory dates it anew, so they come last.
        let directories = self.entries().iter().filter(|(_, entry)| **entry == Entry::Directory);
        for to in directories.map(|(path, _)| into.join(path)).chain([into.to_owned()]) {
            date(&to).map_err(SnapshotError::io("dating", &to))?;
        }
        Ok(())
    }
}

/// Files that are no more, or are something else now, have changed.
fn changed(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| match Errno::from_io_error(&source) {
        Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::INVAL) | None => {
            SnapshotError::Changed(path)
        }
        Some(_) => SnapshotError::Io { action: "reading", path, source },
    }
}

type State = (bool, u64, bake_base::Digest);

fn copy(from: &Path, to: &Path, size: u64) -> Result<(File, State), SnapshotError> {
    let parent = from.parent().unwrap_or(Path::new(""));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty());
    let parent = parent.map_err(io::Error::from).map_err(changed(from))?;
    let (mut source, stat) = open(&parent, from.file_name().unwrap_or_default()).map_err(changed(from))?;
    let mut file = File::create_new(to).map_err(SnapshotError::io("creating", to))?;
    let (size, sha256) = hash(&mut source, size, &mut file).map_err(SnapshotError::io("copying", from))?;
    Ok((file, (executable(&stat), size, sha256)))
}

/// A new directory of mode 0755, whatever the umask.
fn directory(path: &Path) -> Result<(), SnapshotError> {
    fs::create_dir(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .map_err(SnapshotError::io("creating", path))
}

fn finish(file: &File, executable: bool) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
    Ok(rustix::fs::futimens(file, &times())?)
}

fn date(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::utimensat(CWD, path, &times(), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times() -> Timestamps {
    let time = Timespec { tv_sec: EPOCH.timestamp().seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}
