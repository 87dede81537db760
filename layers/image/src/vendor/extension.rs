//! The product as a system extension (systemd-sysext(8), UAPI.3 "Extension Images"): a read-only file system that the
//! host lays over its own, and the snippet of Ignition that fetches it and puts beside it what an extension cannot
//! hold. For hosts whose disk nobody wants to bake.
//!
//! An extension has `/usr` and `/opt` alone, and while it is merged both are read-only. So the install root lies in
//! it as it will be, roles included: nothing of it changes on a host, and another version is another extension.
//! [`compose`] gives the tree, which [`Extension::write`] puts into a read-only file system; its digest goes into the
//! snippet.

mod output;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use bake_base::{Digest, Epoch, json};
use bake_boot::Architecture;
use bake_host::PackageId;
use bake_host::integration::{self, HostEntry};
use bake_tree::{Content, Metadata, Node, Timestamp, Tree, TreePath, ValidTree};
use serde::Serialize;

use crate::compose::{Layers, check_name};
use crate::error::path;
use crate::{Error, Surroundings, product};

pub use output::{ExtensionFile, ExtensionManifest, ExtensionOutput, ExtensionPlan, FileSystem};

/// Where an extension says what it is for.
const RELEASE: &str = "usr/lib/extension-release.d/extension-release.";
/// Where a host has its extensions.
const EXTENSIONS: &str = "/etc/extensions";
/// Where units of the host lie.
const UNITS: &str = "etc/systemd/system/";
/// The version of Ignition's specification: the first with SHA-256 is 3.1.0, and every Flatcar since 2022 knows it.
const IGNITION: &str = "3.3.0";
/// What has the units wait until the extension is merged.
const DROP_IN: (&str, &str) =
    ("10-extension.conf", "[Unit]\nWants=systemd-sysext.service\nAfter=systemd-sysext.service\n");

/// For which hosts an extension is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hosts {
    /// Flatcar, of any version: what the product has of its own does not depend on it.
    Flatcar,
    /// Any operating system.
    Any,
}

/// What an extension is to be.
#[derive(Clone, Debug)]
pub struct ExtensionSpec {
    /// Its name: its file is `NAME.raw`, on the host too.
    pub name: String,
    /// Serve directory, its `product.json`, or a bootstrap tarball.
    pub product: PathBuf,
    /// Roles of the hosts; at least one.
    pub roles: Vec<String>,
    /// For which hosts it is.
    pub hosts: Hosts,
    /// Architecture of the hosts; when there is none, that of the product's programs, or any.
    pub architecture: Option<Architecture>,
    /// Newest time in it; the product's newest when there is none.
    pub epoch: Option<Epoch>,
}

/// An extension's tree, and what its hosts need besides.
#[derive(Debug)]
pub struct Extension {
    /// What it holds.
    pub tree: ValidTree,
    /// Newest time in it.
    pub epoch: Epoch,
    /// Active packages of the product.
    pub packages: Vec<PackageId>,
    /// Id of the product's configuration, if it is configured.
    pub configuration: Option<String>,
    /// What went in: role and input.
    pub inputs: Vec<(&'static str, bake_archive::Input)>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What concerns this machine and not the extension.
    pub warnings: Vec<String>,
    spec: ExtensionSpec,
    files: BTreeMap<TreePath, HostEntry>,
}

/// Puts the product into the tree of an extension. `progress` is told how many bytes of compressed inputs were
/// decoded since it was last told.
///
/// # Errors
/// When the product cannot be used, or no role is given.
pub fn compose(
    spec: &ExtensionSpec,
    surroundings: &Surroundings,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Extension, Error> {
    check_name(&spec.name)?;
    if spec.roles.is_empty() {
        return Err(Error::Policy(
            "a system extension is read-only, so that its hosts cannot take on a role later: give --role"
                .to_owned(),
        ));
    }
    let mut layers = Layers::new(spec.architecture, surroundings, progress);
    let product = layers.product(&spec.product, &spec.roles)?;
    let Layers { mut tree, inputs, notes, warnings, .. } = layers;
    let (packages, files) = product::install_root_alone(&mut tree, &product)?;
    let runs_on = |architecture| product::check_program(&tree, &packages, architecture);
    let spec = match spec.architecture {
        Some(architecture) => {
            runs_on(architecture)?;
            spec.clone()
        }
        None => {
            let all = [Architecture::X86_64, Architecture::Arm64];
            let mut fitting = all.into_iter().filter(|architecture| runs_on(*architecture).is_ok());
            let architecture = fitting.next().filter(|_| fitting.next().is_none());
            ExtensionSpec { architecture, ..spec.clone() }
        }
    };
    let text = release(&spec);
    let at = path(&format!("{RELEASE}{}", spec.name))?;
    tree.put(&at, Metadata::root(0o644), Node::File(Content::bytes(text.into_bytes())))?;
    check(&tree)?;
    let newest = tree.newest_time().unwrap_or(Timestamp::from_seconds(0));
    let epoch = spec.epoch.unwrap_or_else(|| Epoch::not_before(newest));
    tree.clamp_times(epoch);
    Ok(Extension {
        tree: ValidTree::new(tree).map_err(Error::Tree)?,
        epoch,
        packages,
        configuration: product.configuration,
        inputs,
        notes,
        warnings,
        spec,
        files,
    })
}

/// What an extension says of its hosts (os-release(5), "extension-release").
fn release(spec: &ExtensionSpec) -> String {
    let mut text = match spec.hosts {
        Hosts::Flatcar => "ID=flatcar\nSYSEXT_LEVEL=1.0\n".to_owned(),
        Hosts::Any => "ID=_any\n".to_owned(),
    };
    let architecture = spec.architecture.map(|architecture| match architecture {
        Architecture::X86_64 => "x86-64",
        Architecture::Arm64 => "arm64",
    });
    if let Some(architecture) = architecture {
        text.push_str(&format!("ARCHITECTURE={architecture}\n"));
    }
    text
}

/// Refuses what would not be merged.
fn check(tree: &Tree) -> Result<(), Error> {
    let roots = [path("usr")?, path("opt")?];
    let outside = tree.walk().find(|(at, _)| !at.is_root() && !roots.iter().any(|root| at.starts_with(root)));
    match outside {
        Some((at, _)) => {
            Err(Error::Product(format!("it brings `{at}`: an extension has only /usr and /opt")))
        }
        None => Ok(()),
    }
}

impl Extension {
    /// The name of its file, which the host goes by.
    pub fn file_name(&self) -> String {
        format!("{}.raw", self.spec.name)
    }

    /// The snippet of Ignition that has a host fetch the extension from `url` and start the product: to be merged
    /// into the host's own configuration, or to be all of it.
    ///
    /// # Errors
    /// When `url` is none that Ignition fetches.
    pub fn ignition(&self, url: &str, sha256: &Digest) -> Result<Vec<u8>, Error> {
        check_url(url)?;
        let file = |path: String, mode: u16, source: String, hash: Option<String>| File {
            path,
            mode,
            overwrite: true,
            contents: Contents { source, verification: hash.map(|hash| Verification { hash }) },
        };
        let at = format!("{EXTENSIONS}/{}", self.file_name());
        let mut files = vec![file(at, 0o644, url.to_owned(), Some(format!("sha256-{sha256}")))];
        let mut units = Vec::new();
        for (at, entry) in &self.files {
            let text = String::from_utf8_lossy(at.as_bytes()).into_owned();
            match text.strip_prefix(UNITS).filter(|name| !name.contains('/')) {
                Some(name) => units.push(unit(name, entry)),
                None => files.push(file(format!("/{text}"), entry.mode, data_url(&entry.content), None)),
            }
        }
        let config = Config {
            ignition: Version { version: IGNITION },
            storage: Storage { files },
            systemd: Systemd { units },
        };
        json::to_canonical(&config).map_err(|error| Error::Product(error.to_string()))
    }
}

/// Refuses what Ignition does not fetch.
fn check_url(url: &str) -> Result<(), Error> {
    let known = ["http://", "https://", "tftp://", "s3://", "gs://"];
    let is_plain = url.chars().all(|c| c.is_ascii_graphic());
    if is_plain && known.iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty())) {
        return Ok(());
    }
    Err(Error::Policy(format!(
        "Ignition does not fetch `{}`: expected a URL that begins with one of {}",
        url.escape_debug(),
        known.join(", ")
    )))
}

fn unit(name: &str, entry: &HostEntry) -> Unit {
    let starts = name == integration::SETUP_UNIT;
    let (file, text) = DROP_IN;
    let drop_in = DropIn { name: file, contents: text };
    Unit {
        name: name.to_owned(),
        enabled: starts.then_some(true),
        contents: String::from_utf8_lossy(&entry.content).into_owned(),
        dropins: starts.then_some(drop_in).into_iter().collect(),
    }
}

/// Bytes as a URL (RFC 2397).
fn data_url(bytes: &[u8]) -> String {
    let mut url = String::from("data:,");
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(url, "%{byte:02X}")),
        }
    }
    url
}

#[derive(Serialize)]
struct Config {
    ignition: Version,
    storage: Storage,
    systemd: Systemd,
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

#[derive(Serialize)]
struct Storage {
    files: Vec<File>,
}

#[derive(Serialize)]
struct File {
    path: String,
    mode: u16,
    overwrite: bool,
    contents: Contents,
}

#[derive(Serialize)]
struct Contents {
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification: Option<Verification>,
}

#[derive(Serialize)]
struct Verification {
    hash: String,
}

#[derive(Serialize)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Serialize)]
struct Unit {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    contents: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropins: Vec<DropIn>,
}

#[derive(Serialize)]
struct DropIn {
    name: &'static str,
    contents: &'static str,
}
