//! Inodes, in the short form of their type where that says everything, else in the long one (`struct
//! squashfs_*_inode`, `struct squashfs_l*_inode`).

use bake_tree::{Device, Node};

use super::Error;
use super::attributes::NONE;
use super::data::Stored;
use super::metadata::{Position, Stream};

/// Long forms have numbers that are larger by this.
const LONG: u16 = 7;
/// What a file without a fragment has (`SQUASHFS_INVALID_FRAG`).
const NO_FRAGMENT: u32 = u32::MAX;
/// A directory's size counts bytes for `.` and `..`, which have no entry.
const DOTS: u64 = 3;
/// How many bytes of block sizes are put together at a time.
const CHUNK: u64 = 4096;

/// The type of a short inode, also in directories.
pub(super) fn kind(node: &Node) -> u16 {
    match node {
        Node::Directory(_) => 1,
        Node::File(_) => 2,
        Node::Symlink(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::CharDevice(_) => 5,
        Node::Fifo => 6,
    }
}

/// What every inode begins with, and what decides its form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub kind: u16,
    pub mode: u16,
    /// Numbers of owner and group in the table of ids.
    pub owner: (u16, u16),
    pub time: u32,
    pub number: u32,
    pub links: u32,
    /// The number of its attributes.
    pub xattrs: u32,
}

impl Head {
    fn encode(&self, long: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((self.kind + if long { LONG } else { 0 }).to_le_bytes());
        bytes.extend(self.mode.to_le_bytes());
        bytes.extend(self.owner.0.to_le_bytes());
        bytes.extend(self.owner.1.to_le_bytes());
        bytes.extend(self.time.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes
    }

    fn has_xattrs(&self) -> bool {
        self.xattrs != NONE
    }
}

/// A directory's listing.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub position: Position,
    pub len: u64,
    /// Where in it its later blocks begin, encoded, and how many do.
    pub index: Vec<u8>,
    pub index_count: u16,
}

pub(super) fn directory(head: Head, listing: &Listing, parent: u32) -> Result<Vec<u8>, Error> {
    let size = listing.len + DOTS;
    let most = u64::from(u32::MAX);
    let size = u32::try_from(size).map_err(|_| Error::TooLarge { what: "names in one directory", most })?;
    let short = u16::try_from(size).ok().filter(|_| listing.index_count == 0 && !head.has_xattrs());
    let mut bytes = head.encode(short.is_none());
    let Position { block, offset } = listing.position;
    if let Some(size) = short {
        bytes.extend(block.to_le_bytes());
        bytes.extend(head.links.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(parent.to_le_bytes());
    } else {
        bytes.extend(head.links.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(block.to_le_bytes());
        bytes.extend(parent.to_le_bytes());
        bytes.extend(listing.index_count.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend(head.xattrs.to_le_bytes());
        bytes.extend(&listing.index);
    }
    Ok(bytes)
}

/// Writes a file of `len` bytes, whose content begins at byte `origin` of the image.
pub(super) fn file(
    stream: &mut Stream<'_>,
    head: Head,
    stored: &Stored,
    (origin, len, block_size): (u64, u64, u64),
) -> Result<(), Error> {
    let count = if stored.fragment.is_some() { 0 } else { len.div_ceil(block_size) };
    let start = if stored.blocks.is_empty() { 0 } else { origin + stored.start };
    let full = |block: u64| block_size.min(len - block * block_size);
    let data: u64 = stored.blocks.iter().map(|(block, _)| full(*block)).sum();
    // The kernel subtracts holes from the blocks that it says a file has, and a file that is one has some too.
    let holes = if count == 0 { 0 } else { (len - data).min(len - 1) };
    let short = (u32::try_from(start), u32::try_from(len));
    let (fragment, offset) = stored.fragment.unwrap_or((NO_FRAGMENT, 0));
    match short {
        (Ok(start), Ok(len)) if holes == 0 && head.links == 1 && !head.has_xattrs() => {
            let mut bytes = head.encode(false);
            for field in [start, fragment, offset, len] {
                bytes.extend(field.to_le_bytes());
            }
            stream.append(&bytes)?;
        }
        _ => {
            let mut bytes = head.encode(true);
            for field in [start, len, holes] {
                bytes.extend(field.to_le_bytes());
            }
            for field in [head.links, fragment, offset, head.xattrs] {
                bytes.extend(field.to_le_bytes());
            }
            stream.append(&bytes)?;
        }
    }
    let mut stored = stored.blocks.iter().peekable();
    let mut bytes = Vec::new();
    for block in 0..count {
        let size = stored.next_if(|(number, _)| *number == block).map_or(0, |(_, size)| *size);
        bytes.extend(size.to_le_bytes());
        if block % CHUNK == CHUNK - 1 || block == count - 1 {
            stream.append(&bytes)?;
            bytes.clear();
        }
    }
    Ok(())
}

pub(super) fn symlink(head: Head, target: &[u8]) -> Vec<u8> {
    let mut bytes = head.encode(head.has_xattrs());
    bytes.extend(head.links.to_le_bytes());
    bytes.extend((target.len() as u32).to_le_bytes());
    bytes.extend(target);
    with_xattrs(head, bytes)
}

pub(super) fn device(head: Head, device: Device) -> Vec<u8> {
    let number = device.minor & 0xff | device.major << 8 | (device.minor & !0xff) << 12;
    let mut bytes = head.encode(head.has_xattrs());
    bytes.extend(head.links.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    with_xattrs(head, bytes)
}

pub(super) fn fifo(head: Head) -> Vec<u8> {
    let mut bytes = head.encode(head.has_xattrs());
    bytes.extend(head.links.to_le_bytes());
    with_xattrs(head, bytes)
}

fn with_xattrs(head: Head, mut bytes: Vec<u8>) -> Vec<u8> {
    if head.has_xattrs() {
        bytes.extend(head.xattrs.to_le_bytes());
    }
    bytes
}
