//! The archives of a product, which are what the product says or an error.

use std::fs::File;
use std::path::Path;

use bake_archive::{ArchiveError, Input, OpenOptions, Opened, open_overlay};
use bake_base::DigestReader;

use crate::Failure;
use crate::place::Scratch;
use crate::product::Blob;

/// Opens an archive. Its digest is that of the bytes that were decoded, which [`check_digest`] compares.
pub(super) fn open(blob: &Blob, from: &Path, scratch: &Scratch) -> Result<Opened, Failure> {
    let path = check_size(blob, from)?;
    let options =
        OpenOptions { scratch: scratch.path().to_owned(), preserve: true, ..OpenOptions::default() };
    open_overlay(&path, &options).map_err(|error| match error {
        // The machine's fault and not the file's.
        ArchiveError::Io { .. } => scratch.failure(&error),
        error => {
            Failure::new(format!("{}: expected the file with sha256 {}", Failure::of(&error), blob.sha256))
        }
    })
}

/// Whether what was read is what the product says.
pub(super) fn check_digest(blob: &Blob, inputs: Vec<Input>) -> Result<(), Failure> {
    for input in inputs {
        let label = input.label.clone();
        let found = input.digest.wait().map_err(|error| Failure::of(&error))?;
        if found != blob.sha256 {
            return Err(Failure::new(format!("`{label}` has the digest {found}: expected {}", blob.sha256)));
        }
    }
    Ok(())
}

/// Reads a file and compares its size and digest.
pub(super) fn verify(blob: &Blob, from: &Path) -> Result<(), Failure> {
    let path = check_size(blob, from)?;
    let file = File::open(&path).map_err(Failure::io("opening", path.display()))?;
    let drained = DigestReader::new(std::io::BufReader::with_capacity(1 << 20, file)).drain();
    let (found, _) = drained.map_err(Failure::io("reading", path.display()))?;
    if found == blob.sha256 {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` has the digest {found}: expected {}", path.display(), blob.sha256)))
}

fn check_size(blob: &Blob, from: &Path) -> Result<std::path::PathBuf, Failure> {
    let path = from.join(&blob.path);
    let shown = path.display();
    let metadata = std::fs::metadata(&path);
    let metadata = metadata.map_err(|error| {
        Failure::new(format!(
            "opening `{shown}` failed: {error}: expected the file with sha256 {}",
            blob.sha256
        ))
    })?;
    if !metadata.is_file() {
        return Err(Failure::new(format!("`{shown}` is no regular file")));
    }
    if metadata.len() != blob.size {
        let (found, expected) = (metadata.len(), blob.size);
        return Err(Failure::new(format!(
            "`{shown}` has {found} bytes: expected {expected} with sha256 {}",
            blob.sha256
        )));
    }
    Ok(path)
}
