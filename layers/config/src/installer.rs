//! `dcos_install.sh`: fixed bash text and one block of data.
//!
//! The text lies in `installer/` as pieces; nothing of a configuration gets into it but quoted words of the data
//! block. All of it is one group, which the shell reads to its end before it runs a word.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bake_base::Digest;
use bake_host::product::{Blob, Product};

use crate::Error;
use crate::escape::word;

/// The functions, in the order in which a reader wants them.
const PIECES: [&str; 6] = [
    include_str!("../installer/report.sh"),
    include_str!("../installer/arguments.sh"),
    include_str!("../installer/preflight.sh"),
    include_str!("../installer/preflight_host.sh"),
    include_str!("../installer/fetch.sh"),
    include_str!("../installer/install.sh"),
];

/// The line that ends the script where a payload follows.
const END: &str = "#EOF#\n";

/// No host has a right clock that is before this: the beginning of 2026, in seconds since 1970.
pub const NOT_BEFORE: u64 = 1_767_225_600;

/// What the script is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallerData {
    /// The id of the configuration.
    pub config_id: String,
    /// What people call the cluster.
    pub cluster_name: String,
    /// Where hosts find the serve directory.
    pub bootstrap_url: String,
    /// The document about the product: `products/ID.json`.
    pub product: Blob,
    /// The program that unpacks.
    pub pkgpanda: Blob,
    /// The machine it runs on, as `uname -m` says it.
    pub machine: String,
    /// What else is fetched: the bootstrap tarball and packages that are not in it.
    pub blobs: Vec<Blob>,
    /// Absolute paths of files that come apart.
    pub secrets: Vec<String>,
    /// Every role that a host may have.
    pub roles: Vec<String>,
    /// What a host must be like.
    pub preflight: Preflight,
    /// What follows the script in the same file.
    pub payload: Option<Payload>,
}

/// What a host must be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preflight {
    /// Whether it needs docker.
    pub docker: bool,
    /// Programs that have to be there.
    pub commands: Vec<String>,
    /// Ports that have to be free, by role.
    pub ports: BTreeMap<String, Vec<u16>>,
    /// Room at `/opt` in MB, beside that for what is fetched.
    pub free_space_mb: u64,
    /// Settings of the kernel: what they have to be, or `>=N`.
    pub sysctls: BTreeMap<String, String>,
    /// Kernel modules that are told of when they are missing.
    pub modules: Vec<String>,
    /// Directories of agents whose file system has to be fit for overlays.
    pub work_directories: Vec<String>,
}

/// An uncompressed tar behind the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its digest.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl InstallerData {
    /// What `product`, whose document is `document`, says by itself; the rest is empty.
    pub fn of(product: &Product, document: &[u8]) -> Self {
        let path = format!("products/{}.json", product.config_id);
        let blobs = std::iter::once(&product.bootstrap.blob).chain(product.packages.values());
        Self {
            config_id: product.config_id.clone(),
            cluster_name: String::new(),
            bootstrap_url: String::new(),
            product: Blob { path, sha256: Digest::of(document), size: document.len() as u64 },
            pkgpanda: product.pkgpanda.clone(),
            machine: String::new(),
            blobs: blobs.cloned().collect(),
            secrets: product.secrets.clone(),
            roles: Vec::new(),
            preflight: Preflight::default(),
            payload: None,
        }
    }
}

/// The script. With a payload, it ends where that has to begin.
///
/// # Errors
/// When a text holds control characters, which no word of a script can show.
pub fn script(data: &InstallerData) -> Result<Vec<u8>, Error> {
    let mut offset = 0;
    loop {
        let text = render(data, offset)?;
        // The number of its own length is in the script: more digits make it longer, never shorter.
        if data.payload.is_none() || text.len() == offset {
            return Ok(text.into_bytes());
        }
        offset = text.len();
    }
}

/// What every installer begins with.
pub const BEGINNING: &str = "#!/bin/bash\n\
    # Installs this host's part of a DC/OS cluster; `--help` tells how. Made by `bake configure`.\n";

fn render(data: &InstallerData, payload_offset: usize) -> Result<String, Error> {
    let block = block(data, payload_offset)
        .map_err(|reason| Error::Render { what: "the installer".to_owned(), reason })?;
    let mut text = whole(BEGINNING, &block, &PIECES);
    if data.payload.is_some() {
        text.push_str(END);
    }
    Ok(text)
}

/// A script of a data block and pieces, the last of which has `main`.
pub(crate) fn whole(beginning: &str, block: &str, pieces: &[&str]) -> String {
    // One group, which runs when all of it has been read: nothing of a script that was cut off runs, not even the
    // first letters of a name.
    let mut text = String::from(beginning);
    text.push_str(
        "# shellcheck disable=SC2016,SC2317 # values are words, whatever they look like; main ends the script\n\
         {\n\
         set -euo pipefail\n\n",
    );
    text.push_str(block);
    for piece in pieces {
        text.push('\n');
        text.push_str(piece);
    }
    text.push_str("\nmain \"$@\"\nexit\n}\n");
    text
}

/// Data as constants of a script, every word quoted.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) text: String,
}

impl Block {
    /// A word.
    pub(crate) fn one(&mut self, name: &str, value: &str) -> Result<(), String> {
        self.text.push_str(&format!("declare -r {name}={}\n", word(value)?));
        Ok(())
    }

    /// Several words.
    pub(crate) fn list(&mut self, name: &str, comment: &str, values: &[String]) -> Result<(), String> {
        self.text.push_str(&format!("# {comment}\ndeclare -ra {name}=("));
        for value in values {
            self.text.push_str(&format!("\n    {}", word(value)?));
        }
        self.text.push_str(if values.is_empty() { ")\n" } else { "\n)\n" });
        Ok(())
    }

    /// What every script names: the configuration, its document and its program.
    pub(crate) fn of(data: &InstallerData) -> Result<Self, String> {
        let mut block = Self::default();
        block.one("config_id", &data.config_id)?;
        block.one("cluster_name", &data.cluster_name)?;
        block.one("bootstrap_url", &data.bootstrap_url)?;
        for (name, blob) in [("product", &data.product), ("pkgpanda", &data.pkgpanda)] {
            block.one(&format!("{name}_path"), &blob.path)?;
            block.one(&format!("{name}_sha256"), &blob.sha256.to_string())?;
            block.one(&format!("{name}_size"), &blob.size.to_string())?;
        }
        block.one("pkgpanda_machine", &data.machine)?;
        block.one("payload_size", &data.payload.map_or(0, |payload| payload.size).to_string())?;
        Ok(block)
    }
}

/// Three words for each file.
pub(crate) fn words(blobs: &[Blob]) -> Vec<String> {
    let parts = |blob: &Blob| [blob.path.clone(), blob.sha256.to_string(), blob.size.to_string()];
    blobs.iter().flat_map(parts).collect()
}

/// The data as constants, every word quoted.
fn block(data: &InstallerData, payload_offset: usize) -> Result<String, String> {
    let InstallerData { preflight, payload, .. } = data;
    let mut block = Block::of(data)?;
    block.one("payload_offset", &payload_offset.to_string())?;
    block.one("payload_sha256", &payload.map_or_else(String::new, |payload| payload.sha256.to_string()))?;
    block.one("preflight_docker", if preflight.docker { "yes" } else { "" })?;
    block.one("preflight_free_space_mb", &preflight.free_space_mb.to_string())?;
    block.one("preflight_not_before", &NOT_BEFORE.to_string())?;

    let port = |(role, ports): (&String, &Vec<u16>)| -> Vec<String> {
        ports.iter().map(|port| format!("{role} {port}")).collect()
    };
    let ports: Vec<_> = preflight.ports.iter().flat_map(port).collect();
    let sysctls: Vec<_> = preflight.sysctls.iter().map(|(key, value)| format!("{key} {value}")).collect();
    block.list("blobs", "Path, sha256 and size of each file.", &words(&data.blobs))?;
    block.list("secrets", "Files that come apart.", &data.secrets)?;
    block.list("known_roles", "What a host may be.", &data.roles)?;
    block.list("preflight_commands", "Programs that have to be there.", &preflight.commands)?;
    block.list("preflight_ports", "Ports that have to be free, after the role.", &ports)?;
    block.list("preflight_sysctls", "Kernel settings.", &sysctls)?;
    block.list("preflight_modules", "Kernel modules.", &preflight.modules)?;
    block.list("preflight_work_directories", "Where agents work.", &preflight.work_directories)?;
    Ok(block.text)
}
