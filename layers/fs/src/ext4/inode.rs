//! Inodes: owner, times, links and the root of what holds the content (`inodes.rst`).

use std::ops::RangeInclusive;

use bake_base::Timestamp;
use bake_tree::Device;

use super::bytes::{put_split16, put_split32, put16, put32};
use super::checksum::Seed;
use super::extents::ROOT_SIZE;
use super::geometry::INODE_SIZE;

/// Bytes of an inode that are fields; attributes follow.
pub(super) const FIELDS: usize = 128 + EXTRA as usize;
/// `extra_isize`: how many of these follow the 128 of ext2.
pub(super) const EXTRA: u16 = 32;
/// The root directory.
pub(super) const ROOT: u32 = 2;
/// The file of blocks kept for growing the group descriptors.
pub(super) const RESIZE: u32 = 7;
/// The journal.
pub(super) const JOURNAL: u32 = 8;

pub(super) const FIFO: u16 = 0x1000;
pub(super) const CHARACTER_DEVICE: u16 = 0x2000;
pub(super) const DIRECTORY: u16 = 0x4000;
pub(super) const BLOCK_DEVICE: u16 = 0x6000;
pub(super) const REGULAR: u16 = 0x8000;
pub(super) const SYMLINK: u16 = 0xa000;

/// The content lies in extents.
pub(super) const USES_EXTENTS: u32 = 0x8_0000;
/// The directory has an index.
pub(super) const INDEXED: u32 = 0x1000;

/// Seconds since 1970 that an inode can hold: 1901 to 2446.
pub(super) const SECONDS: RangeInclusive<i64> = -0x8000_0000..=0x3_7fff_ffff;

/// Names that a file other than a directory can have (kernel: `EXT4_LINK_MAX`).
pub(super) const MOST_LINKS: u32 = 65_000;

/// An inode about to be encoded.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// Type and permissions.
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub links: u16,
    /// Blocks of the file system, structures included.
    pub blocks: u64,
    pub flags: u32,
    pub time: Timestamp,
    /// Root of the extents, target of a short link, or number of a device.
    pub content: [u8; ROOT_SIZE],
    /// The block of attributes, or 0.
    pub attribute_block: u64,
    /// Attributes that follow the fields.
    pub inline: &'a [u8],
}

impl Record<'_> {
    /// The bytes of inode `number`.
    pub fn encode(&self, number: u32, seed: Seed) -> [u8; INODE_SIZE] {
        let mut bytes = [0; INODE_SIZE];
        put16(&mut bytes, 0x00, self.mode);
        put_split16(&mut bytes, 0x02, 0x78, self.uid);
        put_split16(&mut bytes, 0x18, 0x7a, self.gid);
        put_split32(&mut bytes, 0x04, 0x6c, self.size);
        put16(&mut bytes, 0x1a, self.links);
        // In units of 512 bytes, with 16 bits of `huge_file`: more than the largest file system here.
        let sectors = self.blocks * 8;
        put32(&mut bytes, 0x1c, sectors as u32);
        put16(&mut bytes, 0x74, (sectors >> 32) as u16);
        put32(&mut bytes, 0x20, self.flags);
        bytes[0x28..0x28 + ROOT_SIZE].copy_from_slice(&self.content);
        put32(&mut bytes, 0x68, self.attribute_block as u32);
        put16(&mut bytes, 0x76, (self.attribute_block >> 32) as u16);
        put16(&mut bytes, 0x80, EXTRA);
        // Access, change, modification and creation are one: nothing else is known, and it is stable.
        let extra = self.time.nanoseconds << 2 | epoch_bits(self.time.seconds);
        for (seconds, more) in [(0x08, 0x8c), (0x0c, 0x84), (0x10, 0x88), (0x90, 0x94)] {
            put32(&mut bytes, seconds, self.time.seconds as u32);
            put32(&mut bytes, more, extra);
        }
        bytes[FIELDS..FIELDS + self.inline.len()].copy_from_slice(self.inline);
        let checksum = seed.of_inode(number).checksum(&bytes);
        put_split16(&mut bytes, 0x7c, 0x82, checksum);
        bytes
    }
}

/// The two bits that extend a signed 32-bit time (`inodes.rst`, "Inode Timestamps").
fn epoch_bits(seconds: i64) -> u32 {
    ((seconds - i64::from(seconds as i32)) >> 32) as u32 & 3
}

/// The number of a device as an inode's content: the old form where it suffices (kernel: `ext4_do_update_inode`).
pub(super) fn device_content(device: Device) -> [u8; ROOT_SIZE] {
    let Device { major, minor } = device;
    let mut content = [0; ROOT_SIZE];
    if major < 256 && minor < 256 {
        put32(&mut content, 0, major << 8 | minor);
    } else {
        put32(&mut content, 4, minor & 0xff | major << 8 | (minor & !0xff) << 12);
    }
    content
}

/// The target of a link as an inode's content, if it is short enough.
pub(super) fn short_target(target: &[u8]) -> Option<[u8; ROOT_SIZE]> {
    let mut content = [0; ROOT_SIZE];
    // The kernel wants a zero after it.
    (target.len() < ROOT_SIZE).then(|| {
        content[..target.len()].copy_from_slice(target);
        content
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_reach_from_1901_to_2446() {
        // The table in `inodes.rst`.
        for (seconds, bits) in [
            (-0x8000_0000, 0),
            (-1, 0),
            (0x7fff_ffff, 0),
            (0x8000_0000, 1),
            (0x1_7fff_ffff, 1),
            (0x1_8000_0000, 2),
            (0x2_8000_0000, 3),
            (0x3_7fff_ffff, 3),
        ] {
            assert!(SECONDS.contains(&seconds));
            assert_eq!(epoch_bits(seconds), bits, "{seconds:#x}");
        }
    }

    #[test]
    fn devices_take_the_old_form_while_it_fits() {
        let words = |major, minor| {
            let content = device_content(Device { major, minor });
            (
                u32::from_le_bytes(content[..4].try_into().unwrap()),
                u32::from_le_bytes(content[4..8].try_into().unwrap()),
            )
        };
        assert_eq!(words(8, 255), (0x8ff, 0));
        assert_eq!(words(259, 1), (0, 0x1_0301));
        assert_eq!(words(0xfff, 0xf_ffff), (0, 0xffff_ffff));
    }
}
