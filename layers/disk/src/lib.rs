//! A disk: partitions laid out under a GUID partition table, and the containers that wrap it.
//!
//! File systems come in as [`bake_base::Layout`]s, the disk goes out as one, and a container format is only
//! ever a wrapping of it: the same disk has the same [`BlockDigests`] in all of them.

mod compare;
pub mod container;
mod digests;
pub mod discoverable;
mod dump;
mod gpt;
mod partition;
pub mod verity;

pub use compare::differences;
pub use digests::{BLOCK_SIZE, BlockDigests, Run, ZERO_BLOCK};
pub use dump::dump;
pub use gpt::{
    Grown, IdChange, IdSteps, NewId, Standing, TableError, Write, change_ids, grow_last, read_gpt,
    read_partitions,
};
pub use partition::{
    ALIGNMENT, Disk, DiskError, DiskSpec, GIB, Label, Partition, PartitionSpec, SectorSize, Size, Table,
    rest_of_disk, smallest_disk,
};
