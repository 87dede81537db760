//! The superblock (`struct erofs_super_block`).

use super::{BLOCK, Options};

/// Where it lies in the image; what comes before is left to loaders.
pub(super) const OFFSET: u64 = 1024;
/// The longest label: programs read its field as a string that ends with NUL.
pub(super) const LONGEST_LABEL: usize = 15;

const LEN: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = BLOCK.ilog2() as u8;
/// `EROFS_FEATURE_COMPAT_SB_CHKSUM`, `EROFS_FEATURE_COMPAT_MTIME`.
const COMPATIBLE: u32 = 1 | 2;
/// `EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`.
const CHUNKED_FILES: u32 = 4;

/// What the superblock says beside the options.
pub(super) struct Superblock<'a> {
    pub options: &'a Options,
    pub root: u16,
    pub inodes: u64,
    /// Blocks of the file system.
    pub blocks: u32,
    /// The first block of inodes.
    pub metadata: u32,
    /// The first block of attributes that inodes share.
    pub attributes: u32,
    /// Whether a file has chunks.
    pub chunked: bool,
}

impl Superblock<'_> {
    pub fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK_BITS]);
        put(14, &self.root.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.options.epoch.seconds().to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.metadata.to_le_bytes());
        put(44, &self.attributes.to_le_bytes());
        put(48, self.options.uuid.as_bytes());
        put(64, self.options.label.as_bytes());
        put(80, &if self.chunked { CHUNKED_FILES } else { 0 }.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }
}

/// CRC-32C, without the customary inversion at its end, of the superblock and what follows it in its block, which
/// are zeros.
fn checksum(superblock: &[u8; LEN]) -> u32 {
    let rest = [0; (BLOCK - OFFSET) as usize - LEN];
    !crc32c::crc32c_append(crc32c::crc32c(superblock), &rest)
}
