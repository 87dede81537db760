//! `docker save` archives as they were before Docker spoke OCI, and as `podman save` and `skopeo` still write
//! them: `manifest.json` lists images, each with a configuration and the tars of its layers.
//!
//! Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format".

use bake_base::Digest;
use serde::Deserialize;

use super::layer::LayerBlob;
use super::oci::Config;
use super::{Store, platform};
use crate::{ArchiveError, OpenOptions};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Finds the image for the wanted architecture: the digest of its configuration, and its layers.
pub(super) fn find(store: &Store, options: &OpenOptions) -> Result<(Digest, Vec<LayerBlob>), ArchiveError> {
    let (bytes, _) = store.document("manifest.json")?;
    let saved: Vec<Saved> = store.parse("`manifest.json`", &bytes)?;
    let mut configs = Vec::new();
    let mut found = Vec::new();
    for image in &saved {
        let (config, digest) = config(store, &image.config)?;
        let tags = image.repo_tags.as_deref().unwrap_or_default().join(" and ");
        let tags = if tags.is_empty() { String::new() } else { format!(" as `{tags}`") };
        found.push((config.platform.clone(), tags));
        configs.push((config, digest));
    }
    let chosen = platform::choose(&store.label, options.architecture, &found)?;
    let (config, digest) = &configs[chosen];
    let paths = &saved[chosen].layers;
    let refuse =
        |reason| ArchiveError::document(&store.label, &format!("`{}`", saved[chosen].config), reason);
    let diff_ids = config.diff_ids().map_err(refuse)?;
    if diff_ids.len() != paths.len() {
        let (ids, layers) = (diff_ids.len(), paths.len());
        return Err(refuse(format!("has {ids} diff_ids: expected one for each of the {layers} layers")));
    }
    let layers = paths.iter().zip(diff_ids).map(|(path, diff_id)| LayerBlob {
        path: path.clone(),
        what: format!("the layer `{path}`"),
        size: None,
        blob: None,
        diff_id,
    });
    Ok((*digest, layers.collect()))
}

/// A configuration; its file is named by its digest, `HEX.json` or `blobs/sha256/HEX`.
fn config(store: &Store, path: &str) -> Result<(Config, Digest), ArchiveError> {
    let (bytes, found) = store.document(path)?;
    let name = path.rsplit('/').next().unwrap_or(path);
    if let Ok(expected) = name.strip_suffix(".json").unwrap_or(name).parse() {
        store.check_digest(&format!("`{path}`"), expected, found)?;
    }
    Ok((store.parse(&format!("`{path}`"), &bytes)?, found))
}
