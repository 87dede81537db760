//! The plan: what would be done and why, before anything is.

use std::fmt;

use bake_disk::container::Format;
use serde::Serialize;

use crate::Image;
use crate::host::Growth;
use crate::immutable::Verified;
use crate::normalise::Change;
use crate::write::{TAR, kind_name};

/// What an image will be.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Architecture of the kernel.
    pub architecture: String,
    /// Newest time, in seconds since 1970.
    pub epoch: u64,
    /// What goes in: role, path and kind.
    pub inputs: Vec<(String, String, String)>,
    /// Release of the kernel; empty where it is the vendor's, and stays as it is.
    pub kernel: String,
    /// Its arguments.
    pub command_line: String,
    /// What is read-only and verified, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// How the last partition grows on first boot.
    pub growth: Growth,
    /// Id of the product's configuration, if it is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Active packages of the product.
    pub packages: Vec<String>,
    /// Roles that every host of the image has.
    pub roles: Vec<String>,
    /// Size of the disk in bytes.
    pub size: u64,
    /// Bytes of the disk that are not holes.
    pub data: u64,
    /// Partitions: name, offset and size in bytes.
    pub partitions: Vec<(String, u64, u64)>,
    /// Files that will be written.
    pub files: Vec<String>,
    /// What is taken out of the root file system, and why.
    pub normalised: Vec<Change>,
    /// What is added to the tree, or replaced.
    pub added: Vec<String>,
    /// What the policy takes away, and what moves to the EFI system partition.
    pub removed: Vec<String>,
    /// What the inputs have and the image cannot.
    pub notes: Vec<String>,
}

impl Image {
    /// The plan for writing this image in these formats, and its tree as a tar.
    pub fn plan(&self, formats: &[Format], tar: bool) -> Plan {
        let decisions = &self.decisions;
        let table = &self.disk.table;
        let name = &decisions.name;
        let mut files: Vec<_> =
            formats.iter().map(|format| format!("{name}.{}", format.extension())).collect();
        files.extend(tar.then(|| format!("{name}.{TAR}")));
        files.extend(["manifest.json".to_owned(), "SHA256SUMS".to_owned()]);
        Plan {
            name: name.clone(),
            profile: decisions.profile.name.clone(),
            architecture: decisions.architecture.to_string(),
            epoch: decisions.epoch.seconds(),
            inputs: decisions
                .inputs
                .iter()
                .map(|(role, input)| ((*role).to_owned(), input.label.clone(), kind_name(input.kind)))
                .collect(),
            kernel: decisions.kernel.clone(),
            command_line: decisions.command_line.clone(),
            verified: decisions.verified.clone(),
            growth: decisions.growth,
            configuration: decisions.configuration.clone(),
            packages: decisions.packages.iter().map(ToString::to_string).collect(),
            roles: decisions.roles.clone(),
            size: table.len,
            data: self.data_bytes(),
            partitions: table
                .partitions
                .iter()
                .map(|part| (part.name.clone(), part.offset, part.len))
                .collect(),
            files,
            normalised: decisions.changes.clone(),
            added: decisions.added.clone(),
            removed: decisions.removed.clone(),
            notes: decisions.notes.clone(),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        writeln!(f, "image {} for {}, profile {}", self.name, self.architecture, self.profile)?;
        for (role, path, kind) in &self.inputs {
            writeln!(f, "  {role:8} {path} ({kind})")?;
        }
        writeln!(f, "  epoch    {} (no time in the image is later)", self.epoch)?;
        if self.kernel.is_empty() {
            writeln!(f, "  kernel   the vendor's, as it is")?;
        } else {
            writeln!(f, "  kernel   {} with `{}`", self.kernel, self.command_line)?;
        }
        if let Some(verified) = &self.verified {
            let Verified { path, file_system, root_hash, .. } = verified;
            writeln!(f, "  verified {path} as {file_system}, read-only, root hash {root_hash}")?;
        }
        match self.growth {
            Growth::Repart => writeln!(f, "  growth   systemd-repart on first boot"),
            Growth::CloudInit => writeln!(f, "  growth   cloud-init on first boot"),
            Growth::Vendor => writeln!(f, "  growth   the vendor's own on first boot"),
            Growth::None => {
                writeln!(f, "  growth   none: the root file system has neither systemd-repart nor growpart")
            }
        }?;
        if let Some(id) = &self.configuration {
            writeln!(f, "  config   {id}")?;
        }
        if !self.packages.is_empty() {
            writeln!(f, "  product  {}", self.packages.join(", "))?;
            let roles =
                if self.roles.is_empty() { "given at boot".to_owned() } else { self.roles.join(", ") };
            writeln!(f, "  roles    {roles}")?;
        }
        writeln!(f, "disk of {} GiB, {} MiB of it data", self.size >> 30, self.data / MIB)?;
        for (name, offset, size) in &self.partitions {
            writeln!(f, "  {name:8} {} MiB at {} MiB", size / MIB, offset / MIB)?;
        }
        writeln!(f, "files: {}", self.files.join(", "))?;
        writeln!(f, "taken out of the root file system: {}", self.normalised.len())?;
        let mut why = "";
        for change in &self.normalised {
            if change.why != why {
                why = &change.why;
                writeln!(f, "  because {why}:")?;
            }
            writeln!(f, "    {} {}", change.action, change.path)?;
        }
        writeln!(f, "added or replaced: {}", self.added.len())?;
        self.added.iter().try_for_each(|path| writeln!(f, "    {path}"))?;
        if !self.removed.is_empty() {
            writeln!(f, "removed, or moved to the EFI system partition: {}", self.removed.len())?;
            self.removed.iter().try_for_each(|path| writeln!(f, "    {path}"))?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))
    }
}
