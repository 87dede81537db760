//! Container images: where their blobs lie, and how their layers become members.

mod docker;
mod layer;
mod oci;
mod platform;
mod whiteout;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bake_base::{Digest, FileBytes, Hasher, ReadAt};
use bake_tree::{Content, Member, Policy, Tree, TreePath};

use crate::input::{PendingDigest, Watch};
use crate::{ArchiveError, OpenOptions, local};

/// Longest document (index, manifest, configuration): registries take 4 MiB.
const DOCUMENT_MAX: u64 = 16 << 20;

/// An image that has been read.
pub(crate) struct Image {
    pub layers: Vec<(Vec<Member>, Policy)>,
    /// What stands for it: the digest of its manifest, or of its configuration where it has none.
    pub digest: PendingDigest,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// An image as documents and blobs.
pub(crate) struct Raw {
    /// The digest of the manifest.
    pub digest: Digest,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// The layers' blobs as they are, lowest first.
    pub layers: Vec<(Digest, Arc<dyn ReadAt>)>,
}

/// The files of an image, in a directory or in an archive.
pub(crate) struct Store {
    /// The image as the user gave it.
    pub label: String,
    place: Place,
    /// The files that have been opened: layers that are not compressed are read in place.
    watches: Mutex<Vec<Watch>>,
}

/// A file, and what watches it if it is one of its own.
type Watched = (Arc<dyn ReadAt>, Option<Watch>);

enum Place {
    Directory(PathBuf),
    Archive(Box<Tree>),
}

/// What a directory or an archive holds, if it holds an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageKind {
    Oci,
    Docker,
}

/// Whether members are those of an archived image, judged by what lies at the root.
pub(crate) fn recognise(members: &[Member]) -> Option<ImageKind> {
    let has = |name: &[u8]| members.iter().any(|member| member.path.as_bytes() == name);
    // `docker save` writes both since it speaks OCI: the layout has more to say.
    if has(b"oci-layout") && has(b"index.json") {
        Some(ImageKind::Oci)
    } else if has(b"manifest.json") && !has(b"etc") && !has(b"usr") {
        Some(ImageKind::Docker)
    } else {
        None
    }
}

impl Store {
    pub(crate) fn directory(label: &str, path: &Path) -> Self {
        let place = Place::Directory(path.to_owned());
        Self { label: label.to_owned(), place, watches: Mutex::default() }
    }

    /// The members of an archive, and the file that they lie in.
    pub(crate) fn archive(label: &str, members: Vec<Member>, watch: Watch) -> Result<Self, ArchiveError> {
        let mut tree = Tree::new();
        tree.apply(members, Policy::TAR).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            ArchiveError::document(label, "the archive", format!("makes no sense: {}", problems.join("; ")))
        })?;
        let watches = Mutex::new(vec![watch]);
        Ok(Self { label: label.to_owned(), place: Place::Archive(Box::new(tree)), watches })
    }

    /// Reads the image.
    pub(crate) fn read(&self, kind: ImageKind, options: &OpenOptions) -> Result<Image, ArchiveError> {
        let (digest, blobs) = match kind {
            ImageKind::Oci => {
                let oci::Found { digest, layers, .. } = oci::find(self, options)?;
                (digest, layers)
            }
            ImageKind::Docker => docker::find(self, options)?,
        };
        self.read_layers(digest, &blobs, options)
    }

    /// Reads an OCI image, and gives it as it lies there too: every blob has been checked against its digest then.
    pub(crate) fn read_raw(&self, options: &OpenOptions) -> Result<(Image, Raw), ArchiveError> {
        let oci::Found { digest, layers: blobs, manifest, config } = oci::find(self, options)?;
        let mut layers = Vec::with_capacity(blobs.len());
        for blob in &blobs {
            let source = self.open(&blob.path)?;
            let source =
                source.ok_or_else(|| ArchiveError::document(&self.label, &blob.what, "is missing"))?;
            layers.push((blob.blob.unwrap_or(blob.diff_id), source));
        }
        let image = self.read_layers(digest, &blobs, options)?;
        Ok((image, Raw { digest, manifest, config, layers }))
    }

    fn read_layers(
        &self,
        digest: Digest,
        blobs: &[layer::LayerBlob],
        options: &OpenOptions,
    ) -> Result<Image, ArchiveError> {
        let layer::Layers { layers, notes, warnings } = layer::read(self, blobs, options)?;
        let digest = PendingDigest::known(digest, std::mem::take(&mut *self.watches()));
        Ok(Image { layers, digest, notes, warnings })
    }

    fn watches(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A file by its path in the image. Links are followed: tools that share blobs make them, and what they
    /// lead to has to have the right digest all the same.
    fn open(&self, path: &str) -> Result<Option<Arc<dyn ReadAt>>, ArchiveError> {
        Ok(self.open_watched(path)?.map(|(source, _)| source))
    }

    /// The same, with what watches it if it is a file of its own.
    fn open_watched(&self, path: &str) -> Result<Option<Watched>, ArchiveError> {
        let refuse = |reason: String| ArchiveError::document(&self.label, &format!("`{path}`"), reason);
        let parsed =
            TreePath::parse(path.as_bytes()).map_err(|error| refuse(format!("is no path: {error}")))?;
        match &self.place {
            Place::Archive(tree) => {
                let content = tree.file(&parsed).map_err(|error| refuse(format!("is no file: {error}")))?;
                Ok(content.cloned().map(|content: Content| (Arc::new(content) as Arc<dyn ReadAt>, None)))
            }
            Place::Directory(directory) => {
                let path = directory.join(path);
                let label = path.display().to_string();
                let file: File = match local::open(&label, &path) {
                    Err(ArchiveError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                        return Ok(None);
                    }
                    result => result?,
                };
                let stat = file.metadata().map_err(ArchiveError::io(&label, "reading"))?;
                if !stat.is_file() {
                    return Err(refuse("is no regular file".to_owned()));
                }
                let file = Arc::new(FileBytes::new(file).map_err(ArchiveError::io(&label, "reading"))?);
                let watch = Watch::new(&label, Arc::clone(&file))?;
                self.watches().push(watch.clone());
                Ok(Some((file, Some(watch))))
            }
        }
    }

    /// A document by its path, with its digest.
    fn document(&self, path: &str) -> Result<(Vec<u8>, Digest), ArchiveError> {
        let what = format!("`{path}`");
        let source = self.open(path)?;
        let source = source.ok_or_else(|| ArchiveError::document(&self.label, &what, "is missing"))?;
        let bytes = self.read_all(&what, &*source)?;
        let digest = Digest::of(&bytes);
        Ok((bytes, digest))
    }

    fn read_all(&self, what: &str, source: &dyn ReadAt) -> Result<Vec<u8>, ArchiveError> {
        if source.len() > DOCUMENT_MAX {
            let reason = format!("has {} bytes: expected at most {DOCUMENT_MAX}", source.len());
            return Err(ArchiveError::document(&self.label, what, reason));
        }
        let mut bytes = vec![0; source.len() as usize];
        source.read_exact_at(0, &mut bytes).map_err(ArchiveError::io(&self.label, "reading"))?;
        Ok(bytes)
    }

    /// Parses a document.
    fn parse<T: serde::de::DeserializeOwned>(&self, what: &str, bytes: &[u8]) -> Result<T, ArchiveError> {
        serde_json::from_slice(bytes).map_err(|error| {
            ArchiveError::document(&self.label, what, format!("is not what it should be: {error}"))
        })
    }

    fn digest_of(&self, source: &dyn ReadAt) -> Result<Digest, ArchiveError> {
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        for start in (0..source.len()).step_by(buffer.len()) {
            let n = (source.len() - start).min(buffer.len() as u64) as usize;
            let read = source.read_exact_at(start, &mut buffer[..n]);
            read.map_err(ArchiveError::io(&self.label, "reading"))?;
            hasher.update(&buffer[..n]);
        }
        Ok(hasher.finish())
    }

    fn check_digest(&self, what: &str, expected: Digest, found: Digest) -> Result<(), ArchiveError> {
        if expected == found {
            return Ok(());
        }
        Err(ArchiveError::Digest { file: self.label.clone(), what: what.to_owned(), expected, found })
    }
}

/// Parses `sha256:HEX` (OCI image specification, "Digests"). Nothing else ever becomes part of a path.
fn parse_digest(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").ok_or_else(|| {
        format!(
            "has the digest `{}`: expected `sha256:` and 64 digits",
            text.chars().take(80).collect::<String>()
        )
    })?;
    hex.parse().map_err(|error| format!("has a digest of no use: {error}"))
}

#[cfg(test)]
#[path = "image/tests.rs"]
mod tests;
