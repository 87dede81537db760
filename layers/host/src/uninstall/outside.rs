//! What is outside of the install root goes, by the record.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::names;
use bake_tree::TreePath;
use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::created::{self, ACCOUNTS_LOCK, Gone, Ground, Origin, Record, put_back};
use crate::host::HOME;
use crate::place::{Root, path};
use crate::{Failure, accounts, files, integration};

/// Files in `/run` that are made at every boot.
const DERIVED: [&str; 2] = ["run/sysusers.d/dcos.conf", "run/tmpfiles.d/dcos.conf"];
/// Directories in `/run` that are ours by their names.
const DERIVED_DIRECTORIES: [&str; 2] = ["run/systemd/system/dcos.target.wants", "run/dcos"];
/// Where `dcos_install.sh` and `dcos_node_upgrade.sh` keep what is unfinished.
const DOWNLOADS: &str = "opt/.dcos-install";
/// What a change of roles that was killed leaves.
const ROLES_STAGE: &str = ".roles.unfinished";
/// How many entries that keep a directory are named.
const SHOWN: usize = 3;

/// Everything but directories and what has the removal go on at boot. Says what stays, and why.
pub(super) fn remove(
    root: &Root,
    record: &Record,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    for file in DERIVED {
        files::remove(root, &path(file))?;
    }
    for directory in DERIVED_DIRECTORIES {
        remove_directory(root, &path(directory))?;
    }
    for (recorded, _) in record.files.iter().filter(|(_, origin)| !is_late(**origin)) {
        take(root, record, recorded, say)?;
    }
    let (parent, _) = path(integration::ROLES).split().expect("it has a name");
    remove_tree(root, &created::physical(root, &parent.join(ROLES_STAGE.as_bytes()))?)?;
    remove_tree(root, &created::physical(root, &path(DOWNLOADS))?)?;
    let kept = remove_accounts(root, record, say)?;
    for state in &record.state {
        if remove_tree(root, &created::place_of(state))? {
            say(format!("removed {state} and everything in it"));
        }
    }
    Ok(kept)
}

/// Whether files of this origin go later than others, or with accounts.
fn is_late(origin: Origin) -> bool {
    matches!(origin, Origin::Host | Origin::Accounts | Origin::Tool)
}

/// Takes one recorded file away, or puts back what was in its place.
fn take(root: &Root, record: &Record, recorded: &str, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let replaced = record.replaced.contains(recorded);
    match put_back(root, &path(HOME), &created::place_of(recorded), replaced)? {
        Gone::Not => {}
        Gone::Removed => say(format!("removed {recorded}")),
        Gone::PutBack => say(format!("put back {recorded}")),
    }
    Ok(())
}

/// Users, groups, and what tools have left beside them.
fn remove_accounts(
    root: &Root,
    record: &Record,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    if record.users.is_empty() && record.groups.is_empty() {
        return Ok(Vec::new());
    }
    let lock = accounts::lock(root)?;
    let kept = accounts::remove(root, &lock, &record.users, &record.groups, say)?;
    let of = |wanted: Origin| record.files.iter().filter(move |(_, origin)| **origin == wanted);
    for (recorded, _) in of(Origin::Accounts) {
        let at = created::place_of(recorded);
        if root.read(&at)?.is_some_and(|text| text.is_empty()) {
            take(root, record, recorded, say)?;
        }
    }
    // The lock itself goes last.
    let is_lock = |recorded: &String| recorded.ends_with(ACCOUNTS_LOCK);
    let (locks, backups): (Vec<_>, Vec<_>) =
        of(Origin::Tool).map(|(recorded, _)| recorded).partition(|recorded| is_lock(recorded));
    for recorded in backups.into_iter().chain(locks) {
        take(root, record, recorded, say)?;
    }
    Ok(kept)
}

/// What has everything started at boot: the link first.
pub(super) fn disable(root: &Root, record: &Record, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let link = created::physical(root, &path(integration::ENABLED.0))?;
    let (first, then): (Vec<_>, Vec<_>) = record
        .files
        .iter()
        .filter(|(_, origin)| **origin == Origin::Host)
        .map(|(recorded, _)| recorded)
        .partition(|recorded| created::place_of(recorded) == link);
    first.into_iter().chain(then).try_for_each(|recorded| take(root, record, recorded, say))
}

/// Directories, deepest first; says which stay because of what others have put there.
pub(super) fn directories(
    root: &Root,
    record: &Record,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let home = created::physical(root, &path(&format!("{HOME}/{}", created::CREATED)))?;
    let mut kept = Vec::new();
    for recorded in record.directories.iter().rev() {
        let at = created::place_of(recorded);
        // The install root is still there.
        if home.starts_with(&at) {
            continue;
        }
        let left = remove_directory(root, &at)?;
        match left {
            None => say(format!("removed {recorded}")),
            Some(left) if left.is_empty() => {}
            Some(left) => {
                let more = if left.len() > SHOWN { ", …" } else { "" };
                let list: Vec<_> =
                    left.iter().take(SHOWN).map(|name| name.escape_ascii().to_string()).collect();
                kept.push(format!("{recorded}: it holds {}{more}, which is not ours", list.join(", ")));
            }
        }
    }
    Ok(kept)
}

/// Takes a directory away that holds nothing, and says nothing then; else what it holds, which is nothing if it is
/// not there or a link.
pub(super) fn remove_directory(root: &Root, at: &TreePath) -> Result<Option<Vec<Vec<u8>>>, Failure> {
    let Some((parent, name)) = at.split() else { return Ok(Some(Vec::new())) };
    let Some(directory) = created::enter(root, &parent)? else { return Ok(Some(Vec::new())) };
    let io = |action| Failure::io(action, root.shown(at));
    let Some(there) = created::enter(root, at)? else { return Ok(Some(Vec::new())) };
    files::clear(&there).map_err(io("cleaning up in"))?;
    match rustix::fs::unlinkat(&directory, OsStr::from_bytes(name), AtFlags::REMOVEDIR) {
        Ok(()) => rustix::fs::fsync(&directory).map(|()| None).map_err(io("removing")),
        Err(Errno::NOTEMPTY | Errno::EXIST) => names(&there).map(Some).map_err(io("reading")),
        // A file system is mounted there.
        Err(Errno::BUSY) => Ok(Some(vec![b"a file system".to_vec()])),
        Err(error) => Err(io("removing")(error)),
    }
}

/// Takes a directory away with everything in it. Says whether it was there; a link is somebody else's.
fn remove_tree(root: &Root, at: &TreePath) -> Result<bool, Failure> {
    let (parent, name) = at.split().expect("no such directory is the root");
    let Some(directory) = created::enter(root, &parent)? else { return Ok(false) };
    if created::enter(root, at)?.is_none() {
        return Ok(false);
    }
    let shown = root.shown(at);
    let removed = remove_tree_at(&directory, OsStr::from_bytes(name), Path::new(&shown));
    removed.map_err(|error| Failure::of(&error))?;
    rustix::fs::fsync(&directory).map(|()| true).map_err(Failure::io("removing", shown))
}
