//! The superblock (`super.rst`). Features are constants: what a kernel since 4.5, `e2fsck` since 1.43 and GRUB
//! since 2.02 understand.

use super::Options;
use super::bytes::{put_split32, put16, put32};
use super::checksum::{Seed, of_superblock};
use super::extents::ROOT_SIZE;
use super::geometry::{BLOCK, DESCRIPTOR_SIZE, FIRST_INODE, GROUP_BLOCKS, Geometry, INODE_SIZE, Span};
use super::hash::HALF_MD4;
use super::inode::{EXTRA, JOURNAL};

/// Bytes of a superblock.
pub(super) const SIZE: usize = 1024;
/// Where the first one lies in block 0.
pub(super) const PRIMARY_OFFSET: u64 = 1024;
/// The number at [`MAGIC_OFFSET`].
pub(super) const MAGIC: u16 = 0xef53;
pub(super) const MAGIC_OFFSET: usize = 0x38;

// has_journal, ext_attr, resize_inode, dir_index
const COMPATIBLE: u32 = 0x4 | 0x8 | 0x10 | 0x20;
// filetype, extents, 64bit, flex_bg
const INCOMPATIBLE: u32 = 0x2 | 0x40 | 0x80 | 0x200;
const CHECKSUM_SEED: u32 = 0x2000;
// sparse_super, large_file, huge_file, dir_nlink, extra_isize, metadata_csum
const READ_ONLY_COMPATIBLE: u32 = 0x1 | 0x2 | 0x8 | 0x20 | 0x40 | 0x400;

/// One block in twenty is root's, as by `mke2fs`.
const RESERVED_PERCENT: u64 = 5;

/// What the superblock says that is not constant.
#[derive(Debug)]
pub(super) struct Superblock<'a> {
    pub options: &'a Options,
    pub geometry: Geometry,
    pub span: Span,
    pub free_blocks: u64,
    pub free_inodes: u32,
    /// Blocks that files can never have: structures and the journal.
    pub overhead: u64,
    pub seed: Seed,
    /// The journal's extents and size, kept here too for the day on which its inode is lost.
    pub journal: [u8; ROOT_SIZE],
    pub journal_size: u64,
}

impl Superblock<'_> {
    /// The copy at the start of `group`.
    pub fn encode(&self, group: u64) -> [u8; SIZE] {
        let (options, span) = (self.options, self.span);
        let mut bytes = [0; SIZE];
        let now = options.epoch.seconds();
        put32(&mut bytes, 0x00, (span.groups * u64::from(options.inodes_per_group)) as u32);
        put_split32(&mut bytes, 0x04, 0x150, span.blocks);
        put_split32(&mut bytes, 0x08, 0x154, span.blocks * RESERVED_PERCENT / 100);
        put_split32(&mut bytes, 0x0c, 0x158, self.free_blocks);
        put32(&mut bytes, 0x10, self.free_inodes);
        // Block and cluster size as powers of two above 1024.
        put32(&mut bytes, 0x18, BLOCK.trailing_zeros() - 10);
        put32(&mut bytes, 0x1c, BLOCK.trailing_zeros() - 10);
        put32(&mut bytes, 0x20, GROUP_BLOCKS as u32);
        put32(&mut bytes, 0x24, GROUP_BLOCKS as u32);
        put32(&mut bytes, 0x28, options.inodes_per_group);
        // Times of last write, last check and making; never mounted, and no checks by count or time.
        for (low, high) in [(0x30, 0x274), (0x40, 0x277), (0x108, 0x276)] {
            put32(&mut bytes, low, now as u32);
            bytes[high] = (now >> 32) as u8;
        }
        put16(&mut bytes, 0x36, u16::MAX);
        put16(&mut bytes, MAGIC_OFFSET, MAGIC);
        // Clean; on errors continue; made by Linux; a revision with features.
        put16(&mut bytes, 0x3a, 1);
        put16(&mut bytes, 0x3c, 1);
        put32(&mut bytes, 0x4c, 1);
        put32(&mut bytes, 0x54, FIRST_INODE);
        put16(&mut bytes, 0x58, INODE_SIZE as u16);
        put16(&mut bytes, 0x5a, group as u16);
        let seed_feature = if options.metadata_csum_seed { CHECKSUM_SEED } else { 0 };
        put32(&mut bytes, 0x5c, COMPATIBLE);
        put32(&mut bytes, 0x60, INCOMPATIBLE | seed_feature);
        put32(&mut bytes, 0x64, READ_ONLY_COMPATIBLE);
        bytes[0x68..0x78].copy_from_slice(options.uuid.as_bytes());
        bytes[0x78..0x78 + options.label.len()].copy_from_slice(options.label.as_bytes());
        let descriptors = span.descriptor_blocks();
        put16(&mut bytes, 0xce, (self.geometry.descriptor_area - descriptors) as u16);
        put32(&mut bytes, 0xe0, JOURNAL);
        bytes[0xec..0xfc].copy_from_slice(options.hash_seed.as_bytes());
        bytes[0xfc] = HALF_MD4;
        // The journal's backup holds an inode's block map.
        bytes[0xfd] = 1;
        put16(&mut bytes, 0xfe, DESCRIPTOR_SIZE as u16);
        // Default mount options: user_xattr and acl.
        put32(&mut bytes, 0x100, 0x4 | 0x8);
        bytes[0x10c..0x10c + ROOT_SIZE].copy_from_slice(&self.journal);
        put_split32(&mut bytes, 0x10c + ROOT_SIZE + 4, 0x10c + ROOT_SIZE, self.journal_size);
        put16(&mut bytes, 0x15c, EXTRA);
        put16(&mut bytes, 0x15e, EXTRA);
        // Hashes of names take bytes as signed.
        put32(&mut bytes, 0x160, 1);
        bytes[0x174] = self.geometry.flex.trailing_zeros() as u8;
        // CRC-32C.
        bytes[0x175] = 1;
        put32(&mut bytes, 0x248, self.overhead as u32);
        if options.metadata_csum_seed {
            put32(&mut bytes, 0x270, self.seed.value());
        }
        let checksum = of_superblock(&bytes[..SIZE - 4]);
        put32(&mut bytes, SIZE - 4, checksum);
        bytes
    }
}
