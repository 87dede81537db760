//! How the install root gets to its place.
//!
//! Beside its place it is staged, and one rename puts it there. Where the place is a file system of its own or a
//! link to elsewhere, no rename can: there it is staged inside; once all of it is on disk, the stage gets another
//! name, and its entries move up one by one, `current` last, without which nothing on the host starts. A run that
//! finds that other name goes on moving.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bake_archive::remove_tree_at;
use bake_base::{Digest, names};
use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::load::parse;

use crate::files::read_at;
use crate::generation::{CURRENT, GENERATIONS, Generation, Number, PRODUCT, RECORD};
use crate::place::{self, Root};
use crate::{Failure, Role, created};

/// The directory that holds the install root, and its name there.
const PARENT: &str = "opt";
const NAME: &[u8] = b"mesosphere";
/// What is staged, beside its place or inside.
const STAGE: &[u8] = b".mesosphere.unfinished";
/// What is staged inside, whole, and moves up.
const MOVING: &[u8] = b".mesosphere.moving";
/// The entry without which nothing starts.
const LAST: &[u8] = CURRENT.as_bytes();
/// The longest document of a product, in bytes.
const DOCUMENT_LIMIT: u64 = 64 << 20;
/// What the top of a file system may hold.
const LOST: &[u8] = b"lost+found";
/// Names that default rules of access have as extended attributes: what is made below inherits them.
const INHERITED: [&str; 2] = ["system.posix_acl_default", "system.posix_acl_access"];

/// An installation that has begun; its lock goes with it.
pub(crate) struct Commit<'a> {
    root: &'a Root,
    /// Holds the lock.
    parent: OwnedFd,
    /// The install root's place, if entries have to move into it.
    inside: Option<OwnedFd>,
    state: State,
    /// What the host is, if the install root is whole.
    roles: Option<BTreeSet<Role>>,
    /// Directories above the install root that were not there.
    made: Vec<TreePath>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Nothing,
    Staged,
    Done,
}

impl<'a> Commit<'a> {
    /// Locks the place and finds out what is there, which is to have this configuration, if one is named.
    pub(crate) fn begin(root: &'a Root, config_id: Option<&str>) -> Result<Self, Failure> {
        let mut made = created::above_home(root)?;
        let shown = root.shown(&place::path(PARENT));
        let parent = created::make_parent(root, &mut made)?;
        match rustix::fs::flock(&parent, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let message =
                    format!("another installation is at work in `{shown}`: wait until it has ended");
                return Err(Failure::new(message));
            }
            result => result.map_err(Failure::io("locking", &shown))?,
        }
        let mut commit = Self { root, parent, inside: None, state: State::Nothing, roles: None, made };
        commit.look(config_id)?;
        if commit.state == State::Done {
            // A run may have been killed right after it had put everything into its place.
            created::finish_parent(&commit.parent).map_err(Failure::io("changing", shown))?;
        }
        Ok(commit)
    }

    /// Whether the install root is in its place.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether all of it is on disk.
    pub(crate) fn is_staged(&self) -> bool {
        self.state != State::Nothing
    }

    /// The roles of the installation that is whole, be it in its place or not.
    pub(crate) fn roles(&self) -> Option<&BTreeSet<Role>> {
        self.roles.as_ref()
    }

    /// Directories that were made for the install root.
    pub(crate) fn made(&self) -> &[TreePath] {
        &self.made
    }

    fn look(&mut self, config_id: Option<&str>) -> Result<(), Failure> {
        let io = |action| Failure::io(action, self.shown());
        let Some(stat) = place::stat(&self.parent, NAME).map_err(io("reading"))? else { return Ok(()) };
        let is_link = place::kind(&stat) == FileType::Symlink;
        let here = if is_link {
            self.root.make(&place::path(&format!("{PARENT}/mesosphere")))?
        } else {
            place::enter(&self.parent, NAME).map_err(io("opening"))?
        };
        let mut found = names(&here).map_err(io("reading"))?;
        found.retain(|name| name != LOST);
        if found.is_empty() && !is_link {
            // An empty directory is as good as none; where a file system is mounted, it cannot be removed.
            match rustix::fs::unlinkat(&self.parent, OsStr::from_bytes(NAME), AtFlags::REMOVEDIR) {
                Ok(()) => return Ok(()),
                Err(Errno::BUSY | Errno::NOTEMPTY) => {}
                Err(error) => return Err(io("replacing")(error)),
            }
        }
        let has = |name: &[u8]| found.iter().any(|found| found == name);
        let moving =
            if has(MOVING) { Some(place::enter(&here, MOVING).map_err(io("opening"))?) } else { None };
        if has(LAST) || moving.is_some() {
            let generation = self.record(&here, moving.as_ref(), config_id)?;
            if generation.removing {
                let shown = self.shown();
                let message =
                    format!("`{shown}` is being removed: run `pkgpanda uninstall` to the end first");
                return Err(Failure::new(message));
            }
            self.roles = Some(generation.roles);
            // A run may have been killed between the last entry and the end of its move.
            self.state = if moving.is_none() { State::Done } else { State::Staged };
        } else if found.iter().any(|name| name != STAGE) {
            let name = found[0].escape_ascii();
            let message = format!("`{}` holds `{name}` and no installation: move it away", self.shown());
            return Err(Failure::new(message));
        }
        self.inside = Some(here);
        Ok(())
    }

    /// What the installation that is there is, which has to be made from this configuration, if one is named. While
    /// entries move, generations and the link to the current one may be in either place.
    fn record(
        &self,
        here: &OwnedFd,
        moving: Option<&OwnedFd>,
        config_id: Option<&str>,
    ) -> Result<Generation, Failure> {
        let places = || [Some(here), moving].into_iter().flatten();
        let current = places().find_map(|place| rustix::fs::readlinkat(place, CURRENT, Vec::new()).ok());
        let number = current.and_then(|target| {
            Number::parse(target.as_bytes().strip_prefix(format!("{GENERATIONS}/").as_bytes())?)
        });
        let read = |name: &str| {
            number.and_then(|number| {
                places().find_map(|place| {
                    let generations = place::enter(place, GENERATIONS.as_bytes()).ok()?;
                    let generation = place::enter(&generations, number.to_string().as_bytes()).ok()?;
                    read_at(&generation, name.as_bytes(), DOCUMENT_LIMIT).ok()
                })
            })
        };
        let foreign = |why: String| {
            let shown = self.shown();
            Failure::new(format!(
                "`{shown}` holds an installation that was not made by this program ({why}): move it away"
            ))
        };
        let whole = |name| read(name).ok_or_else(|| foreign(format!("no {name} of a current generation")));
        let generation = Generation::parse(&whole(RECORD)?);
        let generation = generation.map_err(|reason| foreign(format!("its {RECORD} {reason}")))?;
        let Some(config_id) = config_id else { return Ok(generation) };
        let product = read(PRODUCT);
        let is_damaged = |vouched| product.as_deref().is_none_or(|bytes| Digest::of(bytes) != vouched);
        if generation.product.is_some_and(is_damaged) {
            return Err(Failure::new(format!(
                "`{}` has a {PRODUCT} that is missing or damaged: put it back with `pkgpanda repair --from` and the serve \
                 directory that it was installed from",
                self.shown()
            )));
        }
        let product = product.ok_or_else(|| foreign(format!("no {PRODUCT} of a current generation")))?;
        let product = parse(&product).map_err(|reason| foreign(format!("its {PRODUCT} {reason}")))?;
        if product.config_id == config_id {
            return Ok(generation);
        }
        Err(Failure::new(format!(
            "`{}` has the configuration {}: expected {config_id}, or nothing there",
            self.shown(),
            product.config_id
        )))
    }

    /// Unpacks into the stage with `unpack` and has everything on disk.
    pub(crate) fn stage(
        &mut self,
        unpack: impl FnOnce(&str, OwnedFd) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.clear()?;
        let shown = self.staged();
        let staged = self.make_stage().and_then(|stage| {
            let own = rustix::io::fcntl_dupfd_cloexec(&stage, 0).map_err(Failure::io("opening", &shown))?;
            unpack(&shown, own)?;
            rustix::fs::syncfs(&stage).map_err(Failure::io("syncing", &shown))
        });
        if staged.is_err() {
            // The first failure is the one to tell.
            let _ = self.clear();
        }
        staged
    }

    /// Makes the stage, empty and the superuser's alone, whatever the directory above hands down.
    fn make_stage(&self) -> Result<OwnedFd, Failure> {
        let place = self.inside.as_ref().unwrap_or(&self.parent);
        let shown = self.staged();
        let made = (|| {
            rustix::fs::mkdirat(place, OsStr::from_bytes(STAGE), Mode::from_raw_mode(0o700))?;
            let stage = place::enter(place, STAGE)?;
            for name in INHERITED {
                match rustix::fs::fremovexattr(&stage, name) {
                    Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                    Err(error) => return Err(error),
                }
            }
            if place::is_superuser() {
                rustix::fs::fchown(&stage, Some(Uid::ROOT), Some(Gid::ROOT))?;
            }
            // Without the set-group-id bit that a parent hands down.
            rustix::fs::fchmod(&stage, Mode::from_raw_mode(0o700))?;
            Ok(stage)
        })();
        made.map_err(Failure::io("making", &shown))
    }

    /// Takes the stage away after a failure, if its entries are not moving yet.
    pub(crate) fn abandon(&self) {
        if self.state == State::Nothing {
            let _ = self.clear();
        }
    }

    fn clear(&self) -> Result<(), Failure> {
        let place = self.inside.as_ref().unwrap_or(&self.parent);
        let removed = remove_tree_at(place, OsStr::from_bytes(STAGE), Path::new(&self.staged()));
        removed.map_err(|error| Failure::of(&error))
    }

    /// Puts what is staged into its place.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        let finished = match &self.inside {
            None => (|| {
                let name = OsStr::from_bytes(NAME);
                rustix::fs::renameat(&self.parent, OsStr::from_bytes(STAGE), &self.parent, name)?;
                rustix::fs::fsync(&self.parent)
            })(),
            Some(place) => move_up(place, self.state == State::Staged),
        };
        let finished = finished.and_then(|()| created::finish_parent(&self.parent));
        finished.map_err(Failure::io("putting everything into", self.shown()))?;
        self.state = State::Done;
        Ok(())
    }

    fn shown(&self) -> String {
        self.root.shown(&place::path(&format!("{PARENT}/mesosphere")))
    }

    fn staged(&self) -> String {
        let parent = self.root.shown(&place::path(PARENT));
        let within = if self.inside.is_some() { "mesosphere/" } else { "" };
        format!("{parent}/{within}{}", String::from_utf8_lossy(STAGE))
    }
}

impl Drop for Commit<'_> {
    /// A directory that was made for nothing goes.
    fn drop(&mut self) {
        if self.state == State::Nothing {
            created::drop_parent(self.root, &self.parent);
        }
    }
}

/// Moves what is staged inside of `place` up.
fn move_up(place: &OwnedFd, has_begun: bool) -> Result<(), Errno> {
    if !has_begun {
        rustix::fs::renameat(place, OsStr::from_bytes(STAGE), place, OsStr::from_bytes(MOVING))?;
        rustix::fs::fsync(place)?;
    }
    let moving = place::enter(place, MOVING)?;
    let stat = rustix::fs::fstat(&moving)?;
    let mut names = names(&moving)?;
    // What has everything started comes last.
    names.sort_by_key(|name| (name == LAST, name.clone()));
    for name in &names {
        if name == LAST {
            rustix::fs::fsync(place)?;
        }
        let name = OsStr::from_bytes(name);
        rustix::fs::renameat(&moving, name, place, name)?;
    }
    rustix::fs::fchmod(place, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::unlinkat(place, OsStr::from_bytes(MOVING), AtFlags::REMOVEDIR)?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    rustix::fs::futimens(place, &Timestamps { last_access: time, last_modification: time })?;
    rustix::fs::fsync(place)
}
