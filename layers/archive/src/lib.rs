//! Archives: bytes become members of a tree.
//!
//! Tars, OCI layouts, docker archives and directories are recognised by content and read as data; nothing is
//! ever extracted. Compressed inputs are decoded once, into a cache or an unnamed file, and read there in
//! place, so that memory follows the number of members and never their size.

mod cache;
mod compression;
mod cpio;
mod decode;
mod directory;
mod disk;
mod error;
mod extract;
mod handle;
mod image;
mod input;
mod local;
mod lz4;
pub mod oci;
mod open;
mod pipe;
mod remove;
mod source;
mod tar;
mod xz;
mod zip;

pub use compression::{Compression, Limits, RECOGNISED_BY};
pub use cpio::{CpioEntry, Visit, WriteCpioError, cpio_entry_len, encode_cpio, read_cpio, write_cpio};
pub use decode::Progress;
pub use disk::{OpenedDisk, is_disk, open_disk};
pub use error::{ArchiveError, MemberProblem};
pub use extract::{ExtractOptions, Extracted, extract, extract_at};
pub use input::{Input, InputKind, PendingDigest};
pub use open::{OpenOptions, Opened, open_directory_at, open_overlay, open_rootfs};
pub use remove::{remove_tree, remove_tree_at};
pub use source::{SourceArchive, SourceKind, open_source_archive};
pub use tar::{TarMembers, WriteTarError, is_tar, read_tar, write_tar};
pub use xz::{XZ_BLOCK, XzEncoder};
