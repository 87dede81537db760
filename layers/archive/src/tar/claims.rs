//! All that an archive says of one member, from up to four headers, and the member that it amounts to.

use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::{Content, Device, Member, MemberKind, Metadata, TreePath};

use super::acl;
use super::header::Header;
use super::pax::{Global, Local};
use super::sparse::{self, Map};

/// What is said of a member, and where its body is.
pub(super) struct Claims<'a> {
    pub header: &'a Header,
    pub global: &'a Global,
    pub local: Local,
    pub kind: Kind,
    pub name: Result<Vec<u8>, String>,
    pub link: Result<Vec<u8>, String>,
    /// The sparse map of a GNU header.
    pub map: Option<Map>,
    pub body: u64,
    pub size: u64,
}

impl Claims<'_> {
    /// The member, with content in `source`.
    pub(super) fn member(self, source: &Arc<dyn ReadAt>) -> Result<Member, String> {
        let path =
            TreePath::parse(self.name.as_ref()?).map_err(|error| format!("has a name of no use: {error}"))?;
        let metadata = self.metadata()?;
        let kind = match self.kind {
            Kind::Directory if self.header.typeflag != b'D' && self.size > 0 => {
                let size = self.size;
                return Err(format!(
                    "is a file of {size} bytes with a trailing slash: expected one or the other"
                ));
            }
            Kind::Directory => MemberKind::Directory,
            Kind::File => MemberKind::File(self.content(source)?),
            Kind::Symlink => MemberKind::Symlink(self.link?.into()),
            Kind::HardLink => {
                let target = TreePath::parse(&self.link?);
                let target =
                    target.map_err(|error| format!("is a hard link to a name of no use: {error}"))?;
                MemberKind::HardLink(target)
            }
            Kind::CharDevice => MemberKind::CharDevice(self.device()?),
            Kind::BlockDevice => MemberKind::BlockDevice(self.device()?),
            Kind::Fifo => MemberKind::Fifo,
        };
        Ok(Member { path, metadata, kind })
    }

    fn metadata(&self) -> Result<Metadata, String> {
        let Self { header, global, local, .. } = self;
        let owner = |local: Option<u32>, global: Option<u32>, header: Result<u32, String>| {
            match local.or(global).map_or(header, Ok)? {
                // -1 stands for no change wherever Linux takes an owner (chown(2)).
                u32::MAX => Err(format!(
                    "has an owner or group of {}, which Linux takes for none: expected at most {}",
                    u32::MAX,
                    u32::MAX - 1
                )),
                id => Ok(id),
            }
        };
        let xattrs = local.xattrs()?;
        let mode = header.mode()?;
        Ok(Metadata {
            mode: xattrs.get(acl::ACCESS).map_or(mode, |list| acl::mode_with(list, mode)),
            uid: owner(local.uid, global.uid, header.uid())?,
            gid: owner(local.gid, global.gid, header.gid())?,
            mtime: local.mtime.or(global.mtime).map_or_else(|| header.mtime(), Ok)?,
            xattrs,
        })
    }

    fn device(&self) -> Result<Device, String> {
        Ok(Device {
            major: self.local.devmajor.map_or_else(|| self.header.devmajor(), Ok)?,
            minor: self.local.devminor.map_or_else(|| self.header.devminor(), Ok)?,
        })
    }

    fn content(self, source: &Arc<dyn ReadAt>) -> Result<Content, String> {
        let Self { local, map, body, size, .. } = self;
        let stored = match map {
            Some(map) => Some((map, 0)),
            None => sparse::pax(&local.sparse, source, body, size)?,
        };
        match stored {
            Some((map, map_len)) => map.content(source, body + map_len, size - map_len),
            None => Content::whole(Arc::clone(source), body, size).map_err(|error| error.to_string()),
        }
    }
}

/// A name given by an extended header, a GNU long name or the header itself, in this order. The first two
/// are never given together by one writer; readers that disagree about which wins see different trees.
pub(super) fn one_of(
    record: Option<&Vec<u8>>,
    long: Option<Vec<u8>>,
    header: &[u8],
) -> Result<Vec<u8>, String> {
    match (record, long) {
        (Some(record), Some(long)) if *record != long => Err(format!(
            "is also called `{}`: an extended header and a long name contradict each other",
            record[..record.len().min(200)].escape_ascii()
        )),
        (Some(record), _) => Ok(record.clone()),
        (None, Some(long)) => Ok(long),
        (None, None) => Ok(header.to_vec()),
    }
}

/// What a member is, before its content is looked at.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

impl Kind {
    /// Judges by the header's type and the name that the member will have.
    pub(super) fn of(header: &Header, name: &[u8]) -> Result<Self, String> {
        Ok(match header.typeflag {
            // v7 has no type for directories, and its heirs kept the custom: a slash ends their names.
            0 | b'0' | b'7' if name.last() == Some(&b'/') => Self::Directory,
            // POSIX: `7`, contiguous, is a regular file to whoever knows better than to care.
            0 | b'0' | b'7' => Self::File,
            b'S' if header.is_gnu => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            // `D` is the directory of an incremental dump: its body lists names and is passed over.
            b'5' | b'D' => Self::Directory,
            b'6' => Self::Fifo,
            b'M' => return Err("goes on from another volume: expected an archive in one piece".to_owned()),
            other => {
                return Err(format!(
                    "has the unknown type `{}`: expected 0 to 7 or an extension of GNU or pax",
                    other.escape_ascii()
                ));
            }
        })
    }
}
