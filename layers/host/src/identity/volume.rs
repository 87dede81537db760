//! Ids of file systems, changed while they are mounted.
//!
//! ext4: `tune2fs -U` asks the kernel (from 6.0 on) or writes the few bytes into the superblock that the kernel has in
//! memory too. Either needs `metadata_csum_seed`: without it every checksum has the UUID in it, and neither can change
//! while the file system is mounted. What the journal still has of the old superblock would come back with the next
//! power cut, so afterwards the superblock is made to go through the journal once more.
//!
//! FAT: the kernel keeps nothing of the serial number. Its four bytes are written through the partition's device,
//! which shares its memory with the mounted file system, first in the backup of the boot sector.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use bake_base::Uuid;
use rustix::fs::OFlags;

use super::device::{self, Volume};
use super::record::{FileSystem, Serial};
use crate::Failure;
use crate::files::UNFINISHED;

/// The superblock of ext4 (kernel documentation, filesystems/ext4/super.rst).
mod ext4 {
    pub const AT: u64 = 1024;
    pub const LEN: usize = 1024;
    pub const MAGIC: (usize, u16) = (0x38, 0xef53);
    pub const COMPAT: usize = 0x5c;
    pub const INCOMPAT: usize = 0x60;
    pub const RO_COMPAT: usize = 0x64;
    pub const UUID: usize = 0x68;
    pub const STABLE_INODES: u32 = 0x800;
    pub const CSUM_SEED: u32 = 0x2000;
    pub const GDT_CSUM_OR_METADATA_CSUM: u32 = 0x410;
}

/// The boot sector of FAT32 (Microsoft, "FAT32 File System Specification", section 3.1 and 3.3).
mod fat {
    pub const LEN: usize = 512;
    pub const BYTES_PER_SECTOR: usize = 11;
    pub const BACKUP: usize = 50;
    pub const BOOT_SIGNATURE: (usize, u8) = (66, 0x29);
    pub const SERIAL: usize = 67;
    pub const TYPE: (usize, &[u8]) = (82, b"FAT32   ");
    pub const END: (usize, [u8; 2]) = (510, [0x55, 0xaa]);
}

/// The id that a file system has; none if it is not of the kind that it should be.
pub(super) fn current(volume: &Volume, recorded: &FileSystem) -> Result<Option<FileSystem>, Failure> {
    let failed = Failure::io("reading", volume.path.display());
    let read = || -> std::io::Result<Option<FileSystem>> {
        let file = File::open(&volume.path)?;
        Ok(match recorded {
            FileSystem::Ext4 { .. } => {
                superblock(&file, volume.offset)?.map(|bytes| FileSystem::Ext4 { id: uuid(&bytes) })
            }
            FileSystem::Vfat { .. } => boot_sector(&file, volume.offset)?
                .map(|bytes| FileSystem::Vfat { id: Serial(get_u32(&bytes, fat::SERIAL)) }),
            FileSystem::Other { .. } => Some(*recorded),
        })
    };
    read().map_err(failed)
}

/// Whether the id of a file system can change while it is mounted.
pub(super) fn can_change(volume: &Volume, recorded: &FileSystem) -> Result<bool, Failure> {
    let FileSystem::Ext4 { .. } = recorded else { return Ok(matches!(recorded, FileSystem::Vfat { .. })) };
    let failed = Failure::io("reading", volume.path.display());
    let bytes = File::open(&volume.path).and_then(|file| superblock(&file, volume.offset)).map_err(failed)?;
    Ok(bytes.is_some_and(|bytes| {
        let has = |field, bits| get_u32(&bytes, field) & bits != 0;
        let is_bound =
            has(ext4::RO_COMPAT, ext4::GDT_CSUM_OR_METADATA_CSUM) && !has(ext4::INCOMPAT, ext4::CSUM_SEED);
        !is_bound && !has(ext4::COMPAT, ext4::STABLE_INODES)
    }))
}

/// Changes the id of a file system. Says why it cannot be, where that will not be otherwise the next time.
pub(super) fn change(volume: &Volume, to: &FileSystem) -> Result<Option<String>, Failure> {
    match to {
        FileSystem::Ext4 { id } => change_ext4(volume, *id),
        FileSystem::Vfat { id } => match change_fat(volume, id.0) {
            // A kernel that lets nobody write to what is mounted (CONFIG_BLK_DEV_WRITE_MOUNTED).
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => Ok(Some(error.to_string())),
            result => result.map(|()| None).map_err(Failure::io("writing", volume.path.display())),
        },
        FileSystem::Other { .. } => Ok(Some("it cannot change while it is mounted".to_owned())),
    }
}

#[expect(clippy::disallowed_methods, reason = "the kernel's own way to change it needs unsafe code here")]
fn change_ext4(volume: &Volume, id: Uuid) -> Result<Option<String>, Failure> {
    let mut device = volume.path.clone().into_os_string();
    if volume.offset > 0 {
        device.push(format!("?offset={}", volume.offset));
    }
    let output =
        Command::new("tune2fs").arg("-U").arg(id.to_string()).arg(device).stdin(Stdio::null()).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Some("there is no `tune2fs`: install e2fsprogs".to_owned()));
        }
        result => result.map_err(Failure::io("running", "tune2fs"))?,
    };
    let shown = volume.path.display();
    let said = String::from_utf8_lossy(&output.stderr);
    let ended = format!("`tune2fs -U {id} {shown}` ended with {}: {}", output.status, said.trim_end());
    match output.status.code() {
        Some(0) => {}
        Some(_) => return Ok(Some(ended)),
        // Killed: with everything else, when the machine goes down.
        None => return Err(Failure::new(ended)),
    }
    let mounts = device::mounts();
    if let Some((_, place)) = mounts.iter().find(|(device, _)| Some(device) == volume.device.as_ref()) {
        stir(Path::new(place)).map_err(Failure::io("writing to", place))?;
    }
    let sync = File::open(&volume.path).and_then(|file| file.sync_all());
    sync.map(|()| None).map_err(Failure::io("writing", shown))
}

/// Has the superblock of a mounted file system go through its journal: the list of files that are being cut short
/// begins in it. Without effect where that list is a file.
fn stir(place: &Path) -> std::io::Result<()> {
    let path = place.join(UNFINISHED);
    let _ = std::fs::remove_file(&path);
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&path)?;
    file.write_all(&[1; 4096])?;
    file.sync_all()?;
    file.set_len(0)?;
    file.sync_all()?;
    std::fs::remove_file(&path)?;
    let directory = File::open(place)?;
    directory.sync_all()?;
    Ok(rustix::fs::syncfs(&directory)?)
}

fn change_fat(volume: &Volume, serial: u32) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(&volume.path)?;
    let none = || std::io::Error::other("it has no FAT32 file system");
    let boot = boot_sector(&file, volume.offset)?.ok_or_else(none)?;
    let half = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
    let (sector, backup) = (half(fat::BYTES_PER_SECTOR), half(fat::BACKUP));
    let copies = [backup * sector, 0];
    for at in copies.into_iter().skip(usize::from(backup == 0)).map(|at| volume.offset + at) {
        if boot_sector(&file, at)?.is_some() {
            file.write_all_at(&serial.to_le_bytes(), at + fat::SERIAL as u64)?;
            file.sync_data()?;
        }
    }
    Ok(())
}

fn superblock(file: &File, offset: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; ext4::LEN];
    file.read_exact_at(&mut bytes, offset + ext4::AT)?;
    let (at, magic) = ext4::MAGIC;
    Ok((bytes[at..at + 2] == magic.to_le_bytes()).then_some(bytes))
}

fn boot_sector(file: &File, offset: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; fat::LEN];
    file.read_exact_at(&mut bytes, offset)?;
    let (kind, name) = fat::TYPE;
    let is_fat = bytes[fat::END.0..] == fat::END.1
        && bytes[fat::BOOT_SIGNATURE.0] == fat::BOOT_SIGNATURE.1
        && bytes[kind..].starts_with(name);
    Ok(is_fat.then_some(bytes))
}

fn uuid(superblock: &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&superblock[ext4::UUID..][..16]);
    Uuid::from_bytes(bytes)
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
