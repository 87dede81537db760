//! Reading an ext4 file system, whoever made it: every entry, with content that refers to the bytes where they are.
//!
//! For a vendor's disk, of which one file system is to be written anew. Everything that a tree can hold is read;
//! what it cannot (sockets, flags of inodes) is said, and what would be read wrongly is refused with what to do
//! about it: a journal that has to be replayed first, content that lies in inodes or is encrypted. Where the file
//! system has checksums (`metadata_csum`), every structure that is read is verified.
//!
//! The bytes may be hostile. Every block of a structure is read once, files can have no more blocks than there
//! are, and paths and attributes no more bytes than [`MOST_BYTES`]: so work and memory are bounded by what is there.

mod blocks;
mod directory;
mod inode;
mod superblock;
mod walk;
mod xattrs;

use std::fmt;
use std::io;
use std::sync::Arc;

use bake_base::{ReadAt, Uuid};
use bake_tree::{Member, TreePath};

use superblock::Superblock;
use walk::Walk;

/// The most bytes that all paths and attributes may have together: 1 GiB, more than ten million usual entries.
const MOST_BYTES: u64 = 1 << 30;

/// A file system that was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Volume {
    /// Its id.
    pub uuid: Uuid,
    /// Its label.
    pub label: String,
    /// Bytes in a block.
    pub block_size: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it has checksums. If so, those of all structures that were read have been verified.
    pub checksums: bool,
    /// Everything in it, the root included: parents before what they hold. Further names of an inode are hard
    /// links to the first one.
    pub members: Vec<Member>,
    /// What it has and a tree has not, in words.
    pub notes: Vec<String>,
}

/// A file system that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is none.
    #[error("this is no ext4 file system: no ext4 superblock lies at byte 1024")]
    NotFound,
    /// It was not unmounted, or has errors.
    #[error(
        "the ext4 file system {0}: mount it once and unmount it, or run `e2fsck -p` on it, and try again"
    )]
    Unclean(&'static str),
    /// It has features that would have to be understood.
    #[error("the ext4 file system has {0}, which is not supported: copy its files to one without")]
    Unsupported(String),
    /// A structure contradicts the format or its checksum.
    #[error("the ext4 file system is damaged: {0}; `e2fsck -fn` tells more")]
    Damaged(String),
    /// An entry contradicts the format.
    #[error("`{path}` on the ext4 file system {reason}; `e2fsck -fn` tells more")]
    Entry {
        /// Which.
        path: TreePath,
        /// What is wrong with it.
        reason: String,
    },
    /// An entry is more than can be carried.
    #[error("`{path}` on the ext4 file system {reason}")]
    Unfit {
        /// Which.
        path: TreePath,
        /// Why, and what would help.
        reason: String,
    },
    /// The bytes cannot be read.
    #[error("reading the ext4 file system failed")]
    Read(#[from] io::Error),
}

/// What is wrong with a structure, before it is known whose it is.
#[derive(Debug)]
enum Flaw {
    /// It contradicts the format.
    Damage(String),
    /// It is more than can be carried.
    Unfit(String),
    /// It cannot be read.
    Read(io::Error),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<&str> for Flaw {
    fn from(text: &str) -> Self {
        Self::Damage(text.to_owned())
    }
}

impl Flaw {
    /// As the flaw of an entry.
    fn of(self, path: &TreePath) -> ReadError {
        match self {
            Self::Damage(reason) => ReadError::Entry { path: path.clone(), reason },
            Self::Unfit(reason) => ReadError::Unfit { path: path.clone(), reason },
            Self::Read(error) => ReadError::Read(error),
        }
    }
}

impl Volume {
    /// Reads a file system that begins at the first byte of `source`, which may be longer.
    ///
    /// # Errors
    /// When it is none, has to be repaired or recovered first, or has what cannot be carried over.
    pub fn read(source: &Arc<dyn ReadAt>) -> Result<Self, ReadError> {
        let superblock = Superblock::read(&**source)?;
        let mut walk = Walk::new(source, &superblock);
        walk.run()?;
        let (members, notes) = walk.finish();
        Ok(Self {
            uuid: superblock.uuid,
            label: superblock.label.clone(),
            block_size: superblock.block,
            len: superblock.blocks * superblock.block,
            checksums: superblock.seed.is_some(),
            members,
            notes,
        })
    }
}

/// One line for people; [`super::dump`] shows the structures.
impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checksums = if self.checksums { "verified" } else { "none" };
        let (label, entries) = (self.label.escape_debug(), self.members.len());
        write!(
            f,
            "ext4 {} label \"{label}\": {} bytes in blocks of {}, {entries} entries, checksums {checksums}",
            self.uuid, self.len, self.block_size
        )
    }
}

fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at)) | u32::from(get16(bytes, at + 2)) << 16
}

/// A number over two 32-bit fields that lie apart.
fn get_split32(bytes: &[u8], low: usize, high: usize) -> u64 {
    u64::from(get32(bytes, low)) | u64::from(get32(bytes, high)) << 32
}

/// A number over two 16-bit fields that lie apart.
fn get_split16(bytes: &[u8], low: usize, high: usize) -> u32 {
    u32::from(get16(bytes, low)) | u32::from(get16(bytes, high)) << 16
}

#[cfg(test)]
mod tests;
