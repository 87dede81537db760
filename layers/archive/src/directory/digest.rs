//! One digest for a directory: of a listing of all its members with the digests of their content.

use std::sync::atomic::{AtomicBool, Ordering};

use bake_base::{Digest, Hasher, ReadAt};
use bake_tree::{Content, Device, Member, MemberKind, Metadata};

use crate::ArchiveError;
use crate::input::PendingDigest;

/// Bytes hashed at once.
const STEP: u64 = 1 << 20;
/// Blocks of this many zeros are not hashed.
const BLOCK: u64 = 4096;

/// Computes the digest of sorted members in the background.
pub(super) fn of(label: &str, members: Vec<Member>) -> PendingDigest {
    let label = label.to_owned();
    PendingDigest::spawn(move |stop| {
        let mut listing = Listing(Hasher::new());
        listing.field(b"bake-directory-1");
        let mut buffer = Vec::new();
        for member in &members {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let added = listing.add(member, &mut buffer, stop);
            let file = format!("{label}{}", member.path);
            added.map_err(ArchiveError::io(&file, "reading"))?;
        }
        Ok((listing.0.finish(), Vec::new()))
    })
}

/// Fields one after the other, each behind its length, so that no two listings are the same bytes.
struct Listing(Hasher);

impl Listing {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn number(&mut self, number: i64) {
        self.0.update(&number.to_le_bytes());
    }

    fn device(&mut self, device: Device) {
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    fn add(&mut self, member: &Member, buffer: &mut Vec<u8>, stop: &AtomicBool) -> std::io::Result<()> {
        let Metadata { mode, uid, gid, mtime, xattrs } = &member.metadata;
        self.field(member.path.as_bytes());
        for number in [i64::from(*mode), i64::from(*uid), i64::from(*gid), mtime.seconds] {
            self.number(number);
        }
        self.number(mtime.nanoseconds.into());
        self.number(xattrs.len() as i64);
        for (name, value) in xattrs {
            self.field(name);
            self.field(value);
        }
        match &member.kind {
            MemberKind::Directory => self.field(b"directory"),
            MemberKind::File(content) => {
                self.field(b"file");
                let digest = digest_of(content, buffer, stop)?;
                self.field(digest.as_bytes());
            }
            MemberKind::Symlink(target) => {
                self.field(b"symlink");
                self.field(target);
            }
            MemberKind::HardLink(target) => {
                self.field(b"link");
                self.field(target.as_bytes());
            }
            MemberKind::CharDevice(device) => {
                self.field(b"char");
                self.device(*device);
            }
            MemberKind::BlockDevice(device) => {
                self.field(b"block");
                self.device(*device);
            }
            MemberKind::Fifo => self.field(b"fifo"),
            MemberKind::Whiteout | MemberKind::Opaque => unreachable!("a directory has no whiteouts"),
        }
        Ok(())
    }
}

/// A digest of the length and of every block that is not all zeros, with its place: the same however the file
/// is stored, and quick for one that is mostly holes.
fn digest_of(content: &Content, buffer: &mut Vec<u8>, stop: &AtomicBool) -> std::io::Result<Digest> {
    let mut hasher = Hasher::new();
    hasher.update(&content.len().to_le_bytes());
    for run in content.data_blocks(BLOCK, buffer)? {
        let (start, end) = (run.start * BLOCK, (run.end * BLOCK).min(content.len()));
        hasher.update(&start.to_le_bytes());
        hasher.update(&end.to_le_bytes());
        for start in (start..end).step_by(STEP as usize) {
            if stop.load(Ordering::Relaxed) {
                return Ok(hasher.finish());
            }
            buffer.resize(STEP.min(end - start) as usize, 0);
            content.read_exact_at(start, buffer)?;
            hasher.update(buffer);
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use bake_base::Digest;

    fn digest(directory: &Path) -> Digest {
        crate::directory::read("test", directory, false).unwrap().digest.wait().unwrap()
    }

    #[test]
    fn holes_cost_nothing_and_mean_zeros() {
        let scratch = tempfile::tempdir().unwrap();
        let (dense, sparse) = (scratch.path().join("dense"), scratch.path().join("sparse"));
        for (directory, bytes) in [(&dense, vec![0; 3 << 20]), (&sparse, vec![])] {
            std::fs::create_dir(directory).unwrap();
            let file = File::create(directory.join("file")).unwrap();
            file.write_all_at(&bytes, 0).unwrap();
            file.write_all_at(b"data", 1 << 20).unwrap();
            file.set_len(3 << 20).unwrap();
        }
        assert_eq!(digest(&dense), digest(&sparse));
        let before = digest(&sparse);
        File::options().write(true).open(sparse.join("file")).unwrap().set_len(1 << 40).unwrap();
        assert_ne!(digest(&sparse), before);
    }
}
