//! The root that a build sees where nothing can be mounted: a directory on the disk, for one build and with
//! nothing in it that anybody else could miss.
//!
//! What a build reads are hard links, which cost no space and little time. They share owner, mode and content with
//! the original, so they protect it only because the build is a user that owns none of them: a file that it could
//! write all the same, or could not read, is copied. Directories are always made anew. What a build writes is
//! moved here and moved back.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dev, FileType, Mode, makedev, mknodat};

use super::plan::{self, Children, Node, Point};
use super::{Source, is_directory};
use crate::sandbox::channel::{During, Failure};
use crate::sandbox::shuffle;
use crate::sandbox::spec::Spec;

/// `/dev`: names, and numbers that are the same on every Linux.
const DEVICES: [(&str, (u32, u32)); 6] = [
    ("full", (1, 7)),
    ("null", (1, 3)),
    ("random", (1, 8)),
    ("tty", (5, 0)),
    ("urandom", (1, 9)),
    ("zero", (1, 5)),
];

/// A root that has been composed.
#[derive(Default)]
pub(in crate::sandbox) struct Composed {
    /// What was moved: from where to where.
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Composed {
    /// Where what the build may write is now.
    pub(in crate::sandbox) fn writable(&self) -> impl Iterator<Item = &Path> {
        self.moved.iter().map(|(_, to)| to.as_path())
    }

    /// Moves everything back. No process of the build may live: one whose directory is moved out of its root is
    /// out of it as well.
    pub(in crate::sandbox) fn take_back(self) -> Result<(), Failure> {
        let back = |(from, to): (PathBuf, PathBuf)| {
            fs::rename(&to, &from).during(|| format!("take back `{}`", from.display()))
        };
        self.moved.into_iter().rev().map(back).fold(Ok(()), Result::and)
    }
}

/// Composes the root of a build by the user `id` in `at`, an empty directory. What is done stays in `composed`
/// when something fails.
pub(in crate::sandbox) fn link(
    spec: &Spec,
    at: &Path,
    id: u32,
    composed: &mut Composed,
) -> Result<(), Failure> {
    let plan = plan::plan(spec)?;
    Linker { id, composed }.fill(Some(&plan.root.path()), at, &plan.children)
}

struct Linker<'a> {
    id: u32,
    composed: &'a mut Composed,
}

impl Linker<'_> {
    /// Fills a directory with the entries of `backing`, and with what belongs there instead.
    fn fill(&mut self, backing: Option<&Path>, at: &Path, children: &Children) -> Result<(), Failure> {
        if let Some(backing) = backing {
            let step = || format!("read the directory of which `{}` is made", at.display());
            for entry in fs::read_dir(backing).during(step)? {
                let name = entry.during(step)?.file_name();
                if name.to_str().is_none_or(|name| !children.contains_key(name)) {
                    let to = at.join(&name);
                    self.show(&backing.join(&name), &to).during(|| format!("show `{}`", to.display()))?;
                }
            }
        }
        for (name, node) in children {
            self.child(node, backing.map(|backing| backing.join(name)).as_deref(), &at.join(name))?;
        }
        match backing {
            Some(backing) => date(backing, at).during(|| format!("date `{}`", at.display())),
            None => Ok(()),
        }
    }

    fn child(&mut self, node: &Node, backing: Option<&Path>, at: &Path) -> Result<(), Failure> {
        let step = || format!("make `{}`", at.display());
        match &node.point {
            None => {
                make_directory(at, 0o755).during(step)?;
                self.fill(backing.filter(|backing| is_directory(backing)), at, &node.children)
            }
            Some(Point::Link(target)) => symlink(target, at).during(step),
            Some(Point::Bind { source, writable: true }) => self.take(source, node, at),
            Some(Point::Bind { source, .. }) if source.is_directory => {
                make_directory(at, 0o755).during(step)?;
                self.fill(Some(&source.path()), at, &node.children)
            }
            Some(Point::Bind { source, .. }) => {
                fs::canonicalize(&source.name).and_then(|from| self.show(&from, at)).during(step)
            }
            Some(Point::Shuffled(source)) => {
                make_directory(at, 0o755).and_then(|()| self.own(at)).during(step)?;
                shuffle::copy_as_is(&source.path(), at, self.id).during(step)?;
                self.fill(None, at, &node.children)
            }
            Some(Point::Memory { mode }) => {
                make_directory(at, *mode).and_then(|()| self.own(at)).during(step)?;
                self.fill(None, at, &node.children)
            }
            Some(Point::Devices) => make_devices(at),
            Some(Point::Processes) => make_directory(at, 0o555).during(step),
        }
    }

    /// Moves what the build writes.
    fn take(&mut self, source: &Source, node: &Node, at: &Path) -> Result<(), Failure> {
        let step = || {
            format!(
                "move `{}`, which has to be on the same file system, to `{}`",
                source.name(),
                at.display()
            )
        };
        if !node.children.is_empty() {
            return Err(Failure::new(step(), io::Error::other("nothing can be mounted in it here")));
        }
        let from = fs::canonicalize(&source.name).during(step)?;
        fs::rename(&from, at).during(step)?;
        self.composed.moved.push((from, at.to_owned()));
        Ok(())
    }

    /// Shows a file or directory for reading.
    fn show(&self, from: &Path, at: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(from)?;
        let (kind, mode) = (metadata.file_type(), metadata.mode());
        if kind.is_dir() {
            make_directory(at, (mode & 0o755) | 0o555)?;
            for entry in fs::read_dir(from)? {
                let name = entry?.file_name();
                self.show(&from.join(&name), &at.join(&name))?;
            }
            return date(from, at);
        }
        if kind.is_symlink() {
            return fs::hard_link(from, at).or_else(|_| symlink(fs::read_link(from)?, at));
        }
        if !kind.is_file() {
            return Ok(()); // no build needs the builder's pipes and devices
        }
        let readable = (mode & 0o755) | if mode & 0o100 == 0 { 0o444 } else { 0o555 };
        let is_harmless = mode & 0o7777 & !0o020 == readable & !0o020;
        // Another file system, or a file with too many names: then there are two of them.
        if is_harmless && metadata.uid() != self.id && fs::hard_link(from, at).is_ok() {
            return Ok(());
        }
        fs::copy(from, at)?;
        fs::set_permissions(at, fs::Permissions::from_mode(readable))?;
        date(from, at)
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.id), Some(self.id))
    }
}

fn make_devices(at: &Path) -> Result<(), Failure> {
    let step =
        || format!("make devices, which takes CAP_MKNOD and a file system for them, in `{}`", at.display());
    make_directory(at, 0o755).during(step)?;
    for (name, (major, minor)) in DEVICES {
        let path = at.join(name);
        let device: Dev = makedev(major, minor);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), device).during(step)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).during(step)?;
    }
    File::options().write(true).open(at.join("null")).during(step)?;
    make_directory(&at.join("shm"), 0o1777).during(step)
}

fn make_directory(at: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(at)?;
    fs::set_permissions(at, fs::Permissions::from_mode(mode))
}

/// Gives a copy the time of the original.
fn date(from: &Path, at: &Path) -> io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    File::open(at)?.set_times(FileTimes::new().set_modified(modified))
}
