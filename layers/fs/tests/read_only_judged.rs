//! The writers of read-only file systems before their judges: the tools that come with each format and, as root,
//! the kernel.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod common;
#[allow(dead_code)] // Whole images are compared with more of it.
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[path = "read_only_judged/support.rs"]
mod support;

#[path = "read_only_judged/erofs.rs"]
mod erofs;
#[path = "read_only_judged/hard_cases.rs"]
mod hard_cases;
#[path = "read_only_judged/squashfs.rs"]
mod squashfs;
