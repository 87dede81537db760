//! The ext4 writer and reader before their judges: two versions of `e2fsck`, an independent reader, and, as root,
//! the kernel.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]

mod common;
#[path = "ext4_judged/support.rs"]
mod support;

#[path = "ext4_judged/generated.rs"]
mod generated;
#[path = "ext4_judged/kernel.rs"]
mod kernel;
#[path = "ext4_judged/large.rs"]
mod large;
#[path = "ext4_judged/limits.rs"]
mod limits;
#[path = "ext4_judged/reader.rs"]
mod reader;
#[path = "ext4_judged/rootfs.rs"]
mod rootfs;
#[path = "ext4_judged/stability.rs"]
mod stability;
