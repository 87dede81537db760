//! An install root on a host: what is current, and the one step that changes it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bake_base::names;
use rustix::fs::FlockOperation;
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
    /// The bytes of its product's document, if it has one.
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
        let root = Root::open(root)?;
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
        let target = rustix::fs::readlinkat(&self.home, CURRENT, Vec::new());
        let target = target.map_err(Failure::io("reading", self.shown(CURRENT)))?;
        let name = target.as_bytes().strip_prefix(format!("{GENERATIONS}/").as_bytes());
        let number = name.and_then(Number::parse).ok_or_else(|| {
            let found = target.as_bytes().escape_ascii();
            Failure::new(format!(
                "`{}` links to `{found}`: expected {GENERATIONS}/ and a number",
                self.shown(CURRENT)
            ))
        })?;
        self.present(number)
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
        let product = match read_at(&directory, PRODUCT.as_bytes(), LIMIT) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            result => Some(result.map_err(Failure::io("reading", format!("{shown}/{PRODUCT}")))?),
        };
        Ok(Present { number, generation, product })
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
        let switched = files::link_at(&self.home, CURRENT.as_bytes(), &number.directory());
        switched.map_err(Failure::io("changing", self.shown(CURRENT)))
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
