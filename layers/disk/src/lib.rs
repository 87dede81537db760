//! A disk: partitions laid out under a GUID partition table.
//!
//! File systems come in as [`bake_base::Layout`]s, the disk goes out as one.

pub mod discoverable;
mod dump;
mod gpt;
mod partition;

pub use dump::dump;
pub use gpt::{TableError, read_gpt};
pub use partition::{
    ALIGNMENT, Disk, DiskError, DiskSpec, GIB, Label, Partition, PartitionSpec, SectorSize, Size, Table,
    rest_of_disk, smallest_disk,
};
