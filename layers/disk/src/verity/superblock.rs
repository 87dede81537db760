//! The superblock in front of a hash tree (cryptsetup, `lib/verity/verity.c`, `struct verity_sb`).

use super::{BLOCK, Options};

const LEN: usize = 512;
const SIGNATURE: &[u8] = b"verity\0\0";
const VERSION: u32 = 1;
/// The salt comes before the data, and blocks of hashes are filled up to powers of two.
const HASH_TYPE: u32 = 1;
const ALGORITHM: &[u8] = b"sha256";

/// The superblock of a tree over `data_blocks` blocks; the salt is known to fit.
pub(super) fn encode(options: &Options, data_blocks: u64) -> Vec<u8> {
    let mut bytes = vec![0; LEN];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, SIGNATURE);
    put(8, &VERSION.to_le_bytes());
    put(12, &HASH_TYPE.to_le_bytes());
    put(16, options.uuid.as_bytes());
    put(32, ALGORITHM);
    put(64, &(BLOCK as u32).to_le_bytes());
    put(68, &(BLOCK as u32).to_le_bytes());
    put(72, &data_blocks.to_le_bytes());
    put(80, &(options.salt.len() as u16).to_le_bytes());
    put(88, &options.salt);
    bytes
}
