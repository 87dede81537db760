//! Extended attributes: behind an inode, or once for all inodes that have the same one (`struct
//! erofs_xattr_ibody_header`, `struct erofs_xattr_entry`).

use std::collections::BTreeMap;

use bake_tree::Xattrs;

use crate::acl;

/// Bytes before the first shared attribute's number.
const HEADER: usize = 12;
/// How many shared attributes an inode may have.
const MOST_SHARED: usize = u8::MAX as usize;
/// The longest value: its length has 16 bits.
const LONGEST_VALUE: usize = u16::MAX as usize;
/// The longest attributes of one inode: their length has 16 bits, and counts words.
const LONGEST: usize = HEADER + 4 * (u16::MAX as usize - 1);

/// All attributes of an inode, each as its entry on the disk.
pub(super) type Entries = Vec<Vec<u8>>;

/// Encodes the attributes of one inode.
///
/// # Errors
/// The first one that EROFS has no way to hold, in words.
pub(super) fn entries(xattrs: &Xattrs) -> Result<Entries, String> {
    let mut entries = Vec::new();
    for (name, value) in xattrs {
        let (index, rest, value) = match &**name {
            b"system.posix_acl_access" | b"system.posix_acl_default" => {
                let Some(list) = acl::normal(value)? else { continue };
                (if name.ends_with(b"access") { 2 } else { 3 }, &b""[..], list)
            }
            name => {
                let prefixes: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
                let known = prefixes.iter().find_map(|(index, prefix)| {
                    let rest = name.strip_prefix(*prefix).filter(|rest| !rest.is_empty());
                    rest.map(|rest| (*index, rest))
                });
                let (index, rest) = known.ok_or_else(|| {
                    format!(
                        "has an extended attribute `{}`: expected a name in `user.`, `trusted.` or `security.`, or an access control list",
                        name.escape_ascii()
                    )
                })?;
                (index, rest, value.to_vec())
            }
        };
        if value.len() > LONGEST_VALUE {
            return Err(format!(
                "has {} bytes in `{}`: expected at most {LONGEST_VALUE}",
                value.len(),
                name.escape_ascii()
            ));
        }
        let mut entry = vec![rest.len() as u8, index];
        entry.extend((value.len() as u16).to_le_bytes());
        entry.extend(rest);
        entry.extend(value);
        entry.resize(entry.len().next_multiple_of(4), 0);
        entries.push(entry);
    }
    let len = HEADER + entries.iter().map(Vec::len).sum::<usize>();
    if len > LONGEST {
        return Err(format!(
            "has {len} bytes of extended attributes: expected at most {LONGEST}, with their lengths"
        ));
    }
    Ok(entries)
}

/// Attributes that more than one inode has, where that saves room.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Where each one lies among the shared ones.
    offsets: BTreeMap<Vec<u8>, u32>,
    /// How long all of them are.
    len: u64,
}

impl Shared {
    /// From all inodes' attributes with the number of inodes that have them.
    pub fn new(counted: BTreeMap<Vec<u8>, u64>) -> Self {
        let mut shared = Self::default();
        for (entry, count) in counted {
            let len = entry.len() as u64;
            // An inode that refers to one has its number instead. Numbers count words and have 32 bits.
            let saves = len + count * 4 < count * len;
            if let Some(number) = u32::try_from(shared.len / 4).ok().filter(|_| saves) {
                shared.offsets.insert(entry, number);
                shared.len += len;
            }
        }
        shared
    }

    /// How many bytes they take.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// All of them, in the order in which they lie.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.offsets.iter().map(|(entry, number)| (u64::from(*number) * 4, &entry[..]))
    }

    /// What follows an inode with these attributes; nothing without any.
    pub fn encode(&self, entries: &Entries) -> Vec<u8> {
        if entries.is_empty() {
            return Vec::new();
        }
        let (mut numbers, mut inline): (Vec<u32>, Vec<u8>) = (Vec::new(), Vec::new());
        for entry in entries {
            match self.offsets.get(entry) {
                Some(number) if numbers.len() < MOST_SHARED => numbers.push(*number),
                _ => inline.extend(&**entry),
            }
        }
        let mut bytes = vec![0; HEADER];
        bytes[4] = numbers.len() as u8;
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(inline);
        bytes
    }
}

/// How an inode counts the words of its attributes: those of the header as one.
pub(super) fn count(attributes: &[u8]) -> u16 {
    match attributes.len() {
        0 => 0,
        len => (1 + (len - HEADER) / 4) as u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattrs(list: &[(&str, &[u8])]) -> Xattrs {
        list.iter().map(|(name, value)| (name.as_bytes().into(), (*value).into())).collect()
    }

    #[test]
    fn attributes_are_shared_where_that_saves_room() {
        let one = entries(&xattrs(&[("user.a", b""), ("security.selinux", b"a label\0")])).unwrap();
        assert_eq!(one[0], b"\x07\x06\x08\0selinuxa label\0\0");
        assert_eq!(one[1], b"\x01\x01\0\0a\0\0\0");
        let shared = Shared::new([(one[0].clone(), 2), (one[1].clone(), 2)].into());
        // Eight bytes that two inodes refer to by four each are not worth it.
        assert_eq!(shared.entries().collect::<Vec<_>>(), [(0, &one[0][..])]);
        let encoded = shared.encode(&one);
        assert_eq!(encoded, [&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0; 4], &one[1]].concat());
        assert_eq!((count(&encoded), count(&[])), (4, 0));
        assert!(shared.encode(&Vec::new()).is_empty());
    }

    #[test]
    fn an_inode_shares_at_most_255() {
        let many: Entries =
            (0..300_u32).map(|i| [&[20, 1, 0, 0][..], &[i as u8; 20], &i.to_le_bytes()].concat()).collect();
        let shared = Shared::new(many.iter().map(|entry| (entry.clone(), 9)).collect());
        let encoded = shared.encode(&many);
        assert_eq!((encoded[4], encoded.len()), (255, HEADER + 255 * 4 + 45 * 28));
    }

    #[test]
    fn attributes_that_do_not_fit_are_refused() {
        let refused = |name: &str, len: usize| entries(&xattrs(&[(name, &vec![1; len])])).unwrap_err();
        assert!(refused("system.data", 1).contains("`system.data`"));
        assert!(refused("user.", 1).contains("`user.`"));
        assert!(refused("user.x", 65_536).contains("at most 65535"));
        assert!(refused("system.posix_acl_default", 3).contains("access control list"));
        let value = vec![1; 65_535];
        let list: Vec<_> =
            ["user.a", "user.b", "user.c", "user.d"].iter().map(|name| (*name, &value[..])).collect();
        assert!(entries(&xattrs(&list)).unwrap_err().contains("at most 262148"));
        assert!(entries(&xattrs(&list[..3])).is_ok());
    }
}
