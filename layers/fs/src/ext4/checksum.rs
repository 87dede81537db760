//! Checksums of the `metadata_csum` feature: CRC-32C without the customary inversions (`checksums.rst`).

use bake_base::Uuid;

/// What every checksum of one file system starts from: its UUID, or a seed of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seed(u32);

impl Seed {
    /// The seed of a new file system.
    pub fn of(uuid: Uuid) -> Self {
        Self(crc(!0, uuid.as_bytes()))
    }

    /// The seed that a superblock names.
    pub fn from_value(value: u32) -> Self {
        Self(value)
    }

    /// The value for the superblock.
    pub fn value(self) -> u32 {
        self.0
    }

    /// The checksum of `bytes`.
    pub fn checksum(self, bytes: &[u8]) -> u32 {
        crc(self.0, bytes)
    }

    /// What the checksums of a numbered thing start from: blocks by their 64-bit and groups by their 32-bit
    /// number.
    pub fn with(self, number: &[u8]) -> Self {
        Self(crc(self.0, number))
    }

    /// What the checksums of an inode and of its blocks start from. Its generation is always zero.
    pub fn of_inode(self, number: u32) -> Self {
        self.with(&number.to_le_bytes()).with(&[0; 4])
    }
}

/// The checksum of a superblock, which has no seed.
pub(super) fn of_superblock(bytes: &[u8]) -> u32 {
    crc(!0, bytes)
}

fn crc(start: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!start, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_check_value_comes_out() {
        // The catalogue's check value of CRC-32C, before its final inversion.
        assert_eq!(crc(!0, b"123456789"), !0xe306_9283);
        assert_eq!(Seed(!0).with(b"1234").checksum(b"56789"), !0xe306_9283);
    }
}
