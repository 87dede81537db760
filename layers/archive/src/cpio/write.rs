//! A whole tree as an initial RAM disk's archive, type `070701`.
//!
//! In goes a [`ValidTree`], out come bytes that depend on nothing else: entries in the order of
//! [`bake_tree::Tree::walk`], so that every directory stands before what it holds, inodes numbered from 1 in that
//! order, no device numbers. Of a file with several names the last one carries the content, as `cpio` writes it.
//! Extended attributes have no place in the format.
//!
//! The first entry is `.`, as in archives of `find . | cpio`; names have no `./` before them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bake_base::ReadAt;
use bake_tree::{Content, Device, InodeId, Node, TreePath, ValidTree};

use super::entry::{HEADER, NAME_MAX};
use crate::Compression;

/// Bytes of content in memory at once.
const WINDOW: usize = 256 << 10;
/// What archives are filled up to, as `cpio` does; what follows has to begin at a multiple of four.
const BLOCK: u64 = 512;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// What dracut compresses initrds with: half the time of 19, for 2 % more. Its windows are 4 MiB, and kernels take
/// up to 128 MiB.
const ZSTD_LEVEL: i32 = 15;
const GZIP_LEVEL: u32 = 9;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteCpioError {
    /// The archive itself could not be written.
    #[error("writing the initrd failed")]
    Output(#[source] io::Error),
    /// What the tree refers to could not be read.
    #[error("reading `{path}` failed")]
    Content {
        /// Whose content.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// The format has no room for it.
    #[error("`{path}` {reason}")]
    Unwritable {
        /// Which entry.
        path: TreePath,
        /// What is wrong, and what was expected.
        reason: String,
    },
    /// No encoder here writes what a kernel would read.
    #[error("no initrd is written as {0}: expected none, gzip or zstd")]
    Compression(Compression),
}

/// How many bytes an entry takes with a name and content of these lengths.
pub fn cpio_entry_len(name: usize, content: u64) -> u64 {
    (HEADER as u64 + name as u64 + 1).next_multiple_of(4) + content.next_multiple_of(4)
}

/// Writes `tree` as an archive into `out`, with its trailer, filled up to 512 bytes. Content streams through a small
/// buffer.
///
/// Times are those of the tree: clamp them first (see [`bake_tree::Tree::clamp_times`]). Those before 1970 become 1970,
/// for the format knows no sign.
///
/// # Errors
/// When content cannot be read or `out` does not take it, and for a file of 4 GiB, a name of 4 KiB or a time after
/// 2106; what was written is no archive then.
pub fn write_cpio(tree: &ValidTree, out: &mut impl Write) -> Result<(), WriteCpioError> {
    let mut numbers: BTreeMap<InodeId, (u32, u32)> = BTreeMap::new();
    let mut buffer = vec![0; WINDOW];
    let mut written = 0;
    for (path, id) in tree.tree().walk() {
        let inode = tree.inode(id);
        let links = tree.link_count(id);
        let next = numbers.len() as u32 + 1;
        let (number, names) = numbers.entry(id).or_insert((next, 0));
        *names += 1;
        let is_last = *names == links;
        let unwritable = |reason: String| WriteCpioError::Unwritable { path: path.clone(), reason };
        let nothing = Content::empty();
        let target;
        let (kind, content, device) = match &inode.node {
            Node::Directory(_) => (0o04_0000, &nothing, None),
            Node::File(content) => (0o10_0000, if is_last { content } else { &nothing }, None),
            Node::Symlink(to) => {
                target = Content::bytes(&**to);
                (0o12_0000, &target, None)
            }
            Node::CharDevice(device) => (0o02_0000, &nothing, Some(*device)),
            Node::BlockDevice(device) => (0o06_0000, &nothing, Some(*device)),
            Node::Fifo => (0o01_0000, &nothing, None),
        };
        let size = u32::try_from(content.len())
            .map_err(|_| unwritable(format!("has {} bytes: expected fewer than 4 GiB", content.len())))?;
        let mtime = u32::try_from(inode.metadata.mtime.seconds.max(0))
            .map_err(|_| unwritable("has a time after 2106: expected a clamped one".to_owned()))?;
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        if name.len() >= NAME_MAX as usize {
            return Err(unwritable(format!("has a name of {} bytes: expected fewer than 4096", name.len())));
        }
        let Device { major, minor } = device.unwrap_or(Device { major: 0, minor: 0 });
        let mode = kind | u32::from(inode.metadata.mode);
        let (uid, gid) = (inode.metadata.uid, inode.metadata.gid);
        let header = header(name, [*number, mode, uid, gid, links, mtime, size, 0, 0, major, minor]);
        out.write_all(&header).map_err(WriteCpioError::Output)?;
        write_content(&path, content, out, &mut buffer)?;
        written += cpio_entry_len(name.len(), content.len());
    }
    let mut end = header(TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let filled = (written + end.len() as u64).next_multiple_of(BLOCK) - written;
    end.resize(filled as usize, 0);
    out.write_all(&end).map_err(WriteCpioError::Output)
}

/// An archive of `tree` as [`write_cpio`] writes it, compressed. Parameters are fixed, and one thread works, so the
/// bytes depend on the tree and on the versions of the encoders.
///
/// # Errors
/// As [`write_cpio`], and for other compressions than gzip and zstd.
pub fn encode_cpio(tree: &ValidTree, compression: Compression) -> Result<Vec<u8>, WriteCpioError> {
    match compression {
        Compression::None => {
            let mut bytes = Vec::new();
            write_cpio(tree, &mut bytes)?;
            Ok(bytes)
        }
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
            write_cpio(tree, &mut encoder)?;
            encoder.finish().map_err(WriteCpioError::Output)
        }
        Compression::Zstd => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL);
            let mut encoder = encoder.map_err(WriteCpioError::Output)?;
            encoder.include_checksum(true).map_err(WriteCpioError::Output)?;
            write_cpio(tree, &mut encoder)?;
            encoder.finish().map_err(WriteCpioError::Output)
        }
        other => Err(WriteCpioError::Compression(other)),
    }
}

/// A header with the name behind it, filled up to four bytes.
fn header(name: &[u8], numbers: [u32; 11]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    for number in numbers.into_iter().chain([name.len() as u32 + 1, 0]) {
        bytes.extend_from_slice(format!("{number:08X}").as_bytes());
    }
    bytes.extend_from_slice(name);
    bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
    bytes
}

fn write_content(
    path: &TreePath,
    content: &Content,
    out: &mut impl Write,
    buffer: &mut [u8],
) -> Result<(), WriteCpioError> {
    let mut offset = 0;
    while offset < content.len() {
        let n = (content.len() - offset).min(WINDOW as u64) as usize;
        let read = content.read_exact_at(offset, &mut buffer[..n]);
        read.map_err(|source| WriteCpioError::Content { path: path.clone(), source })?;
        // Every window but the last one is a multiple of four.
        let padded = n.next_multiple_of(4);
        buffer[n..padded].fill(0);
        out.write_all(&buffer[..padded]).map_err(WriteCpioError::Output)?;
        offset += n as u64;
    }
    Ok(())
}

#[cfg(test)]
#[path = "write/tests.rs"]
mod tests;
