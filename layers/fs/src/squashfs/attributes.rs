//! Extended attributes: each set of them once, however many inodes have it (`struct squashfs_xattr_entry`,
//! `struct squashfs_xattr_id`).

use std::collections::BTreeMap;

use bake_tree::Xattrs;

use super::compress::Zstd;
use super::metadata::{Stream, table};
use super::{AccessLists, Error};

/// What an inode without attributes has (`SQUASHFS_INVALID_XATTR`).
pub(super) const NONE: u32 = u32::MAX;

/// The attributes of one inode: how many, and their bytes.
///
/// # Errors
/// The first one that SquashFS has no way to hold, in words.
pub(super) fn entries(xattrs: &Xattrs, lists: AccessLists) -> Result<(u32, Vec<u8>), String> {
    let (mut count, mut bytes) = (0, Vec::new());
    for (name, value) in xattrs {
        if name.starts_with(b"system.posix_acl_") && lists == AccessLists::Drop {
            continue;
        }
        let prefixes: [(u16, &[u8]); 3] = [(0, b"user."), (1, b"trusted."), (2, b"security.")];
        let known = prefixes.iter().find_map(|(index, prefix)| {
            let rest = name.strip_prefix(*prefix).filter(|rest| !rest.is_empty());
            rest.map(|rest| (*index, rest))
        });
        let (index, rest) = known.ok_or_else(|| {
            format!(
                "has an extended attribute `{}`: expected a name in `user.`, `trusted.` or `security.`; SquashFS has no access control lists",
                name.escape_ascii()
            )
        })?;
        count += 1;
        bytes.extend(index.to_le_bytes());
        bytes.extend((rest.len() as u16).to_le_bytes());
        bytes.extend(rest);
        bytes.extend((value.len() as u32).to_le_bytes());
        bytes.extend(&**value);
    }
    Ok((count, bytes))
}

/// All sets.
#[derive(Debug, Default)]
pub(super) struct Sets {
    numbers: BTreeMap<Vec<u8>, u32>,
    /// How many attributes each one has, in the order of their numbers, and its bytes' number in `order`.
    counts: Vec<u32>,
    order: Vec<Vec<u8>>,
}

impl Sets {
    /// The number of a set.
    pub fn number(&mut self, (count, bytes): (u32, Vec<u8>)) -> u32 {
        if count == 0 {
            return NONE;
        }
        let next = self.order.len() as u32;
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.counts.push(count);
            self.order.push(bytes.clone());
            next
        })
    }

    /// Writes all of them and says where the table is; nothing without any.
    pub fn write(&self, tables: &mut Vec<u8>, origin: u64, zstd: &mut Zstd) -> Result<Option<u64>, Error> {
        if self.order.is_empty() {
            return Ok(None);
        }
        let start = origin + tables.len() as u64;
        let mut stream = Stream::new(zstd);
        let mut ids = Vec::new();
        for (bytes, count) in self.order.iter().zip(&self.counts) {
            ids.extend(stream.position()?.reference().to_le_bytes());
            ids.extend(count.to_le_bytes());
            ids.extend((bytes.len() as u32).to_le_bytes());
            stream.append(bytes)?;
        }
        tables.extend(stream.finish()?.0);
        // The index of this table has a head.
        let mut with_index = Vec::new();
        let here = origin + tables.len() as u64;
        let index = table(&mut with_index, here, zstd, &ids)?;
        let (blocks, positions) = with_index.split_at((index - here) as usize);
        tables.extend(blocks);
        tables.extend(start.to_le_bytes());
        tables.extend((self.order.len() as u32).to_le_bytes());
        tables.extend([0; 4]);
        tables.extend(positions);
        Ok(Some(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_kept_or_refused() {
        let xattrs = |name: &str| Xattrs::from([(name.as_bytes().into(), b"vv".as_slice().into())]);
        let (count, bytes) = entries(&xattrs("trusted.x"), AccessLists::Refuse).unwrap();
        assert_eq!((count, &bytes[..]), (1, &b"\x01\0\x01\0x\x02\0\0\0vv"[..]));
        let list = xattrs("system.posix_acl_access");
        assert!(entries(&list, AccessLists::Refuse).unwrap_err().contains("no access control lists"));
        assert_eq!(entries(&list, AccessLists::Drop).unwrap(), (0, Vec::new()));
        for name in ["user.", "system.data", "btrfs.compression"] {
            assert!(entries(&xattrs(name), AccessLists::Drop).unwrap_err().contains(name));
        }
    }

    #[test]
    fn equal_sets_have_one_number() {
        let mut sets = Sets::default();
        let numbers = [(1, b"a".to_vec()), (0, Vec::new()), (2, b"b".to_vec()), (1, b"a".to_vec())];
        assert_eq!(numbers.map(|set| sets.number(set)), [0, NONE, 1, 0]);
    }
}
