//! EROFS, read-only by design: a file's bytes lie in a row, uncompressed, the last of them beside its inode;
//! holes of sparse files take no room. For a root that dm-verity guards, as a partition of exactly its size.
//!
//! A validated tree goes in; a plan with every number decided comes out, and from it a layout that refers to the
//! content. Nothing depends on anything but the tree and the options. Content comes first, in the order of the
//! tree's layers, then all metadata, so that new owners, times or names move no content, and a later layer's
//! files none of an earlier one's.
//!
//! The format is described in the kernel's `Documentation/filesystems/erofs.rst`, its structures in
//! `fs/erofs/erofs_fs.h`; both are cited by the modules. Everything here is read by Linux 5.15 and later: extended
//! inodes, chunks without a device table, times of modification; no compression.

mod attributes;
mod chunks;
mod directory;
mod error;
mod image;
mod inode;
mod placement;
mod superblock;
mod survey;

use bake_base::{Epoch, Layout, Uuid};
use bake_tree::ValidTree;

pub use error::Error;

use placement::Placement;
use survey::Survey;

/// Size of a block.
const BLOCK: u64 = 4096;

/// What a file system is besides its tree.
#[derive(Clone, Debug)]
pub struct Options {
    /// Id of the file system.
    pub uuid: Uuid,
    /// Name of the file system, up to 15 bytes.
    pub label: String,
    /// When it was made; no file is younger.
    pub epoch: Epoch,
    /// Threads that look for holes in content; the result is the same for any number.
    pub threads: usize,
}

/// A file system with every place decided.
#[derive(Debug)]
pub struct Plan<'tree> {
    options: Options,
    survey: Survey<'tree>,
    placement: Placement,
}

/// Decides where everything goes. Content is read once, to find its holes.
///
/// # Errors
/// Options out of bounds; all entries that EROFS cannot hold; content that cannot be read; a tree that needs more
/// than 2^32 blocks.
pub fn plan<'tree>(tree: &'tree ValidTree, options: &Options) -> Result<Plan<'tree>, Error> {
    if options.label.len() > superblock::LONGEST_LABEL || options.label.contains('\0') {
        return Err(Error::Label(options.label.clone()));
    }
    let survey = survey::survey(tree, options.threads)?;
    let placement = placement::place(&survey)?;
    Ok(Plan { options: options.clone(), survey, placement })
}

impl Plan<'_> {
    /// The size of the file system in bytes: a multiple of 4096. It has no other.
    pub fn size(&self) -> u64 {
        self.placement.blocks * BLOCK
    }

    /// The file system.
    pub fn layout(&self) -> Layout {
        image::image(self)
    }
}
