//! File systems: a validated tree or a list of files in, a [`bake_base::Layout`] of bytes out.
//!
//! Each format plans first (pure, fallible, every number decided), then gives a layout that any thread can
//! read at any offset. Nothing is mounted and no `mkfs` is run.

mod acl;
pub mod erofs;
pub mod ext4;
pub mod fat;
mod ink;
pub mod signature;
pub mod squashfs;
mod unwritable;

pub use unwritable::Unwritable;
