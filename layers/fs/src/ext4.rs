//! ext4, read-write on the host that boots it: extents, checksums, indexed directories, a journal, and room to
//! grow while mounted.
//!
//! A validated tree goes in; a plan with every number decided comes out, and from it a layout of any size that
//! is large enough. Nothing depends on anything but the tree and the options. Where a structure lies depends on
//! constants alone, where content lies on the tree alone, so the size moves nothing ([`plan`]).
//!
//! The format is described in the kernel's `Documentation/filesystems/ext4`, whose files the modules cite. What
//! the description leaves open is done as the kernel does it, where it reads, and as `mke2fs` does it, where it
//! only has to be the same for everyone.

mod attributes;
mod bitmap;
mod bytes;
mod census;
mod checksum;
mod directory;
mod dump;
mod error;
mod extents;
mod geometry;
mod groups;
mod hash;
mod htree;
mod image;
mod inode;
mod journal;
mod placement;
mod read;
mod resize;
mod space;
mod superblock;
mod survey;

use bake_base::{Epoch, Layout, Uuid};
use bake_tree::ValidTree;

pub use dump::{DumpError, dump};
pub use error::{Error, Unwritable};
pub use read::{ReadError, Volume};

use census::Census;
use geometry::{BLOCK, Geometry};
use placement::Placement;

/// The shortest journal that is taken, in bytes.
const SHORTEST_JOURNAL: u64 = 64 << 20;
/// The longest journal: what `mke2fs` allows.
const LONGEST_JOURNAL: u64 = 10_240_000 * BLOCK;

/// What a file system is besides its tree. All of it is constant for an image, so that no change of content
/// moves a structure or changes a checksum that has nothing to do with it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Id of the file system, and what its checksums start from.
    pub uuid: Uuid,
    /// What the hashes of names in large directories start from.
    pub hash_seed: Uuid,
    /// Name of the file system, up to 16 bytes.
    pub label: String,
    /// When it was made.
    pub epoch: Epoch,
    /// Size of the journal: 64 MiB or more, a multiple of 4096.
    pub journal_bytes: u64,
    /// Inodes in each group of 128 MiB: usually 8192.
    pub inodes_per_group: u32,
    /// Groups whose bitmaps and inode tables lie together: usually 16.
    pub flex_bg: u32,
    /// Blocks kept for group descriptors, each good for another 8 GiB: at most, and usually, 1024.
    pub reserved_gdt_blocks: u32,
    /// Whether the checksums' seed is kept apart from the id (`metadata_csum_seed`), which then may change while
    /// the file system is mounted. GRUB before 2.12 does not read such a file system.
    pub metadata_csum_seed: bool,
    /// Threads that look for holes in content; the result is the same for any number.
    pub threads: usize,
}

impl Options {
    fn check(&self) -> Result<Geometry, Error> {
        if self.label.len() > 16 || self.label.contains('\0') {
            return Err(Error::Options(format!(
                "the label `{}` has {} bytes: expected up to 16 without NUL",
                self.label.escape_default(),
                self.label.len()
            )));
        }
        let journal = self.journal_bytes;
        if !(SHORTEST_JOURNAL..=LONGEST_JOURNAL).contains(&journal) || !journal.is_multiple_of(BLOCK) {
            return Err(Error::Options(format!(
                "the journal has {journal} bytes: expected a multiple of {BLOCK} from {SHORTEST_JOURNAL} to {LONGEST_JOURNAL}"
            )));
        }
        let geometry = Geometry::new(self);
        geometry.check()?;
        Ok(geometry)
    }
}

/// A file system with every place decided but for its end.
#[derive(Debug)]
pub struct Plan<'tree> {
    options: Options,
    geometry: Geometry,
    census: Census<'tree>,
    placement: Placement,
}

/// Decides where everything goes. Content is read once, to find its holes.
///
/// A change in a later layer moves nothing that an earlier layer brought, and neither does another size. The
/// exception is a block of extended attributes: a layer that gives an earlier one's entry its first, or more
/// than its inode holds, moves what follows the entry in the earlier layer.
///
/// # Errors
/// Options out of bounds; all entries that ext4 cannot hold; content that cannot be read; a tree that needs
/// more than the group descriptors can describe.
pub fn plan<'tree>(tree: &'tree ValidTree, options: &Options) -> Result<Plan<'tree>, Error> {
    let geometry = options.check()?;
    let census = Census::new(tree);
    let needs = survey::survey(&census, options)?;
    let placement = placement::place(&census, geometry, options.journal_bytes / BLOCK, needs);
    let plan = Plan { options: options.clone(), geometry, census, placement };
    plan.check_size(plan.minimum_size())?;
    Ok(plan)
}

impl Plan<'_> {
    /// The smallest size in bytes that holds the tree.
    pub fn minimum_size(&self) -> u64 {
        let last = u64::from(census::number(self.census.len() - 1));
        self.geometry.smallest(self.placement.end(), last) * BLOCK
    }

    /// How many bytes of a file system of `size` bytes are free, those reserved for root included.
    ///
    /// # Errors
    /// As [`Plan::layout`].
    pub fn free_bytes(&self, size: u64) -> Result<u64, Error> {
        self.check_size(size)?;
        let span = self.geometry.span(size / BLOCK);
        let structures: u64 = image::structures(&self.geometry, span).map(|run| run.end - run.start).sum();
        let used: u64 = self.placement.used.iter().map(|run| run.end - run.start).sum();
        Ok((span.blocks - structures - used) * BLOCK)
    }

    /// The file system in a partition of `size` bytes: any multiple of 4096 from the minimum on. Up to 8 MiB at
    /// the end stay unused where a group of blocks could hold little more than its own structures.
    ///
    /// # Errors
    /// When the size is no multiple of 4096, too small, or more than the group descriptors can describe.
    pub fn layout(&self, size: u64) -> Result<Layout, Error> {
        self.check_size(size)?;
        Ok(image::image(self, size))
    }

    fn check_size(&self, size: u64) -> Result<(), Error> {
        if !size.is_multiple_of(BLOCK) {
            return Err(Error::PartialBlock(size));
        }
        let maximum = self.geometry.most_blocks() * BLOCK;
        if size > maximum {
            return Err(Error::TooLarge { size, maximum });
        }
        let minimum = self.minimum_size();
        if size < minimum {
            return Err(Error::TooSmall { size, minimum });
        }
        Ok(())
    }
}
