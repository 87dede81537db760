//! The manifest beside an image: everything that decided its bytes, and their digests. No times, no host.

use bake_base::{Digest, Epoch, Uuid};
use bake_disk::BlockDigests;
use serde::Serialize;

use crate::host::Growth;
use crate::immutable::Verified;
use crate::normalise::Change;
use crate::profile::Loader;
use crate::signing::Signed;

/// What the tool promises to keep: the same input gives the same bytes for one revision.
pub const FORMAT_REVISION: u32 = 1;

/// The manifest of one image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// `bake-manifest-1`.
    pub schema: &'static str,
    /// What made the image.
    pub tool: Tool,
    /// Name of the image.
    pub name: String,
    /// The profile's name.
    pub profile: String,
    /// Architecture of the kernel.
    pub architecture: String,
    /// Newest time in the image, in seconds since 1970.
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
    /// How it boots; nothing where that is the vendor's business.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// What is read-only and verified, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    /// How the last partition grows on first boot.
    pub growth: Growth,
    /// What was changed in the root file system.
    pub normalised: Normalised,
    /// The disk.
    pub disk: Disk,
    /// The files that hold the disk, and the tree where that was asked for.
    pub artifacts: Vec<Artifact>,
}

/// What made an image.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tool {
    /// `bake`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its format revision.
    pub format_revision: u32,
}

/// Something that went in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Input {
    /// `rootfs`, `overlay` or `product`.
    pub role: &'static str,
    /// The file's name, without directories.
    pub name: String,
    /// What it is, such as `tar` or `oci-layout`.
    pub kind: String,
    /// The digest that stands for it.
    pub sha256: Digest,
}

/// How an image boots.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Boot {
    /// What the firmware starts.
    pub loader: Loader,
    /// Release of the kernel.
    pub kernel: String,
    /// Arguments of the kernel.
    pub command_line: String,
    /// Programs that were signed with a key of one's own, with their digests without any signature.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<Signed>,
}

/// What was changed in a root file system.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Normalised {
    /// Entries of the root file system that a rule of the profile removed or emptied.
    pub entries: Vec<Change>,
    /// How many entries were newer than the epoch and have its time now.
    pub clamped_times: u64,
    /// What the formats of the inputs could not carry over.
    pub notes: Vec<String>,
    /// Paths that the product's integration, the policy and the host's needs added, replaced or gave to another
    /// owner. What overlays and the product themselves hold is not listed: they are inputs.
    pub added: Vec<String>,
    /// Paths that the policy took away, or that moved to the EFI system partition; directories with all they held.
    pub removed: Vec<String>,
}

/// A disk.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Disk {
    /// The disk digest: the same in every container format.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Size of a sector in bytes.
    pub sector_size: u64,
    /// The disk's GUID.
    pub guid: Uuid,
    /// By their place on the disk.
    pub partitions: Vec<Partition>,
    /// Digests of its blocks.
    pub blocks: BlockDigests,
}

/// A partition.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Partition {
    /// Its number.
    pub number: u32,
    /// Its type GUID.
    pub type_guid: Uuid,
    /// Its own GUID.
    pub guid: Uuid,
    /// Its label.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// `ext4`, `vfat`, `squashfs` or `erofs`; none where a boot loader or hashes lie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system: Option<&'static str>,
    /// UUID or serial number of the file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_system_id: Option<String>,
    /// Its digest, computed as the disk's; nothing where a vendor's partition ends within a block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A file that holds the disk, or the tree.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Artifact {
    /// The file's name.
    pub name: String,
    /// Its container format, or `tar` of the tree.
    pub format: String,
    /// Its plain digest, as in `SHA256SUMS`; nothing for a file as long as the disk, which the disk's digests cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}
