//! OCI images that are built upon: the blobs of a base stay as they are, digest by digest, and one layer comes on top.
//!
//! [`open_image`] reads a base both as members, for those who compute what the layer is to change, and as documents
//! and blobs. [`write_layer`] writes a tree as a layer; [`OciImage::with_layer`] gives a whole image layout as a tree,
//! which [`crate::write_tar`] makes an archive of.
//!
//! OCI image specification 1.1: "Image Layout", "Image Manifest", "Image Configuration", "Image Layer Filesystem
//! Changeset". Fields of the base that mean nothing here are kept. The result is OCI's whatever the base was: Docker's
//! names of media types are replaced by OCI's for the same bytes, as every tool that copies images does.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use bake_base::{Digest, DigestWriter, Epoch, json};
use bake_tree::{Content, EditError, Metadata, Node, Tree, TreePath, ValidTree};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::image::{self, ImageKind, Raw, Store};
use crate::input::{Input, InputKind};
use crate::open::{Opened, is_layout, load, read_as_tar};
use crate::tar::{WriteTarError, write_tar};
use crate::{ArchiveError, OpenOptions, local};

/// What a layer removes begins with this ("Whiteouts").
pub const WHITEOUT: &[u8] = b".wh.";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The same in Docker's words.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Annotations of OCI's own ("Annotations", "Pre-Defined Annotation Keys").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
const CREATED: &str = "org.opencontainers.image.created";

/// An image as it lies in its layout.
#[derive(Clone, Debug)]
pub struct OciImage {
    label: String,
    digest: Digest,
    manifest: Value,
    config: Value,
    layers: Vec<Blob>,
}

/// Bytes by their digest.
#[derive(Clone, Debug)]
struct Blob {
    digest: Digest,
    content: Content,
}

/// A layer that [`write_layer`] wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of what was written.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The digest of the tar in it.
    pub diff_id: Digest,
}

/// What is said of an image that gets one more layer.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// What the image is called in its layout.
    pub name: &'a str,
    /// When it was made.
    pub created: Epoch,
    /// By what, for its history.
    pub created_by: &'a str,
}

/// A whole image layout.
#[derive(Debug)]
pub struct Layout {
    /// Everything in it.
    pub tree: ValidTree,
    /// The digest of the image's manifest, by which it is known.
    pub manifest: Digest,
    /// The digest of its configuration, which some tools call the image's id.
    pub config: Digest,
}

/// Opens an OCI image layout, in a directory or in an archive, to build upon it.
///
/// # Errors
/// When it cannot be read, is none, or is damaged in any way.
pub fn open_image(path: &Path, options: &OpenOptions) -> Result<(Opened, OciImage), ArchiveError> {
    let label = path.display().to_string();
    let refuse = |found: &str| ArchiveError::Unrecognised {
        file: label.clone(),
        found: found.to_owned(),
        expected: "an OCI image layout, in a directory or a tar: `skopeo copy … oci:DIRECTORY` makes one of any image",
    };
    let file = local::open(&label, path)?;
    let (store, kind, warning) = if file.metadata().map_err(ArchiveError::io(&label, "opening"))?.is_dir() {
        if !is_layout(path) {
            return Err(refuse("a directory without `oci-layout` and `index.json`"));
        }
        (Store::directory(&label, path), InputKind::OciLayout, None)
    } else {
        let local = load(&label, file, options)?;
        let tar = read_as_tar(&label, &local)?;
        match image::recognise(&tar.members) {
            Some(ImageKind::Oci) => {}
            Some(ImageKind::Docker) => return Err(refuse("a docker archive without an OCI layout")),
            None => return Err(refuse("a tar of a root file system")),
        }
        let warning = local.warning.clone();
        (Store::archive(&label, tar.members, local.watch())?, InputKind::OciArchive, warning)
    };
    let (image, raw) = store.read_raw(options)?;
    let Raw { digest, manifest, config, layers } = raw;
    let value = |what: &str, bytes: &[u8]| {
        let value: Result<Value, _> = serde_json::from_slice(bytes);
        value.map_err(|error| ArchiveError::document(&label, what, format!("is no JSON: {error}")))
    };
    let layers = layers.into_iter().map(|(digest, source)| {
        let len = source.len();
        let content = Content::whole(source, 0, len);
        let content = content.map_err(|error| {
            ArchiveError::document(&label, &format!("the layer `{digest}`"), error.to_string())
        })?;
        Ok(Blob { digest, content })
    });
    let oci = OciImage {
        digest,
        manifest: value("the manifest", &manifest)?,
        config: value("the configuration", &config)?,
        layers: layers.collect::<Result<_, ArchiveError>>()?,
        label: label.clone(),
    };
    let inputs = vec![Input { label, kind, digest: image.digest }];
    let mut warnings = image.warnings;
    warnings.extend(warning);
    warnings.dedup();
    Ok((Opened { layers: image.layers, inputs, notes: image.notes, warnings }, oci))
}

/// Writes a tree as a layer: a tar, compressed with gzip, which every tool takes. Its directories and files are what
/// the layer adds or replaces; an empty file called [`WHITEOUT`] and a name removes what has that name below.
///
/// # Errors
/// As [`write_tar`].
pub fn write_layer(tree: &ValidTree, out: &mut impl Write) -> Result<Layer, WriteTarError> {
    // Neither a time nor a name of a file is in its header.
    let mut blob = DigestWriter::new(GzEncoder::new(DigestWriter::new(out), Level::new(6)));
    write_tar(tree, &mut blob)?;
    let (encoder, diff_id) = blob.into_inner();
    let written = encoder.finish().map_err(WriteTarError::Output)?;
    let (digest, size) = written.finish();
    Ok(Layer { digest, size, diff_id })
}

impl OciImage {
    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// A label of its configuration.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.get("config")?.get("Labels")?.get(name)?.as_str()
    }

    /// What it runs on, by Go's name.
    pub fn architecture(&self) -> Option<&str> {
        self.config.get("architecture")?.as_str()
    }

    /// The image with one more layer, whose bytes `content` has.
    ///
    /// # Errors
    /// When a document of the base has no place for what is to be added.
    pub fn with_layer(
        &self,
        layer: &Layer,
        content: Content,
        step: &Step<'_>,
    ) -> Result<Layout, ArchiveError> {
        let refuse = |what: &str, reason: &str| ArchiveError::document(&self.label, what, reason.to_owned());
        let created = rfc3339(step.created);
        let mut config = self.config.clone();
        let diff_ids = config.pointer_mut("/rootfs/diff_ids").and_then(Value::as_array_mut);
        let lacks = || refuse("the configuration", "has no list of `diff_ids`");
        diff_ids.ok_or_else(lacks)?.push(json!(format!("sha256:{}", layer.diff_id)));
        // An entry for each layer, or none at all: a base without a history keeps having none.
        if let Some(history) = config.get_mut("history").and_then(Value::as_array_mut) {
            history.push(json!({"created": created, "created_by": step.created_by}));
        }
        config["created"] = json!(created);
        let config = self.encode(&config)?;

        let mut manifest = self.manifest.clone();
        let layers = manifest.get_mut("layers").and_then(Value::as_array_mut);
        let layers = layers.ok_or_else(|| refuse("the manifest", "has no list of `layers`"))?;
        for base in layers.iter_mut() {
            if let Some(renamed) = base.get("mediaType").and_then(Value::as_str).and_then(oci_layer) {
                base["mediaType"] = json!(renamed);
            }
        }
        layers.push(json!({
            "mediaType": format!("{LAYER}+gzip"),
            "digest": format!("sha256:{}", layer.digest),
            "size": layer.size,
        }));
        manifest["schemaVersion"] = json!(2);
        manifest["mediaType"] = json!(MANIFEST);
        manifest["config"] = descriptor(CONFIG, &config);
        if !manifest.get("annotations").is_some_and(Value::is_object) {
            manifest["annotations"] = json!({});
        }
        manifest["annotations"][BASE_DIGEST] = json!(format!("sha256:{}", self.digest));
        manifest["annotations"][CREATED] = json!(created);
        let manifest = self.encode(&manifest)?;

        let mut listed = descriptor(MANIFEST, &manifest);
        listed["annotations"] = json!({ REF_NAME: step.name });
        let platform = ["architecture", "os", "variant", "os.version"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), self.config.get(key)?.clone())));
        listed["platform"] = Value::Object(platform.collect());
        let index = self.encode(&json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]}))?;

        let (config_digest, manifest_digest) = (Digest::of(&config), Digest::of(&manifest));
        let mut blobs: BTreeMap<Digest, Content> =
            self.layers.iter().map(|blob| (blob.digest, blob.content.clone())).collect();
        blobs.insert(layer.digest, content);
        blobs.insert(config_digest, Content::bytes(config));
        blobs.insert(manifest_digest, Content::bytes(manifest));
        let mark = self.encode(&json!({"imageLayoutVersion": "1.0.0"}))?;
        let files = [("oci-layout", Content::bytes(mark)), ("index.json", Content::bytes(index))];
        let tree = lay_out(files, blobs, step.created);
        let tree = tree.map_err(|error| refuse("the image", &error.to_string()))?;
        let valid = ValidTree::new(tree).map_err(|problems| refuse("the image", &problems[0].to_string()));
        Ok(Layout { tree: valid?, manifest: manifest_digest, config: config_digest })
    }

    /// A document's bytes: the same for the same document, whatever the order of its fields was.
    fn encode(&self, value: &Value) -> Result<Vec<u8>, ArchiveError> {
        json::to_canonical(value).map_err(|error| {
            ArchiveError::document(&self.label, "a document", format!("is of no use: {error}"))
        })
    }
}

/// The files of a layout.
fn lay_out(
    files: [(&str, Content); 2],
    blobs: BTreeMap<Digest, Content>,
    created: Epoch,
) -> Result<Tree, EditError> {
    let mut tree = Tree::new();
    let blobs = blobs.into_iter().map(|(digest, content)| (format!("blobs/sha256/{digest}"), content));
    for (name, content) in files.map(|(name, content)| (name.to_owned(), content)).into_iter().chain(blobs) {
        let path = TreePath::parse(name.as_bytes()).expect("a relative path without `..`");
        tree.put(&path, Metadata::root(0o644), Node::File(content))?;
    }
    tree.clamp_times(created);
    Ok(tree)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = format!("sha256:{}", Digest::of(bytes));
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

/// OCI's name of Docker's type of a layer; none if it is OCI's already.
fn oci_layer(media_type: &str) -> Option<String> {
    let rest = media_type.strip_prefix(DOCKER_LAYER)?;
    Some(format!("{LAYER}{}", rest.replacen('.', "+", 1)))
}

/// An instant as documents have it (RFC 3339), in UTC.
fn rfc3339(epoch: Epoch) -> String {
    let seconds = epoch.seconds();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the day that some of them lack is their last one.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
#[path = "oci/tests.rs"]
mod tests;
