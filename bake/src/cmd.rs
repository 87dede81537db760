//! One module per command: plan, describe, execute, report.

pub mod boot;
pub mod completions;
pub mod image;
