//! The files that are built in.

/// Their list.
pub const FILES: &str = include_str!("../../files.toml");
/// Their templates.
pub const TEMPLATES: &[(&str, &str)] = &[];
