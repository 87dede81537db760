//! Files of the host: each appears whole, by a rename, and only if it is not so already.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use bake_tree::TreePath;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::place::{self, Root};
use super::{Failure, HostEntry};
use crate::{Role, integration};

/// What a file is called until it is whole. One name does: one installation at a time.
const UNFINISHED: &str = ".pkgpanda.unfinished";

/// A host and what was done to it.
pub(super) struct Host<'a> {
    root: &'a Root,
    step: &'a mut dyn FnMut(&str),
    done: Vec<String>,
}

impl<'a> Host<'a> {
    pub(super) fn new(root: &'a Root, step: &'a mut dyn FnMut(&str)) -> Self {
        Self { root, step, done: Vec::new() }
    }

    /// Tells what has been done.
    pub(super) fn say(&mut self, what: &str) {
        (self.step)(what);
        self.done.push(what.to_owned());
    }

    /// Everything that was told.
    pub(super) fn done(self) -> Vec<String> {
        self.done
    }

    /// The roles of the host: those that are asked for, or those that it has. An installed host keeps its roles.
    pub(super) fn roles(&self, asked: &BTreeSet<Role>, installed: bool) -> Result<BTreeSet<Role>, Failure> {
        let at = place::path(integration::ROLES);
        let shown = self.root.shown(&at);
        let there = match self.root.find(&at)? {
            Some(directory) => names(&directory).map_err(Failure::io("reading", &shown))?,
            None => Vec::new(),
        };
        let mut roles = BTreeSet::new();
        for name in there.iter().filter(|name| !name.starts_with(b".")) {
            let role = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            let found = name.escape_ascii();
            let error = || Failure::new(format!("`{shown}` holds `{found}`, which is no role: remove it"));
            roles.insert(role.ok_or_else(error)?);
        }
        // A run that was killed may have left some of the roles.
        if asked.is_empty() || *asked == roles || (!installed && roles.is_subset(asked)) {
            return Ok(if asked.is_empty() { roles } else { asked.clone() });
        }
        let list = |roles: &BTreeSet<Role>| roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
        let (there, asked) = (if roles.is_empty() { "none".to_owned() } else { list(&roles) }, list(asked));
        Err(Failure::new(format!(
            "the roles of this host are {there}, as `{shown}` says: expected {asked}; give the roles that it has, \
             or empty that directory on a host that is not installed yet"
        )))
    }

    /// Which of these files are not there.
    pub(super) fn missing<'b>(
        &self,
        paths: impl Iterator<Item = &'b TreePath>,
    ) -> Result<Vec<String>, Failure> {
        let mut missing = Vec::new();
        for path in paths {
            let (directory, name) = path.split().expect("no file is the root");
            let found = match self.root.find(&directory)? {
                Some(directory) => place::stat(&directory, name).map_err(self.io("reading", path))?,
                None => None,
            };
            if found.is_none() {
                missing.push(format!("/{}", path.as_bytes().escape_ascii()));
            }
        }
        Ok(missing)
    }

    /// Makes these files.
    pub(super) fn files(
        &mut self,
        files: impl Iterator<Item = (TreePath, HostEntry)>,
    ) -> Result<(), Failure> {
        for (path, file) in files {
            let (directory, name) = path.split().expect("no file is the root");
            let directory = self.root.make(&directory)?;
            if is_there(&directory, name, &file).map_err(self.io("reading", &path))? {
                continue;
            }
            write(&directory, name, &file).map_err(self.io("writing", &path))?;
            self.say(&format!("wrote /{}", path.as_bytes().escape_ascii()));
        }
        Ok(())
    }

    /// Makes a link, or leads one elsewhere.
    pub(super) fn link(&mut self, (at, target): (&str, &str)) -> Result<(), Failure> {
        let path = place::path(at);
        let (directory, name) = path.split().expect("no link is the root");
        let directory = self.root.make(&directory)?;
        let name = OsStr::from_bytes(name);
        let there = match rustix::fs::readlinkat(&directory, name, Vec::new()) {
            Ok(there) => there.as_bytes() == target.as_bytes(),
            Err(Errno::NOENT) => false,
            Err(Errno::INVAL) => {
                let shown = self.root.shown(&path);
                return Err(Failure::new(format!("`{shown}` is no symbolic link: move it away")));
            }
            Err(error) => return Err(self.io("reading", &path)(error)),
        };
        if there {
            return Ok(());
        }
        let made = (|| {
            clear(&directory)?;
            rustix::fs::symlinkat(target, &directory, UNFINISHED)?;
            if place::is_superuser() {
                let owner = (Some(Uid::ROOT), Some(Gid::ROOT));
                rustix::fs::chownat(&directory, UNFINISHED, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            rustix::fs::renameat(&directory, UNFINISHED, &directory, name)?;
            rustix::fs::fsync(&directory)
        })();
        made.map_err(self.io("making", &path))?;
        self.say(&format!("enabled {}", integration::SETUP_UNIT));
        Ok(())
    }

    fn io<E: std::fmt::Display>(&self, action: &str, path: &TreePath) -> impl FnOnce(E) -> Failure {
        Failure::io(action, self.root.shown(path))
    }
}

/// Whether a file is so already.
fn is_there(directory: &OwnedFd, name: &[u8], file: &HostEntry) -> Result<bool, Errno> {
    let Some(stat) = place::stat(directory, name)? else { return Ok(false) };
    match place::kind(&stat) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        // A link is replaced and never followed.
        _ => return Ok(false),
    }
    let same_owner = !place::is_superuser() || (stat.st_uid, stat.st_gid) == (0, 0);
    let mode = u32::from(file.mode);
    if !same_owner || stat.st_mode & 0o7777 != mode || stat.st_size != file.content.len() as i64 {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
    let mut content = Vec::new();
    let read = File::from(handle).take(file.content.len() as u64 + 1).read_to_end(&mut content);
    Ok(read.is_ok() && content == file.content)
}

/// Writes a file whole.
fn write(directory: &OwnedFd, name: &[u8], file: &HostEntry) -> std::io::Result<()> {
    clear(directory)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(directory, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
    let mut handle = File::from(handle);
    handle.write_all(&file.content)?;
    if place::is_superuser() {
        rustix::fs::fchown(&handle, Some(Uid::ROOT), Some(Gid::ROOT))?;
    }
    rustix::fs::fchmod(&handle, Mode::from_raw_mode(file.mode.into()))?;
    handle.sync_all()?;
    rustix::fs::renameat(directory, UNFINISHED, directory, OsStr::from_bytes(name))?;
    Ok(rustix::fs::fsync(directory)?)
}

/// Takes away what a run that was killed left.
fn clear(directory: &OwnedFd) -> Result<(), Errno> {
    match rustix::fs::unlinkat(directory, UNFINISHED, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
