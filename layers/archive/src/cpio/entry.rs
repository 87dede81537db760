//! One header of the "newc" format: a magic number and thirteen fields of eight hexadecimal digits.

use bake_tree::{Device, TreePath};

use crate::Compression;

/// Bytes in a header.
pub(super) const HEADER: usize = 110;
/// Longest name that the kernel takes, with its NUL.
pub(super) const NAME_MAX: u32 = 4096;

/// An entry of an initial RAM disk.
#[derive(Clone, Debug)]
pub struct CpioEntry {
    /// Where it goes.
    pub path: TreePath,
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification in seconds since 1970.
    pub mtime: u32,
    /// Number of names; entries with the same inode share the content that comes with the last of them.
    pub links: u32,
    /// Number of the inode within its archive.
    pub inode: u32,
    /// Bytes of content.
    pub size: u64,
    /// What device it is, if it is one.
    pub device: Device,
    /// Which archive it is in, counted from 0: those before the last are for microcode and the like.
    pub archive: usize,
    /// How that archive is compressed.
    pub compression: Compression,
    pub(super) checksum: Option<u32>,
}

impl CpioEntry {
    /// Parses a header; the entry, still without its path, and the length of the name that follows.
    pub(super) fn parse(
        header: &[u8; HEADER],
        archive: usize,
        compression: Compression,
    ) -> Result<(Self, u32), String> {
        let (magic, fields) = header.split_at(6);
        let has_checksum = match magic {
            b"070701" => false,
            b"070702" => true,
            b"070707" => return Err("is a header of the old `odc` format: expected `newc`".to_owned()),
            _ => return Err("is no cpio header: expected `070701` or `070702`".to_owned()),
        };
        let mut numbers = [0; 13];
        for (number, digits) in numbers.iter_mut().zip(fields.chunks(8)) {
            *number = digits
                .iter()
                .try_fold(0, |value: u32, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
                .ok_or("is a header with something else than hexadecimal digits")?;
        }
        let [inode, mode, uid, gid, links, mtime, size, _, _, major, minor, name_len, checksum] = numbers;
        let entry = Self {
            path: TreePath::root(),
            mode,
            uid,
            gid,
            mtime,
            links,
            inode,
            size: size.into(),
            device: Device { major, minor },
            archive,
            compression,
            checksum: has_checksum.then_some(checksum),
        };
        Ok((entry, name_len))
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & 0o17_0000 == 0o10_0000
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o17_0000 == 0o4_0000
    }

    /// Whether it is a symbolic link: its content is the target.
    pub fn is_symlink(&self) -> bool {
        self.mode & 0o17_0000 == 0o12_0000
    }
}
