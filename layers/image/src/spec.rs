//! What an image is to be, and what the machine that bakes it gives. Only the first decides its bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bake_base::Epoch;
use bake_boot::Architecture;
use bake_disk::SectorSize;

use crate::{HostPolicy, Loader, ReadOnly, ReadOnlyFormat, Signing};

/// What an image is to be.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// Its name; the profile's when there is none.
    pub name: Option<String>,
    /// Name of the profile; found by `os-release` when there is none.
    pub profile: Option<String>,
    /// Profiles of its own, as tables by name.
    pub profiles: BTreeMap<String, toml::Table>,
    /// Names of requirements of the profile that are not checked.
    pub skip: Vec<String>,
    /// The root file system.
    pub rootfs: PathBuf,
    /// Architecture to take out of a multi-platform image; checked against the kernel.
    pub arch: Option<Architecture>,
    /// Directories and tars to put on top, in order.
    pub overlays: Vec<PathBuf>,
    /// Whether overlays that are directories keep owners, modes and times.
    pub preserve: bool,
    /// Serve directory, its `product.json`, or a bootstrap tarball.
    pub product: Option<PathBuf>,
    /// Roles that every host of the image has.
    pub roles: Vec<String>,
    /// Host policy.
    pub policy: HostPolicy,
    /// The loader; the profile's when there is none.
    pub loader: Option<Loader>,
    /// Who signs what UEFI starts; nobody when there is none.
    pub signing: Option<Signing>,
    /// Which part is read-only; the profile's when there is none.
    pub read_only: Option<ReadOnly>,
    /// What file system that is; the profile's when there is none.
    pub read_only_format: Option<ReadOnlyFormat>,
    /// Size of the disk in bytes; the smallest whole number of GiB when there is none.
    pub size: Option<u64>,
    /// Percentage of the root file system to leave free: `0..=90`.
    pub free: u8,
    /// Logical sector size.
    pub sector_size: SectorSize,
    /// Newest time in the image; the root file system's newest when there is none.
    pub epoch: Option<Epoch>,
}

/// What the machine gives.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Threads to use.
    pub threads: usize,
    /// Where decoded layers and digests are kept.
    pub cache: Option<PathBuf>,
    /// Where decoded layers lie while they are used, when they are not kept.
    pub scratch: PathBuf,
    /// Whether to hash inputs that seem unchanged.
    pub paranoid: bool,
    /// Most bytes that a compressed input may decode to.
    pub max_decoded: u64,
    /// Bytes of memory that a decoder may take.
    pub max_decoder_memory: u64,
}
