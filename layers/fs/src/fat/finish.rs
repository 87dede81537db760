//! What `fatfs` 0.3.6 leaves wrong, put right; otherwise `fsck.fat` would "repair" the volume on a host's
//! first boot and so change it.
//!
//! - `.` and `..` get long names, so that they are not the first two slots, and `..` of a directory in the root
//!   names the root's cluster where the specification wants 0 (FAT specification, section 6.5).
//! - `.abc` gets a short name that begins with a space, which none may (section 6.1).
//! - Dates are those of one clock; here every entry has its own.
//! - The backup of the boot sectors misses FSInfo and whatever changed since formatting (section 3.4).

use std::collections::BTreeSet;
use std::io;

use bake_base::{Epoch, ReadAt};

use super::geometry::{ATTRIBUTE_LABEL, Geometry};
use super::image::Image;
use super::plan::{Child, Plan};
use super::read::{self, Slot};
use super::time::DosTime;

/// Sector of the backup of the first two sectors (section 3.3, `BPB_BkBootSec`).
const BACKUP_SECTOR: u64 = 6;

const DOT: [u8; 11] = *b".          ";
const DOT_DOT: [u8; 11] = *b"..         ";

/// Finishes a volume that `fatfs` has filled by `plan`.
pub(super) fn finish(image: &mut Image, geometry: &Geometry, plan: &Plan, epoch: Epoch) -> io::Result<()> {
    let epoch = DosTime::new(epoch.timestamp(), epoch);
    // (first cluster, of the parent, date) of every folder; parents come first.
    let mut places = vec![(geometry.root_cluster, 0, epoch); plan.folders.len()];
    for (index, folder) in plan.folders.iter().enumerate() {
        let (first, parent, date) = places[index];
        let clusters = read::directory_clusters(image, geometry, first).map_err(io::Error::other)?;
        let mut slots = read::slots(image, geometry, &clusters)?;
        if index != Plan::ROOT {
            mend_dots(&mut slots, first, parent, date)?;
        }
        mend_blank_names(&mut slots)?;
        let mut given = folder.entries.iter();
        for slot in slots.iter_mut().filter(|slot| !slot.is_long_name() && !slot.is_dot()) {
            if slot.attributes() & ATTRIBUTE_LABEL != 0 {
                slot.set_dates(epoch);
                continue;
            }
            let entry = given.next().ok_or_else(|| unexpected("more entries than were made"))?;
            slot.set_dates(entry.time);
            if let Child::Folder(child) = entry.child {
                let parent = if index == Plan::ROOT { 0 } else { first };
                places[child] = (slot.first_cluster(), parent, entry.time);
            }
        }
        if given.next().is_some() {
            return Err(unexpected("fewer entries than were made"));
        }
        let bytes: Vec<u8> = slots.iter().flat_map(|slot| slot.0).collect();
        let mut chunks = bytes.chunks(geometry.cluster as usize);
        for cluster in &clusters {
            // Slots that went away leave zeros, which end a directory (section 6, `DIR_Name[0]`).
            let mut whole = chunks.next().unwrap_or_default().to_vec();
            whole.resize(geometry.cluster as usize, 0);
            image.write_at(geometry.offset(*cluster), &whole)?;
        }
    }
    let mut boot = vec![0; 2 * geometry.sector as usize];
    image.read_exact_at(0, &mut boot)?;
    image.write_at(BACKUP_SECTOR * geometry.sector, &boot)
}

/// Makes `.` and `..` the first two slots and takes their long names out.
fn mend_dots(slots: &mut Vec<Slot>, first: u32, parent: u32, date: DosTime) -> io::Result<()> {
    let dots = slots.get(..4).is_some_and(|slots| slots[1].name() == DOT && slots[3].name() == DOT_DOT);
    if !dots || !slots[0].is_long_name() || !slots[2].is_long_name() {
        return Err(unexpected("a directory that does not begin as `fatfs` 0.3.6 begins one"));
    }
    slots.remove(2);
    slots.remove(0);
    slots[0].set_first_cluster(first);
    slots[1].set_first_cluster(parent);
    slots[0].set_dates(date);
    slots[1].set_dates(date);
    Ok(())
}

/// Gives short names to the entries whose short name has nothing before the dot: `.abc` becomes `ABC~1`, as
/// Windows does it.
fn mend_blank_names(slots: &mut [Slot]) -> io::Result<()> {
    let mut taken: BTreeSet<[u8; 11]> =
        slots.iter().filter(|slot| !slot.is_long_name()).map(Slot::name).collect();
    for index in 0..slots.len() {
        let slot = &slots[index];
        if slot.is_long_name() || slot.name()[0] != b' ' {
            continue;
        }
        let extension = slot.name()[8..].trim_ascii_end().to_vec();
        let name = (1..=9999)
            .map(|number| {
                let text = [&extension[..], format!("~{number}").as_bytes()].concat();
                let mut name = [b' '; 11];
                name[..text.len()].copy_from_slice(&text);
                name
            })
            .find(|name| taken.insert(*name))
            .ok_or_else(|| unexpected("more than 9999 names with one short name"))?;
        slots[index].0[..11].copy_from_slice(&name);
        let checksum = slots[index].checksum();
        for part in slots[..index].iter_mut().rev().take_while(|slot| slot.is_long_name()) {
            part.set_checksum(checksum);
        }
    }
    Ok(())
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`fatfs` left {what}"))
}
