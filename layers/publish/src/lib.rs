//! Images into clouds, and out of them.
//!
//! A disk is known by the digests of its 512 KiB blocks ([`bake_disk::BlockDigests`]), which are the blocks of EBS.
//! [`ami()`] puts those that a snapshot lacks and registers it, [`verify`] proves that an image, or an AMI, is the disk
//! of a manifest, and [`pull`] fetches only blocks that differ. Everything is named after the disk digest, so that a
//! second run finds what the first one made.
//!
//! All of it blocks. What the SDK of AWS needs to run on stays in here, behind the feature `aws`.

// Without AWS nobody calls what only AMIs need.
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

#[cfg(feature = "aws")]
mod aws;
mod delta;
mod error;
mod groups;
mod image;
mod journal;
mod manifest;
mod options;
mod plan;
mod policy;
mod progress;
pub mod published;
pub mod pull;
pub mod script;
pub mod templates;
pub mod verify;

#[cfg(feature = "aws")]
pub use aws::{Published, Pulled, Region, ami, plan, pull_ami, verify_ami};
pub use delta::{Known, changed};
pub use error::{Error, Fault, FaultKind};
pub use groups::Groups;
pub use image::Image;
pub use manifest::Manifest;
pub use options::{AmiId, AmiOptions, BootMode, Encryption, Register};
pub use plan::Plan;
pub use policy::{actions, policy};
pub use progress::{Event, Progress};
pub use published::{PublishedImage, RegionIds};
