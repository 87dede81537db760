//! Ids that become a machine's own on its first boot.
//!
//! All machines made from one image begin with the same GUIDs of disk and partitions, the same UUID of the root file
//! system and the same FAT id. A disk of one that is attached to another would be taken for that one's own. So the
//! first boot derives ids from the machine id (see `derive`) and puts them in the place of those that the image was
//! baked with, which its [`Record`] lists. A disk whose table has other ids is somebody else's, and is left alone.
//!
//! A machine whose power fails at any moment must find its root. Names change while ids do not, and each name is
//! written before the id that it does not depend on goes:
//!
//! 1. Whatever names a file system by an id that is about to change names its partition instead.
//! 2. File systems get their ids.
//! 3. Whatever names a partition names its file system instead.
//! 4. The partition table gets all its ids by one write (`bake_disk::change_ids`).
//! 5. Whatever names a file system whose id could not change names its partition, by the new GUID: a clone has the
//!    other. Then the table is tidied, which tells the next run that nothing is left.
//!
//! Each step does nothing where it has been done before; which one is next is seen from the table. A partition without
//! a file system of ours is named by its label between 3 and 5.

mod derive;
mod device;
mod files;
mod record;
mod text;
mod volume;

use std::path::Path;

use bake_base::Uuid;
use bake_disk::{IdChange, IdSteps, NewId, Standing, TableError, change_ids, read_partitions};
use serde::Serialize;

use crate::files::{read_at, read_through};
use crate::place::{Root, path};
use crate::{Failure, place};
use derive::MachineId;
use device::{Disk, Volume};
pub use record::{FileSystem, Partition, Record, Serial};
use text::{Key, Rename};

/// Where an image keeps the record.
pub const RECORD: &str = "usr/lib/bake/identity.json";
/// The unit that runs this at boot.
pub const UNIT: &str = "bake-identity.service";
/// What has the unit started; its name in that target's directory is a link to the unit.
pub const WANTED_BY: &str = "sysinit.target";

/// The largest record, in bytes.
const LIMIT: u64 = 1 << 20;
const MACHINE_ID: (&str, &[u8]) = ("etc", b"machine-id");

/// The text of the unit, which runs this program by its path on the host.
pub fn unit(program: &str) -> String {
    include_str!("identity/bake-identity.service").replace("@PROGRAM@", program)
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// There is no record: this was not baked, or nothing of it may change.
    NoRecord,
    /// The root is on no partition of a disk, or on more than one.
    NoDisk,
    /// The disk's ids are neither those of the image nor those of this machine.
    OtherDisk,
    /// All ids are this machine's already.
    Own,
    /// They are now.
    Changed,
}

impl Outcome {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NoRecord => "nothing to do: there is no record of an image's ids",
            Self::NoDisk => "nothing to do: the root is on no disk, or on several",
            Self::OtherDisk => "nothing to do: the disk has not the ids that its image was baked with",
            Self::Own => "nothing to do: all ids are this machine's own",
            Self::Changed => "all ids are this machine's own",
        }
    }
}

/// A partition of the record, on this machine.
#[derive(Debug)]
struct Item {
    volume: Volume,
    number: u32,
    /// Its GUID, before and after.
    guid: (Uuid, Uuid),
    /// What it is named by while its GUID changes.
    label: Option<String>,
    file_system: Option<Ids>,
}

/// The ids of a file system.
#[derive(Clone, Copy, Debug)]
struct Ids {
    recorded: FileSystem,
    /// What it has; the same as the next if it has been changed.
    now: FileSystem,
    /// What it shall have.
    own: FileSystem,
    can_change: bool,
}

/// Gives the disk of a root, its partitions and their file systems ids of this machine's own, unless it has them.
/// `disk`: a file that holds the disk, of which nothing is mounted.
///
/// # Errors
/// When something cannot be read or written. What is left to be done is done by the next run.
pub fn make_own(root: &Path, disk: Option<&Path>, say: &mut dyn FnMut(String)) -> Result<Outcome, Failure> {
    let root = Root::open(root)?;
    let Some(bytes) = read_through(&root, &path(RECORD), LIMIT)? else { return Ok(Outcome::NoRecord) };
    let record = Record::parse(&bytes)
        .map_err(|reason| Failure::new(format!("`{}` {reason}", root.shown(&path(RECORD)))))?;
    let disk = match disk {
        Some(file) => Disk::of_file(file)?,
        None => match Disk::of_root(&root)? {
            Some(disk) => disk,
            None => return Ok(Outcome::NoDisk),
        },
    };
    let machine = machine_id(&root)?;
    let Some((change, mut items)) = plan(&record, machine, &disk)? else {
        return Ok(Outcome::OtherDisk);
    };
    let steps = table(&disk, change_ids(&disk, disk.sector_size, &change))?;
    match steps.standing {
        Standing::Other => return Ok(Outcome::OtherDisk),
        Standing::New => {
            steps.tidy.iter().try_for_each(|write| disk.write(write))?;
            return Ok(Outcome::Own);
        }
        Standing::Old => {
            check_mount(&root, &record, &items)?;
            before(&root, &mut items, say)?;
            steps.commit.iter().try_for_each(|write| disk.write(write))?;
            say(format!("{}: the disk is {} now", disk.shown, change.disk.1));
        }
        Standing::Begun => check_mount(&root, &record, &items)?,
    }
    after(&root, &change, &items, &steps, &disk, say)?;
    Ok(Outcome::Changed)
}

/// The id of the machine, once it will be the same at the next boot.
fn machine_id(root: &Root) -> Result<MachineId, Failure> {
    let (above, name) = MACHINE_ID;
    let shown = root.shown(&path(above).join(name));
    let reading = || Failure::io("reading", shown.clone());
    let none = |why: &str| Failure::new(format!("`{shown}` {why}: ids cannot be derived from it"));
    let Some(directory) = root.find(&path(above))? else { return Err(none("is not there")) };
    let above = rustix::fs::fstat(&directory).map_err(reading())?;
    let stat = place::stat(&directory, name).map_err(reading())?.ok_or_else(|| none("is not there"))?;
    if stat.st_dev != above.st_dev {
        return Err(none("is of this boot alone"));
    }
    let bytes = read_at(&directory, name, LIMIT).map_err(Failure::io("reading", &shown))?;
    let id = MachineId::parse(&bytes).ok_or_else(|| none("has no machine id yet"))?;
    // It may have been made a moment ago.
    let sync = place::open_file(&directory, name).and_then(rustix::fs::fsync);
    sync.and_then(|()| rustix::fs::fsync(&directory)).map_err(reading())?;
    Ok(id)
}

/// What shall become of each id; none if a partition of the record is not there.
fn plan(record: &Record, machine: MachineId, disk: &Disk) -> Result<Option<(IdChange, Vec<Item>)>, Failure> {
    let there = match read_partitions(disk, disk.sector_size) {
        Err(TableError::NotFound) => return Ok(None),
        result => table(disk, result)?,
    };
    let mut items = Vec::new();
    for Partition { number, guid, file_system } in &record.partitions {
        let Some(partition) = there.iter().find(|partition| partition.number == *number) else {
            return Ok(None);
        };
        let new = machine.uuid("partition", *guid);
        if ![*guid, new].contains(&partition.guid) {
            return Ok(None);
        }
        let Some(volume) = disk.volume(partition) else { return Ok(None) };
        let file_system =
            file_system.as_ref().map(|recorded| Ids::of(recorded, machine, &volume)).transpose()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let name = &partition.name;
        let label = (!name.is_empty() && name.bytes().all(is_plain)).then(|| name.clone());
        let file_system = file_system.flatten();
        items.push(Item { volume, number: *number, guid: (*guid, new), label, file_system });
    }
    let partitions =
        items.iter().map(|item| NewId { number: item.number, old: item.guid.0, new: item.guid.1 }).collect();
    Ok(Some((IdChange { disk: (record.disk, machine.uuid("disk", record.disk)), partitions }, items)))
}

impl Ids {
    /// None if there is no such file system any more.
    fn of(recorded: &FileSystem, machine: MachineId, volume: &Volume) -> Result<Option<Self>, Failure> {
        let Some(now) = volume::current(volume, recorded)? else { return Ok(None) };
        let own = match recorded {
            FileSystem::Ext4 { id } => FileSystem::Ext4 { id: machine.uuid("file system", *id) },
            FileSystem::Vfat { id } => FileSystem::Vfat { id: Serial(machine.serial("file system", id.0)) },
            FileSystem::Other { id } => FileSystem::Other { id: *id },
        };
        let can_change = now == *recorded && volume::can_change(volume, recorded)?;
        Ok(Some(Self { recorded: *recorded, now, own, can_change }))
    }
}

/// Refuses to begin where a loader's files are out of reach.
fn check_mount(root: &Root, record: &Record, items: &[Item]) -> Result<(), Failure> {
    let Some(place) = record.esp_mount.as_ref().filter(|_| root.is_running()) else { return Ok(()) };
    let mounts = device::mounts();
    let is_ours = |device: &String| items.iter().any(|item| item.volume.device.as_ref() == Some(device));
    if mounts.iter().any(|(device, at)| at == place && is_ours(device)) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the EFI system partition is not mounted on `{place}`, where its files name ids: mount it and run this again"
    )))
}

/// Everything before the table has new ids.
fn before(root: &Root, items: &mut [Item], say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let to_partitions: Vec<Rename> = items.iter().filter_map(Item::to_partition).collect();
    // What will be said in files is known before a file system is touched, but for what cannot change.
    let mut all = to_partitions.clone();
    all.extend(items.iter().flat_map(Item::to_file_system));
    files::recover(root, &all)?;
    files::rename(root, &to_partitions, say)?;
    for item in items.iter_mut() {
        let shown = item.volume.path.display().to_string();
        let Some(ids) = item.file_system.as_mut().filter(|ids| ids.can_change) else { continue };
        match volume::change(&item.volume, &ids.own)? {
            None => say(format!("{shown}: the file system is {} now", ids.own.id())),
            // Its partition gets an id in any case, by which it will be named.
            Some(why) => say(format!("{shown}: the file system keeps its id: {why}")),
        }
        ids.now = volume::current(&item.volume, &ids.recorded)?.unwrap_or(ids.now);
    }
    let to_file_systems: Vec<Rename> = items.iter().flat_map(Item::to_file_system).collect();
    files::rename(root, &to_file_systems, say)
}

/// Everything after the table has new ids.
fn after(
    root: &Root,
    change: &IdChange,
    items: &[Item],
    steps: &IdSteps,
    disk: &Disk,
    say: &mut dyn FnMut(String),
) -> Result<(), Failure> {
    let mut renames: Vec<Rename> = items.iter().flat_map(Item::to_new_partition).collect();
    renames.push(Rename::Bare(change.disk.0.to_string(), change.disk.1.to_string()));
    files::recover(root, &renames)?;
    files::rename(root, &renames, say)?;
    steps.tidy.iter().try_for_each(|write| disk.write(write))
}

impl Item {
    /// Step 1.
    fn to_partition(&self) -> Option<Rename> {
        let ids = self.file_system.filter(|ids| ids.can_change)?;
        let name = (Key::FileSystem, ids.recorded.id());
        Some(Rename::Name(name, (Key::Partition, self.guid.0.to_string())))
    }

    /// Step 3.
    fn to_file_system(&self) -> Vec<Rename> {
        let partition = (Key::Partition, self.guid.0.to_string());
        match (&self.file_system, &self.label) {
            (Some(ids), _) => {
                let mut renames = vec![Rename::Name(partition, (Key::FileSystem, ids.now.id()))];
                if ids.now == ids.own && ids.own != ids.recorded {
                    renames.push(Rename::Bare(ids.recorded.id(), ids.own.id()));
                }
                renames
            }
            (None, Some(label)) => vec![Rename::Name(partition, (Key::Label, label.clone()))],
            (None, None) => Vec::new(),
        }
    }

    /// Step 5.
    fn to_new_partition(&self) -> Vec<Rename> {
        let (old, new) = (self.guid.0.to_string(), self.guid.1.to_string());
        let to = (Key::Partition, new.clone());
        let mut renames =
            vec![Rename::Name((Key::Partition, old.clone()), to.clone()), Rename::Bare(old, new)];
        match (&self.file_system, &self.label) {
            (Some(ids), _) if ids.now != ids.own || ids.own == ids.recorded => {
                renames.push(Rename::Name((Key::FileSystem, ids.now.id()), to));
            }
            (None, Some(label)) => renames.push(Rename::Name((Key::Label, label.clone()), to)),
            _ => {}
        }
        renames
    }
}

fn table<T>(disk: &Disk, result: Result<T, TableError>) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(format!("`{}`: {}", disk.shown, Failure::of(&error))))
}
