//! `product.json`: everything that a host gets, by digest. The serve directory, the single file, the installer,
//! `bake image` and `pkgpanda` all read this one document.

use std::collections::BTreeMap;

use bake_base::Digest;
use serde::{Deserialize, Serialize};

use crate::PackageId;

/// The revision of the document's format.
pub const SCHEMA: &str = "bake-product-1";
/// Its name at the top of a serve directory.
pub const PRODUCT: &str = "product.json";

/// A product: a bootstrap tarball, packages beside it, and what belongs to the host itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// [`SCHEMA`].
    pub schema: String,
    /// Identifies every byte of the configuration: 40 hex digits. Packages of it are `NAME--setup_ID`.
    pub config_id: String,
    /// The bootstrap tarball.
    pub bootstrap: Bootstrap,
    /// Packages that a host has beside those in the bootstrap tarball.
    pub packages: BTreeMap<PackageId, Blob>,
    /// Every package that is active on a host, sorted; those of the bootstrap tarball among them.
    pub active: Vec<PackageId>,
    /// Files of the host itself by their absolute path, such as `/etc/mesosphere/setup-flags/repository-url`.
    pub files: BTreeMap<String, HostFile>,
    /// Absolute paths of files that hold secrets; they come to hosts apart from the product and have mode 0600.
    pub secrets: Vec<String>,
    /// The static program that unpacks all of this on a host.
    pub pkgpanda: Blob,
}

/// A file beside the document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Below the directory of the document, with `/` between names.
    pub path: String,
    /// Digest of the file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// The bootstrap tarball of a product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bootstrap {
    /// Its id: it says which packages it holds.
    pub id: String,
    /// The packages that it holds, each with the file that has it alone: a host that has the others of an upgrade
    /// already fetches just that. Who has the tarball needs none of these files.
    pub packages: BTreeMap<PackageId, Blob>,
    /// The file.
    #[serde(rename = "file")]
    pub blob: Blob,
}

/// A file of the host that belongs to the configuration; owned by root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFile {
    /// Permission bits as octal digits, such as `0644`.
    pub mode: String,
    /// Its text.
    pub content: String,
}
