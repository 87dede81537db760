//! FAT32, for the EFI system partition (Microsoft, "FAT32 File System Specification", 1.03).
//!
//! Files and directories in, a [`Layout`] out, through the crate `fatfs`. No file's bytes are read on the way:
//! `fatfs` writes zeros where a file's content belongs, the device under it (`image`) notes where they fall,
//! and the layout refers to the content itself. What `fatfs` 0.3.6 leaves wrong is put right at the end (`finish`).
//!
//! The same files give the same bytes: directories are filled in a fixed order, clusters are handed out
//! upwards, and every date comes from the files and the epoch.

mod finish;
mod geometry;
mod image;
mod name;
mod plan;
mod read;
mod time;

use std::cell::RefCell;
use std::io::{self, Write};

use bake_base::{Epoch, Layout, LayoutBuilder, Timestamp};
use bake_tree::{Content, TreePath};
use fatfs::{Dir, FileSystem, FormatVolumeOptions, FsOptions};

pub use read::{Entry, ReadError, Volume};

use geometry::Geometry;
use image::{Device, Image};
use plan::{Child, Plan};

/// Bytes in a cluster, for both sector sizes: the least that 4Kn disks can have, so that the same files lie
/// alike on both; and what UEFI's own tools and `mkfs.fat` take for volumes of this size.
pub const CLUSTER_SIZE: u32 = 4096;

/// The smallest volume, in bytes. Below 65,525 clusters a volume would not be FAT32 (section 3.5); this is
/// twice that, and what 4Kn disks and several kernels need anyway.
pub const MIN_SIZE: u64 = 512 << 20;

/// The largest volume, in bytes: `fatfs` counts the bits of a FAT in 32-bit arithmetic.
pub const MAX_SIZE: u64 = 256 << 30;

/// A file of the volume.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it goes; missing directories on the way are made.
    pub path: TreePath,
    /// What it holds.
    pub content: Content,
    /// Last modification; FAT keeps even seconds, in UTC here.
    pub mtime: Timestamp,
}

/// A directory of the volume; one that only holds files need not be given.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Where it goes.
    pub path: TreePath,
    /// Last modification.
    pub mtime: Timestamp,
}

/// What a volume is, apart from what it holds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size in bytes: a multiple of 4096 from [`MIN_SIZE`] to [`MAX_SIZE`].
    pub size: u64,
    /// Bytes in a sector: 512 or 4096, as the disk has.
    pub sector_size: u32,
    /// The volume's serial number, shown as `1A2B-3C4D`.
    pub serial: u32,
    /// The volume's label: 1 to 11 capital letters, digits, `_`, `-` and inner spaces.
    pub label: String,
    /// The newest date that the volume may hold.
    pub epoch: Epoch,
}

/// A volume that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The size is out of bounds.
    #[error(
        "a FAT32 volume of {0} bytes is not possible: expected a multiple of 4096 from {MIN_SIZE} to {MAX_SIZE}"
    )]
    Size(u64),
    /// The sector size is unknown.
    #[error("FAT32 with sectors of {0} bytes is not possible: expected 512 or 4096")]
    SectorSize(u32),
    /// The label is no label.
    #[error(
        "`{0}` is no label of a FAT volume: expected 1 to 11 of `A`-`Z`, `0`-`9`, `_`, `-` and inner spaces"
    )]
    Label(String),
    /// Entries that FAT cannot hold.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Entries(Vec<Unfit>),
    /// The entries need more room than there is.
    #[error(
        "`{path}` does not fit into the FAT volume of {size} bytes any more: expected a larger volume or less in it"
    )]
    Full {
        /// The first entry without room.
        path: TreePath,
        /// Size of the volume.
        size: u64,
    },
    /// `fatfs` refuses or does something unexpected.
    #[error("making the FAT volume failed at `{path}`")]
    Writer {
        /// At which entry.
        path: TreePath,
        /// What it says.
        source: io::Error,
    },
}

/// An entry that FAT cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {reason}")]
pub struct Unfit {
    /// Which.
    pub path: TreePath,
    /// Why, and what is expected.
    pub reason: String,
}

/// Lays a volume out.
///
/// The order of `files` and `directories` means nothing.
///
/// # Errors
/// When the options are out of bounds, when a name, a size or a combination of entries is none that FAT can
/// hold (all of them at once), or when there is too little room.
pub fn layout(files: &[File], directories: &[Directory], options: &Options) -> Result<Layout, Error> {
    let label = check(options)?;
    let plan = Plan::new(files, directories, options.epoch)?;
    let (image, geometry) = format(options, label).map_err(|source| writer(&TreePath::root(), source))?;
    let image = RefCell::new(image);
    let runs = fill(&image, &plan, options)?;
    let mut image = image.into_inner();
    finish::finish(&mut image, &geometry, &plan, options.epoch)
        .map_err(|source| writer(&TreePath::root(), source))?;

    let mut builder = LayoutBuilder::new();
    image.into_layout(&mut builder);
    for (content, runs) in runs {
        place(&mut builder, content, &runs);
    }
    builder.finish(options.size).map_err(|error| writer(&TreePath::root(), io::Error::other(error)))
}

fn writer(path: &TreePath, source: io::Error) -> Error {
    Error::Writer { path: path.clone(), source }
}

fn check(options: &Options) -> Result<[u8; 11], Error> {
    if !matches!(options.sector_size, 512 | 4096) {
        return Err(Error::SectorSize(options.sector_size));
    }
    if !(MIN_SIZE..=MAX_SIZE).contains(&options.size) || !options.size.is_multiple_of(u64::from(CLUSTER_SIZE))
    {
        return Err(Error::Size(options.size));
    }
    let label = options.label.as_bytes();
    let allowed = |byte: &u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b' ');
    // `NO NAME` in the boot sector means that there is none (section 3.3, `BS_VolLab`).
    let trimmed = label.trim_ascii();
    if label.is_empty()
        || label.len() > 11
        || trimmed != label
        || !label.iter().all(allowed)
        || label == b"NO NAME"
    {
        return Err(Error::Label(options.label.chars().take(80).collect()));
    }
    let mut padded = [b' '; 11];
    padded[..label.len()].copy_from_slice(label);
    Ok(padded)
}

/// An empty volume: boot sector, FSInfo, both FATs, the root directory with its label.
fn format(options: &Options, label: [u8; 11]) -> io::Result<(Image, Geometry)> {
    let draft = RefCell::new(Image::new(options.size));
    let format = FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_sector(options.sector_size as u16)
        .bytes_per_cluster(CLUSTER_SIZE)
        .volume_id(options.serial)
        .volume_label(label);
    fatfs::format_volume(Device::new(&draft), format)?;
    geometry::align(&draft.into_inner(), label)
}

/// Where the content of a file fell, in the order of its bytes: runs of (offset in the volume, length).
type Runs = Vec<(u64, u64)>;

/// Makes every directory and file; content is only noted.
fn fill<'a>(
    image: &RefCell<Image>,
    plan: &'a Plan,
    options: &Options,
) -> Result<Vec<(&'a Content, Runs)>, Error> {
    // What goes wrong here is a full volume; everything else has been checked before.
    let explain = |path: &TreePath, source: io::Error| match source.kind() {
        io::ErrorKind::Other => Error::Full { path: path.clone(), size: options.size },
        _ => writer(path, source),
    };
    let volume = FileSystem::new(Device::new(image), FsOptions::new())
        .map_err(|source| writer(&TreePath::root(), source))?;
    let mut contents = Vec::new();
    let mut handles: Vec<Option<Dir<'_, _>>> = plan.folders.iter().map(|_| None).collect();
    handles[Plan::ROOT] = Some(volume.root_dir());
    for (index, folder) in plan.folders.iter().enumerate() {
        // Parents come before children, and each is needed no longer than until it is filled.
        let Some(directory) = handles[index].take() else { continue };
        for entry in &folder.entries {
            let path = &entry.path;
            match &entry.child {
                Child::Folder(child) => {
                    let made = directory.create_dir(&entry.name).map_err(|error| explain(path, error))?;
                    handles[*child] = Some(made);
                }
                Child::File(content) => {
                    let mut file =
                        directory.create_file(&entry.name).map_err(|error| explain(path, error))?;
                    image.borrow_mut().start_content();
                    let written = write_placeholder(&mut file, content.len());
                    let runs = image.borrow_mut().end_content();
                    written.and_then(|()| file.flush()).map_err(|error| explain(path, error))?;
                    contents.push((content, runs));
                }
            }
        }
    }
    drop(handles);
    volume.unmount().map_err(|source| writer(&TreePath::root(), source))?;
    Ok(contents)
}

fn write_placeholder(file: &mut impl Write, len: u64) -> io::Result<()> {
    let zeros = [0; CLUSTER_SIZE as usize];
    let mut left = len;
    while left > 0 {
        let n = left.min(zeros.len() as u64);
        file.write_all(&zeros[..n as usize])?;
        left -= n;
    }
    Ok(())
}

/// Refers to `content` from where `fatfs` put it.
fn place(builder: &mut LayoutBuilder, content: &Content, runs: &[(u64, u64)]) {
    let mut start = 0;
    for (offset, len) in runs {
        let end = start + len;
        for extent in content.extents() {
            let from = extent.start.max(start);
            let to = (extent.start + extent.len).min(end);
            if from < to {
                let source_offset = extent.source_offset + (from - extent.start);
                builder.push(offset + (from - start), to - from, extent.source, source_offset);
            }
        }
        start = end;
    }
}

#[cfg(test)]
mod tests;
