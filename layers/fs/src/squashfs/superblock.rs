//! The superblock (`struct squashfs_super_block`), and the level of compression, which nobody needs to read.

use super::{Options, metadata};

const LEN: usize = 96;
const MAGIC: u32 = 0x7371_7368;
/// `ZSTD_COMPRESSION`.
const ZSTD: u16 = 6;
/// `SQUASHFS_EXPORT`, `SQUASHFS_COMP_OPT`.
const FLAGS: u16 = 1 << 7 | 1 << 10;
/// `SQUASHFS_NO_XATTR`.
const NO_XATTRS: u16 = 1 << 9;
/// A table that is not there (`SQUASHFS_INVALID_BLK`).
const NO_TABLE: u64 = u64::MAX;

/// What the superblock says beside the options.
#[derive(Debug)]
pub(super) struct Superblock {
    pub inodes: u32,
    pub fragments: u32,
    pub ids: u16,
    pub root: u64,
    pub bytes_used: u64,
    pub id_table: u64,
    pub xattr_table: Option<u64>,
    pub inode_table: u64,
    pub directory_table: u64,
    pub fragment_table: u64,
    pub export_table: u64,
}

/// How long superblock and level are.
pub(super) fn len(options: &Options) -> u64 {
    (LEN + level(options).len()) as u64
}

fn level(options: &Options) -> Vec<u8> {
    metadata::plain(&options.level.to_le_bytes())
}

impl Superblock {
    pub fn encode(&self, options: &Options) -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC.to_le_bytes());
        put(4, &self.inodes.to_le_bytes());
        put(8, &u32::try_from(options.epoch.seconds()).unwrap_or(u32::MAX).to_le_bytes());
        put(12, &options.block_size.to_le_bytes());
        put(16, &self.fragments.to_le_bytes());
        put(20, &ZSTD.to_le_bytes());
        put(22, &(options.block_size.ilog2() as u16).to_le_bytes());
        let flags = FLAGS | if self.xattr_table.is_some() { 0 } else { NO_XATTRS };
        put(24, &flags.to_le_bytes());
        put(26, &self.ids.to_le_bytes());
        put(28, &4_u16.to_le_bytes());
        put(32, &self.root.to_le_bytes());
        put(40, &self.bytes_used.to_le_bytes());
        put(48, &self.id_table.to_le_bytes());
        put(56, &self.xattr_table.unwrap_or(NO_TABLE).to_le_bytes());
        put(64, &self.inode_table.to_le_bytes());
        put(72, &self.directory_table.to_le_bytes());
        put(80, &self.fragment_table.to_le_bytes());
        put(88, &self.export_table.to_le_bytes());
        bytes.extend(level(options));
        bytes
    }
}
