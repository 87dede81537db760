//! One inode (`inodes.rst`).

use bake_base::Timestamp;
use bake_tree::Device;

use super::super::checksum::Seed;
use super::super::extents::ROOT_SIZE;
use super::superblock::Superblock;
use super::walk::Walk;
use super::{Flaw, get_split16, get16, get32};

/// Bytes that every inode has.
const OLD_SIZE: usize = 128;

/// What its content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Fifo,
    CharDevice,
    Directory,
    BlockDevice,
    File,
    Symlink,
    Socket,
}

/// Flags that say how the content is to be read.
pub(super) mod flags {
    /// The content lies in extents.
    pub const EXTENTS: u32 = 0x8_0000;
    /// The directory has an index.
    pub const INDEX: u32 = 0x1000;
    /// The content is encrypted, is the value of another's attribute, lies in the inode; the directory ignores case.
    pub const REFUSED: u32 = 0x800 | 0x20_0000 | 0x1000_0000 | 0x4000_0000;
    /// What a tree cannot keep and somebody has set: secure deletion, undeletion, compression, synchronous, immutable,
    /// append only, no dump, no access times, data in the journal, synchronous directory, verity.
    pub const NOT_KEPT: u32 =
        0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x4000 | 0x1_0000 | 0x10_0000;
}

/// An inode that is in use.
#[derive(Debug)]
pub(super) struct Inode {
    pub kind: Kind,
    pub mode: u16,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Timestamp,
    pub size: u64,
    pub flags: u32,
    /// Root of extents, map of blocks, short target, or number of a device.
    pub content: [u8; ROOT_SIZE],
    /// Whether it has blocks for its content, apart from one for attributes.
    pub has_blocks: bool,
    /// The block of attributes, or 0.
    pub attribute_block: u64,
    /// What follows its fields.
    pub inline: Vec<u8>,
    /// What the checksums of its blocks start from.
    pub seed: Option<Seed>,
}

impl Inode {
    /// Takes apart the bytes of inode `number`.
    pub fn parse(superblock: &Superblock, number: u32, bytes: &[u8]) -> Result<Self, Flaw> {
        let half = |at: usize| get16(bytes, at);
        let extra = if bytes.len() > OLD_SIZE { usize::from(half(0x80)) } else { 0 };
        if extra % 4 != 0 || OLD_SIZE + extra > bytes.len() {
            return Err("has an inode with fields of an impossible length".into());
        }
        // Fields behind the 128 bytes are there as far as `extra` reaches.
        let has = |end: usize| end <= OLD_SIZE + extra;
        let seed = superblock
            .seed
            .map(|seed| seed.with(&number.to_le_bytes()).with(&get32(bytes, 0x64).to_le_bytes()));
        if let Some(seed) = seed {
            let mut plain = bytes.to_vec();
            plain[0x7c..0x7e].fill(0);
            let mut stored = u32::from(half(0x7c));
            let mut mask = 0xffff;
            if has(0x84) {
                plain[0x82..0x84].fill(0);
                stored |= u32::from(half(0x82)) << 16;
                mask = u32::MAX;
            }
            if seed.checksum(&plain) & mask != stored {
                return Err(Flaw::Damage(format!("has inode {number}, which does not match its checksum")));
            }
        }
        if half(0x1a) == 0 {
            return Err(Flaw::Damage(format!("has inode {number}, which is deleted")));
        }
        let kind = match half(0x00) >> 12 {
            0x1 => Kind::Fifo,
            0x2 => Kind::CharDevice,
            0x4 => Kind::Directory,
            0x6 => Kind::BlockDevice,
            0x8 => Kind::File,
            0xa => Kind::Symlink,
            0xc => Kind::Socket,
            _ => return Err(Flaw::Damage(format!("has inode {number}, which is of no type"))),
        };
        let nanoseconds_field = if has(0x8c) { get32(bytes, 0x88) } else { 0 };
        let seconds = i64::from(get32(bytes, 0x10) as i32) + (i64::from(nanoseconds_field & 3) << 32);
        let nanoseconds = nanoseconds_field >> 2;
        if nanoseconds >= 1_000_000_000 {
            return Err("has a time with more nanoseconds than a second".into());
        }
        let flags = get32(bytes, 0x20);
        // In units of 512 bytes, or of blocks with a flag that only the largest files have: zero in both.
        let sectors = u64::from(get32(bytes, 0x1c)) | u64::from(half(0x74)) << 32;
        let attribute_block = u64::from(get32(bytes, 0x68)) | u64::from(half(0x76)) << 32;
        let of_attributes = if attribute_block == 0 { 0 } else { superblock.block / 512 };
        let long = matches!(kind, Kind::File | Kind::Directory);
        let high = if long { get32(bytes, 0x6c) } else { 0 };
        let size = u64::from(get32(bytes, 0x04)) | u64::from(high) << 32;
        if i64::try_from(size).is_err() {
            return Err("is longer than any file".into());
        }
        let mut content = [0; ROOT_SIZE];
        content.copy_from_slice(&bytes[0x28..0x28 + ROOT_SIZE]);
        Ok(Self {
            kind,
            mode: half(0x00) & 0o7777,
            uid: get_split16(bytes, 0x02, 0x78),
            gid: get_split16(bytes, 0x18, 0x7a),
            mtime: Timestamp { seconds, nanoseconds },
            size,
            flags,
            content,
            has_blocks: sectors > of_attributes,
            attribute_block,
            inline: bytes[OLD_SIZE + extra..].to_vec(),
            seed,
        })
    }

    /// Whether a flag is set.
    pub fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// The number of a device: in the old form where that is not zero (kernel: `ext4_iget`).
    pub fn device(&self) -> Device {
        let (old, new) = (get32(&self.content, 0), get32(&self.content, 4));
        if old != 0 {
            return Device { major: old >> 8 & 0xff, minor: old & 0xff };
        }
        Device { major: new >> 8 & 0xfff, minor: new & 0xff | new >> 12 & 0xf_ff00 }
    }
}

impl Walk<'_> {
    /// Reads an inode.
    pub(super) fn inode(&mut self, number: u32) -> Result<Inode, Flaw> {
        let place = self.superblock.inode_place(number);
        let place = place.ok_or_else(|| Flaw::Damage(format!("has inode {number}, which does not exist")))?;
        // Neighbours are asked for together: the block that was read last is kept.
        let (block, size) = (self.superblock.block, self.superblock.inode_size);
        let start = place / block * block;
        if self.table_at != Some(start) {
            self.table_at = None;
            self.table.resize(block as usize, 0);
            self.source.read_exact_at(start, &mut self.table)?;
            self.table_at = Some(start);
        }
        let at = (place - start) as usize;
        Inode::parse(self.superblock, number, &self.table[at..at + size as usize])
    }
}
