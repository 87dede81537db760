//! State directories of packages: `/var/lib/dcos/NAME`. Nothing removes one.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use rustix::fs::{AtFlags, FileType, Gid, Uid};
use rustix::io::Errno;

use super::program;
use super::users::Accounts;
use crate::generation::Generation;
use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::{Failure, UserName, files};

/// The directories as systemd-tmpfiles reads them.
const CONFIGURATION: &str = "run/tmpfiles.d/dcos.conf";
const STATE: &str = "var/lib/dcos";
/// How many directories may lie in each other: one handle each.
const DEPTH: usize = 256;

/// Makes directories that are missing, and gives what they hold to their users.
pub(crate) fn make(
    root: &Root,
    generation: &Generation,
    accounts: &Accounts,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let directories = &generation.state_directories;
    let file = HostEntry { mode: 0o644, content: integration::tmpfiles(directories).into_bytes() };
    files::put(root, &place::path(CONFIGURATION), &file)?;
    let top = root.find(&place::path(STATE))?;
    let mut right = top.is_some() || directories.is_empty();
    for (package, user) in directories {
        let Some(top) = &top else { break };
        let uid = match user {
            None => 0,
            Some(user) => uid(accounts, user)?,
        };
        let name = package.as_str();
        let io = |error: Errno| {
            Failure::io("reading", root.shown(&place::path(&format!("{STATE}/{name}"))))(error)
        };
        let Some(stat) = place::stat(top, name.as_bytes()).map_err(io)? else {
            right = false;
            continue;
        };
        // An operator's link to another disk is theirs, with everything behind it.
        if place::kind(&stat) == FileType::Symlink {
            continue;
        }
        let found = (place::kind(&stat), stat.st_uid, stat.st_gid, stat.st_mode & 0o7777);
        right &= found == (FileType::Directory, uid, 0, 0o755);
        // Only packages that have a user give it everything. The directory itself comes last, so that its owner
        // tells whether all of it was given: a run that was killed is made up for, and a host that is right has
        // not a million files looked at on every boot, as the original did.
        if user.is_some() && stat.st_uid != uid && place::kind(&stat) == FileType::Directory {
            let directory = place::enter(top, name.as_bytes()).map_err(io)?;
            let given = give(&directory, stat.st_dev, uid, 0);
            given.map_err(|error| {
                Failure::io("changing the owner of", root.shown(&place::path(STATE)))(error)
            })?;
            say(format!("gave /{STATE}/{name} to its user"));
        }
    }
    if right { Ok(()) } else { program("systemd-tmpfiles", &["--create", "dcos.conf"]) }
}

fn uid(accounts: &Accounts, user: &UserName) -> Result<u32, Failure> {
    let user =
        accounts.users.get(user.as_str()).ok_or_else(|| Failure::new(format!("the user {user} is missing")));
    user.map(|user| user.uid)
}

/// Gives a directory and what it holds to a user, itself last. Links are given and never followed, groups stay, and
/// another file system is left alone.
fn give(directory: &OwnedFd, device: u64, uid: u32, depth: usize) -> Result<(), Errno> {
    if depth > DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let owner = Some(Uid::from_raw(uid));
    for name in names(directory)? {
        let Some(stat) = place::stat(directory, &name)? else { continue };
        if stat.st_dev != device {
            continue;
        }
        if place::kind(&stat) == FileType::Directory {
            give(&place::enter(directory, &name)?, device, uid, depth + 1)?;
        } else {
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(directory, OsStr::from_bytes(&name), owner, None::<Gid>, flags)?;
        }
    }
    rustix::fs::fchown(directory, owner, None)
}

#[cfg(test)]
mod tests;
