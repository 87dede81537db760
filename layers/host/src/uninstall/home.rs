//! The install root itself goes: first all of it that the removal does not need, at the very end the rest.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::names;
use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, RenameFlags};
use rustix::io::Errno;

use super::outside::remove_directory;
use crate::created::{self, CREATED, REPLACED, Record, drop_parent, unrecord_parent};
use crate::generation::{CURRENT, GENERATIONS, OVERRIDES, PACKAGES, SHOWN};
use crate::host::{HOME, Host, Present};
use crate::place::{self, Root, path};
use crate::{Failure, PackageId, ROOT};

/// What the install root is called when it is all but gone.
pub(super) const GONE: &[u8] = b".mesosphere.removed";
/// What an installation stages, beside its place or inside; and what it moves up from there.
pub(super) const STAGE: &[u8] = b".mesosphere.unfinished";
pub(super) const MOVING: &[u8] = b".mesosphere.moving";
/// The program that goes on, as a name in the install root.
const PROGRAMS: &str = "bin";
/// What else an install root holds. Only these go from a place that stays.
const OWN: [&str; 7] = [CURRENT, GENERATIONS, PACKAGES, OVERRIDES, REPLACED, CREATED, "audit.cache"];

/// Removes everything from the install root that is not needed to go on after a boot.
pub(super) fn thin(host: &Host, present: &Present) -> Result<(), Failure> {
    let needed = [CURRENT, GENERATIONS, PACKAGES, CREATED, REPLACED, PROGRAMS];
    let number = present.number.to_string();
    let programs: Vec<&str> = present.generation.active.keys().map(PackageId::as_str).collect();
    let keep = |needed: &[&str], name: &[u8]| needed.iter().any(|needed| needed.as_bytes() == name);
    let empty = |at: &str, needed: &[&str]| {
        let Ok(directory) = host.directory(at) else { return Ok(()) };
        let shown = host.shown(at);
        let found = names(&directory).map_err(Failure::io("reading", &shown))?;
        let mut going = found.iter().filter(|name| !keep(needed, name));
        going.try_for_each(|name| remove_entry(&directory, name, &shown))
    };
    empty(GENERATIONS, &[&number])?;
    empty(PACKAGES, &programs)?;
    let shown = host.root.shown(&path(HOME));
    let found = names(&host.home).map_err(Failure::io("reading", &shown))?;
    let mut going = found.iter().filter(|name| is_own(name) && !keep(&needed, name));
    going.try_for_each(|name| remove_entry(&host.home, name, &shown))
}

/// Removes what is left of the install root, and what was made for it above. Says what stays.
pub(super) fn leave(
    root: &Root,
    parent: &OwnedFd,
    record: &Record,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let opt = path("opt");
    let shown = root.shown(&opt);
    let io = |action| Failure::io(action, &shown);
    // Of an earlier removal, or of an installation that never was.
    let gone = purge(root, parent, &Record::default())?;
    remove_entry(parent, STAGE, &shown)?;
    let name = HOME.rsplit('/').next().expect("it has a name").as_bytes();
    let Some(stat) = place::stat(parent, name).map_err(io("reading"))? else {
        drop_parent(root, parent);
        if gone {
            say(format!("removed what was left of {ROOT}"));
        }
        return Ok(Vec::new());
    };
    let above = above(root, record)?;
    let mut kept = Vec::new();
    let renamed = if place::kind(&stat) == FileType::Directory {
        let to = OsStr::from_bytes(GONE);
        rustix::fs::renameat_with(parent, OsStr::from_bytes(name), parent, to, RenameFlags::NOREPLACE)
    } else {
        Err(Errno::BUSY)
    };
    match renamed {
        Ok(()) => {
            rustix::fs::fsync(parent).map_err(io("syncing"))?;
            purge(root, parent, record)?;
        }
        Err(Errno::BUSY) => kept.extend(empty(root)?),
        Err(error) => return Err(io("renaming the install root in")(error)),
    }
    say(format!("removed {ROOT}"));
    for directory in above.iter().rev() {
        remove_directory(root, directory)?;
    }
    drop_parent(root, parent);
    Ok(kept)
}

/// Recorded directories that the install root lies in.
fn above(root: &Root, record: &Record) -> Result<Vec<TreePath>, Failure> {
    let home = created::physical(root, &path(HOME).join(CREATED.as_bytes()))?;
    let recorded = record.directories.iter().map(|recorded| created::place_of(recorded));
    Ok(recorded.filter(|at| home.starts_with(at)).collect())
}

/// Removes what was renamed; the record goes last. Says whether there was anything.
fn purge(root: &Root, parent: &OwnedFd, record: &Record) -> Result<bool, Failure> {
    let at = path("opt").join(GONE);
    let shown = root.shown(&at);
    let directory = match place::enter(parent, GONE) {
        Err(Errno::NOENT) => return Ok(false),
        result => result.map_err(Failure::io("opening", &shown))?,
    };
    let found = names(&directory).map_err(Failure::io("reading", &shown))?;
    let mut going = found.iter().filter(|name| name.as_slice() != CREATED.as_bytes());
    going.try_for_each(|name| remove_entry(&directory, name, &shown))?;
    // An earlier run's record is known by its file alone.
    let theirs = if *record == Record::default() { Record::read(root, &at)? } else { record.clone() };
    if theirs.directories.contains("/opt") {
        unrecord_parent(parent).map_err(Failure::io("changing", &shown))?;
    }
    remove_entry(&directory, CREATED.as_bytes(), &shown)?;
    let removed = rustix::fs::unlinkat(parent, OsStr::from_bytes(GONE), AtFlags::REMOVEDIR);
    removed.and_then(|()| rustix::fs::fsync(parent)).map_err(Failure::io("removing", &shown))?;
    Ok(true)
}

/// Empties a place that stays, because it is a mount point or leads to another directory. Only what an installation
/// has goes; says what else is there.
fn empty(root: &Root) -> Result<Vec<String>, Failure> {
    let at = path(HOME);
    let shown = root.shown(&at);
    let Some(directory) = root.find(&at)? else { return Ok(Vec::new()) };
    let found = names(&directory).map_err(Failure::io("reading", &shown))?;
    // Without the first there is no installation; the record goes last.
    remove_entry(&directory, CURRENT.as_bytes(), &shown)?;
    let mut going = found.iter().filter(|name| is_own(name) && name.as_slice() != CREATED.as_bytes());
    going.try_for_each(|name| remove_entry(&directory, name, &shown))?;
    remove_entry(&directory, CREATED.as_bytes(), &shown)?;
    let others = found.iter().filter(|name| !is_own(name) && name.as_slice() != b"lost+found");
    Ok(others.map(|name| format!("{ROOT}/{}: it is not ours", name.escape_ascii())).collect())
}

/// Whether an install root has something of this name.
fn is_own(name: &[u8]) -> bool {
    let unfinished = name.starts_with(b".") && name.ends_with(b".unfinished");
    unfinished || name == MOVING || SHOWN.iter().chain(&OWN).any(|own| own.as_bytes() == name)
}

/// Removes whatever is called so, with everything in it; nothing is fine.
fn remove_entry(directory: &OwnedFd, name: &[u8], shown: &str) -> Result<(), Failure> {
    let shown = format!("{shown}/{}", name.escape_ascii());
    let name = OsStr::from_bytes(name);
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => rustix::fs::fsync(directory).map_err(Failure::io("removing", &shown)),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => {
            remove_tree_at(directory, name, Path::new(&shown)).map_err(|error| Failure::of(&error))?;
            rustix::fs::fsync(directory).map_err(Failure::io("removing", &shown))
        }
        Err(error) => Err(Failure::io("removing", &shown)(error)),
    }
}
