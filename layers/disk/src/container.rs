//! Containers: wrappings of a disk, each of which holds the same bytes.
//!
//! A format is one file below this one, one `mod` line and one line in `FORMATS`. It says where everything
//! goes before the first byte is written (its `Container`), takes the disk's blocks in any order from any
//! thread, and gives a reader of what it wrote. Nothing else in the crate knows its name.

mod bmap;
mod compressed;
mod extents;
mod fields;
mod gce;
mod in_order;
mod ova;
mod pass;
mod qcow2;
mod raw;
mod unpack;
mod vhd;
mod vhdx;
mod vmdk;

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use bake_base::{FileBytes, Ids, Layout, ReadAt, Uuid};

use in_order::InOrder;
pub use pass::{touched_bytes, write};

/// Every format. Of two that recognise a file it has the first; nothing recognises a raw disk.
const FORMATS: &[Format] = &[
    bmap::FORMAT,
    gce::FORMAT,
    ova::FORMAT,
    qcow2::FORMAT,
    qcow2::COMPRESSED_FORMAT,
    raw::FORMAT,
    compressed::GZ,
    compressed::XZ,
    compressed::ZST,
    vhd::DYNAMIC,
    vhd::FIXED,
    vhdx::FORMAT,
    vmdk::SPARSE,
    vmdk::STREAM,
];

/// What parts of the disk are written for: the host's pages and most file systems' blocks.
const GRANULE: u64 = 4096;

/// A container format. Parsed from and printed as its name.
#[derive(Clone, Copy)]
pub struct Format {
    name: &'static str,
    extension: &'static str,
    plan: fn(&Layout) -> Result<Box<dyn Container>, String>,
    recognise: fn(&FileBytes) -> io::Result<bool>,
    open: fn(FileBytes) -> Result<Box<dyn ReadAt>, OpenError>,
}

/// One disk in one format: every place is decided, nothing is written yet.
///
/// `put` comes once for each block that a piece of the disk touches, from any thread and, between threads, in
/// any order; all other bytes of the disk are zeros. `begin` comes before the first and `finish` after the last.
trait Container: Send + Sync {
    /// Makes `file`, which is empty, as long as it will be, all holes.
    fn begin(&self, file: &File) -> io::Result<()>;

    /// Writes what the format keeps of one block.
    fn put(&self, file: &File, chunk: &Chunk<'_>) -> io::Result<()>;

    /// Writes what describes the data.
    fn finish(&self, file: &File) -> io::Result<()>;
}

/// One block of the disk.
struct Chunk<'a> {
    /// Where it lies on the disk.
    offset: u64,
    /// All of its bytes.
    bytes: &'a [u8],
    /// Which of them pieces cover, rounded outwards to [`GRANULE`]s: ascending, apart from each other, relative
    /// to the block.
    covered: &'a [Range<usize>],
}

/// An id for a container of this disk. It derives from where partition tables lie, in which disks of different
/// images differ and the same disk never does.
fn identity(disk: &Layout, format: &str) -> io::Result<Uuid> {
    let mut start = vec![0; disk.len().min(64 << 10) as usize];
    disk.read_exact_at(0, &mut start)?;
    Ok(Ids::new("container", format, &start).uuid("disk"))
}

/// The size of the sectors that the disk's partition table counts in (UEFI, section 5.3.2), 512 without a table.
fn sector_size(disk: &Layout) -> io::Result<u64> {
    let mut signature = [0; 8];
    if disk.len() >= 8192 {
        disk.read_exact_at(4096, &mut signature)?;
    }
    Ok(if signature == *b"EFI PART" { 4096 } else { 512 })
}

/// The length of a disk, unless the machines that take the format would not find its partitions: they know no sectors
/// but those of 512 bytes.
fn len_in_small_sectors(disk: &Layout) -> Result<u64, String> {
    match sector_size(disk).map_err(|error| error.to_string())? {
        512 => Ok(disk.len()),
        size => Err(format!(
            "its partitions are counted in sectors of {size} bytes, and machines of this format have sectors of 512: \
             bake it with --sector-size 512"
        )),
    }
}

/// A file that was recognised.
#[derive(Debug)]
pub struct Opened {
    /// Its format.
    pub format: Format,
    /// The disk in it.
    pub disk: Box<dyn ReadAt>,
}

/// Opens a container, whatever its format: a file of no known format is a raw disk.
///
/// # Errors
/// When the file cannot be read, is damaged, or uses features that are not supported.
pub fn open(file: File) -> Result<Opened, OpenError> {
    let bytes = FileBytes::new(file)?;
    for format in FORMATS {
        if (format.recognise)(&bytes)? {
            let disk = (format.open)(bytes).map_err(|error| match error {
                OpenError::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    OpenError::Damaged { format: *format, problem: "it is cut short".to_owned() }
                }
                error => error,
            })?;
            return Ok(Opened { format: *format, disk });
        }
    }
    Ok(Opened { format: Format::RAW, disk: (Format::RAW.open)(bytes)? })
}

impl Format {
    /// The disk itself, sparse.
    pub const RAW: Self = raw::FORMAT;

    /// Every format.
    pub const fn all() -> &'static [Self] {
        FORMATS
    }

    /// What it is called on the command line and in manifests.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Whether its files hold the disk, rather than what is said of one.
    pub fn holds_disk(self) -> bool {
        self != bmap::FORMAT
    }

    /// Whether its files are as long as the disk, most of it holes.
    pub fn is_full_length(self) -> bool {
        [Self::RAW, vhd::FIXED].contains(&self)
    }

    /// What QEMU calls the format, if it can run a machine from it.
    pub fn qemu_driver(self) -> Option<&'static str> {
        Some(match self.name {
            "raw" => "raw",
            "qcow2" | "qcow2-compressed" => "qcow2",
            "vhd" | "vhd-dynamic" => "vpc",
            "vhdx" => "vhdx",
            "vmdk" | "vmdk-stream" => "vmdk",
            _ => return None,
        })
    }

    /// What its files' names end in, without a dot.
    pub const fn extension(self) -> &'static str {
        self.extension
    }
}

/// The format that a file has by its name; of `disk.stream.vmdk` the one with the longest extension.
pub fn named(file: &Path) -> Option<Format> {
    let name = file.file_name()?.to_str()?.to_ascii_lowercase();
    let is_named = |format: &&Format| {
        name.strip_suffix(format.extension).is_some_and(|stem| stem.len() > 1 && stem.ends_with('.'))
    };
    FORMATS.iter().filter(is_named).max_by_key(|format| format.extension.len()).copied()
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = FORMATS.iter().find(|format| format.name == name);
        found.copied().ok_or_else(|| UnknownFormat(name.chars().take(80).collect()))
    }
}

/// The text names no container format.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no container format: expected one of {known}", known = FORMATS.iter().map(|format| format.name).collect::<Vec<_>>().join(", "))]
pub struct UnknownFormat(String);

/// Why a container cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The format cannot hold this disk.
    #[error("{format} cannot hold this disk: {reason}")]
    Unfit {
        /// The format.
        format: Format,
        /// What is in the way, and the remedy.
        reason: String,
    },
    /// What the disk is made of cannot be read.
    #[error("cannot read what belongs into the 512 KiB at byte {offset} of the disk")]
    Read {
        /// Where the block begins.
        offset: u64,
        /// What happened.
        source: io::Error,
    },
    /// The container cannot be written.
    #[error("cannot write the {format} file")]
    Write {
        /// Its format.
        format: Format,
        /// What happened.
        source: io::Error,
    },
}

/// Why a container cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read the image")]
    Read(#[from] io::Error),
    /// The file contradicts its format.
    #[error("damaged {format} image: {problem}")]
    Damaged {
        /// The format that it has by its signature.
        format: Format,
        /// What is wrong.
        problem: String,
    },
    /// The file is whole and belongs to a disk, but does not hold one.
    #[error("the {format} file has {feature}")]
    NoDisk {
        /// Its format.
        format: Format,
        /// What it is instead.
        feature: String,
    },
    /// The file uses a part of its format that is not supported.
    #[error(
        "the {format} image has {feature}, which is not supported: make it plain with `qemu-img convert -O raw IMAGE PLAIN`"
    )]
    Unsupported {
        /// Its format.
        format: Format,
        /// What it has.
        feature: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_tells_its_format() {
        for format in Format::all() {
            let found = named(Path::new(&format!("dir/disk.{}", format.extension()))).unwrap();
            assert_eq!(found.extension(), format.extension());
        }
        for none in ["disk", "raw", ".raw", "disk.img", "disk.qcow", "/"] {
            assert_eq!(named(Path::new(none)), None, "{none}");
        }
    }

    #[test]
    fn a_format_is_known_by_its_name() {
        for format in Format::all() {
            assert_eq!(format.to_string().parse::<Format>().unwrap(), *format);
        }
        let error = "qcow".parse::<Format>().unwrap_err().to_string();
        assert_eq!(
            error,
            "`qcow` is no container format: expected one of bmap, gce, ova, qcow2, qcow2-compressed, raw, raw.gz, raw.xz, raw.zst, vhd-dynamic, vhd, vhdx, vmdk, vmdk-stream"
        );
    }
}
