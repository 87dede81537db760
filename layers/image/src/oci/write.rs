//! Writing the image: an archive of its layout, a manifest and sums, all or nothing.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use bake_archive::oci::{Layer, Step, write_layer};
use bake_archive::{WriteTarError, write_tar};
use bake_base::{Digest, DigestWriter, Epoch, FileBytes, OutputSet, ReadAt, Unnamed, json};
use bake_tree::Content;
use serde::Serialize;

use super::{FORMAT, OciComposition};
use crate::Error;
use crate::manifest::{Artifact, FORMAT_REVISION, Input, Tool};
use crate::write::kind_name;

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;

/// The manifest beside an image: everything that decided its bytes, and their digests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OciManifest {
    /// `bake-oci-1`.
    pub schema: &'static str,
    /// What made the image.
    pub tool: Tool,
    /// Name of the image.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Architecture of the image.
    pub architecture: String,
    /// Newest time in the layer, in seconds since 1970.
    pub epoch: Epoch,
    /// What went in, in order.
    pub inputs: Vec<Input>,
    /// Id of the product's configuration, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Ids of the active packages of the product.
    pub packages: Vec<String>,
    /// Roles that every host of the image has.
    pub roles: Vec<String>,
    /// The digest by which hosts know the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Digest>,
    /// Paths that the layer adds or replaces.
    pub added: Vec<String>,
    /// Paths that the layer removes.
    pub removed: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The image.
    pub image: Image,
    /// The files that hold it.
    pub artifacts: Vec<Artifact>,
}

/// An image by its digests.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Of its manifest.
    pub digest: Digest,
    /// Of its configuration.
    pub config: Digest,
    /// Of the base's manifest.
    pub base: Digest,
    /// Of the layer on top.
    pub layer: Digest,
    /// Of the tar in that layer.
    pub diff_id: Digest,
    /// Size of the layer in bytes.
    pub layer_size: u64,
}

/// What an image will be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OciPlan {
    /// Its name.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Its architecture.
    pub architecture: String,
    /// Newest time in the layer, in seconds since 1970.
    pub epoch: u64,
    /// What goes in: role, path and kind.
    pub inputs: Vec<(String, String, String)>,
    /// Id of the product's configuration, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Active packages of the product.
    pub packages: Vec<String>,
    /// Roles that every host of the image has.
    pub roles: Vec<String>,
    /// The digest by which hosts know the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Digest>,
    /// Files that will be written.
    pub files: Vec<String>,
    /// What the layer adds or replaces.
    pub added: Vec<String>,
    /// What the layer removes.
    pub removed: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// An image that is written and has no name yet; dropped, it is gone.
#[derive(Debug)]
pub struct Unpublished {
    set: OutputSet,
    directory: String,
    written: Written,
}

/// A written image.
#[derive(Debug)]
pub struct Written {
    /// Its manifest.
    pub manifest: OciManifest,
    /// Names of all files, in the order of `SHA256SUMS`, which is the last one.
    pub files: Vec<String>,
}

impl Unpublished {
    /// Gives the files their names, which takes a moment that should not be interrupted.
    ///
    /// # Errors
    /// When a name cannot be given. Then there is nothing.
    pub fn publish(self) -> Result<Written, Error> {
        self.set.publish().map_err(Error::io(format!("writing into `{}`", self.directory)))?;
        Ok(self.written)
    }
}

impl OciComposition {
    /// What the user should know of this machine; it has no influence on the image.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What would be written.
    pub fn plan(&self) -> OciPlan {
        let inputs = self
            .inputs
            .iter()
            .map(|(role, input)| ((*role).to_owned(), input.label.clone(), kind_name(input.kind)));
        OciPlan {
            name: self.name.clone(),
            profile: self.profile.name.clone(),
            architecture: self.architecture.to_string(),
            epoch: self.epoch.seconds(),
            inputs: inputs.collect(),
            configuration: self.configuration.clone(),
            packages: self.packages.iter().map(ToString::to_string).collect(),
            roles: self.roles.clone(),
            seed: self.seed,
            files: vec![self.archive(), "manifest.json".to_owned(), "SHA256SUMS".to_owned()],
            added: self.added.clone(),
            removed: self.removed.clone(),
            notes: self.notes.clone(),
        }
    }

    fn archive(&self) -> String {
        format!("{}.oci.tar", self.name)
    }

    /// Writes the image into files without names in `directory`; the layer lies in `scratch` until then.
    ///
    /// # Errors
    /// When reading an input or writing an output fails, or an input changed meanwhile. Then there is nothing.
    pub fn write(self, directory: &Path, scratch: &Path) -> Result<Unpublished, Error> {
        let shown = directory.display().to_string();
        let failed = || Error::io(format!("writing into `{shown}`"));
        let unfit = |error: WriteTarError| match error {
            WriteTarError::Output(source) => failed()(source),
            error => Error::Policy(format!("the layer cannot be written: {}", chain(&error))),
        };
        let archive = self.archive();
        let spool = Unnamed::new(scratch).map_err(failed())?;
        let mut out = BufWriter::with_capacity(BUFFER, &**spool.file());
        let layer: Layer = write_layer(&self.layer, &mut out).map_err(unfit)?;
        out.flush().map_err(failed())?;
        let bytes = FileBytes::new(spool.file().try_clone().map_err(failed())?).map_err(failed())?;
        let content = Content::whole(Arc::new(bytes) as Arc<dyn ReadAt>, 0, layer.size);
        let content = content.map_err(|error| failed()(std::io::Error::other(error)))?;
        let created_by = format!("bake image --format {FORMAT} (profile {})", self.profile.name);
        let step = Step { name: &self.name, created: self.epoch, created_by: &created_by };
        let layout = self.base.with_layer(&layer, content, &step)?;

        let mut set = OutputSet::new(directory).map_err(failed())?;
        let file: Arc<File> = set.create(&archive).map_err(failed())?;
        let mut out = DigestWriter::new(BufWriter::with_capacity(BUFFER, &*file));
        write_tar(&layout.tree, &mut out).map_err(unfit)?;
        let (mut out, archive_sum) = out.into_inner();
        out.flush().map_err(failed())?;

        let image = Image {
            digest: layout.manifest,
            config: layout.config,
            base: self.base.digest(),
            layer: layer.digest,
            diff_id: layer.diff_id,
            layer_size: layer.size,
        };
        let manifest = self.manifest(image, &archive, archive_sum)?;
        let text = json::to_canonical(&manifest).map_err(|error| failed()(error.into()))?;
        let mut sums = [(archive_sum, archive), (Digest::of(&text), "manifest.json".to_owned())];
        sums.sort_by(|a, b| a.1.cmp(&b.1));
        let lines: String = sums.iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect();
        let mut files: Vec<String> = sums.into_iter().map(|(_, name)| name).collect();
        files.push("SHA256SUMS".to_owned());
        for (name, bytes) in [("manifest.json", &text[..]), ("SHA256SUMS", lines.as_bytes())] {
            let file = set.create(name).map_err(failed())?;
            (&*file).write_all(bytes).map_err(failed())?;
        }
        Ok(Unpublished { set, directory: shown, written: Written { manifest, files } })
    }

    /// The manifest. Waits for the digests of inputs, and for the verdict that none of them has changed.
    fn manifest(self, image: Image, archive: &str, archive_sum: Digest) -> Result<OciManifest, Error> {
        let mut inputs = Vec::new();
        for (role, input) in self.inputs {
            let name = Path::new(&input.label).file_name().unwrap_or_default().to_string_lossy().into_owned();
            inputs.push(Input { role, name, kind: kind_name(input.kind), sha256: input.digest.wait()? });
        }
        Ok(OciManifest {
            schema: "bake-oci-1",
            tool: Tool { name: "bake", version: env!("CARGO_PKG_VERSION"), format_revision: FORMAT_REVISION },
            name: self.name,
            profile: self.profile.name,
            architecture: self.architecture.to_string(),
            epoch: self.epoch,
            inputs,
            configuration: self.configuration,
            packages: self.packages.iter().map(ToString::to_string).collect(),
            roles: self.roles,
            seed: self.seed,
            added: self.added,
            removed: self.removed,
            notes: self.notes,
            image,
            artifacts: vec![Artifact {
                name: archive.to_owned(),
                format: FORMAT.to_owned(),
                sha256: Some(archive_sum),
            }],
        })
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

impl fmt::Display for OciPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "container image {} for {}, profile {}", self.name, self.architecture, self.profile)?;
        for (role, path, kind) in &self.inputs {
            writeln!(f, "  {role:8} {path} ({kind})")?;
        }
        writeln!(f, "  epoch    {} (no time in the layer is later)", self.epoch)?;
        if let Some(id) = &self.configuration {
            writeln!(f, "  config   {id}")?;
        }
        if !self.packages.is_empty() {
            writeln!(f, "  product  {}", self.packages.join(", "))?;
            let roles =
                if self.roles.is_empty() { "given at boot".to_owned() } else { self.roles.join(", ") };
            writeln!(f, "  roles    {roles}")?;
        }
        if let Some(seed) = &self.seed {
            writeln!(f, "  seed     {seed}")?;
        }
        writeln!(f, "files: {}", self.files.join(", "))?;
        writeln!(f, "added or replaced: {}", self.added.len())?;
        self.added.iter().try_for_each(|path| writeln!(f, "    {path}"))?;
        if !self.removed.is_empty() {
            writeln!(f, "removed: {}", self.removed.len())?;
            self.removed.iter().try_for_each(|path| writeln!(f, "    {path}"))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
