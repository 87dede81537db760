//! A file system as text, for `bake inspect` and for snapshots: superblock, groups and inodes in use.

use std::fmt::Write as _;
use std::io;

use bake_base::{ReadAt, Uuid};

use super::geometry::{BLOCK, DESCRIPTOR_SIZE, INODE_SIZE};
use super::superblock::{MAGIC, MAGIC_OFFSET, PRIMARY_OFFSET, SIZE};

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DumpError {
    /// The bytes cannot be read, or there are too few of them.
    #[error("reading the file system failed")]
    Read(#[from] io::Error),
    /// Not an ext4 file system, or one of a shape that is not made here.
    #[error("this is no ext4 file system with blocks of 4096, inodes of 256 and descriptors of 64 bytes")]
    Unknown,
}

/// One line for each field of the superblock that varies, one for each group, one for each inode in use.
///
/// # Errors
/// When the bytes cannot be read or are no such file system.
pub fn dump(image: &dyn ReadAt) -> Result<String, DumpError> {
    let mut superblock = [0; SIZE];
    image.read_exact_at(PRIMARY_OFFSET, &mut superblock)?;
    let word = |at: usize| get32(&superblock, at);
    let half = |at: usize| get16(&superblock, at);
    let known = half(MAGIC_OFFSET) == MAGIC
        && word(0x18) == 2
        && usize::from(half(0x58)) == INODE_SIZE
        && usize::from(half(0xfe)) == DESCRIPTOR_SIZE
        && word(0x28) != 0
        && u64::from(word(0x28)) <= 8 * BLOCK;
    if !known {
        return Err(DumpError::Unknown);
    }
    let uuid = |at: usize| Uuid::from_slice(&superblock[at..at + 16]).unwrap_or_default();
    let blocks = u64::from(word(0x150)) << 32 | u64::from(word(0x04));
    let free = u64::from(word(0x158)) << 32 | u64::from(word(0x0c));
    let label: Vec<u8> = superblock[0x78..0x88].iter().copied().take_while(|byte| *byte != 0).collect();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "ext4 {} label \"{}\" hash seed {}", uuid(0x68), label.escape_ascii(), uuid(0xec));
    let _ = writeln!(text, "  features {:#x} {:#x} {:#x}", word(0x5c), word(0x60), word(0x64));
    let _ = writeln!(text, "  blocks {blocks} free {free} overhead {}", word(0x248));
    let _ = writeln!(text, "  inodes {} free {} in a group {}", word(0x00), word(0x10), word(0x28));
    let _ = writeln!(text, "  made {} written {} checksum {:#010x}", word(0x108), word(0x30), word(0x3fc));
    let per_group = word(0x28);
    for group in 0..word(0x00) / per_group {
        dump_group(image, group, per_group, &mut text)?;
    }
    Ok(text)
}

fn dump_group(image: &dyn ReadAt, group: u32, per_group: u32, text: &mut String) -> Result<(), DumpError> {
    let mut descriptor = [0; DESCRIPTOR_SIZE];
    image.read_exact_at(BLOCK + u64::from(group) * DESCRIPTOR_SIZE as u64, &mut descriptor)?;
    let split32 = |low, high| u64::from(get32(&descriptor, high)) << 32 | u64::from(get32(&descriptor, low));
    let split16 = |low, high| u32::from(get16(&descriptor, high)) << 16 | u32::from(get16(&descriptor, low));
    let table = split32(0x08, 0x28);
    let unused = split16(0x1c, 0x32);
    let _ = writeln!(
        text,
        "group {group} bitmaps {} {} table {table} free {} {} directories {} unused {unused} flags {:#x}",
        split32(0x00, 0x20),
        split32(0x04, 0x24),
        split16(0x0c, 0x2c),
        split16(0x0e, 0x2e),
        split16(0x10, 0x30),
        get16(&descriptor, 0x12),
    );
    let mut inode = [0; INODE_SIZE];
    for index in 0..per_group.saturating_sub(unused) {
        let offset = u64::from(index) * INODE_SIZE as u64;
        image.read_exact_at(table.saturating_mul(BLOCK).saturating_add(offset), &mut inode)?;
        if get16(&inode, 0x1a) > 0 {
            let number = u64::from(group) * u64::from(per_group) + u64::from(index) + 1;
            dump_inode(number, &inode, text);
        }
    }
    Ok(())
}

fn dump_inode(number: u64, inode: &[u8; INODE_SIZE], text: &mut String) {
    let half = |at| u64::from(get16(inode, at));
    let word = |at| u64::from(get32(inode, at));
    let _ = writeln!(
        text,
        "  inode {number} mode {:o} owner {}:{} links {} size {} sectors {} flags {:#x} attributes {}",
        half(0x00),
        half(0x78) << 16 | half(0x02),
        half(0x7a) << 16 | half(0x18),
        half(0x1a),
        word(0x6c) << 32 | word(0x04),
        half(0x74) << 32 | word(0x1c),
        word(0x20),
        half(0x76) << 32 | word(0x68),
    );
}

fn get16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn get32(bytes: &[u8], at: usize) -> u32 {
    u32::from(get16(bytes, at + 2)) << 16 | u32::from(get16(bytes, at))
}

#[cfg(test)]
mod tests {
    use bake_base::{Bytes, Epoch};
    use bake_tree::{Content, Metadata, Node, Tree, TreePath, ValidTree};

    use super::*;
    use crate::ext4::{Options, plan};

    #[test]
    fn a_file_system_dumps_as_lines() {
        let mut tree = Tree::new();
        let content = Content::bytes(vec![1; 5000]);
        let path = TreePath::from_root(b"/etc/file").unwrap();
        tree.put(&path, Metadata { uid: 70_000, ..Metadata::root(0o4755) }, Node::File(content)).unwrap();
        let epoch = Epoch::from_seconds(1_700_000_000);
        tree.clamp_times(epoch);
        let options = Options {
            uuid: Uuid::from_u128(1),
            hash_seed: Uuid::from_u128(2),
            label: "root".to_owned(),
            epoch,
            journal_bytes: 64 << 20,
            inodes_per_group: 8192,
            flex_bg: 16,
            reserved_gdt_blocks: 1024,
            metadata_csum_seed: true,
            threads: 1,
        };
        let layout = plan(&ValidTree::new(tree).unwrap(), &options).unwrap().layout(300 << 20).unwrap();
        // Written once, judged by `e2fsck`, and held since: a change here is a new format revision.
        let expected = r#"ext4 00000000-0000-0000-0000-000000000001 label "root" hash seed 00000000-0000-0000-0000-000000000002
  features 0x3c 0x22c2 0x46b
  blocks 76800 free 56813 overhead 19978
  inodes 24576 free 24563 in a group 8192
  made 1700000000 written 1700000000 checksum 0xc4d25d63
group 0 bitmaps 1026 1042 table 1058 free 13807 8179 directories 3 unused 8179 flags 0x4
  inode 2 mode 40755 owner 0:0 links 4 size 4096 sectors 8 flags 0x80000 attributes 0
  inode 7 mode 100600 owner 0:0 links 1 size 4299210752 sectors 16392 flags 0x0 attributes 0
  inode 8 mode 100600 owner 0:0 links 1 size 67108864 sectors 131072 flags 0x80000 attributes 0
  inode 11 mode 40700 owner 0:0 links 2 size 16384 sectors 32 flags 0x80000 attributes 0
  inode 12 mode 40755 owner 0:0 links 2 size 4096 sectors 8 flags 0x80000 attributes 0
  inode 13 mode 104755 owner 70000:0 links 1 size 5000 sectors 16 flags 0x80000 attributes 0
group 1 bitmaps 1027 1043 table 1570 free 31742 8192 directories 0 unused 8192 flags 0x7
group 2 bitmaps 1028 1044 table 2082 free 11264 8192 directories 0 unused 8192 flags 0x5
"#;
        assert_eq!(dump(&layout).unwrap(), expected);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(matches!(dump(&Bytes::from(vec![0; 4096])), Err(DumpError::Unknown)));
        assert!(matches!(dump(&Bytes::from(vec![0; 100])), Err(DumpError::Read(_))));
    }
}
