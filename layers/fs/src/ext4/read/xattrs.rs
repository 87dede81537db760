//! Extended attributes: behind an inode's fields and in a block (`attributes.rst`).

use bake_tree::Xattrs;

use super::inode::Inode;
use super::walk::Walk;
use super::{Flaw, get16, get32};
use crate::acl;

const MAGIC: u32 = 0xea02_0000;
/// Bytes of an entry before its name.
const ENTRY: usize = 16;
/// Bytes before the first entry of a block.
const BLOCK_HEADER: usize = 32;
/// Blocks of attributes that are kept for the next inode that shares one.
const MOST_SHARED: usize = 64;

impl Walk<'_> {
    /// The attributes of an inode.
    pub(super) fn xattrs(&mut self, inode: &Inode) -> Result<Xattrs, Flaw> {
        let mut xattrs = Xattrs::new();
        if inode.inline.len() > 4 && get32(&inode.inline, 0) == MAGIC {
            // Offsets of values count from the first entry.
            read(&inode.inline[4..], 0, &mut xattrs)?;
        }
        if inode.attribute_block != 0 {
            let block = self.attribute_block(inode.attribute_block)?;
            read(&block, BLOCK_HEADER, &mut xattrs)?;
        }
        Ok(xattrs)
    }

    /// A block of attributes, which inodes may share.
    fn attribute_block(&mut self, number: u64) -> Result<Vec<u8>, Flaw> {
        if let Some(block) = self.attributes.get(&number) {
            return Ok(block.clone());
        }
        if !self.superblock.has(number, 1) {
            return Err("has attributes outside of the file system".into());
        }
        let mut block = vec![0; self.superblock.block as usize];
        self.source.read_exact_at(number * self.superblock.block, &mut block)?;
        if get32(&block, 0) != MAGIC || get32(&block, 8) != 1 {
            return Err("has attributes in a block that holds none".into());
        }
        if let Some(seed) = self.superblock.seed {
            let stored = get32(&block, 16);
            block[16..20].fill(0);
            if seed.with(&number.to_le_bytes()).checksum(&block) != stored {
                return Err("has attributes that do not match their checksum".into());
            }
        }
        if self.attributes.len() >= MOST_SHARED {
            self.attributes.clear();
        }
        self.attributes.insert(number, block.clone());
        Ok(block)
    }
}

/// Adds the attributes whose entries begin at `first`; offsets of values count from the beginning of `bytes`.
fn read(bytes: &[u8], first: usize, xattrs: &mut Xattrs) -> Result<(), Flaw> {
    let mut at = first;
    // Four zeros end the entries.
    while bytes.get(at..at + 4).is_some_and(|next| next != [0; 4]) {
        let entry = bytes.get(at..at + ENTRY).ok_or("has an attribute without an end")?;
        let (length, index) = (usize::from(entry[0]), entry[1]);
        let (offset, in_inode, size) =
            (usize::from(get16(entry, 2)), get32(entry, 4), get32(entry, 8) as usize);
        let suffix = bytes.get(at + ENTRY..at + ENTRY + length).ok_or("has an attribute without an end")?;
        at += (ENTRY + length).next_multiple_of(4);
        if in_inode != 0 {
            let name = suffix.escape_ascii();
            let reason =
                format!("has an attribute `{name}` in an inode of its own (`ea_inode`): remove it first");
            return Err(Flaw::Unfit(reason));
        }
        let end = offset.checked_add(size).filter(|_| size > 0).unwrap_or(offset);
        let value = if size == 0 { Some(&[][..]) } else { bytes.get(offset..end) };
        let value = value.ok_or("has an attribute whose value lies elsewhere")?;
        let (name, value) = named(index, suffix, value)?;
        if xattrs.insert(name.clone().into(), value.into()).is_some() {
            return Err(Flaw::Damage(format!("has the attribute `{}` twice", name.escape_ascii())));
        }
    }
    Ok(())
}

/// The full name, and the value as system calls carry it.
fn named(index: u8, suffix: &[u8], value: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Flaw> {
    let prefix: &[u8] = match index {
        1 => b"user.",
        2 | 3 if !suffix.is_empty() => return Err("has an access control list with a name".into()),
        2 => return Ok((b"system.posix_acl_access".to_vec(), acl::carried(value)?)),
        3 => return Ok((b"system.posix_acl_default".to_vec(), acl::carried(value)?)),
        4 => b"trusted.",
        6 => b"security.",
        7 if suffix == b"data" => {
            return Err(Flaw::Unfit(
                "keeps its content in its inode: copy it to have it in blocks".to_owned(),
            ));
        }
        7 => b"system.",
        _ => {
            return Err(Flaw::Unfit(format!(
                "has an attribute of the unknown kind {index}: remove it first"
            )));
        }
    };
    if suffix.is_empty() || suffix.contains(&0) {
        return Err("has an attribute without a name".into());
    }
    Ok(([prefix, suffix].concat(), value.to_vec()))
}
