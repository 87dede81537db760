//! Other ids for a disk and its partitions, by steps of which each leaves a disk that boots.
//!
//! It is the primary table that counts: Linux looks at the backup only when it is told to (`gpt` on its command
//! line), and GRUB on a BIOS never does. So the primary has to be right at every moment, and its header and its
//! array cannot be written at once. But a header says where its array is, and is a single sector: a second array
//! is written behind the first, where nothing is before the first partition; then the header is replaced by one
//! that has the new ids and points there. That is the commit. Afterwards array and header return to where all
//! tools expect them in the same way. The backup is written before the commit, while nobody needs it.
//!
//! Where an earlier run was cut off shows on the disk: until the commit it has the old ids, and every step can be
//! done again; after it the new ones, and as long as the header points to the second array, the rest remains to be
//! done. What belongs between commit and return is the caller's: see [`IdSteps`].

use bake_base::{ReadAt, Uuid, is_zero};

use super::grow::protective_mbr;
use super::read::{Header, TableCopy, read_primary};
use super::{HEADER_SIZE, Partition, SectorSize, TableError, crc32, entry, get_guid, get_u32, header, put};

/// Where the array of the primary table begins.
const HOME: u64 = 2;

/// The ids of a disk, and those that shall take their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdChange {
    /// The disk's, before and after.
    pub disk: (Uuid, Uuid),
    /// Partitions that shall change. Others stay as they are.
    pub partitions: Vec<NewId>,
}

/// The id of a partition, and the one that shall take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewId {
    /// The partition's entry, from 1 on.
    pub number: u32,
    /// What it is.
    pub old: Uuid,
    /// What it shall be.
    pub new: Uuid,
}

/// How far a disk has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has all the old ids.
    Old,
    /// It has the new ids, and a run was cut off before its last steps.
    Begun,
    /// It has the new ids, and nothing but zeroing may be left.
    New,
    /// It has ids that are neither: it is another disk.
    Other,
}

/// Bytes for a place on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where, in bytes.
    pub offset: u64,
    /// What.
    pub bytes: Vec<u8>,
}

/// What remains to be written. Each [`Write`] must be on the disk before the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdSteps {
    /// How far the disk has come.
    pub standing: Standing,
    /// The last of these gives all new ids at once.
    pub commit: Vec<Write>,
    /// What is done with the new ids in place. Whatever needs them and must happen for sure goes before: as long as
    /// these have not begun, the disk is [`Standing::Begun`].
    pub tidy: Vec<Write>,
}

/// Plans the change of ids on a disk, whose backup table moves to the disk's end if it is not there.
///
/// # Errors
/// When the primary table is damaged, or there is no room before the first partition to change it safely.
pub fn change_ids(disk: &dyn ReadAt, sector_size: SectorSize, ids: &IdChange) -> Result<IdSteps, TableError> {
    let (header, copy, partitions) = read_primary(disk, sector_size)?;
    let plan = Plan::new(disk, sector_size, &header, &copy)?;
    let standing = match (copy.standing(ids), plan.is_home()) {
        (Standing::New, false) => Standing::Begun,
        (standing, _) => standing,
    };
    let (mut commit, mut tidy) = (Vec::new(), Vec::new());
    match standing {
        Standing::Old => {
            let array = copy.array_with(ids);
            plan.check_room(&array, &partitions)?;
            commit = plan.commit(&array, ids.disk.1);
            tidy = plan.tidy(&array, ids.disk.1, copy.first_usable)?;
        }
        Standing::Begun => tidy = plan.tidy(&copy.array, copy.guid, plan.first_usable_before())?,
        Standing::New if plan.is_second(&copy.array, &partitions)? => tidy = vec![plan.zeros()],
        Standing::New | Standing::Other => {}
    }
    Ok(IdSteps { standing, commit, tidy })
}

/// The partitions of the primary table, wherever the backup is, by their places on the disk.
///
/// # Errors
/// When there is no table, or it is damaged.
pub fn read_partitions(disk: &dyn ReadAt, sector_size: SectorSize) -> Result<Vec<Partition>, TableError> {
    read_primary(disk, sector_size).map(|(_, _, partitions)| partitions)
}

impl TableCopy {
    fn standing(&self, ids: &IdChange) -> Standing {
        let all = |disk: Uuid, of: &dyn Fn(&NewId) -> Uuid| {
            let has = |id: &NewId| self.guid_of(id.number) == Some(of(id));
            self.guid == disk && ids.partitions.iter().all(has)
        };
        if all(ids.disk.0, &|id| id.old) {
            Standing::Old
        } else if all(ids.disk.1, &|id| id.new) {
            Standing::New
        } else {
            Standing::Other
        }
    }

    fn slot(&self, number: u32) -> Option<usize> {
        let at = (number as usize).checked_sub(1)?.checked_mul(self.entry_size)?;
        let slot = self.array.get(at..)?.get(..self.entry_size)?;
        (!get_guid(slot, entry::TYPE).is_nil()).then_some(at)
    }

    fn guid_of(&self, number: u32) -> Option<Uuid> {
        self.slot(number).map(|at| get_guid(&self.array, at + entry::GUID))
    }

    fn array_with(&self, ids: &IdChange) -> Vec<u8> {
        let mut array = self.array.clone();
        for id in &ids.partitions {
            if let Some(at) = self.slot(id.number) {
                put(&mut array, at + entry::GUID, &id.new.to_bytes_le());
            }
        }
        array
    }
}

/// Where everything is and goes.
struct Plan<'a> {
    disk: &'a dyn ReadAt,
    sector: u64,
    header: &'a Header,
    copy: &'a TableCopy,
    /// Sectors that an array takes.
    array_lbas: u64,
    /// Where the backup will be.
    backup_lba: u64,
    last_usable: u64,
}

impl<'a> Plan<'a> {
    fn new(
        disk: &'a dyn ReadAt,
        sector_size: SectorSize,
        header: &'a Header,
        copy: &'a TableCopy,
    ) -> Result<Self, TableError> {
        let sector = sector_size.bytes();
        let array_lbas = (copy.array.len() as u64).div_ceil(sector);
        let last_lba = disk.len() / sector - 1;
        // What the disk has grown by is for partitions, up to the backup's new place. After the commit the backup
        // is where the header says, whatever the disk has become since.
        let (backup_lba, last_usable) = if header.array_lba == HOME && header.alternate_lba < last_lba {
            (last_lba, last_lba.saturating_sub(array_lbas + 1).max(copy.last_usable))
        } else {
            (header.alternate_lba, copy.last_usable)
        };
        let plan = Self { disk, sector, header, copy, array_lbas, backup_lba, last_usable };
        let damaged = |problem: &str| TableError::Damaged { copy: "primary", problem: problem.to_owned() };
        if ![HOME, plan.second()].contains(&header.array_lba) {
            return Err(damaged("its array of entries does not begin at sector 2"));
        }
        if last_usable >= backup_lba.saturating_sub(array_lbas) {
            return Err(damaged("its usable range leaves no room for the backup's array of entries"));
        }
        Ok(plan)
    }

    fn is_home(&self) -> bool {
        self.header.array_lba == HOME
    }

    /// Where the second array goes.
    fn second(&self) -> u64 {
        HOME + self.array_lbas
    }

    fn second_end(&self) -> u64 {
        self.second() + self.array_lbas
    }

    /// The first usable sector that a table had before this began: the least that there can be if it had to give way.
    fn first_usable_before(&self) -> u64 {
        let first = self.copy.first_usable;
        if first == self.second_end() { self.second() } else { first }
    }

    /// Whether the room for the second array is nobody's.
    fn is_free(&self, partitions: &[Partition]) -> bool {
        let end = self.second_end();
        end <= self.last_usable && partitions.iter().all(|partition| partition.offset >= end * self.sector)
    }

    fn read_second(&self) -> Result<Vec<u8>, TableError> {
        let mut bytes = vec![0; (self.array_lbas * self.sector) as usize];
        self.disk.read_exact_at(self.second() * self.sector, &mut bytes)?;
        Ok(bytes)
    }

    /// Makes sure that nothing but what an earlier run began to write is where the second array goes: firmware of
    /// small machines lies there, which no partition shows.
    fn check_room(&self, array: &[u8], partitions: &[Partition]) -> Result<(), TableError> {
        let none = TableError::NoRoom { first: self.second(), last: self.second_end() - 1 };
        if !self.is_home() || !self.is_free(partitions) {
            return Err(none);
        }
        if self.is_part_of(&self.read_second()?, array) { Ok(()) } else { Err(none) }
    }

    /// Whether some of the second array is still there, though nothing points to it.
    fn is_second(&self, array: &[u8], partitions: &[Partition]) -> Result<bool, TableError> {
        if !self.is_free(partitions) {
            return Ok(false);
        }
        let there = self.read_second()?;
        Ok(!is_zero(&there) && self.is_part_of(&there, array))
    }

    /// Whether each sector is that of the array, or zero.
    fn is_part_of(&self, there: &[u8], array: &[u8]) -> bool {
        let (wanted, sector) = (self.padded(array), self.sector as usize);
        let mut sectors = there.chunks(sector).zip(wanted.chunks(sector));
        sectors.all(|(there, wanted)| is_zero(there) || there == wanted)
    }

    fn padded(&self, array: &[u8]) -> Vec<u8> {
        let mut bytes = array.to_vec();
        bytes.resize((self.array_lbas * self.sector) as usize, 0);
        bytes
    }

    fn at(&self, lba: u64, bytes: Vec<u8>) -> Write {
        Write { offset: lba * self.sector, bytes }
    }

    /// The backup at the end of the disk, the second array, and the header that points to it.
    fn commit(&self, array: &[u8], guid: Uuid) -> Vec<Write> {
        let backup_array = self.backup_lba - self.array_lbas;
        let backup = self.header(array, guid, (self.backup_lba, 1), backup_array, self.copy.first_usable);
        let first_usable = self.copy.first_usable.max(self.second_end());
        let primary = self.header(array, guid, (1, self.backup_lba), self.second(), first_usable);
        vec![
            self.at(backup_array, self.padded(array)),
            self.at(self.backup_lba, backup),
            self.at(self.second(), self.padded(array)),
            self.at(1, primary),
        ]
    }

    /// The array and the header as all tools expect them, and zeros where the second array was.
    fn tidy(&self, array: &[u8], guid: Uuid, first_usable: u64) -> Result<Vec<Write>, TableError> {
        let primary = self.header(array, guid, (1, self.backup_lba), HOME, first_usable);
        let mut steps = vec![self.at(HOME, self.padded(array)), self.at(1, primary), self.zeros()];
        steps.extend(protective_mbr(self.disk, self.backup_lba)?);
        Ok(steps)
    }

    fn zeros(&self) -> Write {
        self.at(self.second(), self.padded(&[]))
    }

    fn header(
        &self,
        array: &[u8],
        guid: Uuid,
        (lba, alternate_lba): (u64, u64),
        array_lba: u64,
        first_usable: u64,
    ) -> Vec<u8> {
        let mut bytes = self.header.bytes.clone();
        let size = (get_u32(&bytes, header::SIZE) as usize).max(HEADER_SIZE);
        put(&mut bytes, header::MY_LBA, &lba.to_le_bytes());
        put(&mut bytes, header::ALTERNATE_LBA, &alternate_lba.to_le_bytes());
        put(&mut bytes, header::FIRST_USABLE, &first_usable.to_le_bytes());
        put(&mut bytes, header::LAST_USABLE, &self.last_usable.to_le_bytes());
        put(&mut bytes, header::DISK_GUID, &guid.to_bytes_le());
        put(&mut bytes, header::ARRAY_LBA, &array_lba.to_le_bytes());
        put(&mut bytes, header::ARRAY_CHECKSUM, &crc32(array).to_le_bytes());
        let checksum = crc32(&bytes[..size]);
        put(&mut bytes, header::CHECKSUM, &checksum.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests;
