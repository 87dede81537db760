//! How a generation gets to its directory: written beside it, on disk, and there by one rename.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::{extract_at, remove_tree_at};
use bake_tree::ValidTree;
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use super::leave::{UNFINISHED, discard};
use crate::generation::{GENERATIONS, Number};
use crate::host::Host;
use crate::{Failure, place};

/// Writes generation `number`, whole and on disk.
pub(super) fn stage(host: &Host, number: Number, tree: &ValidTree) -> Result<(), Failure> {
    let generations = host.directory(GENERATIONS)?;
    let staged = format!(".{number}{UNFINISHED}");
    let shown = host.shown(&format!("{GENERATIONS}/{staged}"));
    let made = make(&generations, staged.as_bytes()).map_err(Failure::io("making", &shown));
    let written = made.and_then(|stage| {
        let handle = rustix::io::fcntl_dupfd_cloexec(&stage, 0).map_err(Failure::io("opening", &shown))?;
        extract_at(tree, &shown, handle).map_err(|error| Failure::of(&error))?;
        rustix::fs::syncfs(&stage).map_err(Failure::io("syncing", &shown))?;
        rustix::fs::renameat(&generations, &staged, &generations, number.to_string())
            .map_err(Failure::io("renaming", &shown))
    });
    if written.is_err() {
        // The first failure is the one to tell, and the next change removes what is left.
        let _ = remove_tree_at(&generations, OsStr::new(&staged), Path::new(&shown));
        return written;
    }
    let synced = rustix::fs::fsync(&generations).map_err(Failure::io("syncing", host.shown(GENERATIONS)));
    synced.inspect_err(|_| drop(discard(host, GENERATIONS, &number.to_string())))
}

fn make(generations: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(generations, OsStr::from_bytes(name), Mode::from_raw_mode(0o700))?;
    let stage = place::enter(generations, name)?;
    if place::is_superuser() {
        rustix::fs::fchown(&stage, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    Ok(stage)
}
