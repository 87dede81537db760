//! A whole tree as a tar: ustar, and pax for what ustar has no place for.
//!
//! In goes a [`ValidTree`], out come bytes that depend on nothing else. The first member is `./`; every other
//! one is `./` and its path, directories with a slash at the end. A directory stands before what it holds, and
//! names in it are in the order of their bytes, so the order is that of [`bake_tree::Tree::walk`]. Of an inode with several
//! names the first one in this order is the file, and the others are hard links to it. Owners are numbers
//! without names; holes are written as zeros, because how a file happens to be stored is no property of a tree.
//!
//! Formats: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header". A member whose data fit
//! ustar has one header; any other has exactly one `x` header before it and never GNU's `L` or `K`: readers have
//! differed about which of these describes what. Fields that a record overrules are zero.

mod record;

use std::collections::BTreeMap;
use std::io::{self, Write};

use bake_base::{ReadAt, Timestamp};
use bake_tree::{Content, Device, Inode, InodeId, Metadata, Node, TreePath, ValidTree};

use super::{BLOCK, PAYLOAD_MAX};
use record::Records;

/// Bytes of content in memory at once.
const WINDOW: usize = 256 << 10;
/// Length of the fields for a name and for the target of a link.
const NAME: usize = 100;
/// Length of the field that a longer name may begin in.
const PREFIX: usize = 155;
/// Largest owner of seven octal digits.
const OWNER_MAX: u32 = 0o777_7777;
/// Largest size and time of eleven octal digits.
const NUMBER_MAX: u64 = 0o777_7777_7777;
/// The name of every `x` header, which only readers older than pax take for a file's (Python writes the same).
const EXTENDED: &[u8] = b"././@PaxHeader";

/// Why a tar could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteTarError {
    /// The tar itself could not be written.
    #[error("writing the tar failed")]
    Output(#[source] io::Error),
    /// What the tree refers to could not be read.
    #[error("reading `{path}` failed")]
    Content {
        /// Whose content.
        path: TreePath,
        /// Why.
        source: io::Error,
    },
    /// No reader would take it.
    #[error("`{path}` {reason}")]
    Unwritable {
        /// Which entry.
        path: TreePath,
        /// What is wrong, and what was expected.
        reason: String,
    },
}

/// Writes `tree` as a tar into `out`, with its end-of-archive marker. Content streams through a small buffer.
///
/// Times are those of the tree: clamp them first (see [`bake_tree::Tree::clamp_times`]).
///
/// # Errors
/// When content cannot be read or `out` does not take it, and for an entry with more than 1 MiB of extended
/// attributes or without a time; what was written is no tar then.
pub fn write_tar(tree: &ValidTree, out: &mut impl Write) -> Result<(), WriteTarError> {
    let mut first_names: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    let mut buffer = vec![0; WINDOW];
    for (path, id) in tree.tree().walk() {
        let inode = tree.inode(id);
        let is_directory = inode.as_directory().is_some();
        let first = match first_names.get(&id) {
            _ if is_directory || tree.link_count(id) < 2 => None,
            None => {
                first_names.insert(id, path.clone());
                None
            }
            Some(first) => Some(first),
        };
        let headers = headers(&path, inode, first)?;
        out.write_all(&headers).map_err(WriteTarError::Output)?;
        if let (Node::File(content), None) = (&inode.node, first) {
            write_content(&path, content, out, &mut buffer)?;
        }
    }
    out.write_all(&[0; 2 * BLOCK as usize]).map_err(WriteTarError::Output)
}

fn write_content(
    path: &TreePath,
    content: &Content,
    out: &mut impl Write,
    buffer: &mut [u8],
) -> Result<(), WriteTarError> {
    let mut offset = 0;
    while offset < content.len() {
        let n = (content.len() - offset).min(WINDOW as u64) as usize;
        let read = content.read_exact_at(offset, &mut buffer[..n]);
        read.map_err(|source| WriteTarError::Content { path: path.clone(), source })?;
        // Every window but the last one is a multiple of the block.
        let padded = n.next_multiple_of(BLOCK as usize);
        buffer[n..padded].fill(0);
        out.write_all(&buffer[..padded]).map_err(WriteTarError::Output)?;
        offset += n as u64;
    }
    Ok(())
}

/// The one or two headers of a member, the first with its records.
fn headers(path: &TreePath, inode: &Inode, first: Option<&TreePath>) -> Result<Vec<u8>, WriteTarError> {
    let unwritable = |reason: String| WriteTarError::Unwritable { path: path.clone(), reason };
    let Metadata { mode, uid, gid, mtime, xattrs } = &inode.metadata;
    // The largest one stands for "the epoch's, once there is one"; the smallest has no positive counterpart.
    if matches!(mtime.seconds, i64::MIN | i64::MAX) {
        return Err(unwritable(format!(
            "has a time of {} seconds: expected a clamped one, or one that has a date",
            mtime.seconds
        )));
    }
    let is_directory = inode.as_directory().is_some();
    let name = member_name(path, is_directory);
    let target = match (first, &inode.node) {
        (Some(first), _) => member_name(first, false),
        (None, Node::Symlink(target)) => target.to_vec(),
        _ => Vec::new(),
    };
    let (typeflag, size, device) = match (first, &inode.node) {
        (Some(_), _) => (b'1', 0, None),
        (_, Node::File(content)) => (b'0', content.len(), None),
        (_, Node::Symlink(_)) => (b'2', 0, None),
        (_, Node::CharDevice(device)) => (b'3', 0, Some(*device)),
        (_, Node::BlockDevice(device)) => (b'4', 0, Some(*device)),
        (_, Node::Directory(_)) => (b'5', 0, None),
        (_, Node::Fifo) => (b'6', 0, None),
    };

    let mut records = Records::default();
    let split = split_name(&name);
    if split.is_none() {
        records.name("path", &name);
    }
    if target.len() > NAME {
        records.name("linkpath", &target);
    }
    let size_fits = size <= NUMBER_MAX;
    if !size_fits {
        records.text("size", &size.to_string());
    }
    for (key, id) in [("uid", *uid), ("gid", *gid)] {
        if id > OWNER_MAX {
            records.text(key, &id.to_string());
        }
    }
    let seconds = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= NUMBER_MAX);
    if seconds.is_none() || mtime.nanoseconds > 0 {
        records.text("mtime", &time(*mtime));
    }
    if first.is_none() {
        for (name, value) in xattrs {
            records.xattr(name, value);
        }
    }

    let mut bytes = Vec::new();
    let records = records.finish();
    if !records.is_empty() {
        if records.len() as u64 > PAYLOAD_MAX {
            return Err(unwritable(format!(
                "has extended attributes of {} bytes: expected at most {PAYLOAD_MAX}",
                records.len()
            )));
        }
        let mut header = Fields { typeflag: b'x', mode: 0o644, size: records.len() as u64, ..Fields::NONE };
        header.name = (b"", EXTENDED);
        bytes.extend(header.block());
        bytes.extend(&records);
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
    }
    let header = Fields {
        typeflag,
        // A reader that knows no records still gets a name of its own out of the beginning.
        name: split.unwrap_or((b"", &name[..name.len().min(NAME)])),
        target: &target[..target.len().min(NAME)],
        mode: *mode,
        uid: if *uid > OWNER_MAX { 0 } else { *uid },
        gid: if *gid > OWNER_MAX { 0 } else { *gid },
        size: if size_fits { size } else { 0 },
        mtime: seconds.unwrap_or(0),
        device,
    };
    bytes.extend(header.block());
    Ok(bytes)
}

fn member_name(path: &TreePath, is_directory: bool) -> Vec<u8> {
    let slash: &[u8] = if is_directory && !path.is_root() { b"/" } else { b"" };
    [b"./", path.as_bytes(), slash].concat()
}

/// Where ustar puts a name: what comes before a slash, if need be, and what comes after it. The first slash that
/// works is taken. Nothing if no slash does.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME {
        return Some((b"", name));
    }
    let slashes = (1..name.len() - 1).filter(|at| name[*at] == b'/');
    let mut splits = slashes.map(|at| (&name[..at], &name[at + 1..]));
    splits.find(|(_, rest)| rest.len() <= NAME).filter(|(prefix, _)| prefix.len() <= PREFIX)
}

/// Seconds with as many decimals as they need; negative times count backwards.
fn time(time: Timestamp) -> String {
    let (seconds, nanoseconds) = (i128::from(time.seconds), i128::from(time.nanoseconds));
    let total = seconds * 1_000_000_000 + nanoseconds;
    let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
    let text = format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What a header block says.
struct Fields<'a> {
    typeflag: u8,
    name: (&'a [u8], &'a [u8]),
    target: &'a [u8],
    mode: u16,
    uid: u32,
    gid: u32,
    size: u64,
    mtime: u64,
    device: Option<Device>,
}

impl Fields<'_> {
    const NONE: Self = Self {
        typeflag: b'0',
        name: (b"", b""),
        target: b"",
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: 0,
        device: None,
    };

    fn block(&self) -> [u8; BLOCK as usize] {
        let mut header = tar::Header::new_ustar();
        let fields = header.as_ustar_mut().expect("it was made as one");
        fields.prefix[..self.name.0.len()].copy_from_slice(self.name.0);
        fields.name[..self.name.1.len()].copy_from_slice(self.name.1);
        fields.linkname[..self.target.len()].copy_from_slice(self.target);
        fields.typeflag = [self.typeflag];
        octal(&mut fields.mode, self.mode.into());
        octal(&mut fields.uid, self.uid.into());
        octal(&mut fields.gid, self.gid.into());
        octal(&mut fields.size, self.size);
        octal(&mut fields.mtime, self.mtime);
        if let Some(device) = self.device {
            octal(&mut fields.dev_major, device.major.into());
            octal(&mut fields.dev_minor, device.minor.into());
        }
        header.set_cksum();
        *header.as_bytes()
    }
}

/// Digits up to the last byte, which is NUL. Callers have seen that the value fits.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

#[cfg(test)]
#[path = "write/tests.rs"]
mod tests;
