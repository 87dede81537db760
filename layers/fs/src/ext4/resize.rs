//! The resize inode: a file whose blocks are those kept for more group descriptors, so that nothing else takes
//! them and the kernel can grow a mounted file system (kernel `fs/ext4/resize.c`, `verify_reserved_gdb` and
//! `add_new_gdb`; e2fsprogs `lib/ext2fs/res_gdt.c`).
//!
//! It has the old block map and nothing in it but a double-indirect block, whose entry for the n-th block of
//! descriptors points to the primary one of that number; that one in turn lists its own copies in the backup
//! groups. The primary ones hold these lists until descriptors replace them.

use super::bytes::{EMPTY, Ink, put32};
use super::extents::ROOT_SIZE;
use super::geometry::{BLOCK, GROUP_BLOCKS, Geometry, Span};

/// Pointers in a block.
const POINTERS: u64 = BLOCK / 4;
/// Where the double-indirect block is named in the inode's block map.
const DOUBLE_INDIRECT: usize = 13;
/// The file's size: what a double-indirect block and all that is named before it span.
pub(super) const SIZE: u64 = (12 + POINTERS + POINTERS * POINTERS) * BLOCK;

/// The file, as far as it is written into its inode.
#[derive(Debug)]
pub(super) struct ResizeFile {
    /// The block map.
    pub content: [u8; ROOT_SIZE],
    /// All blocks that it owns.
    pub blocks: u64,
}

/// Writes the lists, with `map` as the double-indirect block.
pub(super) fn write(geometry: &Geometry, span: Span, map: u64, ink: &mut Ink) -> ResizeFile {
    let backups: Vec<u64> = span.backups().collect();
    let used = span.descriptor_blocks();
    let mut pointers = EMPTY;
    for descriptor_block in used..geometry.descriptor_area {
        let number = 1 + descriptor_block;
        put32(&mut pointers, (descriptor_block % POINTERS) as usize * 4, number as u32);
        let list: Vec<u8> =
            backups.iter().flat_map(|group| ((number + group * GROUP_BLOCKS) as u32).to_le_bytes()).collect();
        ink.put(number * BLOCK, &list);
    }
    ink.put_block(map, &pointers, 0);
    let mut content = [0; ROOT_SIZE];
    put32(&mut content, DOUBLE_INDIRECT * 4, map as u32);
    let kept = geometry.descriptor_area - used;
    ResizeFile { content, blocks: 1 + kept * (1 + backups.len() as u64) }
}
