//! Who owns what a build writes, when root builds as nobody.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

/// The user and group that root's builds are, seen from outside: `nobody`.
pub const BUILD_ID: u32 = 65534;

/// Whether builds of this process run as [`BUILD_ID`]: it is root, may use root's powers, and the id exists here.
/// (In a container or a user namespace with few ids root is somebody ordinary outside.)
///
/// What such builds read should then belong to [`BUILD_ID`] too, because inside it shows as uid 0 and anything
/// else as uid 65534: see [`hand_over`]. What they write is handed over by [`super::run`].
pub fn builds_as_nobody() -> bool {
    let needed = CapabilitySet::SYS_ADMIN
        | CapabilitySet::SETUID
        | CapabilitySet::SETGID
        | CapabilitySet::SETPCAP
        | CapabilitySet::CHOWN;
    let held = rustix::thread::capabilities(None).map(|sets| sets.effective);
    is_among_others() && held.is_ok_and(|held| held.contains(needed))
}

/// Whether this process is root where there are other users, so root outside of user namespaces as well.
pub(super) fn is_among_others() -> bool {
    rustix::process::geteuid().is_root() && is_mapped("/proc/self/uid_map") && is_mapped("/proc/self/gid_map")
}

/// Whether [`BUILD_ID`] is within one of the map's ranges (user_namespaces(7)).
fn is_mapped(map: &str) -> bool {
    let id = u64::from(BUILD_ID);
    let text = fs::read_to_string(map).unwrap_or_default();
    text.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(_)), Some(Ok(length))) => first <= id && id - first < length,
            _ => false,
        }
    })
}

/// Gives a file, or a directory with everything in it, to a user and group; links are not followed. Only root
/// can.
pub fn hand_over(path: &Path, (uid, gid): (u32, u32)) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) != (uid, gid) {
        lchown(path, Some(uid), Some(gid))?;
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), (uid, gid))?;
        }
    }
    Ok(())
}

/// Directories that belong to the build as long as it runs.
pub(super) struct Loan {
    to: u32,
    lent: Vec<(PathBuf, (u32, u32))>,
}

impl Loan {
    /// Nothing yet; `to` is the user and group that borrow.
    pub(super) fn new(to: u32) -> Self {
        Self { to, lent: Vec::new() }
    }

    /// Hands over one more.
    pub(super) fn lend(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        self.lent.push((path.to_owned(), (metadata.uid(), metadata.gid())));
        hand_over(path, (self.to, self.to))
    }

    /// Gives all of them back, with what is in them now.
    pub(super) fn end(self) -> Result<(), (PathBuf, io::Error)> {
        self.lent
            .into_iter()
            .try_for_each(|(path, owner)| hand_over(&path, owner).map_err(|error| (path, error)))
    }
}
