//! The ext4 writer before its judges: `e2fsck`, an independent reader, and, as root, the kernel.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)]
#[path = "ext4_judged/support.rs"]
mod support;

#[path = "ext4_judged/rootfs.rs"]
mod rootfs;
