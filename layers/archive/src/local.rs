//! Local files as plain bytes: read in place, or decoded once into the cache or an unnamed file.

use std::fs::{File, OpenOptions as FileOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bake_base::{Digest, FileBytes, ReadAt, Unnamed};
use rustix::fs::OFlags;

use crate::cache::{Cache, Layer};
use crate::decode::decode;
use crate::input::{PendingDigest, Watch};
use crate::tar::is_tar;
use crate::{ArchiveError, Compression, OpenOptions, RECOGNISED_BY};

/// A local file whose plain bytes can be read at any offset.
pub(crate) struct Local {
    pub source: Arc<dyn ReadAt>,
    pub compression: Compression,
    /// What the user should know of the cache.
    pub warning: Option<String>,
    origin: Origin,
}

/// Where the plain bytes come from.
enum Origin {
    /// From the file itself, whose digest may be known from before.
    InPlace(Watch, Option<Digest>, Option<Cache>),
    /// From what the file with this digest decodes to, which lies in another one.
    Decoded(Digest, Watch),
}

impl Local {
    /// The digest of the file as it lies there: computed while the file is used, if need be.
    pub(crate) fn digest(self) -> PendingDigest {
        match self.origin {
            Origin::InPlace(watch, None, cache) => PendingDigest::of_file(watch, cache),
            Origin::InPlace(watch, Some(digest), _) | Origin::Decoded(digest, watch) => {
                PendingDigest::known(digest, vec![watch])
            }
        }
    }

    /// The file that holds the plain bytes.
    pub(crate) fn file(&self) -> &File {
        match &self.origin {
            Origin::InPlace(watch, ..) | Origin::Decoded(_, watch) => watch.file(),
        }
    }

    /// What has to stay as it is for as long as the plain bytes are used.
    pub(crate) fn watch(self) -> Watch {
        match self.origin {
            Origin::InPlace(watch, ..) | Origin::Decoded(_, watch) => watch,
        }
    }
}

/// Opens without waiting for a writer, should it be a pipe.
pub(crate) fn open(label: &str, path: &Path) -> Result<File, ArchiveError> {
    let flags = (OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed();
    let file = FileOptions::new().read(true).custom_flags(flags).open(path);
    file.map_err(ArchiveError::io(label, "opening"))
}

/// The first bytes of a source.
pub(crate) fn head(label: &str, source: &dyn ReadAt) -> Result<Vec<u8>, ArchiveError> {
    let mut head = vec![0; source.len().min(RECOGNISED_BY as u64) as usize];
    source.read_exact_at(0, &mut head).map_err(ArchiveError::io(label, "reading"))?;
    Ok(head)
}

/// A tar has the first say: the name of its first member may look like anything.
pub(crate) fn recognise(head: &[u8]) -> Compression {
    if is_tar(head) { Compression::None } else { Compression::recognise(head) }
}

/// Takes a regular file of any compression.
pub(crate) fn load(label: &str, file: File, options: &OpenOptions) -> Result<Local, ArchiveError> {
    let bytes = Arc::new(FileBytes::new(file).map_err(ArchiveError::io(label, "opening"))?);
    let watch = Watch::new(label, Arc::clone(&bytes))?;
    let bytes: Arc<dyn ReadAt> = bytes;
    let compression = recognise(&head(label, &*bytes)?);
    let cache = options.cache.as_deref().map(Cache::new);
    let recalled = cache
        .as_ref()
        .filter(|_| !options.paranoid)
        .and_then(|cache| cache.recall(watch.file(), &watch.state));
    if compression == Compression::None {
        let origin = Origin::InPlace(watch, recalled, cache);
        return Ok(Local { source: bytes, compression, warning: None, origin });
    }
    // Hashing costs a fraction of decoding: worth it wherever the layer may be known already.
    let blob = match (recalled, &cache) {
        (Some(digest), _) => Some(digest),
        (None, Some(cache)) if cache.has_layers() => Some(watch.hash(&AtomicBool::new(false))?),
        _ => None,
    };
    let Plain { source, blob, watch: decoded, warning, .. } =
        plain(label, &*bytes, compression, blob, false, options)?;
    watch.check()?;
    if let Some(cache) = &cache {
        cache.remember(watch.file(), watch.state, blob);
    }
    Ok(Local { source, compression, warning, origin: Origin::Decoded(blob, decoded) })
}

/// What a compressed blob decodes to.
pub(crate) struct Plain {
    pub source: Arc<dyn ReadAt>,
    /// The digest of the blob ...
    pub blob: Digest,
    /// ... and that of what it decodes to, if that was wanted.
    pub digest: Option<Digest>,
    /// What has to stay as it is for as long as the plain bytes are used.
    pub watch: Watch,
    /// What the user should know of the cache.
    pub warning: Option<String>,
}

/// Decodes a blob, or finds it in the cache. `known` is its digest, if that has been computed or vouched for.
pub(crate) fn plain(
    label: &str,
    blob: &dyn ReadAt,
    compression: Compression,
    known: Option<Digest>,
    wants_digest: bool,
    options: &OpenOptions,
) -> Result<Plain, ArchiveError> {
    let mut warning = None;
    let mut cache = options.cache.as_deref().map(Cache::new);
    if let (Some(cache), Some(known)) = (&cache, known) {
        match cache.layer(&known, options.paranoid) {
            Ok(Some(Layer { label, file, state, digest })) => {
                let source = Arc::new(FileBytes::new(file).map_err(ArchiveError::io(&label, "reading"))?);
                let watch = Watch::since(label, Arc::clone(&source), state);
                return Ok(Plain { source, blob: known, digest: Some(digest), watch, warning });
            }
            Ok(None) => {}
            // What cannot be read at all costs time and nothing else; what is wrong is an error.
            Err(ArchiveError::Io { source, .. }) => warning = Some(unusable(options, "read", &source)),
            Err(error) => return Err(error),
        }
    }
    let workshop = match cache.as_ref().map(Cache::workshop) {
        Some(Ok(workshop)) => workshop,
        failed => {
            if let Some(Err(error)) = failed {
                warning = Some(unusable(options, "written", &error));
                cache = None;
            }
            let place = options.scratch.display().to_string();
            Unnamed::new(&options.scratch).map_err(ArchiveError::io(&place, "making a file in"))?
        }
    };
    // The cache keeps the digest too.
    let wants_digest = wants_digest || cache.is_some();
    let (limits, progress) = (options.limits, options.progress);
    let decoded = decode(label, blob, compression, limits, workshop.file(), wants_digest, progress)?;
    if let (Some(cache), Some(digest)) = (&cache, decoded.digest)
        && let Err(error) = cache.keep(&decoded.blob, &workshop, decoded.len, digest)
    {
        warning = Some(unusable(options, "written", &error));
    }
    let file = workshop.file().try_clone().map_err(ArchiveError::io(label, "reading"))?;
    let source = Arc::new(FileBytes::new(file).map_err(ArchiveError::io(label, "reading"))?);
    let watch = Watch::new(label, Arc::clone(&source))?;
    Ok(Plain { source, blob: decoded.blob, digest: decoded.digest, watch, warning })
}

/// What the user should know of a cache that is of no use.
fn unusable(options: &OpenOptions, action: &str, error: &io::Error) -> String {
    let cache = options.cache.as_deref().unwrap_or(&options.scratch).display();
    format!(
        "the cache `{cache}` cannot be {action} ({error}): nothing is kept; choose another with --cache, \
         or none with --no-cache"
    )
}
