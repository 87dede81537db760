//! `/etc/mesosphere/roles`: one empty file for each role of the current generation.
//!
//! It is what an operator or the first boot writes, so a change that is half done must never look like their word:
//! the directory is exchanged for a new one in one step, and where the file system cannot do that (an overlay whose
//! directory lies below), a mark says that it is not to be read until all is done.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::names;
use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::generation::CURRENT;
use crate::host::Host;
use crate::place::{self, Root};
use crate::{Failure, Role, integration};

/// The directory's own name, and that of the one which takes its place; within, the latter is the mark.
const NAME: &str = "roles";
const STAGE: &str = ".roles.unfinished";

/// What the directory says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The roles.
    pub roles: BTreeSet<Role>,
    /// Names that are no roles. Hidden ones are nobody's business.
    pub others: Vec<String>,
    /// Whether this program is changing it, or was: then it says nothing else.
    pub is_unfinished: bool,
}

/// Reads the directory; a change that was not finished says nothing.
pub(crate) fn named(root: &Root) -> Result<Named, Failure> {
    let mut named = Named::default();
    let at = place::path(integration::ROLES);
    let Some(directory) = root.find(&at)? else { return Ok(named) };
    let there = names(&directory).map_err(Failure::io("reading", root.shown(&at)))?;
    if there.iter().any(|name| name == STAGE.as_bytes()) {
        return Ok(Named { is_unfinished: true, ..named });
    }
    for name in there.iter().filter(|name| !name.starts_with(b".")) {
        match role(name) {
            Some(role) => drop(named.roles.insert(role)),
            None => named.others.push(name.escape_ascii().to_string()),
        }
    }
    Ok(named)
}

/// Whether it is a directory, or nothing yet.
pub(crate) fn check(root: &Root) -> Result<(), Failure> {
    let at = place::path(integration::ROLES);
    let (above, name) = at.split().expect("it has a name");
    let Some(parent) = root.find(&above)? else { return Ok(()) };
    let stat = place::stat(&parent, name).map_err(Failure::io("reading", root.shown(&at)))?;
    match stat.as_ref().map(place::kind) {
        None | Some(FileType::Directory) => Ok(()),
        Some(_) => Err(no_directory(root, &at)),
    }
}

fn no_directory(root: &Root, at: &TreePath) -> Failure {
    Failure::new(format!("`{}` is no directory: put one in its place", root.shown(at)))
}

/// Whether the directory was last written before the current generation became current: then it may say what the host
/// was before, because a run was killed in between.
pub(crate) fn is_behind(host: &Host) -> Result<bool, Failure> {
    let at = place::path(integration::ROLES);
    let Some(directory) = host.root.find(&at)? else { return Ok(false) };
    let written = rustix::fs::fstat(&directory).map_err(Failure::io("reading", host.root.shown(&at)))?;
    let current = place::stat(&host.home, CURRENT.as_bytes());
    let current = current.map_err(Failure::io("reading", host.shown(CURRENT)))?;
    let time = |stat: rustix::fs::Stat| (stat.st_mtime, stat.st_mtime_nsec);
    Ok(current.is_some_and(|current| time(written) <= time(current)))
}

/// Has the directory say nothing until [`mirror`] has written it: what it says is about to be behind.
pub(crate) fn mark(root: &Root) -> Result<(), Failure> {
    let at = place::path(integration::ROLES);
    let Some(directory) = root.find(&at)? else { return Ok(()) };
    let marked = touch(&directory, STAGE).and_then(|()| rustix::fs::fsync(&directory));
    marked.map_err(Failure::io("writing", root.shown(&at)))
}

/// Has the directory name exactly `roles`. What else lies there stays. With `seen`, also roles stay that are neither
/// none nor those: somebody has written them since.
pub(crate) fn mirror(
    root: &Root,
    roles: &BTreeSet<Role>,
    seen: Option<&BTreeSet<Role>>,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let at = place::path(integration::ROLES);
    let (parent, _) = at.split().expect("it has a name");
    if roles.is_empty() && root.find(&parent)?.is_none() {
        return Ok(());
    }
    let io = |error: Errno| Failure::io("writing", root.shown(&at))(error);
    let parent = root.make(&parent)?;
    let there = match place::stat(&parent, NAME.as_bytes()).map_err(io)? {
        None => None,
        Some(stat) if place::kind(&stat) == FileType::Directory => {
            Some(place::enter(&parent, NAME.as_bytes()).map_err(io)?)
        }
        Some(_) => return Err(no_directory(root, &at)),
    };
    clear(&parent, there.as_ref(), root).map_err(io)?;
    let found = match &there {
        Some(directory) => names(directory).map_err(io)?,
        None if roles.is_empty() => return Ok(()),
        None => Vec::new(),
    };
    let half = found.iter().any(|name| name == STAGE.as_bytes());
    let now: BTreeSet<Role> = found.iter().filter_map(|name| role(name)).collect();
    let is_news = seen.is_some_and(|seen| !now.is_empty() && now != *seen);
    if !half && (now == *roles || is_news) {
        return Ok(());
    }
    match exchange(&parent, there.as_ref(), roles) {
        Ok(()) => {
            let now = place::enter(&parent, NAME.as_bytes()).map_err(io)?;
            clear(&parent, Some(&now), root).map_err(io)?;
        }
        // The file system cannot exchange directories.
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
            let directory = there.as_ref().ok_or(Errno::XDEV).map_err(io)?;
            clear(&parent, Some(directory), root).map_err(io)?;
            rewrite(directory, &found, roles).map_err(io)?;
        }
        Err(error) => return Err(io(error)),
    }
    let list = roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
    say(format!("wrote /{}: {}", integration::ROLES, if list.is_empty() { "none" } else { &list }));
    Ok(())
}

/// Makes a directory with `roles` and puts it where the other one is, in one step.
fn exchange(parent: &OwnedFd, there: Option<&OwnedFd>, roles: &BTreeSet<Role>) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, STAGE, Mode::from_raw_mode(0o755))?;
    let stage = place::enter(parent, STAGE.as_bytes())?;
    for role in roles {
        // A role that stays keeps its file.
        let kept = there
            .map(|there| rustix::fs::linkat(there, role.as_str(), &stage, role.as_str(), AtFlags::empty()));
        if !matches!(kept, Some(Ok(()))) {
            touch(&stage, role.as_str())?;
        }
    }
    if let Some(there) = there {
        rustix::fs::fchmod(&stage, Mode::from_raw_mode(rustix::fs::fstat(there)?.st_mode & 0o7777))?;
    }
    rustix::fs::fsync(&stage)?;
    let how = if there.is_some() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(parent, STAGE, parent, NAME, how) {
        Err(Errno::INVAL | Errno::NOSYS) if there.is_none() => {
            rustix::fs::renameat(parent, STAGE, parent, NAME)?;
        }
        result => result?,
    }
    rustix::fs::fsync(parent)
}

/// Changes a directory file by file, with a mark in it for as long as that takes.
fn rewrite(directory: &OwnedFd, found: &[Vec<u8>], roles: &BTreeSet<Role>) -> Result<(), Errno> {
    touch(directory, STAGE)?;
    rustix::fs::fsync(directory)?;
    for role in roles {
        touch(directory, role.as_str())?;
    }
    for gone in found.iter().filter_map(|name| role(name)).filter(|role| !roles.contains(role)) {
        rustix::fs::unlinkat(directory, gone.as_str(), AtFlags::empty())?;
    }
    rustix::fs::fsync(directory)?;
    rustix::fs::unlinkat(directory, STAGE, AtFlags::empty())?;
    rustix::fs::fsync(directory)
}

fn touch(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}

/// Takes away the directory beside the real one: a stage that was never finished, or what was exchanged for it. Of
/// the latter, what is no role moves over first.
fn clear(parent: &OwnedFd, into: Option<&OwnedFd>, root: &Root) -> Result<(), Errno> {
    let old = match place::enter(parent, STAGE.as_bytes()) {
        Err(Errno::NOENT) => return Ok(()),
        result => result?,
    };
    if let Some(into) = into {
        for name in names(&old)?.iter().filter(|name| role(name).is_none() && *name != STAGE.as_bytes()) {
            let name = OsStr::from_bytes(name);
            if place::stat(into, name.as_bytes())?.is_none() {
                rustix::fs::renameat(&old, name, into, name)?;
            }
        }
        rustix::fs::fsync(into)?;
    }
    let at = root.shown(&place::path("etc/mesosphere")) + "/" + STAGE;
    remove_tree_at(parent, OsStr::new(STAGE), Path::new(&at)).map_err(|_| Errno::IO)
}

/// The role that a file stands for.
fn role(name: &[u8]) -> Option<Role> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
