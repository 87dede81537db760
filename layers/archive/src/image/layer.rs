//! The layers of an image: blobs are checked against every digest that vouches for them, then read as tars.

use std::sync::Arc;

use bake_base::{Digest, ReadAt, parallel};
use bake_tree::{Member, Policy};

use super::{Store, whiteout};
use crate::cache::Cache;
use crate::compression::Compression;
use crate::local::{head, plain, recognise};
use crate::tar::read_tar;
use crate::{ArchiveError, OpenOptions};

/// A layer's blob and what is said of it.
pub(super) struct LayerBlob {
    pub path: String,
    /// What it is called in messages.
    pub what: String,
    /// Its length, where a descriptor says so ...
    pub size: Option<u64>,
    /// ... with its digest.
    pub blob: Option<Digest>,
    /// The digest of the tar that it decodes to.
    pub diff_id: Digest,
}

/// What was read.
pub(super) struct Layers {
    /// Members by layer, each with its policy.
    pub layers: Vec<(Vec<Member>, Policy)>,
    pub notes: Vec<String>,
    pub warnings: Vec<String>,
}

/// Members, notes, and what the user should know of the cache.
type OneLayer = (Vec<Member>, Vec<String>, Option<String>);

/// The plain tar of a layer, and what the user should know of the cache.
type Decoded = (Arc<dyn ReadAt>, Option<String>);

/// Reads all layers, several at once.
pub(super) fn read(
    store: &Store,
    blobs: &[LayerBlob],
    options: &OpenOptions,
) -> Result<Layers, ArchiveError> {
    let read = parallel::map(options.threads, blobs.len(), || (), |(), i| one(store, &blobs[i], options))?;
    let mut layers = Vec::with_capacity(read.len());
    let (mut notes, mut warnings) = (Vec::new(), Vec::new());
    for (members, noted, warning) in read {
        layers.push((members, Policy::OCI));
        notes.extend(noted);
        warnings.extend(warning);
    }
    for texts in [&mut notes, &mut warnings] {
        texts.sort();
        texts.dedup();
    }
    Ok(Layers { layers, notes, warnings })
}

fn one(store: &Store, blob: &LayerBlob, options: &OpenOptions) -> Result<OneLayer, ArchiveError> {
    let (source, warning) = decoded(store, blob, options)?;
    let label = format!("{}: {}", store.label, blob.what.replace('`', ""));
    let tar = read_tar(&label, &source)?;
    Ok((whiteout::interpret(&label, tar.members)?, tar.notes, warning))
}

/// The plain tar of a layer, with every digest checked.
fn decoded(store: &Store, blob: &LayerBlob, options: &OpenOptions) -> Result<Decoded, ArchiveError> {
    let LayerBlob { path, what, size, blob, diff_id } = blob;
    let source = store.open_watched(path)?;
    let (source, watch) = source.ok_or_else(|| ArchiveError::document(&store.label, what, "is missing"))?;
    if let Some(expected) = size.filter(|size| *size != source.len()) {
        let (what, found) = (what.clone(), source.len());
        return Err(ArchiveError::Size { file: store.label.clone(), what, expected, found });
    }
    let label = format!("{}: {}", store.label, what.replace('`', ""));
    let compression = recognise(&head(&label, &*source)?);
    if compression == Compression::None {
        let found = store.digest_of(&*source)?;
        store.check_digest(what, blob.unwrap_or(*diff_id), found)?;
        store.check_digest(&format!("{what}, decoded,"), *diff_id, found)?;
        return Ok((source, None));
    }
    // That the cache knows what a descriptor promises says nothing of the blob that lies here; decoding hashes
    // it anyway. Without a descriptor only hashing tells whether the cache knows the blob.
    let cache = options.cache.as_deref().map(Cache::new);
    let known = match &cache {
        Some(cache) if blob.map_or_else(|| cache.has_layers(), |blob| cache.may_have(&blob)) => {
            let recalled = watch.as_ref().filter(|_| !options.paranoid);
            let recalled = recalled.and_then(|watch| cache.recall(watch.file(), &watch.state));
            let found = recalled.map_or_else(|| store.digest_of(&*source), Ok)?;
            store.check_digest(what, blob.unwrap_or(found), found)?;
            Some(found)
        }
        _ => None,
    };
    match plain(&label, &*source, compression, known, true, options) {
        Ok(plain) => {
            store.check_digest(what, blob.unwrap_or(plain.blob), plain.blob)?;
            let decoded = plain.digest.expect("it was asked for");
            store.check_digest(&format!("{what}, decoded,"), *diff_id, decoded)?;
            if let (Some(watch), Some(cache)) = (&watch, &cache) {
                watch.check()?;
                cache.remember(watch.file(), watch.state, plain.blob);
            }
            store.watches().push(plain.watch);
            Ok((plain.source, plain.warning))
        }
        // Damage is best told by the digest: it says what was expected, and that the tool is not to blame.
        Err(error) => {
            if let Some(expected) = blob {
                store.check_digest(what, *expected, store.digest_of(&*source)?)?;
            }
            Err(error)
        }
    }
}
