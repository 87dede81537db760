//! The same format with its clusters compressed by Zstandard (compression type 1), which QEMU reads from 5.1 on.
//!
//! The file is, in this order: header, L1 table, those L2 tables that may have an entry, data in the order of the
//! disk, refcount table, refcount blocks. Compressed clusters follow each other without gaps.

use std::io;

use bake_base::{Layout, is_zero};

use super::{
    CLUSTER, COMPRESSED, COPIED, Extent, L1_START, MAGIC, Plan, REFCOUNT_ORDER, REFCOUNTS_PER_BLOCK,
    TABLE_ENTRIES, l2_indexes, refcount_clusters, set,
};
use crate::container::in_order::{Encode, Out};
use crate::container::{Chunk, extents};

const LEVEL: i32 = 3;
const SECTOR: u64 = 512;
/// From here on an entry of a compressed cluster has the number of further sectors ("Compressed Clusters
/// Descriptor"): 62 - (16 - 8).
const SECTORS_SHIFT: u32 = 54;
/// Incompatible feature: the header says how clusters are compressed.
pub(super) const COMPRESSION_TYPE: u64 = 1 << 3;
pub(super) const ZSTD: u8 = 1;
const HEADER_SIZE: u32 = 112;

#[derive(Debug)]
pub(in super::super) struct Compressed {
    /// What lies before the data is as in a plain image of the same disk.
    disk_len: u64,
    l1_entries: u64,
    l2_start: u64,
    extents: Vec<Extent>,
}

/// What is known of the data so far.
#[derive(Debug)]
pub(in super::super) struct Tables {
    /// Where the next byte of data goes.
    at: u64,
    /// The L2 entry of every cluster that is there, in order.
    entries: Vec<(u64, u64)>,
    /// For each cluster of the file how many of the disk are in it.
    refcounts: Vec<u16>,
}

/// A cluster that is not zeros.
pub(in super::super) enum Cluster {
    Plain(u64, Vec<u8>),
    Compressed(u64, Vec<u8>),
}

impl Compressed {
    pub(in super::super) fn new(disk: &Layout) -> Result<Self, String> {
        let Plan { disk_len, l1_entries, l2_start, .. } = Plan::new(disk)?;
        Ok(Self { disk_len, l1_entries, l2_start, extents: extents::touched(disk, CLUSTER, 0) })
    }

    fn header(&self, refcount_table: u64, refcount_table_clusters: u64) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        let mut put_u64 = |value: u64| header.extend(value.to_be_bytes());
        put_u64(3 << 32); // version (32 bits), then no backing file: its offset and its name's length
        put_u64(0);
        header.extend(super::CLUSTER_BITS.to_be_bytes());
        let mut put_u64 = |value: u64| header.extend(value.to_be_bytes());
        put_u64(self.disk_len);
        put_u64(self.l1_entries);
        put_u64(L1_START * CLUSTER);
        put_u64(refcount_table);
        put_u64(refcount_table_clusters << 32);
        put_u64(0);
        put_u64(COMPRESSION_TYPE);
        (0..2).for_each(|_| put_u64(0));
        put_u64(u64::from(REFCOUNT_ORDER) << 32 | u64::from(HEADER_SIZE));
        header.extend([ZSTD, 0, 0, 0, 0, 0, 0, 0]);
        header.extend([0; 8]); // the end of the header extensions
        header
    }

    fn write_l2(&self, tables: &Tables, out: &mut Out<'_>) -> io::Result<()> {
        let mut rest = &tables.entries[..];
        for (position, index) in (self.l2_start..).zip(l2_indexes(&self.extents)) {
            let count = rest.partition_point(|(cluster, _)| cluster / TABLE_ENTRIES <= index);
            let mut table = vec![0; CLUSTER as usize];
            for (cluster, entry) in &rest[..count] {
                set(&mut table, cluster % TABLE_ENTRIES, *entry);
            }
            out.replace(position * CLUSTER, &table)?;
            rest = &rest[count..];
        }
        Ok(())
    }
}

impl Tables {
    /// Counts a cluster of the disk in those of the file that these bytes lie in.
    fn count(&mut self, from: u64, to: u64) {
        let last = (to - 1) / CLUSTER;
        if self.refcounts.len() as u64 <= last {
            self.refcounts.resize(last as usize + 1, 0);
        }
        for cluster in from / CLUSTER..=last {
            self.refcounts[cluster as usize] += 1;
        }
    }
}

impl Encode for Compressed {
    type Body = Vec<Cluster>;
    type State = Tables;

    fn begin(&self, out: &mut Out<'_>) -> io::Result<Tables> {
        let at = (self.l2_start + l2_indexes(&self.extents).count() as u64) * CLUSTER;
        out.put_zeros(at)?;
        Ok(Tables { at, entries: Vec::new(), refcounts: vec![1; (at / CLUSTER) as usize] })
    }

    /// Clusters that do not shrink stay as they are. Without a checksum: QEMU reads no further than the content.
    fn encode(&self, chunk: &Chunk<'_>) -> io::Result<Vec<Cluster>> {
        let first = chunk.offset / CLUSTER;
        let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
        let mut clusters = Vec::new();
        for (cluster, bytes) in (first..).zip(chunk.bytes.chunks(CLUSTER as usize)) {
            if is_zero(bytes) {
                continue;
            }
            let mut bytes = bytes.to_vec();
            bytes.resize(CLUSTER as usize, 0);
            let compressed = compressor.compress(&bytes)?;
            clusters.push(if compressed.len() + SECTOR as usize <= bytes.len() {
                Cluster::Compressed(cluster, compressed)
            } else {
                Cluster::Plain(cluster, bytes)
            });
        }
        Ok(clusters)
    }

    fn append(
        &self,
        tables: &mut Tables,
        out: &mut Out<'_>,
        _: u64,
        clusters: Vec<Cluster>,
    ) -> io::Result<()> {
        for cluster in clusters {
            match cluster {
                Cluster::Compressed(cluster, bytes) => {
                    let (at, start) = (tables.at, tables.at / SECTOR * SECTOR);
                    let sectors = (at + bytes.len() as u64 - start).div_ceil(SECTOR);
                    out.put(&bytes)?;
                    tables.entries.push((cluster, COMPRESSED | (sectors - 1) << SECTORS_SHIFT | at));
                    tables.count(start, start + sectors * SECTOR);
                    tables.at += bytes.len() as u64;
                }
                Cluster::Plain(cluster, bytes) => {
                    let at = tables.at.next_multiple_of(CLUSTER);
                    out.put_zeros(at - tables.at)?;
                    out.put(&bytes)?;
                    tables.entries.push((cluster, at | COPIED));
                    tables.count(at, at + CLUSTER);
                    tables.at = at + CLUSTER;
                }
            }
        }
        Ok(())
    }

    fn end(&self, mut tables: Tables, out: &mut Out<'_>) -> io::Result<()> {
        let start = tables.at.next_multiple_of(CLUSTER);
        out.put_zeros(start - tables.at)?;
        let start = start / CLUSTER;
        let (table_clusters, blocks) = refcount_clusters(start);
        tables.refcounts.resize((start + table_clusters + blocks) as usize, 1);
        let mut table = vec![0; (table_clusters * CLUSTER) as usize];
        for index in 0..blocks {
            set(&mut table, index, (start + table_clusters + index) * CLUSTER);
        }
        out.put(&table)?;
        for counts in tables.refcounts.chunks(REFCOUNTS_PER_BLOCK as usize) {
            let mut block: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            block.resize(CLUSTER as usize, 0);
            out.put(&block)?;
        }
        let mut l1 = vec![0; self.l1_entries as usize * 8];
        for (position, index) in (self.l2_start..).zip(l2_indexes(&self.extents)) {
            set(&mut l1, index, (position * CLUSTER) | COPIED);
        }
        out.replace(L1_START * CLUSTER, &l1)?;
        self.write_l2(&tables, out)?;
        out.replace(0, &self.header(start * CLUSTER, table_clusters))
    }
}
