//! An extension as files: itself, the snippet that fetches it, what went in, and sums; all or nothing.

use std::fmt;
use std::path::Path;

use bake_base::{Digest, Epoch, Ids, Layout, OutputSet, Unnamed, json};
use bake_disk::container::{self, Format};
use bake_fs::{erofs, squashfs};
use serde::Serialize;

use super::{Extension, Hosts, check_url, release};
use crate::manifest::{FORMAT_REVISION, Input, Tool};
use crate::write::{kind_name, put, sum};
use crate::{Error, Unpublished, Written};

/// Bytes that SquashFS compresses together: what its own tool takes.
const BLOCK: u32 = 128 << 10;
/// Zstandard's level there: what the kernel's tools take.
const LEVEL: i32 = 15;
/// What the file with the snippet is called behind the extension's name.
const SNIPPET: &str = "ign";

/// The file system that an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileSystem {
    /// Compressed, and read by every kernel of a host that has extensions.
    Squashfs,
    /// Uncompressed: larger, and faster to read.
    Erofs,
}

/// How an extension is written.
#[derive(Clone, Debug)]
pub struct ExtensionOutput<'a> {
    /// The directory that gets the files.
    pub directory: &'a Path,
    /// Where a file that is not kept may lie.
    pub scratch: &'a Path,
    /// What it is.
    pub file_system: FileSystem,
    /// Where hosts will fetch it; behind a `/` at the end, its file's name is added.
    pub url: &'a str,
    /// Threads to use.
    pub threads: usize,
}

/// What an extension will be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtensionPlan {
    /// Its name.
    pub name: String,
    /// For which hosts it is.
    pub hosts: Hosts,
    /// Their architecture, if only one will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Newest time, in seconds since 1970.
    pub epoch: u64,
    /// What goes in: role, path and kind.
    pub inputs: Vec<(String, String, String)>,
    /// Id of the product's configuration, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Active packages of the product.
    pub packages: Vec<String>,
    /// Roles of its hosts.
    pub roles: Vec<String>,
    /// What it is.
    pub file_system: FileSystem,
    /// How many entries it has.
    pub entries: usize,
    /// Where hosts will fetch it.
    pub url: String,
    /// What the snippet puts beside it on hosts.
    pub host_files: Vec<String>,
    /// Files that will be written.
    pub files: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// The manifest beside an extension.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtensionManifest {
    /// `bake-extension-1`.
    pub schema: &'static str,
    /// What made the extension.
    pub tool: Tool,
    /// Its name.
    pub name: String,
    /// For which hosts it is.
    pub hosts: Hosts,
    /// Their architecture, if only one will do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Newest time in it, in seconds since 1970.
    pub epoch: Epoch,
    /// What went in, in order.
    pub inputs: Vec<Input>,
    /// Id of the product's configuration, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Ids of the active packages of the product.
    pub packages: Vec<String>,
    /// Roles of its hosts.
    pub roles: Vec<String>,
    /// Where hosts fetch it.
    pub url: String,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The files.
    pub artifacts: Vec<ExtensionFile>,
}

/// One file of an extension.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExtensionFile {
    /// Its name.
    pub name: String,
    /// What it is: `squashfs`, `erofs` or `ignition`.
    pub format: &'static str,
    /// Its size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

impl FileSystem {
    /// What it is called in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

impl Extension {
    /// The plan for writing this extension.
    ///
    /// # Errors
    /// When `url` is none that Ignition fetches.
    pub fn plan(&self, file_system: FileSystem, url: &str) -> Result<ExtensionPlan, Error> {
        let url = self.place(url)?;
        let input = |(role, input): &(&'static str, bake_archive::Input)| {
            ((*role).to_owned(), input.label.clone(), kind_name(input.kind))
        };
        Ok(ExtensionPlan {
            name: self.spec.name.clone(),
            hosts: self.spec.hosts,
            architecture: self.architecture(),
            epoch: self.epoch.seconds(),
            inputs: self.inputs.iter().map(input).collect(),
            configuration: self.configuration.clone(),
            packages: self.packages.iter().map(ToString::to_string).collect(),
            roles: self.roles(),
            file_system,
            entries: self.tree.tree().walk().count(),
            url,
            host_files: self.files.keys().map(ToString::to_string).collect(),
            files: vec![
                self.file_name(),
                self.snippet(),
                "manifest.json".to_owned(),
                "SHA256SUMS".to_owned(),
            ],
            notes: self.notes.clone(),
        })
    }

    /// Writes the extension and what belongs to it into files without names. `progress` is told how many bytes are
    /// done since it was last told.
    ///
    /// # Errors
    /// When `url` is none that Ignition fetches, the file system cannot hold the tree, reading an input or writing an
    /// output fails, or an input changed meanwhile. Then there is nothing.
    pub fn write(
        self,
        output: &ExtensionOutput<'_>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Unpublished<ExtensionManifest>, Error> {
        let url = self.place(output.url)?;
        let directory = output.directory.display().to_string();
        let failed = || Error::io(format!("writing into `{directory}`"));
        let mut set = OutputSet::new(output.directory).map_err(failed())?;
        let spool = Unnamed::new(output.scratch).map_err(failed())?;
        let layout = self.layout(output, &spool, progress)?;
        let file = set.create(&self.file_name()).map_err(failed())?;
        container::write(&layout, &[(Format::RAW, &*file)], output.threads, &|_| ())
            .map_err(|source| Error::Write { directory: directory.clone(), source })?;
        let sha256 = sum(&file).map_err(failed())?;
        let snippet = self.ignition(&url, &sha256)?;
        put(&mut set, &self.snippet(), &snippet).map_err(failed())?;
        let artifact = |name, format, size, sha256| ExtensionFile { name, format, size, sha256 };
        let artifacts = vec![
            artifact(self.file_name(), output.file_system.name(), layout.len(), sha256),
            artifact(self.snippet(), "ignition", snippet.len() as u64, Digest::of(&snippet)),
        ];
        let manifest = self.manifest(url, artifacts)?;
        let bytes = json::to_canonical(&manifest).map_err(|error| failed()(error.into()))?;
        put(&mut set, "manifest.json", &bytes).map_err(failed())?;
        let mut sums: Vec<_> =
            manifest.artifacts.iter().map(|file| (file.name.clone(), file.sha256)).collect();
        sums.push(("manifest.json".to_owned(), Digest::of(&bytes)));
        let mut files: Vec<_> = sums.iter().map(|(name, _)| name.clone()).collect();
        sums.sort();
        let text: String = sums.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
        put(&mut set, "SHA256SUMS", text.as_bytes()).map_err(failed())?;
        files.push("SHA256SUMS".to_owned());
        Ok(Unpublished::new(set, directory, Written { manifest, files }))
    }

    /// The file system; what is compressed lies in `spool`.
    fn layout(
        &self,
        output: &ExtensionOutput<'_>,
        spool: &Unnamed,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Layout, Error> {
        let (epoch, threads) = (self.epoch, output.threads);
        match output.file_system {
            FileSystem::Squashfs => {
                let options = squashfs::Options {
                    block_size: BLOCK,
                    level: LEVEL,
                    epoch,
                    access_lists: squashfs::AccessLists::Refuse,
                    threads,
                };
                let spool = std::sync::Arc::clone(spool.file());
                Ok(squashfs::plan(&self.tree, &options, spool, progress)?.layout())
            }
            FileSystem::Erofs => {
                let ids = Ids::new(&self.spec.name, "system extension", release(&self.spec).as_bytes());
                let uuid = ids.uuid("file system");
                let options = erofs::Options { uuid, label: String::new(), epoch, threads };
                Ok(erofs::plan(&self.tree, &options)?.layout())
            }
        }
    }

    /// The manifest. Waits for the digests of inputs that are still being computed.
    fn manifest(self, url: String, artifacts: Vec<ExtensionFile>) -> Result<ExtensionManifest, Error> {
        let (architecture, roles) = (self.architecture(), self.roles());
        let mut inputs = Vec::new();
        for (role, input) in self.inputs {
            let name = Path::new(&input.label).file_name().unwrap_or_default().to_string_lossy().into_owned();
            inputs.push(Input { role, name, kind: kind_name(input.kind), sha256: input.digest.wait()? });
        }
        Ok(ExtensionManifest {
            schema: "bake-extension-1",
            tool: Tool { name: "bake", version: env!("CARGO_PKG_VERSION"), format_revision: FORMAT_REVISION },
            name: self.spec.name,
            hosts: self.spec.hosts,
            architecture,
            epoch: self.epoch,
            inputs,
            configuration: self.configuration,
            packages: self.packages.iter().map(ToString::to_string).collect(),
            roles,
            url,
            notes: self.notes,
            artifacts,
        })
    }

    /// Where hosts will fetch it.
    fn place(&self, url: &str) -> Result<String, Error> {
        check_url(url)?;
        Ok(if url.ends_with('/') { format!("{url}{}", self.file_name()) } else { url.to_owned() })
    }

    fn snippet(&self) -> String {
        format!("{}.{SNIPPET}", self.spec.name)
    }

    fn architecture(&self) -> Option<String> {
        self.spec.architecture.map(|architecture| architecture.to_string())
    }

    fn roles(&self) -> Vec<String> {
        let mut roles = self.spec.roles.clone();
        roles.sort();
        roles.dedup();
        roles
    }
}

impl fmt::Display for ExtensionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = match self.hosts {
            Hosts::Flatcar => "Flatcar",
            Hosts::Any => "any operating system",
        };
        let architecture = self.architecture.as_deref().unwrap_or("any architecture");
        writeln!(f, "system extension {} for {hosts}, {architecture}", self.name)?;
        for (role, path, kind) in &self.inputs {
            writeln!(f, "  {role:8} {path} ({kind})")?;
        }
        writeln!(f, "  epoch    {} (no time in it is later)", self.epoch)?;
        if let Some(id) = &self.configuration {
            writeln!(f, "  config   {id}")?;
        }
        writeln!(f, "  product  {}", self.packages.join(", "))?;
        writeln!(f, "  roles    {}", self.roles.join(", "))?;
        writeln!(f, "{} of {} entries in /usr and /opt", self.file_system.name(), self.entries)?;
        writeln!(f, "files: {}", self.files.join(", "))?;
        writeln!(f, "hosts fetch it from {}, and Ignition writes beside it:", self.url)?;
        self.host_files.iter().try_for_each(|path| writeln!(f, "    {path}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
