//! The files of a recipe's directory: listed and hashed once, and written elsewhere exactly as they were hashed.

mod snapshot;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bake_base::{Digest, Hasher, names};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};

use super::fields::Report;
use crate::Problem;

pub use snapshot::SnapshotError;

/// The most entries of one recipe's directory; more are a checkout that was meant to be a source.
const ENTRIES_MAX: usize = 50_000;
/// The most bytes of all its files.
const BYTES_MAX: u64 = 1 << 30;
/// The deepest directory.
const DEPTH_MAX: usize = 64;
/// The largest JSON document.
pub(super) const DOCUMENT_MAX: u64 = 1 << 20;
/// What the names of recipes end in.
pub(super) const BUILDINFO: &str = "buildinfo.json";
/// The most links that are followed in one path, as in the kernel.
const LINKS_MAX: usize = 40;

/// What lies in a recipe's directory, and nothing that depends on how it came there: no owners, no times, and
/// of the mode only whether a file is executable.
#[derive(Clone, Debug, Default)]
pub struct RecipeFiles {
    directory: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// The bytes of `*buildinfo.json`: what is parsed is what was hashed.
    documents: BTreeMap<String, Vec<u8>>,
}

/// One entry of a recipe's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        sha256: Digest,
    },
    /// A symbolic link that stays inside the directory.
    Link {
        /// Where it leads.
        target: String,
    },
}

/// Where a path of a recipe's directory leads when links are followed.
enum Resolved {
    /// To this entry.
    Inside(String),
    /// To nothing.
    Missing,
    /// Out of the directory.
    Outside,
}

impl RecipeFiles {
    /// Lists and hashes `directory`, which problems call `label`. What is refused is left out.
    pub(super) fn read(directory: &Path, label: &str, problems: &mut Vec<Problem>) -> Self {
        let files = Self { directory: directory.to_owned(), ..Self::default() };
        let mut walk = Walk { label, files, bytes: 0, full: false, problems };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, directory, flags, Mode::empty()) {
            Ok(root) => walk.directory(&root, "", 0),
            Err(error) => walk.problem("", format!("cannot be opened: {error}")),
        }
        walk.refuse_links_outwards();
        walk.files
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Everything in it by its path, sorted by the bytes of the paths.
    pub fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    /// The names at the top that end in `buildinfo.json`.
    pub(super) fn buildinfos(&self) -> impl Iterator<Item = &str> {
        let top = |path: &&str| !path.contains('/') && path.ends_with(BUILDINFO);
        self.entries.keys().map(String::as_str).filter(top)
    }

    /// The bytes of a `*buildinfo.json`, through links.
    pub(super) fn document(&self, name: &str) -> Option<&[u8]> {
        match self.resolve(name) {
            Resolved::Inside(path) => self.documents.get(&path).map(Vec::as_slice),
            Resolved::Missing | Resolved::Outside => None,
        }
    }

    /// The entry that a path leads to, through links.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        match self.resolve(path) {
            Resolved::Inside(path) => self.entries.get(&path),
            Resolved::Missing | Resolved::Outside => None,
        }
    }

    fn resolve(&self, path: &str) -> Resolved {
        let mut ahead: Vec<&str> = path.rsplit('/').collect();
        let mut at = Vec::new();
        let (mut links, mut missing) = (0, false);
        while let Some(name) = ahead.pop() {
            match name {
                ".." if at.pop().is_none() => return Resolved::Outside,
                "" | "." | ".." => continue,
                name => at.push(name),
            }
            match self.entries.get(&at.join("/")) {
                Some(Entry::Link { target }) => {
                    links += 1;
                    if target.starts_with('/') {
                        return Resolved::Outside;
                    }
                    if links > LINKS_MAX {
                        return Resolved::Missing;
                    }
                    at.pop();
                    ahead.extend(target.rsplit('/'));
                }
                Some(Entry::Directory) => {}
                Some(Entry::File { .. }) => missing |= !ahead.is_empty(),
                None => missing = true,
            }
        }
        if missing { Resolved::Missing } else { Resolved::Inside(at.join("/")) }
    }
}

/// A directory that is being listed.
struct Walk<'a> {
    label: &'a str,
    files: RecipeFiles,
    bytes: u64,
    /// Whether a limit was reached, which is told once.
    full: bool,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn problem(&mut self, path: &str, message: impl AsRef<str>) {
        let file = if path.is_empty() { self.label.to_owned() } else { format!("{}/{path}", self.label) };
        Report::new(&file, self.problems).add("", message);
    }

    fn directory(&mut self, directory: &OwnedFd, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            self.problem(path, format!("lies deeper than {DEPTH_MAX} directories"));
            return;
        }
        let names = match names(directory) {
            Ok(names) => names,
            Err(error) => return self.problem(path, format!("cannot be read: {error}")),
        };
        for name in names {
            if self.full {
                return;
            }
            let Ok(text) = std::str::from_utf8(&name) else {
                let lossy = String::from_utf8_lossy(&name);
                self.problem(path, format!("holds a file whose name is not UTF-8: `{lossy}`"));
                continue;
            };
            let below = if path.is_empty() { text.to_owned() } else { format!("{path}/{text}") };
            if self.files.entries.len() == ENTRIES_MAX {
                self.full = true;
                return self
                    .problem("", format!("holds more than {ENTRIES_MAX} files: fetch them as a source"));
            }
            if let Err(error) = self.entry(directory, text, &below, depth) {
                self.problem(&below, format!("cannot be read: {error}"));
            }
        }
    }

    fn entry(&mut self, directory: &OwnedFd, name: &str, path: &str, depth: usize) -> io::Result<()> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let entry = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let below = rustix::fs::openat(directory, name, flags, Mode::empty())?;
                self.files.entries.insert(path.to_owned(), Entry::Directory);
                self.directory(&below, path, depth + 1);
                return Ok(());
            }
            FileType::RegularFile => self.file(directory, name, path)?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                target.into_string().ok().map(|target| Entry::Link { target })
            }
            kind => {
                let what = match kind {
                    FileType::Fifo => "a named pipe",
                    FileType::Socket => "a socket",
                    _ => "a device node",
                };
                self.problem(path, format!("is {what}: recipes hold files, directories and symbolic links"));
                return Ok(());
            }
        };
        match entry {
            Some(entry) => drop(self.files.entries.insert(path.to_owned(), entry)),
            None if self.full => {}
            None => self.problem(path, "leads to a path that is not UTF-8"),
        }
        Ok(())
    }

    /// Hashes a file; nothing when there is too much to hash.
    fn file(&mut self, directory: &OwnedFd, name: &str, path: &str) -> io::Result<Option<Entry>> {
        let (mut file, stat) = open(directory, OsStr::from_bytes(name.as_bytes()))?;
        let left = BYTES_MAX - self.bytes;
        let keep =
            !path.contains('/') && path.ends_with(BUILDINFO) && stat.st_size.cast_unsigned() <= DOCUMENT_MAX;
        let (size, sha256) = if stat.st_size.cast_unsigned() > left {
            (stat.st_size.cast_unsigned(), Digest::of(b""))
        } else if keep {
            let mut bytes = Vec::new();
            file.take(DOCUMENT_MAX).read_to_end(&mut bytes)?;
            let sums = (bytes.len() as u64, Digest::of(&bytes));
            self.files.documents.insert(path.to_owned(), bytes);
            sums
        } else {
            hash(&mut file, left, io::sink())?
        };
        // Files may grow while they are read.
        if size > left {
            self.full = true;
            self.problem("", format!("holds more than {BYTES_MAX} bytes: fetch large files as sources"));
            return Ok(None);
        }
        self.bytes += size;
        Ok(Some(Entry::File { executable: executable(&stat), size, sha256 }))
    }

    fn refuse_links_outwards(&mut self) {
        let outwards: Vec<_> = (self.files.entries.iter())
            .filter_map(|(path, entry)| match entry {
                Entry::Link { target } => Some((path, target)),
                _ => None,
            })
            .filter(|(path, _)| matches!(self.files.resolve(path), Resolved::Outside))
            .map(|(path, target)| (path.clone(), target.clone()))
            .collect();
        for (path, target) in outwards {
            let message = format!(
                "is a link out of the recipe's directory, to `{target}`: make it in the build script, \
                 or put a copy here"
            );
            self.problem(&path, message);
        }
    }
}

/// Opens a regular file, through no link and without waiting for the other end of a pipe.
fn open(directory: &OwnedFd, name: &OsStr) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        return Ok((file.into(), stat));
    }
    Err(io::Error::other("it is no regular file any more"))
}

fn executable(stat: &Stat) -> bool {
    stat.st_mode & 0o100 != 0
}

/// Copies at most `limit` bytes and one more; gives their number and digest.
fn hash(from: &mut impl Read, limit: u64, mut to: impl io::Write) -> io::Result<(u64, Digest)> {
    let mut from = from.take(limit.saturating_add(1));
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let n = from.read(&mut buffer)?;
        if n == 0 {
            return Ok((size, hasher.finish()));
        }
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        size += n as u64;
    }
}

#[cfg(test)]
mod tests;
