//! Whether every byte of a host is what was installed.

mod report;

pub use report::{Difference, Override, Report, SCHEMA, What};
