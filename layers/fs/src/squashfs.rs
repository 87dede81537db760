//! SquashFS, read-only and compressed: the smallest root, and one that every kernel reads.
//!
//! A validated tree goes in; a plan comes out, and from it a layout. Where something lies follows from how well
//! everything before it could be compressed, so planning is most of the work: blocks are compressed on any number
//! of threads, put in order, and set aside in a file of the caller's, so that memory holds no content. Times are
//! whole seconds from 1970 to 2106 here, and there are no access control lists.
//!
//! Everything is compressed with Zstandard, which Linux reads since 4.14 and which packs better and unpacks faster
//! than gzip. No crate writes what a root needs: `backhand` has neither extended attributes nor hard links,
//! `squashfs-ng` no hard links.
//!
//! The format is described in the kernel's `Documentation/filesystems/squashfs.rst`, its structures in
//! `fs/squashfs/squashfs_fs.h`; both are cited by the modules.

mod attributes;
mod compress;
mod data;
mod directory;
mod error;
mod inode;
mod metadata;
mod superblock;
mod tables;

use std::fs::File;
use std::sync::Arc;

use bake_base::{Bytes, Epoch, Layout, LayoutBuilder, ReadAt};
use bake_tree::ValidTree;

pub use error::Error;

use data::Spool;

/// The image ends at a multiple of this, as loop devices like it.
const PADDING: u64 = 4096;

/// What becomes of access control lists, for which SquashFS has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLists {
    /// Entries that have one cannot be written.
    Refuse,
    /// They are left out: the bits of the mode still apply, of which the group's are the list's mask.
    Drop,
}

/// What a file system is besides its tree.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that are compressed together: a power of two from 4 KiB to 1 MiB, usually 128 KiB.
    pub block_size: u32,
    /// Zstandard's level, 1 to 22, usually 15.
    pub level: i32,
    /// When it was made; no file is younger.
    pub epoch: Epoch,
    /// What becomes of access control lists.
    pub access_lists: AccessLists,
    /// Threads that compress; the result is the same for any number.
    pub threads: usize,
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        if !self.block_size.is_power_of_two() || !(1 << 12..=1 << 20).contains(&self.block_size) {
            return Err(Error::Options(format!(
                "blocks have {} bytes: expected a power of two from 4096 to 1048576",
                self.block_size
            )));
        }
        if !(1..=22).contains(&self.level) {
            return Err(Error::Options(format!("the level is {}: expected 1 to 22", self.level)));
        }
        Ok(())
    }
}

/// A file system with every place decided.
#[derive(Debug)]
pub struct Plan {
    /// The superblock and what belongs to it.
    head: Bytes,
    /// Blocks of files, compressed.
    data: Arc<Spool>,
    /// Inodes, directories and all else.
    tables: Bytes,
}

/// Compresses everything and decides where it goes. `spool` is an empty file that nobody else writes, such as that
/// of a [`bake_base::Unnamed`]; it takes the compressed content, of which the layout consists. `progress` is told
/// of the bytes of content done, from any thread.
///
/// # Errors
/// Options out of bounds; all entries that SquashFS cannot hold; content that cannot be read, or written to
/// `spool`; a tree that is too large for the tables.
pub fn plan(
    tree: &ValidTree,
    options: &Options,
    spool: Arc<File>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Plan, Error> {
    options.check()?;
    error::check(tree, options)?;
    let data = data::store(tree, options, spool, progress)?;
    let (head, tables) = tables::write(tree, options, &data)?;
    Ok(Plan { head: head.into(), data: Arc::new(data.spool), tables: tables.into() })
}

impl Plan {
    /// The size of the file system in bytes: a multiple of 4096. It has no other.
    pub fn size(&self) -> u64 {
        self.used().next_multiple_of(PADDING)
    }

    /// The file system.
    pub fn layout(&self) -> Layout {
        let mut builder = LayoutBuilder::new();
        let mut end = 0;
        let sources: [Arc<dyn ReadAt>; 3] =
            [Arc::new(self.head.clone()), self.data.clone(), Arc::new(self.tables.clone())];
        for source in sources {
            let len = source.len();
            builder.push(end, len, source, 0);
            end += len;
        }
        builder.finish(self.size()).expect("the parts follow each other")
    }

    fn used(&self) -> u64 {
        self.head.as_slice().len() as u64 + self.data.len() + self.tables.as_slice().len() as u64
    }
}
