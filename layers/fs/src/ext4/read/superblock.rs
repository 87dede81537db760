//! What the superblock and the group descriptors say (`super.rst`, `group_descr.rst`): whether the file system can
//! be read as it is, and where inodes lie.

use bake_base::{ReadAt, Uuid};

use super::super::checksum::{Seed, of_superblock};
use super::super::superblock::{MAGIC, MAGIC_OFFSET, PRIMARY_OFFSET, SIZE};
use super::{ReadError, get_split32, get16, get32};

/// Directories have types in their entries.
const FILE_TYPES: u32 = 0x2;
/// The journal has to be replayed.
const RECOVER: u32 = 0x4;
/// Group descriptors lie in the groups that they describe.
const META_BLOCK_GROUPS: u32 = 0x10;
/// Descriptors and numbers of blocks are long.
const LONG: u32 = 0x80;
/// The checksums' seed is a field of its own.
const CHECKSUM_SEED: u32 = 0x2000;
/// Features that are understood, or that do not matter to who only reads files: types in entries, recovery (which is
/// refused by itself), groups of descriptors, extents, 64 bits, protection against two mounts, flexible groups,
/// values of attributes in inodes (refused where one is used), a seed, large directories.
const KNOWN: u32 =
    FILE_TYPES | RECOVER | META_BLOCK_GROUPS | 0x40 | LONG | 0x100 | 0x200 | 0x400 | CHECKSUM_SEED | 0x4000;
/// Names of those that are refused.
const REFUSED: [(u32, &str); 6] = [
    (0x1, "compressed files"),
    (0x8, "nothing but a journal in it"),
    (0x1000, "data in directory entries (`dirdata`)"),
    (0x8000, "files inside of inodes (`inline_data`)"),
    (0x10000, "encrypted directories (`encrypt`)"),
    (0x20000, "directories that ignore case (`casefold`)"),
];
/// Structures have checksums.
const METADATA_CHECKSUMS: u32 = 0x400;
/// Files share blocks.
const SHARED_BLOCKS: u32 = 0x4000;
/// Files that have lost their names wait to be removed.
const ORPHANS: u32 = 0x10000;
/// Only some groups have copies of the superblock.
const SPARSE_SUPERBLOCKS: u32 = 0x1;
/// Only two groups have copies of the superblock, which are named in it.
const SPARSE_SUPERBLOCKS_2: u32 = 0x200;
/// The smallest inode.
const LEAST_INODE: u64 = 128;

/// A superblock that promises a file system that can be read.
#[derive(Debug)]
pub(super) struct Superblock {
    pub uuid: Uuid,
    pub label: String,
    /// Bytes in a block.
    pub block: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many inodes there are.
    pub inodes: u32,
    /// Bytes of an inode.
    pub inode_size: u64,
    /// What checksums start from, where there are any.
    pub seed: Option<Seed>,
    /// Whether entries of directories have a type, and a length of one byte.
    pub file_types: bool,
    inodes_per_group: u32,
    /// Where each group's table of inodes begins, in blocks.
    tables: Vec<u64>,
}

/// Where descriptors of groups lie.
struct Descriptors {
    block: u64,
    /// The first block of the first group.
    first: u64,
    blocks_per_group: u64,
    size: u64,
    meta_groups_from: Option<u64>,
    sparse: Sparse,
}

/// Which groups begin with a superblock.
enum Sparse {
    All,
    Powers,
    Two([u32; 2]),
}

impl Superblock {
    /// Reads it, with the descriptors of all groups.
    ///
    /// # Errors
    /// When there is none, or none that can be read as it is.
    pub fn read(source: &dyn ReadAt) -> Result<Self, ReadError> {
        let mut bytes = [0; SIZE];
        if source.len() < PRIMARY_OFFSET + SIZE as u64 {
            return Err(ReadError::NotFound);
        }
        source.read_exact_at(PRIMARY_OFFSET, &mut bytes)?;
        if get16(&bytes, MAGIC_OFFSET) != MAGIC {
            return Err(ReadError::NotFound);
        }
        let damaged = |what: &str| ReadError::Damaged(format!("the superblock {what}"));
        let dynamic = get32(&bytes, 0x4c) > 0;
        let features = |at| if dynamic { get32(&bytes, at) } else { 0 };
        let (incompatible, read_only) = (features(0x60), features(0x64));
        let has_checksums = read_only & METADATA_CHECKSUMS != 0;
        if has_checksums && of_superblock(&bytes[..SIZE - 4]) != get32(&bytes, SIZE - 4) {
            return Err(damaged("does not match its checksum"));
        }
        refuse(incompatible, read_only, &bytes)?;

        let exponent = get32(&bytes, 0x18);
        if exponent > 6 {
            return Err(damaged("has blocks of more than 64 KiB"));
        }
        let block = 1024_u64 << exponent;
        let high = if incompatible & LONG == 0 { 0 } else { get32(&bytes, 0x150) };
        let blocks = u64::from(get32(&bytes, 0x04)) | u64::from(high) << 32;
        if blocks.checked_mul(block).is_none_or(|len| len > source.len()) {
            return Err(ReadError::Damaged(format!(
                "it has {blocks} blocks of {block} bytes, which are more than there are: is the image whole?"
            )));
        }
        let inode_size = if dynamic { u64::from(get16(&bytes, 0x58)) } else { LEAST_INODE };
        if !(LEAST_INODE..=block).contains(&inode_size) || !inode_size.is_power_of_two() {
            return Err(damaged("has inodes of an impossible size"));
        }
        let (first, blocks_per_group) = (u64::from(get32(&bytes, 0x14)), u64::from(get32(&bytes, 0x20)));
        let (inodes, inodes_per_group) = (get32(&bytes, 0x00), get32(&bytes, 0x28));
        // A bitmap is one block: of clusters where blocks come in clusters, each of up to 2^15 blocks.
        let right = first <= u64::from(block == 1024)
            && first < blocks
            && (1..=(8 * block) << 15).contains(&blocks_per_group)
            && (1..=8 * block).contains(&u64::from(inodes_per_group));
        if !right {
            return Err(damaged("has groups of an impossible size"));
        }
        let groups = (blocks - first).div_ceil(blocks_per_group);
        if u64::from(inodes) > groups * u64::from(inodes_per_group) || inodes < 2 {
            return Err(damaged("has another number of inodes than its groups"));
        }
        let size = if incompatible & LONG == 0 { 32 } else { u64::from(get16(&bytes, 0xfe)) };
        if !(32..=1024).contains(&size) || !size.is_power_of_two() || (incompatible & LONG != 0 && size < 64)
        {
            return Err(damaged("has group descriptors of an impossible size"));
        }
        let uuid = Uuid::from_slice(&bytes[0x68..0x78]).unwrap_or_default();
        let seed = has_checksums.then(|| match incompatible & CHECKSUM_SEED {
            0 => Seed::of(uuid),
            _ => Seed::from_value(get32(&bytes, 0x270)),
        });
        let label = bytes[0x78..0x88].split(|byte| *byte == 0).next().unwrap_or_default();
        let meta_groups = incompatible & META_BLOCK_GROUPS != 0;
        let descriptors = Descriptors {
            block,
            first,
            blocks_per_group,
            size,
            meta_groups_from: meta_groups.then(|| u64::from(get32(&bytes, 0x104))),
            sparse: if features(0x5c) & SPARSE_SUPERBLOCKS_2 != 0 {
                Sparse::Two([get32(&bytes, 0x24c), get32(&bytes, 0x250)])
            } else if read_only & SPARSE_SUPERBLOCKS != 0 {
                Sparse::Powers
            } else {
                Sparse::All
            },
        };
        let table_blocks = (u64::from(inodes_per_group) * inode_size).div_ceil(block);
        let tables = descriptors.tables(source, groups, seed, (blocks, table_blocks))?;
        Ok(Self {
            uuid,
            label: String::from_utf8_lossy(label).into_owned(),
            block,
            blocks,
            inodes,
            inode_size,
            seed,
            file_types: incompatible & FILE_TYPES != 0,
            inodes_per_group,
            tables,
        })
    }

    /// Where an inode lies, in bytes.
    pub fn inode_place(&self, number: u32) -> Option<u64> {
        let index = number.checked_sub(1).filter(|_| number <= self.inodes)?;
        let table = self.tables.get((index / self.inodes_per_group) as usize)?;
        Some(table * self.block + u64::from(index % self.inodes_per_group) * self.inode_size)
    }

    /// Whether a run of blocks is part of the file system.
    pub fn has(&self, block: u64, count: u64) -> bool {
        block > 0 && block.checked_add(count).is_some_and(|end| end <= self.blocks)
    }
}

/// Refuses what has to be put right or understood first.
fn refuse(incompatible: u32, read_only: u32, bytes: &[u8; SIZE]) -> Result<(), ReadError> {
    let unknown = incompatible & !KNOWN;
    if unknown != 0 {
        let names: Vec<_> = REFUSED
            .iter()
            .filter(|(bit, _)| unknown & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        let names = if names.is_empty() { vec![format!("unknown features ({unknown:#x})")] } else { names };
        return Err(ReadError::Unsupported(names.join(" and ")));
    }
    if read_only & SHARED_BLOCKS != 0 {
        return Err(ReadError::Unsupported("files that share blocks (`shared_blocks`)".to_owned()));
    }
    if incompatible & RECOVER != 0 {
        return Err(ReadError::Unclean("was not unmounted, and its journal has to be replayed"));
    }
    let state = get16(bytes, 0x3a);
    if state & 0x2 != 0 {
        return Err(ReadError::Unclean("has errors that the kernel found"));
    }
    if state & 0x1 == 0 {
        return Err(ReadError::Unclean("was not unmounted"));
    }
    if state & 0x4 != 0 || get32(bytes, 0xe8) != 0 || read_only & ORPHANS != 0 {
        return Err(ReadError::Unclean("has files without names that are still to be removed"));
    }
    Ok(())
}

impl Descriptors {
    /// Where the tables of inodes lie.
    fn tables(
        &self,
        source: &dyn ReadAt,
        groups: u64,
        seed: Option<Seed>,
        (blocks, table_blocks): (u64, u64),
    ) -> Result<Vec<u64>, ReadError> {
        let per_block = self.block / self.size;
        let (mut tables, mut buffer) = (Vec::new(), vec![0; self.block as usize]);
        for group in 0..groups {
            if group % per_block == 0 {
                let place = self.place(group / per_block, per_block);
                if place >= blocks {
                    return Err(ReadError::Damaged(format!(
                        "the descriptor of group {group} lies outside of it"
                    )));
                }
                source.read_exact_at(place * self.block, &mut buffer)?;
            }
            let bytes = &mut buffer[(group % per_block * self.size) as usize..][..self.size as usize];
            let wrong = |what: &str| ReadError::Damaged(format!("the descriptor of group {group} {what}"));
            if let Some(seed) = seed {
                let stored = get16(bytes, 0x1e);
                bytes[0x1e..0x20].fill(0);
                if seed.with(&(group as u32).to_le_bytes()).checksum(bytes) as u16 != stored {
                    return Err(wrong("does not match its checksum"));
                }
            }
            let table =
                if self.size >= 64 { get_split32(bytes, 0x08, 0x28) } else { u64::from(get32(bytes, 0x08)) };
            if table == 0 || table.checked_add(table_blocks).is_none_or(|end| end > blocks) {
                return Err(wrong("has its table of inodes outside of the file system"));
            }
            tables.push(table);
        }
        Ok(tables)
    }

    /// The block that holds the descriptors with this index among such blocks (kernel: `descriptor_loc`).
    fn place(&self, index: u64, per_block: u64) -> u64 {
        match self.meta_groups_from {
            Some(from) if index >= from => {
                let group = index * per_block;
                // Clusters of blocks of 1 KiB begin at block 0, before the superblock.
                let before = u64::from(group == 0 && self.block == 1024 && self.first == 0);
                let superblock = u64::from(self.sparse.has_superblock(group));
                self.first + group * self.blocks_per_group + before + superblock
            }
            _ => PRIMARY_OFFSET / self.block + 1 + index,
        }
    }
}

impl Sparse {
    fn has_superblock(&self, group: u64) -> bool {
        match self {
            Self::All => true,
            Self::Powers => super::super::geometry::has_superblock(group),
            Self::Two(groups) => group == 0 || groups.iter().any(|other| u64::from(*other) == group),
        }
    }
}
