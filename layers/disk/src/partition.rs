//! From sizes to places: what a disk shall hold goes in, a [`Table`] and the disk's [`Layout`] come out.
//!
//! Placement is arithmetic over constants, never over the machine's own disks: partitions lie in the order in
//! which they are given, each from a multiple of [`ALIGNMENT`] on; the first and the last MiB belong to the two
//! copies of the table. That rule is the same for both sector sizes, so a root file system has the same size,
//! and thus the same bytes, on both.

use std::collections::BTreeSet;
use std::fmt;

use bake_base::{Layout, LayoutBuilder, LayoutError, Uuid};

use crate::gpt;

/// Every partition begins at a multiple of this.
pub const ALIGNMENT: u64 = 1 << 20;
/// A disk is a whole number of these: what every cloud takes.
pub const GIB: u64 = 1 << 30;

/// The size of a logical block (LBA) of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SectorSize {
    /// Virtual disks and most real ones.
    #[default]
    Bytes512,
    /// 4Kn disks.
    Bytes4096,
}

impl SectorSize {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }
}

/// How long a partition shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes, a multiple of the sector size.
    Bytes(u64),
    /// All that the other partitions leave; for the last partition only.
    Rest,
}

/// A partition to be made.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// 1 to 128: its entry in the table, whatever its place on the disk.
    pub number: u32,
    /// What it is for: see [`crate::discoverable`].
    pub type_guid: Uuid,
    /// Its own id.
    pub guid: Uuid,
    /// Its label, at most 36 UTF-16 code units.
    pub name: String,
    /// Attribute bits (UEFI 2.10, table 5.8).
    pub attributes: u64,
    /// How long it is.
    pub size: Size,
    /// What it holds; may be shorter than the partition.
    pub layout: Layout,
}

/// A disk to be made.
#[derive(Clone, Debug)]
pub struct DiskSpec {
    /// The disk's id.
    pub guid: Uuid,
    /// Size of a logical block.
    pub sector_size: SectorSize,
    /// Length in bytes, a multiple of [`GIB`].
    pub len: u64,
    /// What a BIOS starts, before the disk's signature in the protective MBR; UEFI leaves it alone.
    pub boot_code: Option<[u8; gpt::BOOT_CODE]>,
    /// In the order in which they lie on the disk.
    pub partitions: Vec<PartitionSpec>,
}

/// A partition that has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its entry in the table, from 1 on.
    pub number: u32,
    /// What it is for.
    pub type_guid: Uuid,
    /// Its own id.
    pub guid: Uuid,
    /// Its label.
    pub name: String,
    /// Attribute bits.
    pub attributes: u64,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub len: u64,
}

impl Partition {
    /// The first byte after the partition.
    pub fn end(&self) -> u64 {
        self.offset + self.len
    }
}

/// A partition table, planned or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The disk's id.
    pub guid: Uuid,
    /// Size of a logical block.
    pub sector_size: SectorSize,
    /// Length of the disk, in bytes.
    pub len: u64,
    /// By their place on the disk, ascending.
    pub partitions: Vec<Partition>,
}

/// A disk as data: where its partitions lie and where every byte comes from.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The partition table.
    pub table: Table,
    /// The whole disk.
    pub layout: Layout,
}

/// The partition that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    number: u32,
    name: String,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {} `{}`", self.number, self.name)
    }
}

/// Why there is no such disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The length is not a positive multiple of [`GIB`].
    #[error("a disk of {0} bytes is no whole number of GiB: round up to {up} GiB", up = .0.div_ceil(GIB).max(1))]
    NotWholeGib(u64),
    /// Sizes add up to more than 64 bits can count.
    #[error("the partitions are larger than any disk: make them smaller")]
    TooLarge,
    /// The partitions do not fit the disk.
    #[error("{partition} does not fit a disk of {len} bytes: make it at least {} GiB or the partition smaller", .smallest / GIB)]
    NoRoom {
        /// The first partition that does not fit.
        partition: Label,
        /// The disk's length.
        len: u64,
        /// The smallest disk that holds all partitions.
        smallest: u64,
    },
    /// Other partitions leave nothing to the last one.
    #[error("nothing is left for the last partition of a disk of {len} bytes: make it at least {} GiB", .smallest / GIB)]
    NoRest {
        /// The disk's length.
        len: u64,
        /// The smallest disk that leaves something.
        smallest: u64,
    },
    /// The number has no entry in the table, or two partitions claim it.
    #[error("{0}: its number is taken or not in 1 to 128: choose a free one")]
    Number(Label),
    /// The id or the type is nil, or two partitions (or the disk) have the same id.
    #[error("{0}: its GUID and type must not be nil, nor its GUID that of the disk or of another partition")]
    Guid(Label),
    /// The name does not fit its field.
    #[error("{0}: a name has at most 36 UTF-16 code units and no NUL: shorten it")]
    Name(Label),
    /// The size is zero or not a multiple of the sector size.
    #[error("{partition}: its size, {size} bytes, must be a positive multiple of the sector size, {sector}")]
    Size {
        /// The partition.
        partition: Label,
        /// The size asked for.
        size: u64,
        /// The sector size in bytes.
        sector: u64,
    },
    /// [`Size::Rest`] before the last partition.
    #[error(
        "{0}: only the last partition can take the rest of the disk: give this one a size or move it last"
    )]
    RestNotLast(Label),
    /// What the partition shall hold is longer than the partition.
    #[error(
        "{partition} has {size} bytes, its content {content}: plan the content for that size or enlarge it"
    )]
    Content {
        /// The partition.
        partition: Label,
        /// Its length.
        size: u64,
        /// The length of its layout.
        content: u64,
    },
    /// The contents do not make a disk.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// The length of the partition that takes the rest of a disk of `len` bytes after partitions of the sizes `before`.
///
/// # Errors
/// [`DiskError::NotWholeGib`]; [`DiskError::NoRest`] when less than [`ALIGNMENT`] is left.
pub fn rest_of_disk(len: u64, before: &[u64]) -> Result<u64, DiskError> {
    let limit = limit(len)?;
    match start_after(before)? {
        start if start < limit => Ok(limit - start),
        _ => Err(DiskError::NoRest { len, smallest: smallest_disk(&[before, &[ALIGNMENT]].concat())? }),
    }
}

/// The smallest disk, a whole number of GiB in bytes, that holds partitions of these sizes in this order.
///
/// # Errors
/// [`DiskError::TooLarge`].
pub fn smallest_disk(sizes: &[u64]) -> Result<u64, DiskError> {
    let end = start_after(sizes)?.checked_add(ALIGNMENT).ok_or(DiskError::TooLarge)?;
    end.checked_next_multiple_of(GIB).ok_or(DiskError::TooLarge)
}

/// Where the next partition would begin.
fn start_after(sizes: &[u64]) -> Result<u64, DiskError> {
    let add = |start: u64, size: &u64| start.checked_add(*size)?.checked_next_multiple_of(ALIGNMENT);
    sizes.iter().try_fold(ALIGNMENT, add).ok_or(DiskError::TooLarge)
}

/// Where partitions end: the backup table lies in the MiB after it.
fn limit(len: u64) -> Result<u64, DiskError> {
    if len == 0 || !len.is_multiple_of(GIB) {
        return Err(DiskError::NotWholeGib(len));
    }
    Ok(len - ALIGNMENT)
}

impl DiskSpec {
    /// Decides where every partition lies.
    ///
    /// # Errors
    /// When the partitions contradict each other or do not fit.
    pub fn place(&self) -> Result<Table, DiskError> {
        let limit = limit(self.len)?;
        let mut numbers = BTreeSet::new();
        let mut guids = BTreeSet::from([Uuid::nil(), self.guid]);
        let mut offset = ALIGNMENT;
        let mut partitions = Vec::new();
        for (index, spec) in self.partitions.iter().enumerate() {
            spec.check(self.sector_size)?;
            if !numbers.insert(spec.number) {
                return Err(DiskError::Number(spec.label()));
            }
            if !guids.insert(spec.guid) {
                return Err(DiskError::Guid(spec.label()));
            }
            let len = match spec.size {
                Size::Bytes(size) => size,
                Size::Rest if index + 1 < self.partitions.len() => {
                    return Err(DiskError::RestNotLast(spec.label()));
                }
                Size::Rest => limit.saturating_sub(offset),
            };
            if len == 0 || offset.checked_add(len).is_none_or(|end| end > limit) {
                return Err(self.no_room(spec)?);
            }
            if spec.layout.len() > len {
                let (size, content) = (len, spec.layout.len());
                return Err(DiskError::Content { partition: spec.label(), size, content });
            }
            let PartitionSpec { number, type_guid, guid, ref name, attributes, .. } = *spec;
            let name = name.clone();
            partitions.push(Partition { number, type_guid, guid, name, attributes, offset, len });
            offset = (offset + len).next_multiple_of(ALIGNMENT);
        }
        Ok(Table { guid: self.guid, sector_size: self.sector_size, len: self.len, partitions })
    }

    /// Lays the disk out: both copies of the table, the partitions' contents, zeros between them.
    ///
    /// # Errors
    /// As [`DiskSpec::place`].
    pub fn build(self) -> Result<Disk, DiskError> {
        let table = self.place()?;
        let mut builder = LayoutBuilder::new();
        let (mut primary, backup) = gpt::encode(&table);
        if let Some(code) = &self.boot_code {
            primary[..code.len()].copy_from_slice(code);
        }
        builder.push_bytes(self.len - backup.len() as u64, backup);
        builder.push_bytes(0, primary);
        for (spec, partition) in self.partitions.into_iter().zip(&table.partitions) {
            builder.embed(partition.offset, spec.layout);
        }
        Ok(Disk { table, layout: builder.finish(self.len)? })
    }

    fn no_room(&self, spec: &PartitionSpec) -> Result<DiskError, DiskError> {
        let size = |spec: &PartitionSpec| match spec.size {
            Size::Bytes(size) => size,
            Size::Rest => spec.layout.len().max(ALIGNMENT),
        };
        let sizes: Vec<u64> = self.partitions.iter().map(size).collect();
        let smallest = smallest_disk(&sizes)?;
        Ok(DiskError::NoRoom { partition: spec.label(), len: self.len, smallest })
    }
}

impl PartitionSpec {
    fn label(&self) -> Label {
        Label { number: self.number, name: self.name.clone() }
    }

    /// What can be said of the partition alone.
    fn check(&self, sector_size: SectorSize) -> Result<(), DiskError> {
        if self.number == 0 || self.number > gpt::ENTRY_COUNT {
            return Err(DiskError::Number(self.label()));
        }
        if self.type_guid.is_nil() {
            return Err(DiskError::Guid(self.label()));
        }
        if self.name.encode_utf16().count() > gpt::NAME_UNITS || self.name.contains('\0') {
            return Err(DiskError::Name(self.label()));
        }
        match self.size {
            Size::Bytes(size) if size == 0 || !size.is_multiple_of(sector_size.bytes()) => {
                Err(DiskError::Size { partition: self.label(), size, sector: sector_size.bytes() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
