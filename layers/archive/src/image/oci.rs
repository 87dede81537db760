//! OCI image layouts: from the index to the layers of one image.
//!
//! OCI image specification 1.1: "Image Layout", "Image Index", "Image Manifest", "Image Configuration",
//! "Content Descriptors". Docker's schema 2 documents have the same fields under other media types.

use std::collections::{BTreeMap, BTreeSet};

use bake_base::Digest;
use serde::Deserialize;

use super::layer::LayerBlob;
use super::platform::{self, Platform};
use super::{Store, parse_digest};
use crate::{ArchiveError, OpenOptions};

/// How many indexes may lie inside of each other, and how many documents one image may list.
const DEPTH_MAX: usize = 8;
const MANIFESTS_MAX: usize = 10_000;

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u64,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u64,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The part of an image's configuration that matters here.
#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(flatten)]
    pub platform: Platform,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

impl Config {
    /// The digests of the uncompressed layers, lowest first.
    pub(super) fn diff_ids(&self) -> Result<Vec<Digest>, String> {
        self.rootfs.diff_ids.iter().map(|text| parse_digest(text)).collect()
    }
}

/// A manifest that might be the one.
struct Candidate {
    descriptor: Descriptor,
    digest: Digest,
    /// As its index says, or its configuration where that says nothing.
    platform: Platform,
}

/// An image of a layout.
pub(super) struct Found {
    /// The digest of its manifest.
    pub digest: Digest,
    pub layers: Vec<LayerBlob>,
    /// The bytes of both.
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
}

/// Finds the image for the wanted architecture.
pub(super) fn find(store: &Store, options: &OpenOptions) -> Result<Found, ArchiveError> {
    let (bytes, _) = store.document("oci-layout")?;
    let layout: Layout = store.parse("`oci-layout`", &bytes)?;
    if !layout.image_layout_version.starts_with("1.") {
        let reason = format!("is of version `{}`: expected 1.0.0", layout.image_layout_version);
        return Err(ArchiveError::document(&store.label, "`oci-layout`", reason));
    }
    let (bytes, _) = store.document("index.json")?;
    let mut search = Search { store, seen: BTreeSet::new(), candidates: Vec::new() };
    search.index("`index.json`", &bytes, None, 0)?;
    let found: Vec<_> = search
        .candidates
        .iter()
        .map(|candidate| (candidate.platform.clone(), candidate.descriptor.describe()))
        .collect();
    let chosen = platform::choose(&store.label, options.architecture, &found)?;
    let Candidate { descriptor, digest, .. } = &search.candidates[chosen];
    let (manifest, config) = store.manifest(descriptor)?;
    Ok(Found {
        digest: *digest,
        layers: layers(store, &manifest, &config)?,
        manifest: store.described(descriptor)?,
        config: store.described(&manifest.config)?,
    })
}

/// A walk through the indexes of a layout.
struct Search<'a> {
    store: &'a Store,
    /// What was looked at: several tags of one image are one image.
    seen: BTreeSet<Digest>,
    candidates: Vec<Candidate>,
}

impl Search<'_> {
    /// Collects the manifests of one index. `platform` is what the index itself is said to be for.
    fn index(
        &mut self,
        what: &str,
        bytes: &[u8],
        platform: Option<&Platform>,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let refuse = |reason: String| ArchiveError::document(&self.store.label, what, reason);
        let index: Index = self.store.parse(what, bytes)?;
        if index.schema_version != 2 {
            return Err(refuse(format!("is of schema version {}: expected 2", index.schema_version)));
        }
        if depth > DEPTH_MAX {
            return Err(refuse(format!("lies inside of more than {DEPTH_MAX} others")));
        }
        for descriptor in index.manifests {
            if descriptor.is_attestation() {
                continue;
            }
            let digest = descriptor.digest(self.store)?;
            if !self.seen.insert(digest) {
                continue;
            }
            if self.seen.len() > MANIFESTS_MAX {
                return Err(refuse(format!("lists more than {MANIFESTS_MAX} documents")));
            }
            let platform = descriptor.platform.as_ref().or(platform).filter(|platform| platform.is_known());
            match &*descriptor.media_type {
                "application/vnd.oci.image.index.v1+json"
                | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                    // An archive of one platform still lists the indexes that it was taken from.
                    if let Some(bytes) = self.store.described_if_there(&descriptor)? {
                        self.index(&descriptor.what(), &bytes, platform, depth + 1)?;
                    }
                }
                "application/vnd.oci.image.manifest.v1+json"
                | "application/vnd.docker.distribution.manifest.v2+json" => {
                    let platform = match platform {
                        Some(platform) => platform.clone(),
                        None => match self.store.manifest(&descriptor)? {
                            (_, config) if config.platform.is_known() => config.platform,
                            _ => continue,
                        },
                    };
                    self.candidates.push(Candidate { descriptor, digest, platform });
                }
                // "Implementations MUST ... ignore unknown media types" (OCI image index, `manifests`).
                _ => {}
            }
        }
        Ok(())
    }
}

impl Descriptor {
    /// What it is called in messages. Only digests that have been parsed are shown.
    fn what(&self) -> String {
        format!("the blob `{}`", self.digest.chars().take(80).collect::<String>())
    }

    fn digest(&self, store: &Store) -> Result<Digest, ArchiveError> {
        parse_digest(&self.digest)
            .map_err(|reason| ArchiveError::document(&store.label, "a descriptor", reason))
    }

    /// BuildKit keeps provenance beside images as manifests of their own.
    fn is_attestation(&self) -> bool {
        self.annotations.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
            || self.platform.as_ref().is_some_and(|platform| platform.architecture == "unknown")
    }

    /// What tells it from others for the same platform.
    fn describe(&self) -> String {
        let name = self.annotations.get("org.opencontainers.image.ref.name");
        let name = name.map(|name| format!(" as `{}`", name.chars().take(80).collect::<String>()));
        name.unwrap_or_else(|| format!(" ({})", self.digest.chars().take(19).collect::<String>()))
    }
}

impl Store {
    /// A document that a descriptor vouches for.
    fn described(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ArchiveError> {
        let bytes = self.described_if_there(descriptor)?;
        bytes.ok_or_else(|| ArchiveError::document(&self.label, &descriptor.what(), "is missing"))
    }

    fn described_if_there(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>, ArchiveError> {
        let (what, expected) = (descriptor.what(), descriptor.digest(self)?);
        let Some(source) = self.open(&format!("blobs/sha256/{expected}"))? else { return Ok(None) };
        if source.len() != descriptor.size {
            let (expected, found) = (descriptor.size, source.len());
            return Err(ArchiveError::Size { file: self.label.clone(), what, expected, found });
        }
        let bytes = self.read_all(&what, &*source)?;
        self.check_digest(&what, expected, Digest::of(&bytes))?;
        Ok(Some(bytes))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<(Manifest, Config), ArchiveError> {
        let what = descriptor.what();
        let manifest: Manifest = self.parse(&what, &self.described(descriptor)?)?;
        if manifest.schema_version != 2 {
            let reason = format!("is of schema version {}: expected 2", manifest.schema_version);
            return Err(ArchiveError::document(&self.label, &what, reason));
        }
        match &*manifest.config.media_type {
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            }
            other => {
                let reason = format!("is no image: its configuration is `{other}`");
                return Err(ArchiveError::document(&self.label, &what, reason));
            }
        }
        let config = self.parse(&manifest.config.what(), &self.described(&manifest.config)?)?;
        Ok((manifest, config))
    }
}

/// The layers of a manifest with all that vouches for them.
fn layers(store: &Store, manifest: &Manifest, config: &Config) -> Result<Vec<LayerBlob>, ArchiveError> {
    let what = manifest.config.what();
    let refuse = |reason| ArchiveError::document(&store.label, &what, reason);
    let diff_ids = config.diff_ids().map_err(refuse)?;
    if diff_ids.len() != manifest.layers.len() {
        return Err(refuse(format!(
            "has {} diff_ids: expected one for each of the {} layers of its manifest",
            diff_ids.len(),
            manifest.layers.len()
        )));
    }
    let layers = manifest.layers.iter().zip(diff_ids);
    layers
        .map(|(descriptor, diff_id)| {
            let what = format!("the layer `{}`", descriptor.digest.chars().take(80).collect::<String>());
            check_layer_type(&descriptor.media_type)
                .map_err(|reason| ArchiveError::document(&store.label, &what, reason))?;
            let blob = descriptor.digest(store)?;
            let path = format!("blobs/sha256/{blob}");
            Ok(LayerBlob { path, what, size: Some(descriptor.size), blob: Some(blob), diff_id })
        })
        .collect()
}

/// OCI "Image Layer Filesystem Changeset", and Docker's names for the same. How a blob is compressed is seen
/// in the blob: digests vouch for both sides of the compression.
fn check_layer_type(media_type: &str) -> Result<(), String> {
    let tar = media_type
        .strip_prefix("application/vnd.oci.image.layer.v1.tar")
        .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.diff.tar"));
    if matches!(tar, Some("" | "+gzip" | "+zstd" | ".gzip" | ".zstd")) {
        return Ok(());
    }
    let shown: String = media_type.chars().take(80).collect();
    if media_type.contains("nondistributable") || media_type.contains("foreign") {
        return Err(format!(
            "is of the type `{shown}`, which images do not carry: expected a layer of its own"
        ));
    }
    Err(format!("is of the type `{shown}`: expected a tar, plain or compressed with gzip or zstd"))
}
