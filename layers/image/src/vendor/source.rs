//! The vendor's disk: its table, the file system that will be written anew, and what can be told of the rest.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bake_base::{LayoutBuilder, ReadAt, Uuid};
use bake_boot::Architecture;
use bake_disk::{Partition, SectorSize, Table, container, discoverable, read_gpt};
use bake_fs::{ext4, fat};
use bake_tree::Member;

use crate::Error;
use crate::profile::{Profile, Profiles, VendorProfile, VendorRoot};

/// Programs that firmware starts, and what they are for.
const FALLBACKS: [(&[u8], Architecture); 2] =
    [(b"efi/boot/bootx64.efi", Architecture::X86_64), (b"efi/boot/bootaa64.efi", Architecture::Arm64)];

/// A disk that is baked into.
#[derive(Debug)]
pub(super) struct Source {
    /// The file, for messages.
    pub label: String,
    /// All of its bytes.
    pub disk: Arc<dyn ReadAt>,
    /// Its partitions.
    pub table: Table,
    /// The one that is written anew.
    pub root: Partition,
}

/// What the disk tells about itself.
pub(super) struct Facts {
    /// Id of the old file system.
    pub uuid: Uuid,
    /// What its EFI system partition is for, if there is one that can be read.
    pub architecture: Option<Architecture>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Source {
    /// Opens a disk in any container, by the profile of this name or the one that is for its partitions.
    pub fn open(
        path: &Path,
        file: File,
        profiles: &Profiles,
        profile: Option<&str>,
    ) -> Result<(Self, Profile), Error> {
        let label = path.display().to_string();
        let disk: Arc<dyn ReadAt> =
            Arc::from(container::open(file).map_err(|error| refuse(&label, &error))?.disk);
        let table = read_gpt(&*disk).map_err(|error| Error::Vendor {
            file: label.clone(),
            reason: format!("{}: is the image whole, and as the vendor made it?", whole(&error)),
        })?;
        let find = |root: &VendorRoot| {
            let is_root = |partition: &&Partition| {
                partition.number == root.number
                    && partition.type_guid == root.type_guid
                    && partition.name == root.label
            };
            table.partitions.iter().find(is_root).cloned()
        };
        let profile = match profile {
            Some(name) => profiles.by_name(name)?,
            None => profiles.for_disk(|root| find(root).is_some())?,
        };
        let Some(vendor) = &profile.vendor else {
            let reason = "is for root file systems and not for disk images: give a tar, a directory or a container image";
            return Err(Error::Profile { name: profile.name, reason: reason.to_owned() });
        };
        let VendorRoot { number, label: name, type_guid } = &vendor.root;
        let root = find(&vendor.root).ok_or_else(|| Error::Vendor {
            file: label.clone(),
            reason: format!("expected a partition {number} of type {type_guid} with the name `{name}`"),
        })?;
        Ok((Self { label, disk, table, root }, profile))
    }

    /// Bytes of a sector.
    pub fn sector_size(&self) -> SectorSize {
        self.table.sector_size
    }

    /// Reads the file system that is written anew, and what the EFI system partition tells.
    pub fn read(&self, vendor: &VendorProfile) -> Result<(Vec<Member>, Facts), Error> {
        let root = self.part(&self.root)?;
        let volume = ext4::Volume::read(&root).map_err(|error| {
            self.refuse(format!("its partition `{}`: {}", vendor.root.label, whole(&error)))
        })?;
        if volume.label != vendor.root.label {
            return Err(self.refuse(format!(
                "its partition `{}` has a file system with the label `{}`: expected the same, for it is found by that",
                vendor.root.label, volume.label
            )));
        }
        let mut notes: Vec<_> =
            volume.notes.into_iter().map(|note| format!("{}: {note}", vendor.root.label)).collect();
        let mut architecture = None;
        let esp = self.table.partitions.iter().find(|partition| partition.type_guid == discoverable::ESP);
        match esp.map(|esp| Ok::<_, Error>(fat::Volume::read(&self.part(esp)?))).transpose()? {
            Some(Ok(esp)) => {
                let has = |wanted: &[u8]| {
                    esp.entries.iter().any(|entry| entry.path.as_bytes().eq_ignore_ascii_case(wanted))
                };
                architecture = FALLBACKS.iter().find(|(path, _)| has(path)).map(|(_, found)| *found);
                let stamp = &vendor.first_boot;
                if !has(stamp.trim_start_matches('/').as_bytes()) {
                    notes.push(format!(
                        "the EFI system partition has no `{stamp}`: Ignition will not run, and what it does on first \
                         boot is not done"
                    ));
                }
            }
            Some(Err(error)) => {
                notes.push(format!("the EFI system partition is left alone unseen: {error}"));
            }
            None => notes.push("the disk has no EFI system partition".to_owned()),
        }
        Ok((volume.members, Facts { uuid: volume.uuid, architecture, notes }))
    }

    /// A partition by itself.
    fn part(&self, partition: &Partition) -> Result<Arc<dyn ReadAt>, Error> {
        let mut builder = LayoutBuilder::new();
        builder.push(0, partition.len, Arc::clone(&self.disk), partition.offset);
        let part = builder.finish(partition.len).map_err(bake_disk::DiskError::Layout)?;
        Ok(Arc::new(part))
    }

    /// Why the disk cannot be used.
    pub fn refuse(&self, reason: String) -> Error {
        Error::Vendor { file: self.label.clone(), reason }
    }
}

/// Why a disk cannot be used: an error with all that caused it.
pub(super) fn refuse(label: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Vendor { file: label.to_owned(), reason: whole(error) }
}

/// An error with all that caused it.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(&format!(": {error}"));
        cause = error.source();
    }
    reason
}
