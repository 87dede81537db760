//! From a composed tree to a disk: sizes, places, ids; every number decided, nothing written.

use bake_base::Uuid;
use bake_boot::Architecture;
use bake_disk::{DiskSpec, PartitionSpec, Size, discoverable};
use bake_fs::{ext4, fat};

use crate::Error;
use crate::compose::{Composition, Decisions};

/// Number of the EFI system partition.
const ESP_NUMBER: u32 = 1;
/// Number of the root partition: the last on the disk, so that it can grow.
const ROOT_NUMBER: u32 = 2;

/// An image of which every byte is decided.
#[derive(Debug)]
pub struct Image {
    pub(crate) decisions: Decisions,
    pub(crate) disk: bake_disk::Disk,
}

impl Composition {
    /// Lays the disk out on up to `threads` threads.
    ///
    /// # Errors
    /// When a file system cannot hold its entries, or the asked size does not hold the image.
    pub fn lay_out(self, threads: usize) -> Result<Image, Error> {
        let Self { decisions, tree, esp_files, esp_directories } = self;
        let profile = &decisions.profile;
        let ids = &decisions.ids;
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
        let plan = ext4::plan(&tree, &root_options(&decisions, threads))?;
        let len = choose_size(&plan, esp_size, decisions.size, decisions.free)?;
        let root_len = bake_disk::rest_of_disk(len, &[esp_size])?;
        let root = plan.layout(root_len)?;
        let root_type = match decisions.architecture {
            Architecture::X86_64 => discoverable::ROOT_X86_64,
            Architecture::Arm64 => discoverable::ROOT_ARM64,
        };
        let partition = |number, type_guid, name: &str, size, layout| PartitionSpec {
            number,
            type_guid,
            guid: ids.uuid(&format!("partition {name}")),
            name: name.to_owned(),
            attributes: 0,
            size,
            layout,
        };
        let spec = DiskSpec {
            guid: ids.uuid("disk"),
            sector_size: decisions.sector_size,
            len,
            partitions: vec![
                partition(ESP_NUMBER, discoverable::ESP, "esp", Size::Bytes(esp_size), esp),
                partition(ROOT_NUMBER, root_type, "root", Size::Rest, root),
            ],
        };
        let disk = spec.build()?;
        Ok(Image { decisions, disk })
    }
}

impl Decisions {
    /// UUID of the root file system.
    pub(crate) fn root_uuid(&self) -> Uuid {
        self.ids.uuid("root file system")
    }

    /// Serial number of the EFI system partition's file system.
    pub(crate) fn esp_serial(&self) -> u32 {
        self.ids.serial("esp file system")
    }
}

fn root_options(decisions: &Decisions, threads: usize) -> ext4::Options {
    let root = &decisions.profile.root;
    ext4::Options {
        uuid: decisions.root_uuid(),
        hash_seed: decisions.ids.uuid("root hash seed"),
        label: root.label.clone(),
        epoch: decisions.epoch,
        journal_bytes: root.journal.0,
        inodes_per_group: root.inodes_per_group,
        flex_bg: root.flex_bg,
        reserved_gdt_blocks: root.reserved_gdt_blocks,
        metadata_csum_seed: root.metadata_csum_seed,
        threads,
    }
}

/// The asked size of the disk if it holds the root file system; else the smallest whole number of GiB that
/// also leaves `free` percent of it free.
fn choose_size(plan: &ext4::Plan<'_>, esp: u64, asked: Option<u64>, free: u8) -> Result<u64, Error> {
    let smallest = bake_disk::smallest_disk(&[esp, plan.minimum_size()])?;
    if let Some(asked) = asked {
        let gib = |bytes: u64| format!("{} GiB", bytes / bake_disk::GIB);
        if asked < smallest {
            return Err(Error::TooSmall { asked: gib(asked), needed: gib(smallest) });
        }
        return Ok(asked);
    }
    let mut len = smallest;
    loop {
        let root = bake_disk::rest_of_disk(len, &[esp])?;
        if u128::from(plan.free_bytes(root)?) * 100 >= u128::from(root) * u128::from(free) {
            return Ok(len);
        }
        // What is missing, were the file system's own structures free: never more than is needed.
        let used = root - plan.free_bytes(root)?;
        let wanted = (u128::from(used) * 100).div_ceil(100 - u128::from(free)) as u64;
        len = bake_disk::smallest_disk(&[esp, wanted])?.max(len + bake_disk::GIB);
    }
}
