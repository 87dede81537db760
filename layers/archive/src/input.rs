//! What an image was made from: for its manifest.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use bake_base::{Digest, FileBytes, FileState, Hasher, ReadAt};

use crate::cache::Cache;
use crate::{ArchiveError, Compression};

/// Bytes hashed at once.
const STEP: u64 = 1 << 20;

/// One input as the user gave it.
#[derive(Debug)]
pub struct Input {
    /// The path as given.
    pub label: String,
    /// What it was recognised as.
    pub kind: InputKind,
    /// The digest that stands for it.
    pub digest: PendingDigest,
}

/// What an input was recognised as, and what its digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputKind {
    /// A tar: the digest of the file as it is.
    Tar(Compression),
    /// An OCI image layout in a directory: the digest of the image's manifest.
    OciLayout,
    /// The same in a tar.
    OciArchive,
    /// A `docker save` archive without an OCI layout: the digest of the image's configuration, its id.
    DockerArchive,
    /// A directory: the digest of a listing with the digests of all files.
    Directory,
    /// A disk image: the digest of the file as it is.
    Disk(Compression),
    /// A document that names other inputs: the digest of its bytes.
    Document,
}

/// A digest that may still be in the making while the input is used.
#[derive(Debug)]
pub struct PendingDigest(Pending);

#[derive(Debug)]
enum Pending {
    Known(Digest, Vec<Watch>),
    Running(Running),
    /// The machine has no more threads.
    Refused(io::Error),
}

impl PendingDigest {
    /// The digest of bytes that have been read.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::known(Digest::of(bytes), Vec::new())
    }

    /// A digest that is known, of something that goes on being read in these files.
    pub(crate) fn known(digest: Digest, watches: Vec<Watch>) -> Self {
        Self(Pending::Known(digest, watches))
    }

    /// Hashes a file in the background.
    pub(crate) fn of_file(watch: Watch, cache: Option<Cache>) -> Self {
        Self::spawn(move |stop| {
            let digest = watch.hash(stop)?;
            watch.check()?;
            if let Some(cache) = cache {
                cache.remember(watch.file(), watch.state, digest);
            }
            Ok((digest, vec![watch]))
        })
    }

    /// Computes a digest in the background; `work` may end early once it is told to stop.
    pub(crate) fn spawn(work: impl FnOnce(&AtomicBool) -> Outcome + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        match thread::Builder::new().spawn(move || work(&told)) {
            Ok(thread) => Self(Pending::Running(Running { thread: Some(thread), stop })),
            Err(error) => Self(Pending::Refused(error)),
        }
    }

    /// Waits until the digest is known and makes sure that the input is still what was read.
    ///
    /// Call it when everything that the image takes from the input has been written.
    ///
    /// # Errors
    /// When the input cannot be read or changed since it was opened.
    pub fn wait(self) -> Result<Digest, ArchiveError> {
        let (digest, watches) = match self.0 {
            Pending::Known(digest, watches) => (digest, watches),
            Pending::Running(running) => running.join()?,
            Pending::Refused(error) => {
                return Err(ArchiveError::io("an input", "starting a thread for")(error));
            }
        };
        watches.iter().try_for_each(Watch::check)?;
        Ok(digest)
    }
}

/// A digest, and the files that go on being read in place.
type Outcome = Result<(Digest, Vec<Watch>), ArchiveError>;

/// A thread that stops soon after nobody wants its result any more.
#[derive(Debug)]
struct Running {
    thread: Option<JoinHandle<Outcome>>,
    stop: Arc<AtomicBool>,
}

impl Running {
    fn join(mut self) -> Outcome {
        let thread = self.thread.take().expect("only this takes it, once");
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// An open file and the state that it was opened in.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    label: String,
    file: Arc<FileBytes>,
    pub state: FileState,
}

impl Watch {
    pub(crate) fn new(label: &str, file: Arc<FileBytes>) -> Result<Self, ArchiveError> {
        let state = FileState::of(file.file()).map_err(ArchiveError::io(label, "reading"))?;
        Ok(Self { label: label.to_owned(), file, state })
    }

    /// A file whose content is what it was in this state.
    pub(crate) fn since(label: String, file: Arc<FileBytes>, state: FileState) -> Self {
        Self { label, file, state }
    }

    pub(crate) fn file(&self) -> &File {
        self.file.file()
    }

    /// Whether the content is still what it was. A new name or another owner is no change.
    pub(crate) fn check(&self) -> Result<(), ArchiveError> {
        let now = FileState::of(self.file()).map_err(ArchiveError::io(&self.label, "reading"))?;
        if now.same_content(&self.state) {
            Ok(())
        } else {
            Err(ArchiveError::Changed { file: self.label.clone() })
        }
    }

    /// Hashes the file, or as much of it as there is time for.
    pub(crate) fn hash(&self, stop: &AtomicBool) -> Result<Digest, ArchiveError> {
        let mut hasher = Hasher::new();
        let mut buffer = Vec::new();
        let len = self.file.len();
        for start in (0..len).step_by(STEP as usize) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            buffer.resize(STEP.min(len - start) as usize, 0);
            let read = self.file.read_exact_at(start, &mut buffer);
            read.map_err(ArchiveError::io(&self.label, "reading"))?;
            hasher.update(&buffer);
        }
        Ok(hasher.finish())
    }
}
