//! What was learned of inputs before: their digests, and the layers that they decode to.
//!
//! `layers/sha256/HEX.tar` is what the blob of that digest decodes to, `HEX.json` beside it says its length
//! and digest, and in which state the tar had that digest; `files/DEVICE-INODE.json` is the digest of a local file that has not changed since. Everything
//! appears whole or not at all, so a killed run leaves nothing. Deleting any of it costs time and nothing else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader, json};
use serde::{Deserialize, Serialize};

use crate::ArchiveError;
use crate::unnamed::Unnamed;

/// Changes of a file within this many nanoseconds can leave its times as they were: the coarsest clock of a
/// file system that Linux writes natively ticks in seconds.
const TICK: i128 = 2_000_000_000;

/// A directory that is kept between runs.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

/// What tells one state of a local file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Known {
    state: State,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Beside {
    length: u64,
    digest: Digest,
    /// The state in which the tar has that digest; in none that is known until it has its name.
    #[serde(default)]
    seen: Option<Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    inode: u64,
    state: State,
}

/// A layer that was found in the cache.
pub(crate) struct Layer {
    /// What the file is called in messages.
    pub label: String,
    pub file: File,
    /// The state in which the digest was right.
    pub identity: Identity,
    pub digest: Digest,
}

impl Identity {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let stat = file.metadata()?;
        let state = State {
            size: stat.len(),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            ctime: (stat.ctime(), stat.ctime_nsec()),
        };
        Ok(Self { device: stat.dev(), inode: stat.ino(), state })
    }

    fn seen(&self) -> Seen {
        Seen { inode: self.inode, state: self.state }
    }

    /// Whether nothing was written in between.
    pub(crate) fn same_content(&self, other: &Self) -> bool {
        (self.state.size, self.state.mtime) == (other.state.size, other.state.mtime)
    }
}

impl Cache {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn layer_path(&self, blob: &Digest, extension: &str) -> PathBuf {
        self.directory.join("layers/sha256").join(format!("{blob}.{extension}"))
    }

    fn file_path(&self, identity: &Identity) -> PathBuf {
        self.directory.join("files").join(format!("{:x}-{:x}.json", identity.device, identity.inode))
    }

    /// What the blob decodes to, if that is known. Its digest is checked unless the file is in the state in
    /// which it was right before, and always if `paranoid`.
    pub(crate) fn layer(&self, blob: &Digest, paranoid: bool) -> Result<Option<Layer>, ArchiveError> {
        let path = self.layer_path(blob, "tar");
        let label = path.display().to_string();
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(ArchiveError::io(&label, "opening"))?,
        };
        let description = self.layer_path(blob, "json");
        let beside: Beside = match fs::read(&description) {
            // Written first; whoever deleted it wants the layer made again.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => {
                let bytes = result.map_err(ArchiveError::io(&label, "opening"))?;
                serde_json::from_slice(&bytes).map_err(|_| ArchiveError::Unrecognised {
                    file: description.display().to_string(),
                    found: "no JSON of a cached layer".to_owned(),
                    expected: "what `bake` wrote there; delete the cache to have it made again",
                })?
            }
        };
        let what = || "a cached layer (delete it to have it made again)".to_owned();
        // Taken before the hashing: what is written meanwhile makes it another.
        let identity = Identity::of(&file).map_err(ArchiveError::io(&label, "reading"))?;
        let found = identity.state.size;
        if found != beside.length {
            return Err(ArchiveError::Size { file: label, what: what(), expected: beside.length, found });
        }
        let seen = Some(identity.seen());
        if paranoid || beside.seen != seen {
            let (found, _) = DigestReader::new(&file).drain().map_err(ArchiveError::io(&label, "reading"))?;
            if found != beside.digest {
                let expected = beside.digest;
                return Err(ArchiveError::Digest { file: label, what: what(), expected, found });
            }
            // Copied or restored, perhaps. Without a note the next run hashes again and nothing else.
            let _ = self.write(&description, &Beside { seen, ..beside });
        }
        Ok(Some(Layer { label, file, identity, digest: beside.digest }))
    }

    /// Whether a layer of this blob may be there.
    pub(crate) fn may_have(&self, blob: &Digest) -> bool {
        self.layer_path(blob, "tar").exists()
    }

    /// Whether any layer was ever kept.
    pub(crate) fn has_layers(&self) -> bool {
        self.directory.join("layers/sha256").is_dir()
    }

    /// A file for a layer, on the file system of the cache.
    pub(crate) fn workshop(&self) -> io::Result<Unnamed> {
        let directory = self.directory.join("layers/sha256");
        fs::create_dir_all(&directory)?;
        Unnamed::new(&directory)
    }

    /// Keeps what the blob decodes to.
    pub(crate) fn keep(&self, blob: &Digest, layer: &Unnamed, length: u64, digest: Digest) -> io::Result<()> {
        let description = self.layer_path(blob, "json");
        self.write(&description, &Beside { length, digest, seen: None })?;
        layer.name(&self.layer_path(blob, "tar"))?;
        // Only now: a new name changes the state too.
        let seen = Some(Identity::of(layer.file())?.seen());
        self.write(&description, &Beside { length, digest, seen })
    }

    /// The digest of a local file that was hashed in this very state before.
    pub(crate) fn recall(&self, identity: &Identity) -> Option<Digest> {
        let file = File::open(self.file_path(identity)).ok()?;
        // The clock is not read here: what the file system says of the note is when it was written. A file
        // that changed shortly before could have changed again since, unseen.
        let noted = nanoseconds(Identity::of(&file).ok()?.state.mtime);
        if noted < nanoseconds(identity.state.ctime) + TICK {
            return None;
        }
        let known: Known = serde_json::from_reader(io::BufReader::new(file)).ok()?;
        (known.state == identity.state).then_some(known.digest)
    }

    /// Notes the digest of a local file. A cache that takes no notes only costs time.
    pub(crate) fn remember(&self, identity: &Identity, digest: Digest) {
        let _ = self.write(&self.file_path(identity), &Known { state: identity.state, digest });
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(directory)?;
        let file = Unnamed::new(directory)?;
        io::Write::write_all(&mut &**file.file(), &json::to_canonical(value)?)?;
        file.name(path)
    }
}

fn nanoseconds((seconds, nanoseconds): (i64, i64)) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
