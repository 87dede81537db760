//! One module per command: plan, describe, execute, report.

pub mod boot;
mod build;
mod cloud;
pub mod completions;
pub mod configure;
pub mod diff;
pub mod doctor;
pub mod fleet;
pub mod image;
pub mod inspect;
pub mod package;
pub mod publish;
pub mod pull;
pub mod tree;
pub mod verify;

/// The spec file that is read when none is named.
const SPEC: &str = "bake.toml";
