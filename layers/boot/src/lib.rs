//! Boot files: which kernel and initrd a tree holds, whether they can boot, and what a loader needs beside
//! them, all computed from data.
//!
//! In go a tree and the options that a profile and a spec decide; out come contents that refer to the tree's
//! own bytes (a unified kernel image, files for the EFI system partition) and edits of the tree. Nothing of
//! the tree is run, and nothing here knows how files get onto a disk.

mod architecture;
pub mod depmod;
pub mod entries;
pub mod grub;
pub mod initrd;
pub mod kernel;
mod os_release;
mod pattern;
pub mod pe;
pub mod sign;
pub mod uki;
pub mod version;

pub use architecture::Architecture;
pub use os_release::OsRelease;

/// A path in the tree, made of constants and of names that were checked.
fn path(text: &str) -> bake_tree::TreePath {
    bake_tree::TreePath::from_root(text.as_bytes()).expect("what was checked is well-formed")
}
