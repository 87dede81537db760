//! An operator changes files of packages in a live system: `pkgpanda edit`.
//!
//! The store is never written to. The first edit of a file writes a copy of it, whole and synced, and makes a
//! generation that leads there, so that a rollback undoes it; later edits replace the copy by a rename. A run that
//! is killed leaves a copy that no generation knows, or the start of one: both are leftovers for `gc`.

mod copy;
mod effects;
mod target;

use std::io::Read;

use serde::Serialize;

use crate::activate::{self, Stop, Wanted};
use crate::generation::{Number, OVERRIDES, PACKAGES};
use crate::host::{Host, Lock, Present};
use crate::overrides::{self, LOCAL};
use crate::{Failure, PackageId, ROOT, unit};

pub use copy::{Draft, LIMIT};
pub use target::Target;

/// What has become of an edit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edited {
    /// Whose file it is.
    pub package: PackageId,
    /// The file, relative to the package.
    pub path: String,
    /// What the override is called; none if there is none any more.
    pub name: Option<String>,
    /// The copy, as the host names it.
    pub copy: String,
    /// The generation that is current now.
    pub generation: Number,
    /// The services of the package.
    pub restart: Vec<String>,
    /// Whether it is a unit. systemd reads those from `/run`: whoever changes the copy runs `pkgpanda setup` too.
    pub unit: bool,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// An override that the current generation has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listed {
    /// What the override is called.
    pub name: String,
    /// Whose file it is of.
    pub package: PackageId,
    /// The file, relative to the package.
    pub path: String,
    /// The copy, as the host names it.
    pub copy: String,
}

/// Every override of a generation.
pub fn list(present: &Present) -> Vec<Listed> {
    let listed = |(name, package, path): (&str, &PackageId, &str)| Listed {
        name: name.to_owned(),
        package: package.clone(),
        path: path.to_owned(),
        copy: shown(name, package, path),
    };
    overrides::each(&present.generation.overrides).map(listed).collect()
}

/// Makes a file one that an operator may change: with `content`, or as it is now. `keep` names the override;
/// without it, a new one is [`LOCAL`] and one that is there keeps its name.
///
/// # Errors
/// When the file cannot be copied, or the generation that leads to the copy cannot be made. The host is what it was
/// then, but for a message that says otherwise.
pub fn edit(
    host: &Host,
    lock: &Lock,
    target: &Target,
    keep: Option<&str>,
    content: Option<&mut dyn Read>,
    say: &mut dyn FnMut(String),
) -> Result<Edited, Failure> {
    let present = host.current()?;
    let Target { package, path } = target;
    // Somebody may have activated another version while an editor was open.
    if !present.generation.active.contains_key(package) {
        return Err(Failure::new(format!("`{package}` is not active: expected a file of an active package")));
    }
    let was = overrides::name_of(&present.generation.overrides, package, path);
    let name = keep.or(was).unwrap_or(LOCAL).to_owned();
    overrides::copy(&name, package, path)?;
    let source = copy::Source::open(host, was, target)?;
    let mut notes = Vec::new();
    match content {
        Some(content) => copy::write(host, &name, target, source.mode(), content)?,
        None if was == Some(name.as_str()) && !source.is_lost() => {}
        None => {
            if source.is_lost() {
                notes.push("the copy was lost: the new one holds what the package has".to_owned());
            }
            copy::write(host, &name, target, source.mode(), &mut source.into_reader())?;
        }
    }
    let mut wanted = Wanted::of(&present);
    if was != Some(name.as_str()) {
        if let Some(was) = was {
            overrides::remove(&mut wanted.overrides, was, package, path);
        }
        overrides::insert(&mut wanted.overrides, &name, package, path);
    }
    let edited = lead(host, lock, target, Some(name), &present, &wanted, say)?;
    notes.extend(edited.notes);
    Ok(Edited { notes, ..edited })
}

/// Undoes an edit: the file is again that of the package. The copy stays for generations that have it, until `gc`.
///
/// # Errors
/// When there is no override of the file, or the generation without it cannot be made.
pub fn drop(
    host: &Host,
    lock: &Lock,
    target: &Target,
    say: &mut dyn FnMut(String),
) -> Result<Edited, Failure> {
    let present = host.current()?;
    let Target { package, path } = target;
    let Some(was) = overrides::name_of(&present.generation.overrides, package, path) else {
        return Err(Failure::new(format!(
            "`{path}` of `{package}` is what the package has: expected one of `pkgpanda edit --list`"
        )));
    };
    let mut wanted = Wanted::of(&present);
    overrides::remove(&mut wanted.overrides, was, package, path);
    lead(host, lock, target, None, &present, &wanted, say)
}

/// Makes the generation that is wanted, if it is another one, and says what it means.
fn lead(
    host: &Host,
    lock: &Lock,
    target: &Target,
    name: Option<String>,
    present: &Present,
    wanted: &Wanted,
    say: &mut dyn FnMut(String),
) -> Result<Edited, Failure> {
    let Target { package, path } = target;
    let same = *wanted == Wanted::of(present);
    // What is the same already is only derived anew, which is what a unit needs whose text has changed.
    let changed = if same && !is_unit(path) {
        None
    } else {
        let silent: &mut dyn FnMut(String) = &mut |_| {};
        Some(activate::change(host, lock, wanted, Stop::Gone, if same { silent } else { say })?)
    };
    let number = changed.as_ref().map_or(present.number, |changed| changed.number);
    let mut notes = changed.map(|changed| changed.notes).unwrap_or_default();
    if name.is_some() {
        notes.extend(effects::past(host, &wanted.overrides, target)?);
    }
    let was = overrides::name_of(&present.generation.overrides, package, path);
    let copy = shown(name.as_deref().or(was).unwrap_or(LOCAL), package, path);
    Ok(Edited {
        package: package.clone(),
        path: path.clone(),
        copy,
        name,
        generation: number,
        restart: effects::services(host, number, package)?,
        unit: is_unit(path),
        notes,
    })
}

fn is_unit(path: &str) -> bool {
    path.split('/').next().is_some_and(|first| first.starts_with(unit::WANTS))
}

/// A copy, as the host names it.
fn shown(name: &str, package: &PackageId, path: &str) -> String {
    format!("{ROOT}/{OVERRIDES}/{name}/{package}/{path}")
}

/// A file of the store, as the host names it.
fn shown_original(package: &PackageId, path: &str) -> String {
    format!("{ROOT}/{PACKAGES}/{package}/{path}")
}
