//! What earlier audits have read. It saves reading, and is believed only where no file can have changed since:
//! a file whose own change time is not well before the cache was begun is read again.
//!
//! One line per file, and at the end the digest of all lines before it: a cache that was damaged is none.
//!
//! ```text
//! bake-audit-cache-1
//! DIGEST DEVICE INODE SIZE WRITTEN CHANGED MODE OWNER GROUP PATH
//! end DIGEST
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use bake_base::Digest;
use rustix::fs::{Mode, OFlags};

use super::scan::{Node, Scan, Stamp};
use crate::contents::{escape, unescape};
use crate::files;

/// Its name in the install root, and what it is called until it is whole.
pub(crate) const CACHE: &str = "audit.cache";
pub(crate) const UNFINISHED: &str = ".audit.cache.unfinished";
const SCHEMA: &str = "bake-audit-cache-1";
/// The longest cache that is read, in bytes.
const LIMIT: u64 = 4 << 30;
/// Changes within so many seconds may leave a file's times as they were: the coarsest clock of a file system that
/// Linux writes natively.
const TICK: i64 = 2;

/// Digests by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cache(BTreeMap<Vec<u8>, (Stamp, Digest)>);

/// A cache that is to be written; begun before anything is read.
pub(crate) struct Begun {
    file: File,
    /// When, by the clock of the file system.
    at: (i64, i64),
}

impl Cache {
    /// The cache of an install root; empty if there is none that can be used.
    pub(crate) fn load(home: &OwnedFd) -> Self {
        files::read_at(home, CACHE.as_bytes(), LIMIT)
            .ok()
            .and_then(|bytes| Self::parse(&bytes))
            .unwrap_or_default()
    }

    /// The digest of a file, if it is known to be as it was.
    pub(crate) fn get(&self, path: &[u8], stamp: &Stamp) -> Option<Digest> {
        self.0.get(path).filter(|(known, _)| known == stamp).map(|(_, digest)| *digest)
    }

    /// What a scan whose files have been read tells the next one.
    fn of(scan: &Scan, begun: (i64, i64)) -> Self {
        let files = scan.iter().filter_map(|(path, found)| match found.node {
            // Attributes are looked at only when a file is read.
            Node::File(Some(digest)) if found.attributes.is_empty() => Some((path, found.stamp, digest)),
            _ => None,
        });
        let settled = files.filter(|(_, stamp, _)| stamp.changed < (begun.0 - TICK, begun.1));
        Self(settled.map(|(path, stamp, digest)| (path.clone(), (stamp, digest))).collect())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let body = bytes.len().checked_sub("end \n".len() + 64)?;
        let end = std::str::from_utf8(&bytes[body..]).ok()?;
        let digest: Digest = end.strip_prefix("end ")?.strip_suffix('\n')?.parse().ok()?;
        if Digest::of(&bytes[..body]) != digest {
            return None;
        }
        let text = std::str::from_utf8(&bytes[..body]).ok()?;
        let mut lines = text.lines();
        if lines.next()? != SCHEMA {
            return None;
        }
        lines.map(line).collect::<Option<_>>().map(Self)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{SCHEMA}\n");
        for (path, (stamp, digest)) in &self.0 {
            let Stamp { device, inode, size, written, changed, mode, owner } = stamp;
            text.push_str(&format!(
                "{digest} {device} {inode} {size} {}.{} {}.{} {mode} {} {} {}\n",
                written.0,
                written.1,
                changed.0,
                changed.1,
                owner.0,
                owner.1,
                escape(path).replace('\n', "\\x0a")
            ));
        }
        let digest = Digest::of(text.as_bytes());
        text.push_str(&format!("end {digest}\n"));
        text
    }
}

fn line(line: &str) -> Option<(Vec<u8>, (Stamp, Digest))> {
    let mut fields = line.splitn(10, ' ');
    let digest = fields.next()?.parse().ok()?;
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (device, inode, size) = (number()?, number()?, number()?);
    let mut time = || {
        let (seconds, nanoseconds) = fields.next()?.split_once('.')?;
        Some((seconds.parse().ok()?, nanoseconds.parse().ok()?))
    };
    let (written, changed) = (time()?, time()?);
    let mut number = || fields.next()?.parse::<u32>().ok();
    let (mode, owner) = (number()?, (number()?, number()?));
    let path = unescape(fields.next()?)?;
    Some((path, (Stamp { device, inode, size, written, changed, mode, owner }, digest)))
}

impl Begun {
    /// Begins a cache in an install root.
    ///
    /// # Errors
    /// When it cannot be written there.
    pub(crate) fn begin(home: &OwnedFd) -> Result<Self, rustix::io::Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(home, UNFINISHED, flags, Mode::from_raw_mode(0o600))?;
        // Truncating an empty file need not touch its times.
        let times = rustix::fs::Timestamps { last_access: now(), last_modification: now() };
        let stat = rustix::fs::futimens(&file, &times).and_then(|()| rustix::fs::fstat(&file));
        let stamp = Stamp::of(&stat.inspect_err(|_| forget(home))?);
        Ok(Self { file: file.into(), at: stamp.changed })
    }

    /// Writes what a scan tells, in the place of the cache that was there.
    pub(crate) fn finish(mut self, home: &OwnedFd, scan: &Scan) -> std::io::Result<()> {
        let written = self.file.write_all(Cache::of(scan, self.at).to_text().as_bytes());
        // Not synced: what a power cut leaves of it has another digest.
        let finished = written.and_then(|()| Ok(rustix::fs::renameat(home, UNFINISHED, home, CACHE)?));
        finished.inspect_err(|_| forget(home))
    }
}

/// Takes away what was begun: only a run that was killed leaves any of it.
fn forget(home: &OwnedFd) {
    // The first failure is the one to tell.
    let _ = rustix::fs::unlinkat(home, UNFINISHED, rustix::fs::AtFlags::empty());
}

fn now() -> rustix::fs::Timespec {
    rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::scan::Found;

    fn stamp(changed: i64) -> Stamp {
        let (written, changed) = ((-5, 7), (changed, 999));
        Stamp { device: 1, inode: 2, size: 3, written, changed, mode: 0o4755, owner: (0, 9) }
    }

    fn scan() -> Scan {
        let file = |changed| Found {
            node: Node::File(Some(Digest::of(b"x"))),
            stamp: stamp(changed),
            attributes: Vec::new(),
            trouble: None,
        };
        let odd = Found { attributes: vec![b"user.x".to_vec()], ..file(10) };
        let link = Found { node: Node::Link(b"x".to_vec()), ..file(10) };
        [
            (&b"old \\ \xff\n"[..], file(10)),
            (b"recent", file(99)),
            (b"late", file(101)),
            (b"odd", odd),
            (b"link", link),
        ]
        .into_iter()
        .map(|(path, found)| (path.to_vec(), found))
        .collect()
    }

    #[test]
    fn only_what_was_settled_is_remembered() {
        let cache = Cache::of(&scan(), (100, 0));
        assert_eq!(cache.0.keys().collect::<Vec<_>>(), [&b"old \\ \xff\n"[..]]);
        assert!(cache.get(b"old \\ \xff\n", &stamp(10)).is_some());
        for other in [
            Stamp { inode: 3, ..stamp(10) },
            Stamp { changed: (10, 998), ..stamp(10) },
            Stamp { owner: (0, 0), ..stamp(10) },
            Stamp { device: 0, ..stamp(10) },
        ] {
            assert_eq!(cache.get(b"old \\ \xff\n", &other), None);
        }
    }

    #[test]
    fn a_cache_survives_a_journey_and_no_damage() {
        let cache = Cache::of(&scan(), (1000, 0));
        assert_eq!(cache.0.len(), 3);
        let text = cache.to_text();
        assert_eq!(Cache::parse(text.as_bytes()), Some(cache));
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert_eq!(Cache::parse(&bytes), None, "byte {at}");
            assert_eq!(Cache::parse(&bytes[..at]), None, "cut at {at}");
        }
    }
}
