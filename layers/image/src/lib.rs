//! Composes layers into a tree and the tree into a disk.
//!
//! [`compose`] merges root file system, overlays, product and host policy and finds the kernel;
//! [`Composition::lay_out`] decides every number of the disk; [`Image::write`] writes it. The first two are
//! the plan: they read and compute, and write nothing but the cache of decoded layers.

mod accounts;
mod bootable;
mod compose;
mod disk;
mod error;
mod host;
mod identity;
mod immutable;
mod manifest;
mod modules;
mod normalise;
pub mod oci;
mod plan;
pub mod policy;
mod product;
mod profile;
mod require;
mod signing;
mod spec;
mod units;
pub mod vendor;
mod write;

pub use bake_boot::Architecture;
pub use compose::{Composition, compose};
pub use disk::Image;
pub use error::Error;
pub use immutable::{ReadOnly, ReadOnlyFormat, Verified};
pub use manifest::{Artifact, FORMAT_REVISION, Manifest};
pub use plan::Plan;
pub use policy::HostPolicy;
pub use profile::{CloudProfile, Loader, Profile, Profiles, Size, VendorProfile};
pub use require::{Condition, Requirement};
pub use signing::{Signed, Signing};
pub use spec::{ImageSpec, Surroundings};
pub use write::{Output, TAR, Unpublished, Written};
