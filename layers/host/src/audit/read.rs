//! Reading files for their digests, with all cores: the largest first, so that one huge file keeps one core busy
//! while the others do the rest.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use bake_base::{Digest, Hasher, parallel};
use rustix::fs::{Advice, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::cache::Cache;
use super::scan::{self, Node, Scan, Stamp};
use crate::place;

/// Bytes read at once: what the caches of a core hold beside everything else.
const STEP: usize = 256 << 10;
/// How much one piece of work is, unless it is a single file: so many bytes, or so many files.
const BATCH: (u64, usize) = (8 << 20, 256);

/// What a worker keeps: its buffer, and the directory that it was in last.
struct Worker {
    buffer: Vec<u8>,
    directory: Option<(Vec<u8>, OwnedFd)>,
}

/// What reading a file told.
struct Told {
    digest: Digest,
    stamp: Stamp,
    attributes: Vec<Vec<u8>>,
}

/// Fills in the digests of all files of a scan of `top`. What `cache` knows is not read.
pub(crate) fn read(top: &OwnedFd, scan: &mut Scan, cache: &Cache, threads: usize) {
    let mut unknown: Vec<(&[u8], u64)> = Vec::new();
    let mut known: Vec<(Vec<u8>, Digest)> = Vec::new();
    for (path, found) in &*scan {
        if found.node == Node::File(None) {
            match cache.get(path, &found.stamp) {
                Some(digest) => known.push((path.clone(), digest)),
                None => unknown.push((path, found.stamp.size)),
            }
        }
    }
    let batches = batches(&unknown);
    let worker = || Worker { buffer: vec![0; STEP], directory: None };
    let told = parallel::map(threads, batches.len(), worker, |worker, at| {
        let batch = &unknown[batches[at].clone()];
        Ok::<_, Infallible>(batch.iter().map(|(path, _)| worker.read(top, path)).collect::<Vec<_>>())
    });
    let Ok(told) = told;
    let told: Vec<_> = batches.iter().zip(told).flat_map(|(batch, told)| batch.clone().zip(told)).collect();
    let told: Vec<_> = told.into_iter().map(|(at, told)| (unknown[at].0.to_vec(), told)).collect();
    for (path, digest) in known {
        scan.entry(path).and_modify(|found| found.node = Node::File(Some(digest)));
    }
    for (path, told) in told {
        scan.entry(path).and_modify(|found| match told {
            Ok(told) => {
                found.node = Node::File(Some(told.digest));
                found.stamp = told.stamp;
                found.attributes = told.attributes;
            }
            Err(error) => found.trouble = Some(error.to_string()),
        });
    }
}

/// Neighbours together, since they share a directory; the largest piece of work first.
fn batches(files: &[(&[u8], u64)]) -> Vec<std::ops::Range<usize>> {
    let mut batches: Vec<(u64, std::ops::Range<usize>)> = Vec::new();
    for (at, (_, size)) in files.iter().enumerate() {
        match batches.last_mut() {
            Some((bytes, range)) if *bytes + size <= BATCH.0 && range.len() < BATCH.1 => {
                *bytes += size;
                range.end = at + 1;
            }
            _ => batches.push((*size, at..at + 1)),
        }
    }
    batches.sort_by_key(|(bytes, range)| (std::cmp::Reverse(*bytes), range.start));
    batches.into_iter().map(|(_, range)| range).collect()
}

impl Worker {
    fn read(&mut self, top: &OwnedFd, path: &[u8]) -> Result<Told, Errno> {
        let (parent, name) = scan::split_path(path);
        if self.directory.as_ref().is_none_or(|(open, _)| open != parent) {
            self.directory = Some((parent.to_vec(), scan::open(top, parent)?));
        }
        let directory = self.directory.as_ref().map(|(_, directory)| directory).ok_or(Errno::NOENT)?;
        let file = open(directory, name)?;
        let stamp = Stamp::of(&rustix::fs::fstat(&file)?);
        let attributes = scan::attributes(&file)?;
        let digest = digest(&file, stamp.size, &mut self.buffer)?;
        Ok(Told { digest, stamp, attributes })
    }
}

/// A regular file by its name in a directory.
pub(crate) fn open(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    use std::os::unix::ffi::OsStrExt;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, std::ffi::OsStr::from_bytes(name), flags, Mode::empty())?;
    match place::kind(&rustix::fs::fstat(&file)?) {
        FileType::RegularFile => Ok(file),
        // Replaced since it was looked at.
        _ => Err(Errno::STALE),
    }
}

/// The digest of an open file of about `size` bytes.
fn digest(file: &OwnedFd, size: u64, buffer: &mut [u8]) -> Result<Digest, Errno> {
    if size > buffer.len() as u64 {
        // Reading a whole host is no reason to push out what its services use. Advice may be refused.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::NoReuse);
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
    }
    let (mut hasher, mut total) = (Hasher::new(), 0);
    loop {
        match rustix::io::read(file, &mut *buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
                // The end is known; a file that grows has another stamp the next time.
                if count < buffer.len() && total == size {
                    return Ok(hasher.finish());
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_work_comes_first_and_every_file_once() {
        let files: Vec<(&[u8], u64)> =
            [5 << 20, 2 << 20, 90 << 20, 1, 2, 7 << 20].map(|size| (&b"x"[..], size)).to_vec();
        assert_eq!(batches(&files), [2..3, 3..6, 0..2]);
        let many = vec![(&b"x"[..], 0); 600];
        let mut seen: Vec<usize> = batches(&many).into_iter().flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..600).collect::<Vec<_>>());
    }
}
