//! What a host no longer needs: old generations, packages and changed files that no generation refers to, and what
//! runs that were killed have left.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_archive::open_directory_at;
use bake_tree::{Member, MemberKind};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use serde::Serialize;

use crate::activate::{leave, previous};
use crate::generation::{GENERATIONS, Number, OVERRIDES, PACKAGES};
use crate::host::{Host, Lock};
use crate::{Failure, PackageId, overrides, place};

/// What goes, or went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Garbage {
    /// Generations.
    pub generations: BTreeSet<Number>,
    /// Packages.
    pub packages: BTreeSet<PackageId>,
    /// Copies of files that an operator has changed, relative to the install root.
    pub overrides: BTreeSet<String>,
    /// What runs that were killed have left, relative to the install root.
    pub leftovers: Vec<String>,
}

impl Garbage {
    /// Everything, a line each.
    pub fn lines(&self) -> Vec<String> {
        let generations = self.generations.iter().map(|number| number.directory());
        let packages = self.packages.iter().map(|id| format!("{PACKAGES}/{id}"));
        generations.chain(packages).chain(self.overrides.clone()).chain(self.leftovers.clone()).collect()
    }
}

/// Finds what nobody needs who may go back `keep` generations.
///
/// # Errors
/// When something cannot be read.
pub fn find(host: &Host, keep: usize) -> Result<Garbage, Failure> {
    let mut kept = vec![host.current()?];
    for _ in 0..keep {
        match kept.last().map(|last| previous(host, last)).transpose()?.flatten() {
            Some(number) => kept.push(host.present(number)?),
            None => break,
        }
    }
    let numbers: BTreeSet<Number> = kept.iter().map(|present| present.number).collect();
    let active: BTreeSet<&PackageId> =
        kept.iter().flat_map(|present| present.generation.active.keys()).collect();
    let changed = kept.iter().flat_map(|present| overrides::each(&present.generation.overrides));
    let changed: BTreeSet<String> =
        changed.map(|(name, id, path)| format!("{OVERRIDES}/{name}/{id}/{path}")).collect();
    Ok(Garbage {
        generations: host.generations()?.into_iter().filter(|number| !numbers.contains(number)).collect(),
        packages: host.packages()?.into_iter().filter(|id| !active.contains(id)).collect(),
        overrides: copies(host)?.into_iter().filter(|path| !changed.contains(path)).collect(),
        leftovers: leave::leftovers(host)?,
    })
}

/// Takes away what [`find`] finds: generations before the packages that they refer to, each in one step.
///
/// # Errors
/// When something cannot be read or removed; what was removed until then is gone.
pub fn collect(host: &Host, _lock: &Lock, keep: usize) -> Result<Garbage, Failure> {
    let garbage = find(host, keep)?;
    leave::clear_leftovers(host)?;
    for number in &garbage.generations {
        leave::discard(host, GENERATIONS, &number.to_string())?;
    }
    for path in &garbage.overrides {
        unlink(host, path)?;
    }
    remove_empty(host)?;
    for id in &garbage.packages {
        leave::discard(host, PACKAGES, id.as_str())?;
    }
    Ok(garbage)
}

/// Everything but directories in `overrides`, relative to the install root.
fn copies(host: &Host) -> Result<Vec<String>, Failure> {
    let files = members(host)?.into_iter().filter(|member| !matches!(member.kind, MemberKind::Directory));
    Ok(files.map(|member| format!("{OVERRIDES}/{}", shown(&member))).collect())
}

fn shown(member: &Member) -> String {
    String::from_utf8_lossy(member.path.as_bytes()).into_owned()
}

fn members(host: &Host) -> Result<Vec<Member>, Failure> {
    let label = host.shown(OVERRIDES);
    let directory = match place::enter(&host.home, OVERRIDES.as_bytes()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        result => result.map_err(Failure::io("opening", &label))?,
    };
    let opened = open_directory_at(&label, directory).map_err(|error| Failure::of(&error))?;
    Ok(opened.layers.into_iter().flat_map(|(members, _)| members).collect())
}

fn unlink(host: &Host, path: &str) -> Result<(), Failure> {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let directory = host.directory(parent)?;
    rustix::fs::unlinkat(&directory, name, AtFlags::empty())
        .map_err(Failure::io("removing", host.shown(path)))
}

/// Takes directories of `overrides` away that hold nothing any more, the deepest first.
fn remove_empty(host: &Host) -> Result<(), Failure> {
    let directories =
        members(host)?.into_iter().filter(|member| matches!(member.kind, MemberKind::Directory));
    let mut paths: Vec<_> = directories.map(|member| member.path).collect();
    paths.sort();
    for path in paths.into_iter().rev() {
        let below = place::path(OVERRIDES);
        let path = path.components().fold(below, |at, name| at.join(name));
        let (parent, name) = path.split().expect("it has a name");
        let parent = if parent.is_root() { ".".into() } else { String::from_utf8_lossy(parent.as_bytes()) };
        let directory = host.directory(&parent)?;
        match rustix::fs::unlinkat(&directory, OsStr::from_bytes(name), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => {
                let path = String::from_utf8_lossy(path.as_bytes());
                return Err(Failure::io("removing", host.shown(&path))(error));
            }
        }
    }
    Ok(())
}
