//! How a generation gets to its directory: written beside it, on disk, and there by one rename. It leaves the same
//! way, so that nothing that has a number is ever in pieces.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::{extract_at, remove_tree_at};
use bake_base::names;
use bake_tree::ValidTree;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use crate::generation::{GENERATIONS, Number, PACKAGES};
use crate::host::Host;
use crate::{Failure, place};

/// What names of unfinished things end in; they begin with a dot.
const UNFINISHED: &str = ".unfinished";

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
    synced.inspect_err(|_| drop(discard(host, number)))
}

fn make(generations: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(generations, OsStr::from_bytes(name), Mode::from_raw_mode(0o700))?;
    let stage = place::enter(generations, name)?;
    if place::is_superuser() {
        rustix::fs::fchown(&stage, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    Ok(stage)
}

/// Takes a generation away that is not current.
pub(crate) fn discard(host: &Host, number: Number) -> Result<(), Failure> {
    discard_from(host, GENERATIONS, &number.to_string())
}

/// Takes the directory `name` of `parent` away, a directory of the install root: first its name, then what it holds.
pub(crate) fn discard_from(host: &Host, parent: &str, name: &str) -> Result<(), Failure> {
    let directory = host.directory(parent)?;
    let shown = host.shown(&format!("{parent}/{name}"));
    let gone = format!(".{name}{UNFINISHED}");
    let renamed = (|| {
        rustix::fs::renameat(&directory, name, &directory, &gone)?;
        rustix::fs::fsync(&directory)
    })();
    renamed.map_err(Failure::io("removing", &shown))?;
    let removed = remove_tree_at(&directory, OsStr::new(&gone), Path::new(&shown));
    removed.map_err(|error| Failure::of(&error))
}

/// Takes away what runs that were killed have left, and says what.
pub(crate) fn clear_leftovers(host: &Host) -> Result<Vec<String>, Failure> {
    let mut cleared = Vec::new();
    for leftover in leftovers(host)? {
        let (parent, name) = leftover.rsplit_once('/').unwrap_or((".", &leftover));
        let shown = host.shown(&leftover);
        let directory = host.directory(parent)?;
        let stat = place::stat(&directory, name.as_bytes()).map_err(Failure::io("reading", &shown))?;
        match stat.as_ref().map(place::kind) {
            None => continue,
            Some(FileType::Directory) => {
                remove_tree_at(&directory, OsStr::new(name), Path::new(&shown))
                    .map_err(|error| Failure::of(&error))?;
            }
            Some(_) => rustix::fs::unlinkat(&directory, name, AtFlags::empty())
                .map_err(Failure::io("removing", &shown))?,
        }
        cleared.push(leftover);
    }
    Ok(cleared)
}

/// What runs that were killed have left in the install root, relative to it.
pub(crate) fn leftovers(host: &Host) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for parent in [".", GENERATIONS, PACKAGES] {
        let directory = host.directory(parent)?;
        let names = names(&directory).map_err(Failure::io("reading", host.shown(parent)))?;
        let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let unfinished = names.filter(|name| name.starts_with('.') && name.ends_with(UNFINISHED));
        found.extend(unfinished.map(|name| if parent == "." { name } else { format!("{parent}/{name}") }));
    }
    Ok(found)
}
