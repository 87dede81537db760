//! Where the parts of a FAT32 volume lie, read from its boot sector (FAT specification, section 3).

use std::io;

use bake_base::ReadAt;

use super::image::Image;

/// Where the fields of the boot sector lie (sections 3.1 and 3.3).
mod field {
    pub(super) const BYTES_PER_SECTOR: usize = 11;
    pub(super) const SECTORS_PER_CLUSTER: usize = 13;
    pub(super) const RESERVED_SECTORS: usize = 14;
    pub(super) const FAT_COUNT: usize = 16;
    pub(super) const ROOT_ENTRIES_16: usize = 17;
    pub(super) const FAT_SECTORS_16: usize = 22;
    pub(super) const TOTAL_SECTORS: usize = 32;
    pub(super) const FAT_SECTORS: usize = 36;
    pub(super) const ROOT_CLUSTER: usize = 44;
    pub(super) const SERIAL: usize = 67;
    pub(super) const LABEL: usize = 71;
    pub(super) const SIGNATURE: usize = 510;
}

/// Where the free count of an FSInfo sector lies (section 5).
pub(super) const FREE_COUNT: u64 = 488;
/// Where its hint for the next free cluster lies.
const NEXT_FREE: u64 = 492;

/// A FAT entry of this value or above ends a chain (section 4.1).
pub(super) const END_OF_CHAIN: u32 = 0x0fff_fff8;
/// The upper four bits of a FAT entry are no part of the number.
const ENTRY_MASK: u32 = 0x0fff_ffff;
/// Fewer clusters make FAT16 (section 3.5).
const MIN_CLUSTERS: u64 = 65_525;

/// Attribute of the entry that holds the label (section 6).
pub(super) const ATTRIBUTE_LABEL: u8 = 0x08;

/// The shape of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub sector: u64,
    pub cluster: u64,
    pub fat_start: u64,
    pub fat_len: u64,
    pub fat_count: u64,
    pub data_start: u64,
    /// How many clusters there are; the first has number 2.
    pub clusters: u32,
    pub root_cluster: u32,
    pub serial: u32,
    pub label: [u8; 11],
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Geometry {
    /// Reads a boot sector, and says what is wrong with it if it is none of a FAT32 volume of `len` bytes.
    pub(super) fn parse(boot: &[u8; 512], len: u64) -> Result<Self, &'static str> {
        if boot[field::SIGNATURE..] != [0x55, 0xaa] {
            return Err("has no signature at byte 510");
        }
        let sector = u16_at(boot, field::BYTES_PER_SECTOR);
        if !matches!(sector, 512 | 1024 | 2048 | 4096) {
            return Err("has sectors of another size than 512 to 4096 bytes");
        }
        let per_cluster = u64::from(boot[field::SECTORS_PER_CLUSTER]);
        if !per_cluster.is_power_of_two() {
            return Err("has clusters that are no power of two");
        }
        if u16_at(boot, field::FAT_SECTORS_16) != 0 || u16_at(boot, field::ROOT_ENTRIES_16) != 0 {
            return Err("is of FAT12 or FAT16");
        }
        let fat_count = u64::from(boot[field::FAT_COUNT]);
        let fat_len = u64::from(u32_at(boot, field::FAT_SECTORS)) * sector;
        let total = u64::from(u32_at(boot, field::TOTAL_SECTORS)) * sector;
        let fat_start = u16_at(boot, field::RESERVED_SECTORS) * sector;
        let data_start = fat_start + fat_count * fat_len;
        let cluster = per_cluster * sector;
        if fat_count == 0 || fat_start == 0 || total > len || data_start >= total {
            return Err("has sizes that contradict each other or the volume's");
        }
        // A FAT with fewer entries than clusters bounds them (section 3.5: two entries are reserved).
        let clusters = ((total - data_start) / cluster).min((fat_len / 4).saturating_sub(2));
        if clusters < MIN_CLUSTERS {
            return Err("has too few clusters for FAT32");
        }
        let root_cluster = u32_at(boot, field::ROOT_CLUSTER);
        let clusters = u32::try_from(clusters).map_err(|_| "has too many clusters")?.min(0x0fff_fff5);
        let mut label = [0; 11];
        label.copy_from_slice(&boot[field::LABEL..field::LABEL + 11]);
        let serial = u32_at(boot, field::SERIAL);
        Ok(Self {
            sector,
            cluster,
            fat_start,
            fat_len,
            fat_count,
            data_start,
            clusters,
            root_cluster,
            serial,
            label,
        })
    }

    /// Whether there is such a cluster.
    pub(super) fn has(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    /// Where a cluster lies. It is one that the volume [has](Self::has).
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        self.data_start + u64::from(cluster - 2) * self.cluster
    }

    /// What the first FAT says about a cluster that the volume [has](Self::has): the one that follows it.
    pub(super) fn next(&self, source: &dyn ReadAt, cluster: u32) -> io::Result<u32> {
        let mut entry = [0; 4];
        source.read_exact_at(self.fat_start + 4 * u64::from(cluster), &mut entry)?;
        Ok(u32::from_le_bytes(entry) & ENTRY_MASK)
    }
}

/// Takes the boot sector and the FSInfo sector of a volume that `fatfs` just formatted and makes an empty
/// volume of them in which clusters begin at a multiple of their size: so that content lies aligned as the
/// page cache, flash and shared extents want it. Sectors between are reserved ones (`BPB_RsvdSecCnt` says how
/// many: section 3.1 allows any number).
pub(super) fn align(draft: &Image, label: [u8; 11]) -> io::Result<(Image, Geometry)> {
    let bad = |reason| io::Error::other(format!("`fatfs` formatted a volume that {reason}"));
    let mut boot = [0; 512];
    draft.read_exact_at(0, &mut boot)?;
    let before = Geometry::parse(&boot, draft.len()).map_err(bad)?;
    let excess = before.data_start % before.cluster;
    if excess > 0 {
        let more = (before.cluster - excess) / before.sector;
        let reserved = u16_at(&boot, field::RESERVED_SECTORS) + more;
        boot[field::RESERVED_SECTORS..][..2].copy_from_slice(&(reserved as u16).to_le_bytes());
    }
    let geometry = Geometry::parse(&boot, draft.len()).map_err(bad)?;

    let mut image = Image::new(draft.len());
    image.data_start = geometry.data_start;
    image.write_at(0, &boot)?;
    let mut info = [0; 512];
    draft.read_exact_at(geometry.sector, &mut info)?;
    image.write_at(geometry.sector, &info)?;
    // From here on `fatfs` keeps the count itself. The root directory has the first cluster.
    let free = geometry.clusters - 1;
    image.write_at(geometry.sector + FREE_COUNT, &free.to_le_bytes())?;
    image.write_at(geometry.sector + NEXT_FREE, &(geometry.root_cluster + 1).to_le_bytes())?;
    for fat in 0..geometry.fat_count {
        // The medium's byte, "clean and without errors", and the end of the root directory (section 4.1, 4.2).
        let head = [0x0fff_fff8_u32, 0x0fff_ffff, 0x0fff_ffff].map(u32::to_le_bytes);
        image.write_at(geometry.fat_start + fat * geometry.fat_len, head.as_flattened())?;
    }
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(&label);
    entry[11] = ATTRIBUTE_LABEL;
    image.write_at(geometry.offset(geometry.root_cluster), &entry)?;
    Ok((image, geometry))
}
