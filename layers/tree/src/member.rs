//! What a reader hands over: one entry of one layer, before it is merged.

use crate::{Content, Device, Metadata, TreePath};

/// An entry of a layer, by its path as the archive gives it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it goes.
    pub path: TreePath,
    /// Owner, mode, time and attributes; means nothing for hard links and whiteouts.
    pub metadata: Metadata,
    /// What it is.
    pub kind: MemberKind,
}

/// What a [`Member`] is.
#[derive(Clone, Debug)]
pub enum MemberKind {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link with its target, any bytes.
    Symlink(Box<[u8]>),
    /// Another name of an entry in this layer or below it.
    HardLink(TreePath),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// Removes the entry of this path from the layers below (OCI image layer specification, "Whiteouts").
    Whiteout,
    /// Removes everything that the layers below have in this directory ("Opaque Whiteout").
    Opaque,
}

impl MemberKind {
    /// What it is called in messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Directory => "a directory",
            Self::File(_) => "a regular file",
            Self::Symlink(_) => "a symbolic link",
            Self::HardLink(_) => "a hard link",
            Self::CharDevice(_) => "a character device",
            Self::BlockDevice(_) => "a block device",
            Self::Fifo => "a fifo",
            Self::Whiteout => "a whiteout",
            Self::Opaque => "an opaque whiteout",
        }
    }
}
