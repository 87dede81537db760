//! One module per command: plan, describe, execute, report.

pub mod boot;
mod build;
pub mod completions;
pub mod configure;
pub mod diff;
pub mod doctor;
pub mod fleet;
pub mod image;
pub mod inspect;
pub mod package;
pub mod tree;

/// The spec file that is read when none is named.
const SPEC: &str = "bake.toml";
