//! Reading a FAT32 volume: every entry, with content that refers to the volume's own bytes.
//!
//! Not through `fatfs`, which follows a hostile chain for ever and panics at cluster 0; and so that the volume
//! is read by other code than wrote it.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use bake_base::{ReadAt, Timestamp};
use bake_tree::{Content, Extent, TreePath};

use super::geometry::{ATTRIBUTE_LABEL, END_OF_CHAIN, Geometry};
use super::name;
use super::time::DosTime;

/// Most bytes that a directory has (FAT specification, section 6: 65,536 slots of 32 bytes).
const MAX_DIRECTORY: u64 = 65_536 * 32;
const SLOT: usize = 32;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const DELETED: u8 = 0xe5;
/// Stands for a first byte of 0xe5.
const ESCAPED_E5: u8 = 0x05;
/// Code units of a name in one slot.
const UNITS: usize = 13;
/// In the number of a long name's slot: it is the last of the name, and the first on disk.
const LAST_PART: u8 = 0x40;

/// A volume that was read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Volume {
    /// Bytes in a sector.
    pub sector_size: u64,
    /// Bytes in a cluster.
    pub cluster_size: u64,
    /// How many clusters there are.
    pub clusters: u32,
    /// The serial number.
    pub serial: u32,
    /// The label, without its padding.
    pub label: String,
    /// Everything in it: directories before what they hold, otherwise as on disk.
    pub entries: Vec<Entry>,
}

/// An entry of a volume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What a file holds; nothing for a directory.
    pub content: Option<Content>,
    /// Last modification, taken for UTC; nothing when the field holds no date.
    pub mtime: Option<Timestamp>,
}

/// A volume that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The boot sector is none of FAT32.
    #[error("the boot sector of the FAT volume {0}: expected FAT32")]
    BootSector(&'static str),
    /// A directory entry makes no sense.
    #[error("`{path}` on the FAT volume {reason}")]
    Entry {
        /// Which.
        path: TreePath,
        /// What is wrong.
        reason: &'static str,
    },
    /// The bytes cannot be read.
    #[error("reading the FAT volume failed")]
    Read(#[from] io::Error),
}

impl Volume {
    /// Reads a volume.
    ///
    /// # Errors
    /// When it is none, or is damaged, or cannot be read.
    pub fn read(source: &Arc<dyn ReadAt>) -> Result<Self, ReadError> {
        let mut boot = [0; 512];
        if source.len() < boot.len() as u64 {
            return Err(ReadError::BootSector("is shorter than 512 bytes"));
        }
        source.read_exact_at(0, &mut boot)?;
        let geometry = Geometry::parse(&boot, source.len()).map_err(ReadError::BootSector)?;
        let mut walk = Walk {
            source,
            geometry: &geometry,
            entries: Vec::new(),
            seen: BTreeSet::new(),
            left: u64::from(geometry.clusters),
        };
        let mut ahead = vec![(TreePath::root(), geometry.root_cluster)];
        while let Some((path, cluster)) = ahead.pop() {
            walk.directory(&path, cluster, &mut ahead)?;
        }
        let mut entries = walk.entries;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            sector_size: geometry.sector,
            cluster_size: geometry.cluster,
            clusters: geometry.clusters,
            serial: geometry.serial,
            label: geometry.label.trim_ascii_end().escape_ascii().to_string(),
            entries,
        })
    }
}

/// A listing for people and for comparing: one line about the volume, one for each entry with where it lies.
impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sector_size, cluster_size, clusters, serial, label, entries } = self;
        let (high, low) = (serial >> 16, serial & 0xffff);
        writeln!(
            f,
            "FAT32 `{label}` {high:04X}-{low:04X}: {clusters} clusters of {cluster_size}, sectors of {sector_size}"
        )?;
        for Entry { path, content, mtime } in entries {
            let time = mtime.map_or_else(|| "-".to_owned(), |time| time.seconds.to_string());
            let Some(content) = content else {
                writeln!(f, "{path}/ @{time}")?;
                continue;
            };
            write!(f, "{path} @{time} {}", content.len())?;
            for extent in content.extents() {
                write!(f, " {}+{}", extent.source_offset, extent.len)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

struct Walk<'a> {
    source: &'a Arc<dyn ReadAt>,
    geometry: &'a Geometry,
    entries: Vec<Entry>,
    /// First clusters of the directories so far: one that is met again is a loop.
    seen: BTreeSet<u32>,
    /// Clusters that no entry has claimed yet. Entries that share theirs would let a small volume describe
    /// work without end.
    left: u64,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        path: &TreePath,
        first: u32,
        ahead: &mut Vec<(TreePath, u32)>,
    ) -> Result<(), ReadError> {
        let wrong = |path: &TreePath, reason| ReadError::Entry { path: path.clone(), reason };
        if !self.seen.insert(first) {
            return Err(wrong(path, "is a directory in two places"));
        }
        let clusters =
            directory_clusters(&**self.source, self.geometry, first).map_err(|reason| wrong(path, reason))?;
        let mut long = LongName::default();
        self.claim(clusters.len() as u64).map_err(|reason| wrong(path, reason))?;
        for slot in slots(&**self.source, self.geometry, &clusters)? {
            if slot.is_long_name() {
                long.add(&slot);
                continue;
            }
            let name = std::mem::take(&mut long).finish(&slot);
            if slot.is_dot() || slot.attributes() & ATTRIBUTE_LABEL != 0 {
                continue;
            }
            let name = name.unwrap_or_else(|| slot.short_name());
            if name::check(name.as_bytes()).is_err() || matches!(&*name, "" | "." | "..") {
                return Err(wrong(path, "holds a name that is none"));
            }
            let path = TreePath::parse(path.join(name.as_bytes()).as_bytes())
                .map_err(|_| wrong(path, "holds a name that is none"))?;
            let mtime = slot.modified().seconds().map(Timestamp::from_seconds);
            let content = if slot.attributes() & ATTRIBUTE_DIRECTORY != 0 {
                ahead.push((path.clone(), slot.first_cluster()));
                None
            } else {
                Some(self.file(&slot).map_err(|reason| wrong(&path, reason))?)
            };
            self.entries.push(Entry { path, content, mtime });
        }
        Ok(())
    }

    fn claim(&mut self, clusters: u64) -> Result<(), &'static str> {
        self.left = self.left.checked_sub(clusters).ok_or("shares clusters with another entry")?;
        Ok(())
    }

    fn file(&mut self, slot: &Slot) -> Result<Content, &'static str> {
        let size = slot.size();
        if size == 0 {
            return Ok(Content::empty());
        }
        self.claim(size.div_ceil(self.geometry.cluster))?;
        let runs = chain(&**self.source, self.geometry, slot.first_cluster(), size)?;
        let mut extents = Vec::new();
        let mut start = 0;
        for (first, count) in runs {
            let len = (u64::from(count) * self.geometry.cluster).min(size - start);
            let source = Arc::clone(self.source);
            extents.push(Extent { start, len, source, source_offset: self.geometry.offset(first) });
            start += len;
        }
        if start < size {
            return Err("is longer than its chain of clusters");
        }
        Content::sparse(size, extents).map_err(|_| "lies outside of the volume")
    }
}

/// The clusters from `first` on that hold `len` bytes, as runs of (first, count); fewer where the chain ends.
fn chain(
    source: &dyn ReadAt,
    geometry: &Geometry,
    first: u32,
    len: u64,
) -> Result<Vec<(u32, u32)>, &'static str> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut cluster = first;
    // The length bounds the walk, whatever loops there are.
    for _ in 0..len.div_ceil(geometry.cluster) {
        if cluster >= END_OF_CHAIN {
            break;
        }
        if !geometry.has(cluster) {
            return Err("has a cluster that does not exist");
        }
        match runs.last_mut() {
            Some((start, count)) if *start + *count == cluster => *count += 1,
            _ => runs.push((cluster, 1)),
        }
        cluster = geometry.next(source, cluster).map_err(|_| "has a chain that cannot be read")?;
    }
    Ok(runs)
}

/// The clusters of a directory.
pub(super) fn directory_clusters(
    source: &dyn ReadAt,
    geometry: &Geometry,
    first: u32,
) -> Result<Vec<u32>, &'static str> {
    let runs = chain(source, geometry, first, MAX_DIRECTORY)?;
    Ok(runs.into_iter().flat_map(|(first, count)| first..first + count).collect())
}

/// The slots of a directory up to its end, without the deleted ones.
pub(super) fn slots(source: &dyn ReadAt, geometry: &Geometry, clusters: &[u32]) -> io::Result<Vec<Slot>> {
    let mut slots = Vec::new();
    let mut buffer = vec![0; geometry.cluster as usize];
    for cluster in clusters {
        source.read_exact_at(geometry.offset(*cluster), &mut buffer)?;
        let (whole, _) = buffer.as_chunks::<SLOT>();
        for slot in whole {
            match slot[0] {
                0 => return Ok(slots),
                DELETED => {}
                _ => slots.push(Slot(*slot)),
            }
        }
    }
    Ok(slots)
}

/// One of the 32-byte entries of a directory (section 6; for long names, section 7).
#[derive(Clone, Debug)]
pub(super) struct Slot(pub [u8; SLOT]);

impl Slot {
    pub(super) fn name(&self) -> [u8; 11] {
        let mut name = [0; 11];
        name.copy_from_slice(&self.0[..11]);
        name
    }

    pub(super) fn attributes(&self) -> u8 {
        self.0[11]
    }

    pub(super) fn is_long_name(&self) -> bool {
        self.attributes() & 0x3f == ATTRIBUTE_LONG_NAME
    }

    /// Whether it is `.` or `..`: no other short name begins with a dot.
    pub(super) fn is_dot(&self) -> bool {
        self.0[0] == b'.' && !self.is_long_name()
    }

    pub(super) fn first_cluster(&self) -> u32 {
        u32::from(u16::from_le_bytes([self.0[20], self.0[21]])) << 16
            | u32::from(u16::from_le_bytes([self.0[26], self.0[27]]))
    }

    pub(super) fn set_first_cluster(&mut self, cluster: u32) {
        let [a, b, c, d] = cluster.to_le_bytes();
        self.0[20..22].copy_from_slice(&[c, d]);
        self.0[26..28].copy_from_slice(&[a, b]);
    }

    /// In a long name's slot: the checksum of the short name that it belongs to.
    pub(super) fn set_checksum(&mut self, checksum: u8) {
        self.0[13] = checksum;
    }

    fn size(&self) -> u64 {
        u64::from(u32::from_le_bytes([self.0[28], self.0[29], self.0[30], self.0[31]]))
    }

    fn modified(&self) -> DosTime {
        let field = |at: usize| u16::from_le_bytes([self.0[at], self.0[at + 1]]);
        DosTime { time: field(22), date: field(24) }
    }

    /// Creation, access and modification: all the same, for a volume has never been used.
    pub(super) fn set_dates(&mut self, to: DosTime) {
        let (date, time) = (to.date.to_le_bytes(), to.time.to_le_bytes());
        // Hundredths and time of creation, date of creation, date of access; time and date of modification.
        self.0[13] = 0;
        self.0[14..16].copy_from_slice(&time);
        self.0[16..18].copy_from_slice(&date);
        self.0[18..20].copy_from_slice(&date);
        self.0[22..24].copy_from_slice(&time);
        self.0[24..26].copy_from_slice(&date);
    }

    /// The short name, for a file without a long one. Bytes above ASCII depend on a code page that nothing
    /// names; they are shown as `_`. Bits 3 and 4 of `NTRes` say which part is lower case.
    fn short_name(&self) -> String {
        let text = |bytes: &[u8], lower: bool| -> String {
            let bytes = bytes.trim_ascii_end();
            let byte = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { *byte as char } else { '_' };
            let text: String = bytes.iter().map(byte).collect();
            if lower { text.to_ascii_lowercase() } else { text }
        };
        let mut raw = self.name();
        if raw[0] == ESCAPED_E5 {
            raw[0] = DELETED;
        }
        let (base, extension) = (text(&raw[..8], self.0[12] & 8 != 0), text(&raw[8..], self.0[12] & 16 != 0));
        if extension.is_empty() { base } else { format!("{base}.{extension}") }
    }

    /// Of the short name: what its long name's slots carry (section 7.2).
    pub(super) fn checksum(&self) -> u8 {
        self.0[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
    }
}

/// A long name in the making; its parts come last one first (section 7.2).
#[derive(Default)]
struct LongName {
    units: Vec<u16>,
    checksum: u8,
    /// Number of the part that comes next; 0 when the name is whole.
    expected: u8,
    broken: bool,
}

impl LongName {
    fn add(&mut self, slot: &Slot) {
        let (number, checksum) = (slot.0[0], slot.0[13]);
        if number & LAST_PART != 0 {
            *self = Self { checksum, expected: number & 0x1f, ..Self::default() };
        } else if self.expected != number || self.checksum != checksum {
            self.broken = true;
        }
        if self.expected == 0 {
            self.broken = true;
            return;
        }
        self.expected -= 1;
        let parts = [&slot.0[1..11], &slot.0[14..26], &slot.0[28..32]];
        let units = parts.iter().flat_map(|part| part.chunks_exact(2));
        self.units.splice(0..0, units.map(|unit| u16::from_le_bytes([unit[0], unit[1]])));
    }

    /// The name, if it is whole and belongs to `slot`.
    fn finish(self, slot: &Slot) -> Option<String> {
        if self.units.len() < UNITS || self.broken || self.expected != 0 || self.checksum != slot.checksum() {
            return None;
        }
        let units = self.units.split(|unit| *unit == 0).next().unwrap_or_default();
        String::from_utf16(units).ok()
    }
}
