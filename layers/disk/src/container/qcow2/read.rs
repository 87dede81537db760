//! Reading a qcow2 image, version 2 or 3, made here or elsewhere: what its guest would see.
//!
//! Strict where bytes decide what is read, deaf to the rest (refcounts, snapshots, extensions). Tables are
//! looked up in the file for each read, so memory does not depend on what a header claims.

use std::io::{self, Read};

use bake_base::{FileBytes, ReadAt};
use flate2::read::DeflateDecoder;

use super::compressed::{COMPRESSION_TYPE, ZSTD};
use super::{COMPRESSED, COPIED, HEADER_SIZE, MAGIC, MAX_L1};
use crate::container::{Format, OpenError, fields};

/// Bits 9 to 55 of an L1 or L2 entry: where the table or the cluster lies.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bit 0 of an L2 entry (version 3): reads as zeros, whatever it points to.
const ZERO: u64 = 1;
/// The largest window of a compressed cluster that is believed: clusters have 2 MiB at most.
const WINDOW_LOG: u32 = 23;
/// L2 entries looked up at a time: a whole table of the smallest clusters.
const LOOKUP: usize = 64;

/// Length of the header in version 2.
const HEADER_SIZE_2: u32 = 72;

/// Where the fields of the header lie (section "Header"); those from `INCOMPATIBLE` on are of version 3.
mod field {
    pub(super) const VERSION: usize = 4;
    pub(super) const BACKING_FILE: usize = 8;
    pub(super) const CLUSTER_BITS: usize = 20;
    pub(super) const DISK_SIZE: usize = 24;
    pub(super) const ENCRYPTION: usize = 32;
    pub(super) const L1_ENTRIES: usize = 36;
    pub(super) const L1_OFFSET: usize = 40;
    pub(super) const REFCOUNT_TABLE: usize = 48;
    pub(super) const REFCOUNT_CLUSTERS: usize = 56;
    pub(super) const INCOMPATIBLE: usize = 72;
    pub(super) const HEADER_SIZE: usize = 100;
    pub(super) const COMPRESSION_TYPE: usize = 104;
}

pub(super) fn recognise(file: &FileBytes) -> io::Result<bool> {
    let mut magic = [0; MAGIC.len()];
    if file.len() < magic.len() as u64 {
        return Ok(false);
    }
    file.read_exact_at(0, &mut magic)?;
    Ok(magic == MAGIC)
}

/// Whether the header says how clusters are compressed.
pub(super) fn has_compression_type(file: &FileBytes) -> io::Result<bool> {
    let mut header = [0; HEADER_SIZE as usize];
    let known = header.len().min(file.len() as usize);
    file.read_exact_at(0, &mut header[..known])?;
    let version = fields::be32(&header, field::VERSION);
    Ok(version == 3 && fields::be64(&header, field::INCOMPATIBLE) & COMPRESSION_TYPE != 0)
}

/// An open image.
#[derive(Debug)]
pub(super) struct Reader {
    file: FileBytes,
    len: u64,
    version: u32,
    cluster_bits: u32,
    l1_offset: u64,
    is_zstd: bool,
}

/// Where a cluster's bytes come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Zeros,
    File(u64),
    /// An entry of a compressed cluster.
    Packed(u64),
}

impl Reader {
    pub(super) fn new(file: FileBytes, format: Format) -> Result<Self, OpenError> {
        let damaged = |problem: String| OpenError::Damaged { format, problem };
        let unsupported = |feature: &str| OpenError::Unsupported { format, feature: feature.to_owned() };
        let mut header = [0; HEADER_SIZE as usize];
        let known = header.len().min(file.len() as usize);
        file.read_exact_at(0, &mut header[..known])?;
        let u32_at =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));

        let version = u32_at(field::VERSION);
        let header_size = match version {
            2 => HEADER_SIZE_2,
            3 => u32_at(field::HEADER_SIZE),
            _ => return Err(unsupported(&format!("version {version}"))),
        };
        let least = if version == 3 { HEADER_SIZE } else { HEADER_SIZE_2 };
        if header_size < least || !header_size.is_multiple_of(8) || file.len() < u64::from(header_size) {
            return Err(damaged(format!("its header of {header_size} bytes is cut short")));
        }
        let features = if version == 3 { u64_at(field::INCOMPATIBLE) } else { 0 };
        let is_typed = features & COMPRESSION_TYPE != 0;
        let mut compression = 0;
        if is_typed && header_size > HEADER_SIZE {
            file.read_exact_at(field::COMPRESSION_TYPE as u64, std::slice::from_mut(&mut compression))?;
        }
        let present = [
            (u64_at(field::BACKING_FILE) != 0, "a backing file"),
            (u32_at(field::ENCRYPTION) != 0, "encryption"),
            (features & 1 << 0 != 0, "writes that were never finished (`qemu-img check -r all` mends it)"),
            (features & 1 << 1 != 0, "a mark that it is corrupt"),
            (features & 1 << 2 != 0, "an external data file"),
            (is_typed && compression != ZSTD, "a compression that is not known"),
            (features & 1 << 4 != 0, "extended L2 entries"),
            (features >> 5 != 0, "features from the future"),
        ];
        if let Some((_, feature)) = present.iter().find(|(present, _)| *present) {
            return Err(unsupported(feature));
        }
        let (cluster_bits, len) = (u32_at(field::CLUSTER_BITS), u64_at(field::DISK_SIZE));
        if !(9..=21).contains(&cluster_bits) {
            return Err(damaged(format!("clusters of 2^{cluster_bits} bytes: expected 2^9 to 2^21")));
        }
        let (l1_entries, l1_offset) = (u64::from(u32_at(field::L1_ENTRIES)), u64_at(field::L1_OFFSET));
        let needed = len.div_ceil(1 << (2 * cluster_bits - 3));
        if l1_entries < needed || l1_entries * 8 > MAX_L1 {
            return Err(damaged(format!(
                "{l1_entries} L1 entries: expected {needed}, at most {}",
                MAX_L1 / 8
            )));
        }
        let is_zstd = compression == ZSTD;
        let reader = Self { file, len, version, cluster_bits, l1_offset, is_zstd };
        if needed > 0 && reader.table(l1_offset, needed * 8).is_err() {
            return Err(damaged(format!("its L1 table cannot lie at byte {l1_offset}")));
        }
        // Nothing is read there, but in a compressed image it lies behind the data, and a cut file lacks it.
        let (refcounts, clusters) = (u64_at(field::REFCOUNT_TABLE), u64_at(field::REFCOUNT_CLUSTERS) >> 32);
        if reader.table(refcounts, clusters << cluster_bits).is_err() {
            return Err(damaged(format!("its refcount table cannot lie at byte {refcounts}")));
        }
        Ok(reader)
    }

    /// Checks the place of something that begins on a cluster: inside of the file, after the header.
    fn table(&self, offset: u64, len: u64) -> io::Result<u64> {
        let end = offset.checked_add(len).filter(|end| *end <= self.file.len());
        if offset == 0 || !offset.is_multiple_of(1 << self.cluster_bits) || end.is_none() {
            return Err(invalid(&format!("byte {offset} cannot be where {len} bytes of the image lie")));
        }
        Ok(offset)
    }

    /// The L2 table for `cluster`, if it has one (section "Cluster mapping").
    fn l2_table(&self, cluster: u64) -> io::Result<Option<u64>> {
        let index = cluster >> (self.cluster_bits - 3);
        let mut bytes = [0; 8];
        self.file.read_exact_at(self.l1_offset + index * 8, &mut bytes)?;
        match u64::from_be_bytes(bytes) {
            0 => Ok(None),
            entry if entry & !(OFFSET | COPIED) != 0 => Err(invalid("reserved bits of an L1 entry are set")),
            entry => self.table(entry & OFFSET, 1 << self.cluster_bits).map(Some),
        }
    }

    fn source(&self, entry: u64) -> io::Result<Source> {
        if entry & COMPRESSED != 0 {
            return Ok(Source::Packed(entry & !(COPIED | COMPRESSED)));
        }
        let zero = if self.version == 3 { ZERO } else { 0 };
        if entry & !(OFFSET | COPIED | zero) != 0 {
            return Err(invalid("reserved bits of an L2 entry are set"));
        }
        if entry & OFFSET == 0 || entry & zero != 0 {
            return Ok(Source::Zeros);
        }
        self.table(entry & OFFSET, 1 << self.cluster_bits).map(Source::File)
    }

    /// The bytes of a compressed cluster (section "Compressed Clusters Descriptor").
    fn unpack(&self, entry: u64) -> io::Result<Vec<u8>> {
        let size = 1_usize << self.cluster_bits;
        let shift = 62 - (self.cluster_bits - 8);
        let (at, sectors) = (entry & ((1 << shift) - 1), (entry >> shift) + 1);
        let end = (at / 512 + sectors) * 512;
        // The last sector need not be whole.
        let len = end.min(self.file.len()).checked_sub(at).filter(|len| *len > 0 && *len <= 2 * size as u64);
        let len = len.ok_or_else(|| invalid("a compressed cluster lies outside of the file"))?;
        let mut packed = vec![0; len as usize];
        self.file.read_exact_at(at, &mut packed)?;
        let mut cluster = Vec::with_capacity(size);
        let limit = size as u64;
        let read = if self.is_zstd {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(&packed[..])?.single_frame();
            decoder.window_log_max(WINDOW_LOG)?;
            decoder.take(limit).read_to_end(&mut cluster)
        } else {
            DeflateDecoder::new(&packed[..]).take(limit).read_to_end(&mut cluster)
        };
        match read {
            Ok(read) if read == size => Ok(cluster),
            _ => Err(invalid(&format!("the compressed cluster at byte {at} cannot be unpacked"))),
        }
    }

    /// How many of the first L2 entries can be read as one, and from where.
    fn run(&self, entries: &[[u8; 8]]) -> io::Result<(Source, usize)> {
        let source = |entry: &[u8; 8]| self.source(u64::from_be_bytes(*entry));
        let first = source(&entries[0])?;
        let mut run = 1;
        while let Some(entry) = entries.get(run) {
            let in_a_row = match first {
                Source::Zeros => Source::Zeros,
                Source::File(start) => Source::File(start + ((run as u64) << self.cluster_bits)),
                Source::Packed(_) => break,
            };
            if source(entry)? != in_a_row {
                break;
            }
            run += 1;
        }
        Ok((first, run))
    }
}

impl ReadAt for Reader {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = 1_u64 << self.cluster_bits;
        let l2_entries = size / 8;
        let mut entries = [0; LOOKUP * 8];
        let mut at = offset;
        while at < end {
            // The clusters of one lookup: as many as the buffer wants, within one L2 table.
            let cluster = at / size;
            let left_in_table = l2_entries - cluster % l2_entries;
            let count = (end.div_ceil(size) - cluster).min(left_in_table).min(LOOKUP as u64);
            let entries = &mut entries[..count as usize * 8];
            match self.l2_table(cluster)? {
                Some(table) => self.file.read_exact_at(table + cluster % l2_entries * 8, entries)?,
                None => entries.fill(0),
            }
            let (mut words, _) = entries.as_chunks::<8>();
            while !words.is_empty() {
                let (source, run) = self.run(words)?;
                words = &words[run..];
                let stop = (at / size + run as u64).saturating_mul(size).min(end);
                let target = &mut buffer[(at - offset) as usize..(stop - offset) as usize];
                match source {
                    Source::Zeros => target.fill(0),
                    Source::File(start) => self.file.read_exact_at(start + at % size, target)?,
                    Source::Packed(entry) => {
                        let cluster = self.unpack(entry)?;
                        target.copy_from_slice(&cluster[(at % size) as usize..][..target.len()]);
                    }
                }
                at = stop;
            }
        }
        Ok(())
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged qcow2 image: {problem}"))
}
