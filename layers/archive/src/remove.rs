//! Removing a directory tree that a build may have left in any state.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bake_base::names;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::ArchiveError;
use crate::handle;

/// How many directories are open at once. What lies deeper is moved up to the top and removed from there, because a
/// tree may be deeper than there are handles, and than any path is long.
const DEPTH_MAX: usize = 64;

/// Removes the directory at `path` and everything in it; nothing there is fine. Directories that their owner may not
/// read or change are opened up first. Symbolic links are removed and never followed, and everything is reached
/// through handles, so that nothing outside is touched even if somebody moves directories meanwhile.
///
/// # Errors
/// When `path` is something else than a directory, something in it belongs to another user, or a file system is mounted in it.
/// What has been removed by then is gone.
pub fn remove_tree(path: &Path) -> Result<(), ArchiveError> {
    let label = path.display().to_string();
    let Some(name) = path.file_name() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the path has no last component");
        return Err(ArchiveError::io(&label, "removing")(error));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        result => result.map_err(failed(path, "removing"))?,
    };
    remove_tree_at(&parent, name, path)
}

/// As [`remove_tree`], of `name` in a directory that is open already; messages call it `shown`.
///
/// # Errors
/// As [`remove_tree`].
pub fn remove_tree_at(parent: impl AsFd, name: &OsStr, shown: &Path) -> Result<(), ArchiveError> {
    let (parent, path) = (parent.as_fd(), shown);
    let io = |action| failed(path, action);
    let top = match handle::enter(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        // What openat2(2) says of a symbolic link that is not to be followed.
        Err(Errno::LOOP) => Err(io("removing")(Errno::NOTDIR)),
        result => result.map_err(io("opening")),
    }?;
    let mut removal = Removal { top: &top, moved: 0 };
    loop {
        let moved = removal.moved;
        removal.empty(&top, path, 0)?;
        if removal.moved == moved {
            break;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(io("removing"))
}

struct Removal<'a> {
    top: &'a OwnedFd,
    /// How many directories have been moved to the top.
    moved: u64,
}

impl Removal<'_> {
    /// Removes everything in `directory`, which is `shown` in messages.
    fn empty(&mut self, directory: &OwnedFd, shown: &Path, depth: usize) -> Result<(), ArchiveError> {
        let names = names(directory).map_err(failed(shown, "reading"))?;
        for name in &names {
            let name = OsStr::from_bytes(name);
            match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(Errno::ISDIR | Errno::PERM) if is_directory(directory, name) => {}
                Err(error) => return Err(failed(&shown.join(name), "removing")(error)),
            }
            let shown = shown.join(name);
            let below = handle::enter(directory, name).map_err(failed(&shown, "opening"))?;
            if depth == DEPTH_MAX {
                self.move_up(directory, name).map_err(failed(&shown, "moving"))?;
                continue;
            }
            self.empty(&below, &shown, depth + 1)?;
            let removed = rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR);
            removed.map_err(failed(&shown, "removing"))?;
        }
        Ok(())
    }

    fn move_up(&mut self, directory: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
        loop {
            let to: PathBuf = format!(".deep-{}", self.moved).into();
            self.moved += 1;
            match rustix::fs::renameat_with(directory, name, self.top, &to, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
        }
    }
}

fn is_directory(directory: &OwnedFd, name: &OsStr) -> bool {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn failed(shown: &Path, action: &'static str) -> impl FnOnce(Errno) -> ArchiveError {
    let shown = shown.display().to_string();
    move |error| ArchiveError::io(&shown, action)(error.into())
}

#[cfg(test)]
#[path = "remove/tests.rs"]
mod tests;
