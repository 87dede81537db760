//! The image that is published: its disk, and the digests of its blocks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bake_base::{Digest, ReadAt};
use bake_disk::{BLOCK_SIZE, BlockDigests, GIB, container, discoverable, read_gpt};

use crate::manifest::Manifest;
use crate::progress::{Event, Progress};
use crate::{BootMode, Error};

/// An image, opened, in whatever container.
#[derive(Clone, Debug)]
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// The disk in it.
    pub disk: Arc<dyn ReadAt>,
    /// The digests of its blocks.
    pub blocks: BlockDigests,
    /// The disk digest.
    pub digest: Digest,
    /// What is known of it, if it has a manifest.
    pub manifest: Option<Manifest>,
}

impl Image {
    /// Opens an image. Its digests are those of its manifest, which every block is checked against when it is read;
    /// without a manifest, all of it is read now.
    ///
    /// # Errors
    /// When the image or its manifest cannot be used, or the disk is no whole number of GiB, as every volume is.
    pub fn open(path: &Path, threads: usize, progress: &Progress) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("opening", path))?;
        let opened = container::open(file).map_err(|source| Error::Image { path: path.into(), source })?;
        let disk: Arc<dyn ReadAt> = Arc::from(opened.disk);
        let what = || format!("`{}`", path.display());
        if disk.is_empty() || !disk.len().is_multiple_of(GIB) {
            let problem = format!(
                "the disk has {} bytes: expected a whole number of GiB, as volumes have (`qemu-img resize` makes it one)",
                disk.len()
            );
            return Err(Error::unfit(what(), problem));
        }
        has_small_sectors(&*disk, path)?;
        let manifest = Manifest::beside(path)?;
        let blocks = match &manifest {
            Some(manifest) if manifest.blocks.disk_size() != disk.len() => {
                let problem = format!(
                    "the disk has {} bytes, and its manifest says {}: bake it again",
                    disk.len(),
                    manifest.blocks.disk_size()
                );
                return Err(Error::unfit(what(), problem));
            }
            Some(manifest) => manifest.blocks.clone(),
            None => digests(&*disk, threads, progress).map_err(Error::file("reading", path))?,
        };
        Ok(Self { path: path.into(), disk, digest: blocks.disk_digest(), blocks, manifest })
    }

    /// One block. A last one that is short is filled up with zeros.
    ///
    /// # Errors
    /// When it cannot be read, or is not what the digests say.
    pub(crate) fn read(&self, block: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; BLOCK_SIZE as usize];
        let offset = block * BLOCK_SIZE;
        let len = BLOCK_SIZE.min(self.disk.len() - offset) as usize;
        self.disk.read_exact_at(offset, &mut bytes[..len]).map_err(Error::file("reading", &self.path))?;
        if Digest::of(&bytes) == self.blocks.get(block) {
            return Ok(bytes);
        }
        let problem = format!(
            "the 512 KiB at byte {offset} are not what its manifest says: the file was changed after it was baked (a \
             machine was booted from it?); bake it again"
        );
        Err(Error::differs(format_args!("`{}`", self.path.display()), problem))
    }

    /// How a machine can start it, by its partitions: with a partition for GRUB's BIOS image either way, otherwise by
    /// UEFI alone. `None` without a manifest.
    pub fn boot_mode(&self) -> Option<BootMode> {
        let manifest = self.manifest.as_ref()?;
        let has = |wanted| manifest.partitions.iter().any(|partition| partition.type_guid == wanted);
        Some(match (has(discoverable::BIOS_BOOT), has(discoverable::ESP)) {
            (true, true) if manifest.architecture == "x86-64" => BootMode::UefiPreferred,
            (true, false) => BootMode::LegacyBios,
            _ => BootMode::Uefi,
        })
    }
}

/// Refuses a disk whose partitions no cloud's machine would find.
pub(crate) fn has_small_sectors(disk: &dyn ReadAt, path: &Path) -> Result<(), Error> {
    match read_gpt(disk) {
        Ok(table) if table.sector_size.bytes() != 512 => {
            let problem = format!(
                "its partitions are counted in sectors of {} bytes, and volumes of clouds have sectors of 512: bake it with --sector-size 512",
                table.sector_size.bytes()
            );
            Err(Error::unfit(format_args!("`{}`", path.display()), problem))
        }
        _ => Ok(()),
    }
}

/// Reads all of a disk.
pub(crate) fn digests(
    disk: &dyn ReadAt,
    threads: usize,
    progress: &Progress,
) -> std::io::Result<BlockDigests> {
    progress(Event::Begin { what: "reading", done: 0, total: disk.len() });
    BlockDigests::compute(disk, threads, &|bytes| progress(Event::Bytes(bytes)))
}
