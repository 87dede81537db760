//! What was learned of inputs before: their digests, and the layers that they decode to.
//!
//! `layers/sha256/HEX.tar` is what the blob of that digest decodes to, `HEX.json` beside it says its length
//! and digest, and in which state the tar had that digest; `files/DEVICE-INODE.json` is the digest of a local
//! file that has not changed since. Everything appears whole or not at all, so a killed run leaves nothing.
//! Deleting any of it costs time and nothing else.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bake_base::{Digest, DigestReader, FileState, Unnamed, json};
use serde::{Deserialize, Serialize};

use crate::ArchiveError;

/// A directory that is kept between runs.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Known {
    state: FileState,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
struct Beside {
    length: u64,
    digest: Digest,
    /// The state in which the tar has that digest; in none that is known until it has its name.
    #[serde(default)]
    state: Option<FileState>,
}

/// A layer that was found in the cache.
pub(crate) struct Layer {
    /// What the file is called in messages.
    pub label: String,
    pub file: File,
    /// The state in which the digest was right.
    pub state: FileState,
    pub digest: Digest,
}

impl Cache {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn layer_path(&self, blob: &Digest, extension: &str) -> PathBuf {
        self.directory.join("layers/sha256").join(format!("{blob}.{extension}"))
    }

    fn file_path(&self, file: &File) -> io::Result<PathBuf> {
        let stat = file.metadata()?;
        Ok(self.directory.join("files").join(format!("{:x}-{:x}.json", stat.dev(), stat.ino())))
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
        let state = FileState::of(&file).map_err(ArchiveError::io(&label, "reading"))?;
        let found = state.size();
        if found != beside.length {
            return Err(ArchiveError::Size { file: label, what: what(), expected: beside.length, found });
        }
        if paranoid || beside.state != Some(state) {
            let (found, _) = DigestReader::new(&file).drain().map_err(ArchiveError::io(&label, "reading"))?;
            if found != beside.digest {
                let expected = beside.digest;
                return Err(ArchiveError::Digest { file: label, what: what(), expected, found });
            }
            // Copied or restored, perhaps. Without a note the next run hashes again and nothing else.
            let _ = self.write(&description, &Beside { state: Some(state), ..beside });
        }
        Ok(Some(Layer { label, file, state, digest: beside.digest }))
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
        self.write(&description, &Beside { length, digest, state: None })?;
        layer.name(&self.layer_path(blob, "tar"))?;
        // Only now: a new name changes the state too.
        let state = Some(FileState::of(layer.file())?);
        self.write(&description, &Beside { length, digest, state })
    }

    /// The digest of a local file that was hashed in this very state before.
    pub(crate) fn recall(&self, file: &File, state: &FileState) -> Option<Digest> {
        let note = File::open(self.file_path(file).ok()?).ok()?;
        let written = FileState::of(&note).ok()?;
        let known: Known = serde_json::from_reader(io::BufReader::new(note)).ok()?;
        (known.state == *state && state.settled_before(&written)).then_some(known.digest)
    }

    /// Notes the digest that a local file has in this state. A cache that takes no notes only costs time.
    pub(crate) fn remember(&self, file: &File, state: FileState, digest: Digest) {
        let _ = self.file_path(file).and_then(|path| self.write(&path, &Known { state, digest }));
    }

    fn write(&self, path: &Path, value: &impl Serialize) -> io::Result<()> {
        let directory = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(directory)?;
        let file = Unnamed::new(directory)?;
        io::Write::write_all(&mut &**file.file(), &json::to_canonical(value)?)?;
        file.name(path)
    }
}
