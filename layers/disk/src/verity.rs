//! dm-verity: a tree of hashes over a partition, so that the kernel refuses every block that is not the one that
//! was baked (the kernel's `Documentation/admin-guide/device-mapper/verity.rst`; cryptsetup's wiki, "DM-Verity").
//!
//! The hash partition begins with a superblock, so that `veritysetup` and systemd need nothing but the root hash,
//! and by the root hash they find both partitions: their ids are its halves (UAPI.2, "Verity"). Salt and UUID are
//! given, never drawn, so that the same content has the same root hash.
//!
//! The content is read once, in windows of one hash block's data, on any number of threads. What no piece of it
//! touches is not read: blocks of zeros have one hash, and hash blocks over nothing else are kept once.

mod superblock;
mod tree;

use std::fmt;
use std::io;

use bake_base::{Digest, Layout, LayoutBuilder, Uuid};

use tree::Tree;

/// Size of a block of data, and of a block of hashes.
pub const BLOCK: u64 = 4096;
/// The longest salt: what the superblock has room for.
pub const LONGEST_SALT: usize = 256;

/// What a hash tree is besides its content.
#[derive(Clone, Debug)]
pub struct Options {
    /// Id of the tree itself, in its superblock; the partitions have others ([`Verity::data_guid`]).
    pub uuid: Uuid,
    /// What every hash starts from: up to [`LONGEST_SALT`] bytes.
    pub salt: Vec<u8>,
    /// Threads that hash; the result is the same for any number.
    pub threads: usize,
}

/// Why there is no hash tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerityError {
    /// No content, or no whole number of blocks.
    #[error("content of {0} bytes cannot be verified: expected a positive multiple of {BLOCK}")]
    Length(u64),
    /// The salt does not fit the superblock.
    #[error(
        "a salt of {0} bytes does not fit the superblock of a hash tree: expected at most {LONGEST_SALT}"
    )]
    Salt(usize),
    /// The content cannot be read.
    #[error("cannot read the content at byte {offset}")]
    Read {
        /// Where the window begins that failed.
        offset: u64,
        /// Why.
        source: io::Error,
    },
}

/// The hash tree of a partition's content.
#[derive(Clone, Debug)]
pub struct Verity {
    root_hash: Digest,
    layout: Layout,
}

impl Verity {
    /// Hashes the content of a partition: all of what `data` lays out, which is what its file system takes.
    /// `progress` is told of the bytes done, from any thread.
    ///
    /// Memory follows what is not zero: a 128th of it.
    ///
    /// # Errors
    /// When the length is no positive multiple of [`BLOCK`], the salt is too long, or the content cannot be read.
    pub fn compute(
        data: &Layout,
        options: &Options,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, VerityError> {
        if data.is_empty() || !data.len().is_multiple_of(BLOCK) {
            return Err(VerityError::Length(data.len()));
        }
        if options.salt.len() > LONGEST_SALT {
            return Err(VerityError::Salt(options.salt.len()));
        }
        let (root_hash, tree) = tree::compute(data, options, progress)?;
        let len = hash_bytes(data.len());
        let mut builder = LayoutBuilder::new();
        builder.push_bytes(0, superblock::encode(options, data.len() / BLOCK));
        builder.push(BLOCK, len - BLOCK, std::sync::Arc::new(tree), 0);
        let layout = builder.finish(len).expect("the tree follows the superblock");
        Ok(Self { root_hash, layout })
    }

    /// The hash that stands for all of the content.
    pub fn root_hash(&self) -> Digest {
        self.root_hash
    }

    /// What the hash partition holds: superblock and tree.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The id of the partition with the content: the first half of the root hash.
    pub fn data_guid(&self) -> Uuid {
        self.halves().0
    }

    /// The id of the partition with the hashes: the second half of the root hash.
    pub fn hash_guid(&self) -> Uuid {
        self.halves().1
    }

    fn halves(&self) -> (Uuid, Uuid) {
        let whole = self.root_hash.as_bytes();
        let (mut first, mut second) = ([0; 16], [0; 16]);
        first.copy_from_slice(&whole[..16]);
        second.copy_from_slice(&whole[16..]);
        (Uuid::from_bytes(first), Uuid::from_bytes(second))
    }
}

/// How long the hash partition's content is for `data_len` bytes of content: known before anything is hashed, so
/// that partitions can be placed first.
pub fn hash_bytes(data_len: u64) -> u64 {
    BLOCK + Tree::blocks(data_len.div_ceil(BLOCK)) * BLOCK
}

/// Which file system a hash tree guards: systemd sets up the two that it knows (systemd-veritysetup-generator(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// The root file system.
    Root,
    /// `/usr`.
    Usr,
}

impl Guarded {
    /// The argument of the kernel's command line that makes systemd set the device up, from the partitions whose
    /// ids are the halves of the root hash.
    pub fn argument(self, root_hash: Digest) -> String {
        match self {
            Self::Root => format!("roothash={root_hash}"),
            Self::Usr => format!("usrhash={root_hash}"),
        }
    }

    /// The device that systemd sets up: what `root=` and `mount.usr=` name.
    pub fn device(self) -> &'static str {
        match self {
            Self::Root => "/dev/mapper/root",
            Self::Usr => "/dev/mapper/usr",
        }
    }

    /// Everything that the command line needs: the hash, the device, and that it is mounted read-only.
    pub fn command_line(self, root_hash: Digest) -> String {
        let (hash, device) = (self.argument(root_hash), self.device());
        match self {
            Self::Root => format!("{hash} root={device} ro"),
            Self::Usr => format!("{hash} mount.usr={device} mount.usrflags=ro"),
        }
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "/",
            Self::Usr => "/usr",
        })
    }
}

#[cfg(test)]
mod tests;
