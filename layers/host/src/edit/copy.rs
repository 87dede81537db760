//! Copies of packages' files, each written whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use bake_base::{Digest, Hasher};
use bake_tree::TreePath;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{Target, shown_original};
use crate::generation::{OVERRIDES, PACKAGES};
use crate::host::Host;
use crate::place;
use crate::{Failure, overrides};

/// The longest file that is edited, in bytes.
pub const LIMIT: u64 = 1 << 30;
/// Bytes read at once.
const STEP: usize = 1 << 18;

/// What a file is now: its copy, or what the package has.
pub(super) struct Source {
    file: File,
    mode: u16,
    is_lost: bool,
}

impl Source {
    /// Opens the copy of the override called `name`, or the file of the package: also where the copy is lost.
    pub(super) fn open(host: &Host, name: Option<&str>, target: &Target) -> Result<Self, Failure> {
        let Target { package, path } = target;
        let copy = name.map(|name| find(host, &format!("{OVERRIDES}/{name}/{package}/{path}")));
        if let Some((file, mode)) = copy.transpose()?.flatten() {
            return Ok(Self { file, mode, is_lost: false });
        }
        let at = format!("{PACKAGES}/{package}/{path}");
        let none = || Failure::new(format!("`{}` is not there", host.shown(&at)));
        let (file, mode) = find(host, &at)?.ok_or_else(none)?;
        Ok(Self { file, mode, is_lost: name.is_some() })
    }

    /// Whether there should be a copy, and is none.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Permissions.
    pub(super) fn mode(&self) -> u16 {
        self.mode
    }

    pub(super) fn into_reader(self) -> File {
        self.file
    }
}

/// Replaces the copy, in one step.
pub(super) fn write(
    host: &Host,
    name: &str,
    target: &Target,
    mode: u16,
    content: &mut dyn Read,
) -> Result<(), Failure> {
    let place = overrides::copy(name, &target.package, &target.path)?;
    let directory = directory_of(host, name, target)?;
    let (_, name) = place.split().expect("a copy lies below the install root");
    let unfinished = unfinished(name);
    let shown = host.shown(&String::from_utf8_lossy(place.as_bytes()));
    let written = fill(&directory, &unfinished, mode, content).and_then(|()| {
        rustix::fs::renameat(&directory, unfinished.as_slice(), &directory, OsStr::from_bytes(name))?;
        Ok(rustix::fs::fsync(&directory)?)
    });
    written.map_err(|error| {
        // The first failure is the one to tell.
        let _ = clear(&directory, &unfinished);
        Failure::io("writing", shown)(error)
    })
}

/// A text that an operator is at work on, beside the copy that it is going to be.
#[derive(Debug)]
pub struct Draft {
    directory: OwnedFd,
    name: Vec<u8>,
    path: PathBuf,
    before: Digest,
    /// Whether even the text as it is would be news.
    is_lost: bool,
}

impl Draft {
    /// A draft of what a file is now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(host: &Host, target: &Target, name: &str) -> Result<Self, Failure> {
        let present = host.current()?;
        let was = overrides::name_of(&present.generation.overrides, &target.package, &target.path);
        let directory = directory_of(host, name, target)?;
        let (_, file) = target.path.rsplit_once('/').unwrap_or(("", &target.path));
        let name =
            [format!(".{}.", std::process::id()).as_bytes(), &unfinished(file.as_bytes())[1..]].concat();
        let shown = shown_original(&target.package, &target.path);
        // What is secret in the package is secret while it is edited.
        let mut source = Source::open(host, was, target)?;
        fill(&directory, &name, 0o600, &mut source.file).map_err(Failure::io("copying", &shown))?;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let path = rustix::fs::readlinkat(CWD, link, Vec::new()).map_err(Failure::io("finding", &shown))?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()));
        let path = path.join(OsStr::from_bytes(&name));
        let (draft, _) = open_regular(&directory, &name).map_err(Failure::io("reading", path.display()))?;
        let before = digest(draft).map_err(Failure::io("reading", path.display()))?;
        Ok(Self { directory, name, path, before, is_lost: source.is_lost })
    }

    /// Where an editor finds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the operator has made of it; none if nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn changed(&self) -> Result<Option<File>, Failure> {
        let open = || open_regular(&self.directory, &self.name).map(|(file, _)| file);
        let read = || {
            let is_news = self.is_lost || digest(open()?)? != self.before;
            is_news.then(open).transpose()
        };
        read().map_err(Failure::io("reading", self.path.display()))
    }

    /// Whether the file has been changed by somebody else since.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_behind(&self, host: &Host, target: &Target) -> Result<bool, Failure> {
        let present = host.current()?;
        let was = overrides::name_of(&present.generation.overrides, &target.package, &target.path);
        let now = digest(Source::open(host, was, target)?.file);
        Ok(now.map_err(Failure::io("reading", shown_original(&target.package, &target.path)))? != self.before)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn discard(self) -> Result<(), Failure> {
        clear(&self.directory, &self.name).map_err(Failure::io("removing", self.path.display()))
    }
}

fn digest(mut file: File) -> std::io::Result<Digest> {
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; STEP]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// What the copy of a file is called until it is whole; a name of any length.
fn unfinished(name: &[u8]) -> Vec<u8> {
    let most = name.len().min(200);
    [b".", &name[..most], b".unfinished"].concat()
}

/// Opens a regular file of the install root, and gives its permissions; none if it is not there.
fn find(host: &Host, at: &str) -> Result<Option<(File, u16)>, Failure> {
    let (directory, name) = at.rsplit_once('/').expect("the path is below a package");
    let open = || {
        let home = place::enter(&host.home, b".");
        let directory = directory.split('/').try_fold(home?, |at, name| place::enter(at, name.as_bytes()));
        open_regular(&directory?, name.as_bytes())
    };
    match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some).map_err(Failure::io("opening", host.shown(at))),
    }
}

fn open_regular(directory: &OwnedFd, name: &[u8]) -> std::io::Result<(File, u16)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if place::kind(&stat) != FileType::RegularFile {
        return Err(std::io::Error::other("it is no regular file"));
    }
    if stat.st_size as u64 > LIMIT {
        return Err(std::io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    Ok((file.into(), (stat.st_mode & 0o7777) as u16))
}

/// Writes a file of at most [`LIMIT`] bytes, and has it on disk.
fn fill(directory: &OwnedFd, name: &[u8], mode: u16, content: &mut dyn Read) -> std::io::Result<()> {
    clear(directory, name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::from_raw_mode(0o600))?;
    let mut file = File::from(file);
    if std::io::copy(&mut content.take(LIMIT + 1), &mut file)? > LIMIT {
        return Err(std::io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    file.flush()?;
    if place::is_superuser() {
        rustix::fs::fchown(&file, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode.into()))?;
    file.sync_all()
}

fn clear(directory: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, OsStr::from_bytes(name), AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// The directory that a copy is to lie in: each one has the permissions of the package's, so that nothing that is
/// out of reach there is within reach here.
fn directory_of(host: &Host, name: &str, target: &Target) -> Result<OwnedFd, Failure> {
    let place = overrides::copy(name, &target.package, &target.path)?;
    let (parent, _) = place.split().expect("a copy lies below the install root");
    let shown = host.shown(&String::from_utf8_lossy(parent.as_bytes()));
    enter(host, &parent).map_err(Failure::io("making", shown))
}

/// How many directories lie above those of a package: `overrides`, and the name.
const ABOVE: usize = 2;

fn enter(host: &Host, path: &TreePath) -> Result<OwnedFd, Errno> {
    let mut at = place::enter(&host.home, b".")?;
    let mut original = place::enter(&host.home, PACKAGES.as_bytes())?;
    for (depth, name) in path.components().enumerate() {
        let mode = if depth < ABOVE {
            0o755
        } else {
            original = place::enter(&original, name)?;
            rustix::fs::fstat(&original)?.st_mode & 0o7777
        };
        let made = match rustix::fs::mkdirat(&at, OsStr::from_bytes(name), Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => false,
            result => result.map(|()| true)?,
        };
        let next = place::enter(&at, name)?;
        if made && place::is_superuser() {
            rustix::fs::fchown(&next, Some(Uid::ROOT), Some(Gid::ROOT))?;
        }
        if rustix::fs::fstat(&next)?.st_mode & 0o7777 != mode {
            rustix::fs::fchmod(&next, Mode::from_raw_mode(mode))?;
        }
        if made {
            rustix::fs::fsync(&at)?;
        }
        at = next;
    }
    Ok(at)
}
