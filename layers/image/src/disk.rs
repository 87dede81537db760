//! From a composed tree to a disk: sizes, places, ids; every number decided, nothing written.

use bake_base::{LayoutBuilder, Uuid};
use bake_boot::Architecture;
use bake_disk::verity::Guarded;
use bake_disk::{ALIGNMENT, DiskSpec, PartitionSpec, SectorSize, Size, discoverable};
use bake_fs::{ext4, fat};
use bake_tree::ValidTree;

use crate::Error;
use crate::compose::{Composition, Decisions};
use crate::immutable::Sealed;
use crate::profile::Loader;

/// Size of the partition that GRUB's core image lies in, in bytes: more than a BIOS can load.
const BIOS_SIZE: u64 = ALIGNMENT;
/// Where that partition begins, and how many sectors of 512 bytes it has: it is the first one.
pub(crate) const BIOS_SECTORS: (u64, u64) = (ALIGNMENT / 512, BIOS_SIZE / 512);

/// Whether the disk has a partition for GRUB's core image. A BIOS knows sectors of 512 bytes only.
pub(crate) fn has_bios_partition(decisions: &Decisions, architecture: Architecture) -> bool {
    decisions.loader == Loader::Grub
        && architecture == Architecture::X86_64
        && decisions.sector_size == SectorSize::Bytes512
}

/// Numbers of the EFI system partition and of the one that hosts write: the last on the disk, so that it can grow.
pub(crate) fn numbers(decisions: &Decisions, has_bios_partition: bool) -> (u32, u32) {
    let esp = 1 + u32::from(has_bios_partition);
    let guarded = if decisions.immutable.is_some() { 2 } else { 0 };
    (esp, esp + guarded + 1)
}

/// An image of which every byte is decided.
#[derive(Debug)]
pub struct Image {
    pub(crate) decisions: Decisions,
    pub(crate) disk: bake_disk::Disk,
    /// What is in its file systems; of a vendor's disk, in the one that is written anew.
    pub(crate) tree: ValidTree,
}

impl Composition {
    /// Lays the disk out on up to `threads` threads.
    ///
    /// # Errors
    /// When a file system cannot hold its entries, or the asked size does not hold the image.
    pub fn lay_out(self, threads: usize) -> Result<Image, Error> {
        let Self { decisions, tree, whole, sealed, esp_files, esp_directories, bios } = self;
        let profile = &decisions.profile;
        let esp_size = profile.disk.esp_size.0;
        let esp = fat::layout(
            &esp_files,
            &esp_directories,
            &fat::Options {
                size: esp_size,
                sector_size: decisions.sector_size.bytes() as u32,
                serial: decisions.esp_serial(),
                label: profile.disk.esp_label.clone(),
                epoch: decisions.epoch,
            },
        )?;
        let last = decisions.last();
        let plan = ext4::plan(&tree, &ext4_options(&decisions, last, threads))?;
        let guarded = sealed.as_ref().map(|sealed| [sealed.layout.len(), sealed.verity.layout().len()]);
        let before: Vec<u64> =
            bios.iter().map(|_| BIOS_SIZE).chain([esp_size]).chain(guarded.into_iter().flatten()).collect();
        let len = choose_size(&plan, &before, decisions.size, decisions.free)?;
        let last_len = bake_disk::rest_of_disk(len, &before)?;
        let writable = plan.layout(last_len)?;
        let last_type = match (last, decisions.architecture) {
            ("var", _) => discoverable::VAR,
            (_, Architecture::X86_64) => discoverable::ROOT_X86_64,
            (_, Architecture::Arm64) => discoverable::ROOT_ARM64,
        };
        let partition = |number, type_guid, name: &str, size, layout| PartitionSpec {
            number,
            type_guid,
            guid: decisions.partition_guid(name),
            name: name.to_owned(),
            attributes: 0,
            size,
            layout,
        };
        let (esp_number, last_number) = numbers(&decisions, bios.is_some());
        let mut partitions = Vec::new();
        let mut boot_code = None;
        if let Some(bios) = bios {
            let mut content = LayoutBuilder::new();
            let core = bios.core.len() as u64;
            content.push_bytes(0, bios.core);
            let core = content.finish(core).map_err(bake_disk::DiskError::Layout)?;
            partitions.push(partition(1, discoverable::BIOS_BOOT, "bios", Size::Bytes(BIOS_SIZE), core));
            boot_code = Some(bios.mbr_code);
        }
        partitions.push(partition(esp_number, discoverable::ESP, "esp", Size::Bytes(esp_size), esp));
        if let (Some(immutable), Some(Sealed { layout, verity })) = (decisions.immutable, sealed) {
            let (of_data, of_hashes) = immutable.types(decisions.architecture);
            let (data, hashes) = (verity.data_guid(), verity.hash_guid());
            for (number, type_guid, guid, name, layout) in [
                (esp_number + 1, of_data, data, immutable.name(), layout),
                (esp_number + 2, of_hashes, hashes, immutable.verity_name(), verity.layout().clone()),
            ] {
                let size = Size::Bytes(layout.len());
                let found_by_hash = partition(number, type_guid, name, size, layout);
                let attributes = discoverable::READ_ONLY;
                partitions.push(PartitionSpec { guid, attributes, ..found_by_hash });
            }
        }
        partitions.push(partition(last_number, last_type, last, Size::Rest, writable));
        let guid = decisions.disk_guid();
        let spec = DiskSpec { guid, sector_size: decisions.sector_size, len, boot_code, partitions };
        let disk = spec.build()?;
        Ok(Image { decisions, disk, tree: whole.unwrap_or(tree) })
    }
}

impl Decisions {
    /// UUID of the root file system, where hosts write it.
    pub(crate) fn root_uuid(&self) -> Uuid {
        self.file_system_uuid("root")
    }

    /// UUID of the file system in the partition of this name.
    pub(crate) fn file_system_uuid(&self, name: &str) -> Uuid {
        self.ids.uuid(&format!("{name} file system"))
    }

    /// The partition that hosts write.
    pub(crate) fn last(&self) -> &'static str {
        if self.is_root_read_only() { "var" } else { "root" }
    }

    /// Whether the root is read-only as a whole.
    pub(crate) fn is_root_read_only(&self) -> bool {
        self.immutable.is_some_and(|immutable| immutable.part == Guarded::Root)
    }

    /// GUID of the disk.
    pub(crate) fn disk_guid(&self) -> Uuid {
        self.ids.uuid("disk")
    }

    /// GUID of the partition of this name.
    pub(crate) fn partition_guid(&self, name: &str) -> Uuid {
        self.ids.uuid(&format!("partition {name}"))
    }

    /// Serial number of the EFI system partition's file system.
    pub(crate) fn esp_serial(&self) -> u32 {
        self.ids.serial("esp file system")
    }
}

/// What an ext4 in the partition of this name is: what the profile says of a root.
pub(crate) fn ext4_options(decisions: &Decisions, name: &str, threads: usize) -> ext4::Options {
    let root = &decisions.profile.root;
    ext4::Options {
        uuid: decisions.file_system_uuid(name),
        hash_seed: decisions.ids.uuid(&format!("{name} hash seed")),
        label: if name == "root" { root.label.clone() } else { name.to_owned() },
        epoch: decisions.epoch,
        journal_bytes: root.journal.0,
        inodes_per_group: root.inodes_per_group,
        flex_bg: root.flex_bg,
        reserved_gdt_blocks: root.reserved_gdt_blocks,
        metadata_csum_seed: root.metadata_csum_seed,
        threads,
    }
}

/// The asked size of the disk if it holds the last file system after partitions of the sizes `before`; else the smallest whole number of GiB that
/// also leaves `free` percent of it free.
fn choose_size(plan: &ext4::Plan<'_>, before: &[u64], asked: Option<u64>, free: u8) -> Result<u64, Error> {
    let smallest = bake_disk::smallest_disk(&[before, &[plan.minimum_size()]].concat())?;
    if let Some(asked) = asked {
        let gib = |bytes: u64| format!("{} GiB", bytes / bake_disk::GIB);
        if asked < smallest {
            return Err(Error::TooSmall { asked: gib(asked), needed: gib(smallest) });
        }
        return Ok(asked);
    }
    let mut len = smallest;
    loop {
        let root = bake_disk::rest_of_disk(len, before)?;
        if u128::from(plan.free_bytes(root)?) * 100 >= u128::from(root) * u128::from(free) {
            return Ok(len);
        }
        // What is missing, were the file system's own structures free: never more than is needed.
        let used = root - plan.free_bytes(root)?;
        let wanted = (u128::from(used) * 100).div_ceil(100 - u128::from(free)) as u64;
        len = bake_disk::smallest_disk(&[before, &[wanted]].concat())?.max(len + bake_disk::GIB);
    }
}
