//! Extended attributes: behind the inode's fields while they fit, then in one block (`attributes.rst`).

use bake_tree::Xattrs;

use super::bytes::{Block, EMPTY, put16, put32};
use super::checksum::Seed;
use super::geometry::{BLOCK, INODE_SIZE};
use super::inode::FIELDS;
use crate::acl;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// Bytes before the first entry of a block.
const BLOCK_HEADER: usize = 32;
/// Bytes for entries and values after an inode's fields, magic number and final zeros apart.
const INODE_ROOM: usize = INODE_SIZE - FIELDS - 8;
/// The same of a block.
const BLOCK_ROOM: usize = BLOCK as usize - BLOCK_HEADER - 4;
/// How many inodes may share a block (kernel: `EXT4_XATTR_REFCOUNT_MAX`).
pub(super) const SHARERS: u32 = 1024;

/// The attributes of an inode, encoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// What follows the inode's fields; empty for none.
    pub inline: Box<[u8]>,
    /// What goes to a block. Few inodes have one, so that it lies apart.
    pub block: Option<Box<AttributeBlock>>,
}

/// The content of a block of attributes, but for what depends on its place and on who shares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AttributeBlock {
    entries: Box<[u8]>,
    values: Box<[u8]>,
    hash: u32,
}

/// An attribute with its name's prefix as a number, ordered as a block's entries are.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attribute<'a> {
    index: u8,
    length: usize,
    name: &'a [u8],
    value: Vec<u8>,
}

impl Attribute<'_> {
    fn entry_size(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4)
    }

    fn size(&self) -> usize {
        self.entry_size() + self.value.len().next_multiple_of(4)
    }
}

/// Encodes the attributes of one inode.
///
/// # Errors
/// The first attribute that ext4 has no way to hold, in words.
pub(super) fn encode(xattrs: &Xattrs) -> Result<Attributes, String> {
    if xattrs.is_empty() {
        return Ok(Attributes::default());
    }
    let (mut inline, mut rest) = (Vec::new(), Vec::new());
    let mut room = INODE_ROOM;
    for (name, value) in xattrs {
        let Some(attribute) = attribute(name, value)? else { continue };
        if attribute.size() <= room {
            room -= attribute.size();
            inline.push(attribute);
        } else {
            rest.push(attribute);
        }
    }
    let needed: usize = rest.iter().map(Attribute::size).sum();
    if needed > BLOCK_ROOM {
        return Err(format!(
            "has {needed} bytes of extended attributes that do not fit into its inode: expected at most \
             {BLOCK_ROOM}, the one block that ext4 has for them"
        ));
    }
    rest.sort_unstable();
    Ok(Attributes {
        inline: inline_bytes(&inline),
        block: (!rest.is_empty()).then(|| Box::new(block_bytes(&rest))),
    })
}

/// Compresses the name (`attributes.rst`, "Attribute Name Indices") and converts the value where the two sides
/// of a system call differ.
fn attribute<'a>(name: &'a [u8], value: &[u8]) -> Result<Option<Attribute<'a>>, String> {
    let (index, name, value) = match name {
        b"system.posix_acl_access" | b"system.posix_acl_default" => {
            let Some(value) = acl::stored(value)? else { return Ok(None) };
            (if name.ends_with(b"access") { 2 } else { 3 }, &b""[..], value)
        }
        _ => {
            let prefixes: [(u8, &[u8]); 4] =
                [(1, b"user."), (4, b"trusted."), (6, b"security."), (7, b"system.")];
            let known = prefixes.iter().find_map(|(index, prefix)| {
                let rest = name.strip_prefix(*prefix).filter(|rest| !rest.is_empty());
                // The name under which ext4 keeps a small file's content.
                rest.filter(|rest| (*index, *rest) != (7, b"data")).map(|rest| (*index, rest))
            });
            let (index, rest) = known.ok_or_else(|| {
                format!(
                    "has an extended attribute `{}`: expected a name in `user.`, `trusted.`, `security.` or `system.`",
                    name.escape_ascii()
                )
            })?;
            (index, rest, value.to_vec())
        }
    };
    Ok(Some(Attribute { index, length: name.len(), name, value }))
}

/// Entries in a row, and the values that end the room; offsets count from `origin` bytes before the
/// entries, over `room` bytes of both.
fn lay_out(
    attributes: &[Attribute<'_>],
    origin: usize,
    room: usize,
    hashed: bool,
) -> (Vec<u8>, Vec<u8>, u32) {
    let values: Vec<u8> = attributes.iter().flat_map(|attribute| padded(&attribute.value)).collect();
    let mut value_at = origin + room - values.len();
    let (mut entries, mut hashes) = (Vec::new(), Vec::new());
    for attribute in attributes {
        let mut entry = vec![0; attribute.entry_size()];
        entry[0] = attribute.name.len() as u8;
        entry[1] = attribute.index;
        entry[ENTRY..ENTRY + attribute.name.len()].copy_from_slice(attribute.name);
        if !attribute.value.is_empty() {
            put16(&mut entry, 2, value_at as u16);
        }
        put32(&mut entry, 8, attribute.value.len() as u32);
        if hashed {
            hashes.push(entry_hash(attribute));
            put32(&mut entry, 12, entry_hash(attribute));
        }
        value_at += attribute.value.len().next_multiple_of(4);
        entries.extend(entry);
    }
    // An entry whose hash is zero makes the whole block's zero: the kernel then never shares it.
    let all = if hashes.contains(&0) {
        0
    } else {
        hashes.iter().fold(0_u32, |all, hash| all.rotate_left(16) ^ hash)
    };
    (entries, values, all)
}

fn padded(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    value.resize(value.len().next_multiple_of(4), 0);
    value
}

fn inline_bytes(attributes: &[Attribute<'_>]) -> Box<[u8]> {
    if attributes.is_empty() {
        return Box::default();
    }
    // Four zeros end the entries; values may follow them at once.
    let (entries, values, _) = lay_out(attributes, 0, INODE_ROOM + 4, false);
    let mut bytes = MAGIC.to_le_bytes().to_vec();
    bytes.extend(&entries);
    bytes.resize(INODE_SIZE - FIELDS - values.len(), 0);
    bytes.extend(values);
    bytes.into()
}

fn block_bytes(attributes: &[Attribute<'_>]) -> AttributeBlock {
    let (entries, values, hash) = lay_out(attributes, BLOCK_HEADER, BLOCK as usize - BLOCK_HEADER, true);
    AttributeBlock { entries: entries.into(), values: values.into(), hash }
}

/// The hash of an entry over its name and its value's words (kernel: `ext4_xattr_hash_entry_signed`, which
/// every `e2fsck` on x86 and every new one takes; it differs for names beyond ASCII alone).
fn entry_hash(attribute: &Attribute<'_>) -> u32 {
    let name = attribute.name.iter();
    let hash = name.fold(0_u32, |hash, byte| hash.rotate_left(5) ^ i32::from(*byte as i8) as u32);
    let value = padded(&attribute.value);
    let (words, _) = value.as_chunks::<4>();
    words.iter().fold(hash, |hash, word| hash.rotate_left(16) ^ u32::from_le_bytes(*word))
}

impl AttributeBlock {
    /// The block as it stands at `number`, shared by `sharers` inodes.
    pub fn block(&self, seed: Seed, number: u64, sharers: u32) -> Block {
        let mut block = EMPTY;
        put32(&mut block, 0, MAGIC);
        put32(&mut block, 4, sharers);
        put32(&mut block, 8, 1);
        put32(&mut block, 12, self.hash);
        block[BLOCK_HEADER..BLOCK_HEADER + self.entries.len()].copy_from_slice(&self.entries);
        let start = block.len() - self.values.len();
        block[start..].copy_from_slice(&self.values);
        let checksum = seed.with(&number.to_le_bytes()).checksum(&block);
        put32(&mut block, 16, checksum);
        block
    }

    /// How many bytes at the end of the block are values.
    pub fn tail(&self) -> usize {
        self.values.len()
    }
}
