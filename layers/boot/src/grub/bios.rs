//! GRUB for BIOS: boot sector and core image, composed from the tree's own modules.
//!
//! The firmware runs the disk's first sector (`boot.img`), which loads one sector from a fixed place; that one
//! (`diskboot.img`) loads the rest of the core image by a list of runs of sectors. Here the core image lies in
//! one piece at the start of the BIOS boot partition, so both are told one number. (GRUB 2.02 to 2.12:
//! `util/setup.c`, `include/grub/i386/pc/boot.h`, `include/grub/offsets.h`.)
//!
//! Nothing in it identifies a disk: the prefix names "partition N of the drive that booted", so a clone boots
//! itself, and goes on to do so when its ids change.

use bake_tree::Tree;

use super::GrubError;
use super::core_image;
use super::modules::{Modules, invalid};

/// What a sector has on disks that BIOS boots from.
const SECTOR: usize = 512;
/// Bytes of the first sector before the disk's signature and the partition table.
const CODE: usize = 440;

/// Fields of `boot.img`.
mod boot {
    /// Number of the sector to load (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
    pub(super) const SECTOR: usize = 0x5c;
    /// The drive to load it from; 0xff is the one that booted (`GRUB_BOOT_MACHINE_BOOT_DRIVE`).
    pub(super) const DRIVE: usize = 0x64;
    /// A jump over code that mistrusts the firmware's drive number (`GRUB_BOOT_MACHINE_DRIVE_CHECK`). Without
    /// it, as `grub-bios-setup` has it on hard disks, a BIOS that calls the first disk a floppy is corrected.
    pub(super) const DRIVE_CHECK: usize = 0x66;
    pub(super) const SHORT_JUMP: u8 = 0xeb;
    pub(super) const NOP: u8 = 0x90;
}

/// The only run in `diskboot.img`'s list, which grows downwards from the end: first sector (64 bits), count (16),
/// segment to load to (16). What is before it in the file has the count zero and ends the list.
mod run {
    pub(super) const START: usize = 500;
    pub(super) const COUNT: usize = 508;
    pub(super) const SEGMENT: usize = 510;
    /// `GRUB_BOOT_I386_PC_KERNEL_SEG`, and one sector, which is `diskboot.img` itself.
    pub(super) const CORE: [u8; 2] = 0x0820_u16.to_le_bytes();
    /// Bytes of an entry.
    pub(super) const SIZE: usize = 12;
}

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Where GRUB finds its configuration and modules, such as `(,gpt3)/boot/grub`; see
    /// [`Installed::prefix`](super::Installed).
    pub prefix: &'a str,
    /// Modules that are built in, with all that they need.
    pub modules: &'a [&'a str],
    /// Commands that run before the configuration is looked for.
    pub config: Option<&'a str>,
    /// Where the BIOS boot partition begins, in sectors of 512 bytes.
    pub start: u64,
    /// Sectors that it has.
    pub sectors: u64,
}

/// What a disk needs for booting with a BIOS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BiosBoot {
    /// For the first bytes of the disk, before the MBR's disk signature.
    pub mbr_code: [u8; CODE],
    /// For the BIOS boot partition, from its first byte on; whole sectors.
    pub core: Vec<u8>,
}

/// Composes both.
///
/// # Errors
/// When the tree lacks GRUB, has one of an unknown form, or it does not fit.
pub fn compose(tree: &Tree, options: &Options<'_>) -> Result<BiosBoot, GrubError> {
    let modules = Modules::new(tree);
    let code = core_image::compose(&modules, options.modules, options.prefix, options.config)?;
    let count = code.len().div_ceil(SECTOR) as u64;
    let no_room = || GrubError::DoesNotFit { needed: 1 + count, room: options.sectors };
    let run_length = u16::try_from(count).ok().filter(|_| count < options.sectors).ok_or_else(no_room)?;
    let first = options.start.checked_add(1).ok_or_else(no_room)?;

    let unknown = |name| invalid(name, "it has another form than GRUB 2's");
    let mut core = sector(&modules, "diskboot.img")?;
    let before = &core[run::START - run::SIZE..run::START];
    if core[run::SEGMENT..] != run::CORE || before.iter().any(|byte| *byte != 0) {
        return Err(unknown("diskboot.img"));
    }
    core[run::START..][..8].copy_from_slice(&first.to_le_bytes());
    core[run::COUNT..][..2].copy_from_slice(&run_length.to_le_bytes());
    core.extend_from_slice(&code);
    core.resize(core.len().next_multiple_of(SECTOR), 0);

    let mut sector = sector(&modules, "boot.img")?;
    if sector[boot::DRIVE_CHECK] != boot::SHORT_JUMP || sector[SECTOR - 2..] != [0x55, 0xaa] {
        return Err(unknown("boot.img"));
    }
    sector[boot::SECTOR..][..8].copy_from_slice(&options.start.to_le_bytes());
    sector[boot::DRIVE] = 0xff;
    sector[boot::DRIVE_CHECK..][..2].fill(boot::NOP);
    let mbr_code = sector[..CODE].try_into().expect("the slice has that length");
    Ok(BiosBoot { mbr_code, core })
}

fn sector(modules: &Modules<'_>, name: &str) -> Result<Vec<u8>, GrubError> {
    let bytes = modules.read(name, SECTOR as u64)?;
    if bytes.len() != SECTOR {
        return Err(invalid(name, "it is no sector of 512 bytes"));
    }
    Ok(bytes)
}
