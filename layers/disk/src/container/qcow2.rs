//! QEMU's copy-on-write image, version 3 (docs/interop/qcow2.txt in QEMU's source), as a plan.
//!
//! A cluster of the disk is allocated exactly if a piece touches it, so that a change of content moves
//! nothing. The file is, in this order: header, L1 table, those L2 tables that have an entry, refcount table,
//! refcount blocks, data in the order of the disk. All numbers follow from the layout; no field is random and
//! there is no feature name table, whose text would depend on the version of a tool.

mod compressed;
mod read;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bake_base::Layout;

use super::extents::{self, Extent};
use super::{Chunk, Container, Format, InOrder};

pub(super) const FORMAT: Format = Format {
    name: "qcow2",
    extension: "qcow2",
    plan: |disk| Ok(Box::new(Plan::new(disk)?)),
    recognise: |file| Ok(read::recognise(file)? && !read::has_compression_type(file)?),
    open: |file| Ok(Box::new(read::Reader::new(file, FORMAT)?)),
};

pub(super) const COMPRESSED_FORMAT: Format = Format {
    name: "qcow2-compressed",
    extension: "compressed.qcow2",
    plan: |disk| Ok(Box::new(InOrder::new(disk, compressed::Compressed::new(disk)?))),
    recognise: |file| Ok(read::recognise(file)? && read::has_compression_type(file)?),
    open: |file| Ok(Box::new(read::Reader::new(file, COMPRESSED_FORMAT)?)),
};

const MAGIC: [u8; 4] = *b"QFI\xfb";
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// L1 and L2 entries, and those of the refcount table, have 64 bits.
const TABLE_ENTRIES: u64 = CLUSTER / 8;
/// Refcounts have 16 bits: order 4.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS_PER_BLOCK: u64 = CLUSTER / 2;
/// Bit 63 of an L1 or L2 entry: the refcount of what it points to is exactly one.
const COPIED: u64 = 1 << 63;
/// Bit 62 of an L2 entry: what it points to is compressed.
const COMPRESSED: u64 = 1 << 62;
/// The largest L1 table that QEMU opens, in bytes.
const MAX_L1: u64 = 32 << 20;
const HEADER_SIZE: u32 = 104;

/// Where everything lies in the file, in clusters.
#[derive(Debug)]
struct Plan {
    disk_len: u64,
    l1_entries: u64,
    l2_start: u64,
    refcount_table_start: u64,
    refcount_table_clusters: u64,
    refcount_blocks: u64,
    total: u64,
    /// Ascending in both.
    extents: Vec<Extent>,
}

/// The L1 table follows the header.
const L1_START: u64 = 1;

impl Plan {
    fn new(disk: &Layout) -> Result<Self, String> {
        let disk_len = disk.len();
        if !disk_len.is_multiple_of(512) {
            return Err(format!(
                "{disk_len} bytes are no whole number of 512-byte sectors: round the size up"
            ));
        }
        let l1_entries = disk_len.div_ceil(CLUSTER * TABLE_ENTRIES);
        if l1_entries * 8 > MAX_L1 {
            return Err(format!("{disk_len} bytes are more than the 2 PiB that QEMU opens: make it smaller"));
        }
        let mut extents = extents::touched(disk, CLUSTER, 0);
        let l2_tables = l2_indexes(&extents).count() as u64;
        let l2_start = L1_START + (l1_entries * 8).div_ceil(CLUSTER);
        let refcount_table_start = l2_start + l2_tables;
        let data = extents::count(&extents);
        let (refcount_table_clusters, refcount_blocks) = refcount_clusters(refcount_table_start + data);
        let before = refcount_table_start + refcount_table_clusters + refcount_blocks;
        for extent in &mut extents {
            extent.host += before;
        }
        Ok(Self {
            disk_len,
            l1_entries,
            l2_start,
            refcount_table_start,
            refcount_table_clusters,
            refcount_blocks,
            total: before + data,
            extents,
        })
    }

    /// The fields in their order (section "Header").
    fn header(&self) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        let mut put_u32 = |value: u32| header.extend(value.to_be_bytes());
        put_u32(3);
        (0..3).for_each(|_| put_u32(0)); // no backing file: its offset (64 bits) and its name's length
        put_u32(CLUSTER_BITS);
        let mut put_u64 = |value: u64| header.extend(value.to_be_bytes());
        put_u64(self.disk_len);
        put_u64(self.l1_entries); // no encryption (32 bits), then the number of L1 entries (32 bits)
        put_u64(L1_START * CLUSTER);
        put_u64(self.refcount_table_start * CLUSTER);
        put_u64(self.refcount_table_clusters << 32); // number of clusters (32 bits), then no snapshots (32 bits)
        (0..4).for_each(|_| put_u64(0)); // no snapshots' offset; no incompatible, compatible or autoclear feature
        put_u64(u64::from(REFCOUNT_ORDER) << 32 | u64::from(HEADER_SIZE));
        put_u64(0); // the end of the header extensions
        header
    }

    fn write_l1(&self, file: &File) -> io::Result<()> {
        let mut table = vec![0; self.l1_entries as usize * 8];
        for (position, index) in (self.l2_start..).zip(l2_indexes(&self.extents)) {
            set(&mut table, index, (position * CLUSTER) | COPIED);
        }
        file.write_all_at(&table, L1_START * CLUSTER)
    }

    fn write_l2(&self, file: &File) -> io::Result<()> {
        let mut table = vec![0; CLUSTER as usize];
        let mut rest = &self.extents[..];
        for (position, index) in (self.l2_start..).zip(l2_indexes(&self.extents)) {
            let (start, end) = (index * TABLE_ENTRIES, (index + 1) * TABLE_ENTRIES);
            table.fill(0);
            while let Some((extent, others)) = rest.split_first().filter(|(extent, _)| extent.guest < end) {
                for guest in extent.guest.max(start)..(extent.guest + extent.count).min(end) {
                    let host = extent.host + (guest - extent.guest);
                    set(&mut table, guest - start, (host * CLUSTER) | COPIED);
                }
                if extent.guest + extent.count > end {
                    break;
                }
                rest = others;
            }
            file.write_all_at(&table, position * CLUSTER)?;
        }
        Ok(())
    }

    /// Every cluster of the file is used exactly once.
    fn write_refcounts(&self, file: &File) -> io::Result<()> {
        let blocks_start = self.refcount_table_start + self.refcount_table_clusters;
        let mut table = vec![0; self.refcount_blocks as usize * 8];
        let mut block = [0, 1].repeat(REFCOUNTS_PER_BLOCK as usize);
        for index in 0..self.refcount_blocks {
            set(&mut table, index, (blocks_start + index) * CLUSTER);
            let used = (self.total - index * REFCOUNTS_PER_BLOCK).min(REFCOUNTS_PER_BLOCK);
            block[used as usize * 2..].fill(0);
            file.write_all_at(&block, (blocks_start + index) * CLUSTER)?;
        }
        file.write_all_at(&table, self.refcount_table_start * CLUSTER)
    }
}

impl Container for Plan {
    fn begin(&self, file: &File) -> io::Result<()> {
        file.set_len(self.total * CLUSTER)
    }

    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()> {
        for (range, place) in extents::packed(&self.extents, CLUSTER, chunk) {
            file.write_all_at(&chunk.bytes[range], place)?;
        }
        Ok(())
    }

    /// The header comes last: a file without it is nothing that looks finished.
    fn finish(&self, file: &File) -> io::Result<()> {
        self.write_l1(file)?;
        self.write_l2(file)?;
        self.write_refcounts(file)?;
        file.write_all_at(&self.header(), 0)
    }
}

/// The L1 indexes under which there are clusters, ascending.
fn l2_indexes(extents: &[Extent]) -> impl Iterator<Item = u64> {
    let mut next = 0;
    extents.iter().flat_map(move |extent| {
        let start = (extent.guest / TABLE_ENTRIES).max(next);
        next = (extent.guest + extent.count).div_ceil(TABLE_ENTRIES);
        start..next
    })
}

/// Clusters of the refcount table and of refcount blocks, which count themselves, beside `others`.
fn refcount_clusters(others: u64) -> (u64, u64) {
    let (mut table, mut blocks) = (1, 1);
    loop {
        let needed = (others + table + blocks).div_ceil(REFCOUNTS_PER_BLOCK);
        if needed == blocks {
            return (table, blocks);
        }
        blocks = needed;
        table = blocks.div_ceil(TABLE_ENTRIES);
    }
}

/// Sets a 64-bit entry of a table.
fn set(table: &mut [u8], index: u64, value: u64) {
    table[index as usize * 8..][..8].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
