//! Extended inodes (`struct erofs_inode_extended`).

use bake_base::Timestamp;
use bake_tree::{Device, Metadata, Node};

/// Size of an inode, without what follows it.
pub(super) const LEN: usize = 64;
/// Inodes are numbered by the slots of this size that precede them.
pub(super) const SLOT: u64 = 32;
/// A block that is not there.
pub(super) const NO_BLOCK: u32 = u32::MAX;

/// How an inode's content is found (`EROFS_INODE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Blocks in a row.
    Plain,
    /// Blocks in a row, and what is left beside the inode.
    Inline,
    /// Chunks, by a map beside the inode.
    Chunks,
}

/// An inode in the making.
pub(super) struct Record<'a> {
    pub node: &'a Node,
    pub metadata: &'a Metadata,
    pub time: Timestamp,
    pub form: Form,
    pub size: u64,
    /// The first block, a device's number, or the format of the chunks.
    pub place: u32,
    pub links: u32,
    /// Its number where 32 bits must do.
    pub serial: u32,
    /// The attributes that follow.
    pub attributes: &'a [u8],
}

impl Record<'_> {
    /// The inode and its attributes.
    pub fn encode(&self) -> Vec<u8> {
        let form = match self.form {
            Form::Plain => 0,
            Form::Inline => 2,
            Form::Chunks => 4,
        };
        let mut bytes = vec![0; LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        // The lowest bit tells extended inodes from compact ones.
        put(0, &(form << 1 | 1_u16).to_le_bytes());
        put(2, &super::attributes::count(self.attributes).to_le_bytes());
        put(4, &(file_type(self.node) | self.metadata.mode).to_le_bytes());
        put(8, &self.size.to_le_bytes());
        put(16, &self.place.to_le_bytes());
        put(20, &self.serial.to_le_bytes());
        put(24, &self.metadata.uid.to_le_bytes());
        put(28, &self.metadata.gid.to_le_bytes());
        put(32, &self.time.seconds.to_le_bytes());
        put(40, &self.time.nanoseconds.to_le_bytes());
        put(44, &self.links.to_le_bytes());
        bytes.extend(self.attributes);
        bytes
    }
}

/// The type in a mode.
fn file_type(node: &Node) -> u16 {
    match node {
        Node::Fifo => 0o010_000,
        Node::CharDevice(_) => 0o020_000,
        Node::Directory(_) => 0o040_000,
        Node::BlockDevice(_) => 0o060_000,
        Node::File(_) => 0o100_000,
        Node::Symlink(_) => 0o120_000,
    }
}

/// A device's number (kernel: `new_encode_dev`).
pub(super) fn device(device: Device) -> u32 {
    device.minor & 0xff | device.major << 8 | (device.minor & !0xff) << 12
}
