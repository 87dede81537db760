//! How generations and packages leave a host: their names go before what they hold, so that nothing that has the
//! name of one is ever in pieces.

use std::ffi::OsStr;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::names;
use rustix::fs::{AtFlags, FileType};

use crate::generation::{GENERATIONS, PACKAGES};
use crate::host::Host;
use crate::{Failure, place};

/// What names of unfinished things end in; they begin with a dot.
pub(crate) const UNFINISHED: &str = ".unfinished";

/// Takes the directory `name` of `parent` away, a directory of the install root: first its name, then what it holds.
pub(crate) fn discard(host: &Host, parent: &str, name: &str) -> Result<(), Failure> {
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
