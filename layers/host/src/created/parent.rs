//! `/opt` itself, which the record lies below: where it was not there, its own mode says that it was made and that
//! no record says so yet, or any more.

use std::os::fd::OwnedFd;

use bake_tree::TreePath;
use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use crate::Failure;
use crate::place::{self, Root, path};

const PARENT: &str = "opt";
/// The mode that nobody gives a directory.
const UNRECORDED: u32 = 0o1700;

/// Opens the directory that holds the install root, which is made if need be. `made`, which is to be recorded, gets
/// it if an earlier run made it that was killed.
pub(crate) fn make_parent(root: &Root, made: &mut Vec<TreePath>) -> Result<OwnedFd, Failure> {
    let at = path(PARENT);
    if made.contains(&at) {
        let top = root.make(&TreePath::root())?;
        match rustix::fs::mkdirat(&top, PARENT, Mode::from_raw_mode(UNRECORDED)) {
            Ok(()) => rustix::fs::fsync(&top).map_err(Failure::io("making", root.shown(&at)))?,
            // Somebody else is at it, or a link leads nowhere.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(Failure::io("making", root.shown(&at))(error)),
        }
    }
    let parent = root.make(&at)?;
    if is_unrecorded(&parent).map_err(Failure::io("reading", root.shown(&at)))? && !made.contains(&at) {
        made.push(at);
    }
    Ok(parent)
}

/// Gives the directory its mode once the record is in its place.
pub(crate) fn finish_parent(parent: &OwnedFd) -> Result<(), Errno> {
    if is_unrecorded(parent)? {
        rustix::fs::fchmod(parent, Mode::from_raw_mode(0o755))?;
        rustix::fs::fsync(parent)?;
    }
    Ok(())
}

/// Says that the directory is ours before the record goes.
pub(crate) fn unrecord_parent(parent: &OwnedFd) -> Result<(), Errno> {
    rustix::fs::fchmod(parent, Mode::from_raw_mode(UNRECORDED))?;
    rustix::fs::fsync(parent)
}

/// Takes the directory away if it was made and holds nothing. What somebody has put there in the meantime keeps it.
pub(crate) fn drop_parent(root: &Root, parent: &OwnedFd) {
    if !is_unrecorded(parent).is_ok_and(|unrecorded| unrecorded) {
        return;
    }
    let Ok(Some(top)) = root.find(&TreePath::root()) else { return };
    // Whoever comes next finds it by its mode.
    let _ = match rustix::fs::unlinkat(&top, PARENT, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => finish_parent(parent),
        _ => rustix::fs::fsync(&top),
    };
}

/// Whether the directory was made, and no record says so.
pub(crate) fn is_unrecorded(directory: &OwnedFd) -> Result<bool, Errno> {
    let stat = rustix::fs::fstat(directory)?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    Ok(ours && place::kind(&stat) == rustix::fs::FileType::Directory && stat.st_mode & 0o7777 == UNRECORDED)
}
