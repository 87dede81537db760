//! Reading a VMDK of one file, sparse or stream-optimised, made here or elsewhere.

use std::io::{self, Read};

use bake_base::ReadAt;
use flate2::read::ZlibDecoder;

use super::{COMPRESSED, DEFLATE, GRAIN, MAGIC, MAX_SIZE, SECTOR};
use crate::container::{Format, OpenError, fields};

/// The directory's place in the first header of a stream: look at the second.
const AT_END: u64 = u64::MAX;
/// From the second header, which a marker precedes, to the end.
const FOOTER_TO_END: u64 = 2 * SECTOR;
/// Flag: an entry of 1 is a grain of zeros.
const ZEROED_GRAINS: u32 = 1 << 2;
/// What a grain takes at most, compressed; and the descriptor.
const MAX_COMPRESSED: usize = 2 * GRAIN as usize;
const MAX_DESCRIPTOR: u64 = 1 << 20;

pub(super) fn recognise(file: &dyn ReadAt, compressed: bool) -> io::Result<bool> {
    let mut start = [0; 12];
    if file.len() < SECTOR {
        return Ok(false);
    }
    file.read_exact_at(0, &mut start)?;
    Ok(start[..4] == MAGIC && (fields::le32(&start, 8) & COMPRESSED != 0) == compressed)
}

/// An open image: tables are looked up in the file for each read.
#[derive(Debug)]
pub(in super::super) struct Reader<R> {
    file: R,
    len: u64,
    /// In bytes.
    grain: u64,
    table_entries: u64,
    directory: u64,
    flags: u32,
}

impl<R: ReadAt> Reader<R> {
    pub(in super::super) fn new(file: R, format: Format) -> Result<Self, OpenError> {
        let damaged = |problem: String| OpenError::Damaged { format, problem };
        let unsupported = |feature: String| OpenError::Unsupported { format, feature };
        let mut header = [0; SECTOR as usize];
        file.read_exact_at(0, &mut header)?;
        if fields::le64(&header, 56) == AT_END {
            let at = file.len().saturating_sub(FOOTER_TO_END);
            file.read_exact_at(at, &mut header)?;
            if header[..4] != MAGIC {
                return Err(damaged("its end is missing".to_owned()));
            }
        }
        let (version, flags) = (fields::le32(&header, 4), fields::le32(&header, 8));
        let (capacity, grain) = (fields::le64(&header, 12), fields::le64(&header, 20));
        let (descriptor, descriptor_size) = (fields::le64(&header, 28), fields::le64(&header, 36));
        let (table_entries, directory) = (u64::from(fields::le32(&header, 44)), fields::le64(&header, 56));
        if !(1..=3).contains(&version) {
            return Err(unsupported(format!("version {version}")));
        }
        if flags & COMPRESSED != 0 && fields::le16(&header, 77) != DEFLATE {
            return Err(unsupported(format!("compression {}", fields::le16(&header, 77))));
        }
        if capacity > MAX_SIZE / SECTOR {
            return Err(damaged(format!("{capacity} sectors are more than the format has")));
        }
        if !grain.is_power_of_two()
            || !(8..=GRAIN / SECTOR).contains(&grain)
            || !(1..=512).contains(&table_entries)
        {
            return Err(damaged(format!(
                "{table_entries} grains of {grain} sectors in a table: expected 512 of 128"
            )));
        }
        let reader =
            Self { file, len: capacity * SECTOR, grain: grain * SECTOR, table_entries, directory, flags };
        let entries = capacity.div_ceil(grain * table_entries);
        if reader.place(directory, entries * 4).is_err() {
            return Err(damaged(format!("its grain directory cannot lie at sector {directory}")));
        }
        match reader.has_parent(descriptor, descriptor_size) {
            Ok(false) => Ok(reader),
            Ok(true) => Err(unsupported("a parent".to_owned())),
            Err(_) => Err(damaged(format!("its descriptor cannot lie at sector {descriptor}"))),
        }
    }

    /// Whether the descriptor names another disk that this one stands on.
    fn has_parent(&self, sector: u64, sectors: u64) -> io::Result<bool> {
        if sector == 0 {
            return Ok(false); // the descriptor is a file of its own
        }
        let len = sectors.checked_mul(SECTOR).filter(|len| *len <= MAX_DESCRIPTOR);
        let len = len.ok_or_else(|| invalid("its descriptor is too long"))?;
        let mut text = vec![0; len as usize];
        self.file.read_exact_at(self.place(sector, len)?, &mut text)?;
        let text = String::from_utf8_lossy(&text).to_ascii_lowercase();
        let parent = text.lines().find_map(|line| line.trim().strip_prefix("parentcid="));
        Ok(parent.is_some_and(|id| id.trim() != "ffffffff"))
    }

    /// Checks the place of something that begins at a sector: inside of the file, after the header.
    fn place(&self, sector: u64, len: u64) -> io::Result<u64> {
        let start = sector.checked_mul(SECTOR).filter(|start| *start > 0);
        let end = start.and_then(|start| start.checked_add(len)).filter(|end| *end <= self.file.len());
        match (start, end) {
            (Some(start), Some(_)) => Ok(start),
            _ => Err(invalid(&format!("sector {sector} cannot be where {len} bytes of the image lie"))),
        }
    }

    fn entry(&self, table: u64, index: u64) -> io::Result<u64> {
        let mut entry = [0; 4];
        self.file.read_exact_at(self.place(table, (index + 1) * 4)? + index * 4, &mut entry)?;
        Ok(u64::from(u32::from_le_bytes(entry)))
    }

    /// The sector of a grain, unless it is zeros.
    fn sector(&self, grain: u64) -> io::Result<Option<u64>> {
        let table = match self.entry(self.directory, grain / self.table_entries)? {
            0 => return Ok(None),
            table => table,
        };
        match self.entry(table, grain % self.table_entries)? {
            0 => Ok(None),
            1 if self.flags & ZEROED_GRAINS != 0 => Ok(None),
            sector => Ok(Some(sector)),
        }
    }

    /// The bytes of a compressed grain, whose marker begins at this sector.
    fn inflate(&self, grain: u64, sector: u64) -> io::Result<Vec<u8>> {
        let mut marker = [0; 12];
        let start = self.place(sector, marker.len() as u64)?;
        self.file.read_exact_at(start, &mut marker)?;
        let (first, size) = (fields::le64(&marker, 0), fields::le32(&marker, 8) as usize);
        if first != grain * self.grain / SECTOR || size > MAX_COMPRESSED {
            return Err(invalid(&format!("the marker at sector {sector} is not that of grain {grain}")));
        }
        let mut compressed = vec![0; size];
        self.place(sector, 12 + size as u64)?;
        self.file.read_exact_at(start + 12, &mut compressed)?;
        let mut bytes = Vec::with_capacity(self.grain as usize);
        ZlibDecoder::new(&compressed[..]).take(self.grain + 1).read_to_end(&mut bytes)?;
        // The last grain may be as short as the disk.
        let wanted = self.grain.min(self.len - grain * self.grain);
        if !(wanted..=self.grain).contains(&(bytes.len() as u64)) {
            return Err(invalid(&format!(
                "grain {grain} has {} bytes: expected {}",
                bytes.len(),
                self.grain
            )));
        }
        Ok(bytes)
    }
}

impl<R: ReadAt> ReadAt for Reader<R> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = fields::end(offset, buffer.len(), self.len)?;
        fields::each_unit(offset, end, self.grain, |grain, within, range| {
            let part = &mut buffer[range];
            match self.sector(grain)? {
                None => part.fill(0),
                Some(sector) if self.flags & COMPRESSED != 0 => {
                    part.copy_from_slice(&self.inflate(grain, sector)?[within as usize..][..part.len()]);
                }
                Some(sector) => {
                    let start = self.place(sector, within + part.len() as u64)?;
                    self.file.read_exact_at(start + within, part)?;
                }
            }
            Ok(())
        })
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged vmdk image: {problem}"))
}
