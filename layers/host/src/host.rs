//! An install root on a host: what is current, and the one step that changes it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bake_base::{Digest, names};
use rustix::fs::{FileType, FlockOperation};
use rustix::io::Errno;

use crate::files::{self, read_at};
use crate::generation::{CURRENT, GENERATIONS, Generation, Number, PACKAGES, PRODUCT, RECORD};
use crate::place::{self, Root};
use crate::systemd::{self, Systemd};
use crate::{Failure, PackageId};

/// The longest record or document of a product, in bytes.
const LIMIT: u64 = 64 << 20;
/// How long the run of somebody else may take before it is in the way, in milliseconds, and how often that is looked
/// at.
const MOMENT: u64 = 10_000;
const STEP: u64 = 50;
/// What a directory is called that lay where [`CURRENT`] should be.
const ASIDE: &str = ".current.unfinished";
/// The install root, relative to the root of the host.
pub(crate) const HOME: &str = "opt/mesosphere";

/// The install root of a host.
#[derive(Debug)]
pub struct Host {
    pub(crate) root: Root,
    /// The install root's directory.
    pub(crate) home: OwnedFd,
    pub(crate) systemd: Systemd,
}

/// A generation that is on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its number.
    pub number: Number,
    /// What it is.
    pub generation: Generation,
    /// The bytes of its product's document; none if it has none, or none that its record vouches for.
    pub product: Option<Vec<u8>>,
}

/// Keeps everybody else from changing a host, for as long as it lives.
#[derive(Debug)]
pub struct Lock {
    _handle: File,
}

impl Host {
    /// Opens the install root of the host whose root directory is `root`. `systemd`: whether to start and stop
    /// services, which is only ever done on the machine that is running.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(root: &Path, systemd: bool) -> Result<Self, Failure> {
        Self::within(Root::open(root)?, systemd)
    }

    /// As [`Host::open`], but also for those who may only look: what they may not read is an error when it is read.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_to_look(root: &Path, systemd: bool) -> Result<Self, Failure> {
        Self::within(Root::open_to_look(root)?, systemd)
    }

    fn within(root: Root, systemd: bool) -> Result<Self, Failure> {
        let shown = root.shown(&place::path(HOME));
        let none = || Failure::new(format!("`{shown}` is not there: nothing is installed on this host"));
        let home = root.find(&place::path(HOME))?.ok_or_else(none)?;
        let running = systemd && root.is_running() && systemd::is_running(&root)?;
        let systemd = if running { Systemd::Running } else { Systemd::Absent };
        Ok(Self { root, home, systemd })
    }

    /// Keeps others from changing the host. Without `wait`, somebody who is at it for longer than a moment is an
    /// error: a role that was just changed has `pkgpanda setup` run, for one.
    ///
    /// # Errors
    /// When another run is at work, or the lock cannot be had.
    pub fn lock(&self, wait: bool) -> Result<Lock, Failure> {
        // The same that an installation holds.
        let parent = self.root.make(&place::path("opt"))?;
        let shown = self.root.shown(&place::path("opt"));
        let mut tries = 0;
        let locked = loop {
            match rustix::fs::flock(&parent, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if wait => {
                    break rustix::fs::flock(&parent, FlockOperation::LockExclusive);
                }
                Err(Errno::WOULDBLOCK) if tries < MOMENT / STEP => {
                    std::thread::sleep(Duration::from_millis(STEP));
                }
                result => break result,
            }
            tries += 1;
        };
        match locked {
            Err(Errno::WOULDBLOCK) => {
                Err(Failure::new(format!("another run is at work in `{shown}`: wait until it has ended")))
            }
            result => {
                result.map_err(Failure::io("locking", shown))?;
                Ok(Lock { _handle: parent.into() })
            }
        }
    }

    /// The current generation.
    ///
    /// # Errors
    /// When there is none, or its record says nothing that can be understood.
    pub fn current(&self) -> Result<Present, Failure> {
        self.present(self.leads_to()?)
    }

    /// The generation that [`CURRENT`] leads to, whatever that is like.
    ///
    /// # Errors
    /// When it leads to none.
    pub fn leads_to(&self) -> Result<Number, Failure> {
        let lost = |found: String| {
            Failure::new(format!(
                "`{}` {found}: expected a link to a generation, as `pkgpanda repair` or `pkgpanda rollback N` makes it",
                self.shown(CURRENT)
            ))
        };
        let target = match rustix::fs::readlinkat(&self.home, CURRENT, Vec::new()) {
            Err(Errno::NOENT) => return Err(lost("is missing".to_owned())),
            Err(Errno::INVAL) => return Err(lost("is no link".to_owned())),
            result => result.map_err(Failure::io("reading", self.shown(CURRENT)))?,
        };
        let name = target.as_bytes().strip_prefix(format!("{GENERATIONS}/").as_bytes());
        let links = || format!("links to `{}`", target.as_bytes().escape_ascii());
        let number = name.and_then(Number::parse).ok_or_else(|| lost(links()))?;
        let generations = self.directory(GENERATIONS)?;
        match place::stat(&generations, number.to_string().as_bytes()) {
            Ok(Some(stat)) if place::kind(&stat) == FileType::Directory => Ok(number),
            Ok(Some(_)) => Err(lost(format!("{}, which is no directory", links()))),
            Ok(None) => Err(lost(format!("{}, which is not there", links()))),
            Err(error) => Err(Failure::io("reading", self.shown(&number.directory()))(error)),
        }
    }

    /// The numbers of all generations that can be made current: whole, with their packages, and not the end.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn fit(&self) -> Result<Vec<Number>, Failure> {
        let packages = self.packages()?;
        let is_fit = |number: &Number| {
            self.present(*number).is_ok_and(|present| {
                let Generation { active, removing, .. } = &present.generation;
                let is_there = |id| packages.binary_search(id).is_ok();
                !removing && self.check_product(&present).is_ok() && active.keys().all(is_there)
            })
        };
        Ok(self.generations()?.into_iter().filter(is_fit).collect())
    }

    /// A generation that is there.
    ///
    /// # Errors
    /// When it is not, or its record says nothing that can be understood.
    pub fn present(&self, number: Number) -> Result<Present, Failure> {
        let shown = self.shown(&number.directory());
        let directory = self.directory(&number.directory())?;
        let bytes = read_at(&directory, RECORD.as_bytes(), LIMIT)
            .map_err(Failure::io("reading", format!("{shown}/{RECORD}")))?;
        let generation = Generation::parse(&bytes)
            .map_err(|reason| Failure::new(format!("`{shown}/{RECORD}` {reason}")))?;
        let product = match (read_at(&directory, PRODUCT.as_bytes(), LIMIT), generation.product) {
            // What is damaged is told by those who need it: a host that lacks it still runs all that does not.
            (Ok(bytes), Some(vouched)) => Some(bytes).filter(|bytes| Digest::of(bytes) == vouched),
            (Err(error), Some(_)) if is_no_file(&error) => None,
            (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => None,
            (read, _) => Some(read.map_err(Failure::io("reading", format!("{shown}/{PRODUCT}")))?),
        };
        Ok(Present { number, generation, product })
    }

    /// Whether the document of a generation's product is the one that its record vouches for.
    ///
    /// # Errors
    /// When it is not, or not there.
    pub(crate) fn check_product(&self, present: &Present) -> Result<(), Failure> {
        if present.product.is_some() { Ok(()) } else { self.check_no_product(present) }
    }

    /// Whether a generation may be without a product.
    ///
    /// # Errors
    /// When it has one.
    pub(crate) fn check_no_product(&self, present: &Present) -> Result<(), Failure> {
        let Some(vouched) = present.generation.product else { return Ok(()) };
        Err(Failure::new(format!(
            "`{}/{PRODUCT}` is missing or damaged: expected the file with sha256 {vouched}; `pkgpanda repair --from` \
             puts it back from the serve directory that the host was installed from",
            self.shown(&present.number.directory())
        )))
    }

    /// The numbers of all generations that are whole, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn generations(&self) -> Result<Vec<Number>, Failure> {
        let directory = self.directory(GENERATIONS)?;
        let names = names(&directory).map_err(Failure::io("reading", self.shown(GENERATIONS)))?;
        let mut numbers: Vec<_> = names.iter().filter_map(|name| Number::parse(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The ids of all packages that are there, active or not, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn packages(&self) -> Result<Vec<PackageId>, Failure> {
        let directory = self.directory(PACKAGES)?;
        let names = names(&directory).map_err(Failure::io("reading", self.shown(PACKAGES)))?;
        let id = |name: &Vec<u8>| std::str::from_utf8(name).ok()?.parse().ok();
        let mut ids: Vec<PackageId> = names.iter().filter_map(id).collect();
        ids.sort();
        Ok(ids)
    }

    /// **The commit point**: makes a generation that is whole and on disk the current one, in one step.
    ///
    /// # Errors
    /// When the operating system refuses; nothing has changed then.
    pub(crate) fn switch(&self, number: Number) -> Result<(), Failure> {
        let switched = self
            .clear_current()
            .and_then(|()| files::link_at(&self.home, CURRENT.as_bytes(), &number.directory()));
        switched.map_err(Failure::io("changing", self.shown(CURRENT)))
    }

    /// Moves a directory away that lies where [`CURRENT`] should be, which no rename replaces: the next change removes
    /// it as it does everything of this name.
    fn clear_current(&self) -> Result<(), Errno> {
        match place::stat(&self.home, CURRENT.as_bytes())?.map(|stat| place::kind(&stat)) {
            Some(FileType::Directory) => rustix::fs::renameat(&self.home, CURRENT, &self.home, ASIDE),
            _ => Ok(()),
        }
    }

    /// A directory of the install root, through no link.
    pub(crate) fn directory(&self, path: &str) -> Result<OwnedFd, Failure> {
        let open = || {
            let mut directory = place::enter(&self.home, b".")?;
            for name in path.split('/') {
                directory = place::enter(&directory, name.as_bytes())?;
            }
            Ok(directory)
        };
        open().map_err(|error: Errno| Failure::io("opening", self.shown(path))(error))
    }

    /// A path in the install root, for messages.
    pub(crate) fn shown(&self, path: &str) -> String {
        self.root.shown(&place::path(&format!("{HOME}/{path}")))
    }
}

/// Whether a file could not be read because there is none, and not because something failed.
fn is_no_file(error: &std::io::Error) -> bool {
    // Without a number, it is this program that says so: it is no regular file.
    let no_link = Some(Errno::LOOP.raw_os_error());
    error.kind() == std::io::ErrorKind::NotFound || [None, no_link].contains(&error.raw_os_error())
}
