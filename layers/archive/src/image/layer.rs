//! The layers of an image: blobs are checked against every digest that vouches for them, then read as tars.

use std::sync::Arc;

use bake_base::{Digest, ReadAt, parallel};
use bake_tree::{Member, Policy};

use super::{Store, whiteout};
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

/// Members by layer, each with its policy, and notes.
type Layers = (Vec<(Vec<Member>, Policy)>, Vec<String>);

/// Reads all layers, several at once.
pub(super) fn read(
    store: &Store,
    blobs: &[LayerBlob],
    options: &OpenOptions,
) -> Result<Layers, ArchiveError> {
    let read = parallel::map(options.threads, blobs.len(), || (), |(), i| one(store, &blobs[i], options))?;
    let mut layers = Vec::with_capacity(read.len());
    let mut notes: Vec<String> = Vec::new();
    for (members, noted) in read {
        layers.push((members, Policy::OCI));
        notes.extend(noted);
    }
    notes.sort();
    notes.dedup();
    Ok((layers, notes))
}

fn one(
    store: &Store,
    blob: &LayerBlob,
    options: &OpenOptions,
) -> Result<(Vec<Member>, Vec<String>), ArchiveError> {
    let source = decoded(store, blob, options)?;
    let label = format!("{}: {}", store.label, blob.what.replace('`', ""));
    let tar = read_tar(&label, &source)?;
    Ok((whiteout::interpret(&label, tar.members)?, tar.notes))
}

/// The plain tar of a layer, with every digest checked.
fn decoded(store: &Store, blob: &LayerBlob, options: &OpenOptions) -> Result<Arc<dyn ReadAt>, ArchiveError> {
    let LayerBlob { path, what, size, blob, diff_id } = blob;
    let source = store.open(path)?;
    let source = source.ok_or_else(|| ArchiveError::document(&store.label, what, "is missing"))?;
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
        return Ok(source);
    }
    if options.paranoid
        && let Some(expected) = blob
    {
        store.check_digest(what, *expected, store.digest_of(&*source)?)?;
    }
    // Without a descriptor only hashing tells whether the cache knows the blob.
    let known = match blob {
        Some(blob) => Some(*blob),
        None if options.cache.is_some() => Some(store.digest_of(&*source)?),
        None => None,
    };
    match plain(&label, &*source, compression, known, true, options) {
        Ok(plain) => {
            store.check_digest(what, blob.unwrap_or(plain.blob), plain.blob)?;
            let decoded = plain.digest.expect("it was asked for");
            store.check_digest(&format!("{what}, decoded,"), *diff_id, decoded)?;
            Ok(plain.source)
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
