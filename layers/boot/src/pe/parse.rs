//! Reading the headers of an executable; hostile ones give errors.

use bake_base::ReadAt;

use super::{PeError, field, u16_at, u32_at};

/// Most sections that are read: what Windows' loader takes. Firmware has been seen to choke on fewer.
const MAX_SECTIONS: usize = 96;
/// Farthest that the PE header may lie from the start; linkers put it within a few hundred bytes.
const MAX_HEADER_OFFSET: u32 = 1 << 20;
/// The optional header's magic number of PE32+.
const PE32_PLUS: u16 = 0x20b;
/// Index of the directory entry that refers to signatures.
const SECURITY: usize = 4;

/// The headers of a PE32+ executable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Image {
    /// The machine type (`0x8664` is x86-64, `0xaa64` is arm64).
    pub machine: u16,
    /// What it runs on; 10 is "EFI application".
    pub subsystem: u16,
    /// Size in memory, in bytes.
    pub size_of_image: u32,
    /// Bytes that the headers take in the file.
    pub size_of_headers: u32,
    /// Sections begin in memory at multiples of this power of two ...
    pub section_alignment: u32,
    /// ... and in the file at multiples of this one.
    pub file_alignment: u32,
    /// Offset and length of the signatures in the file, if there are any.
    pub signatures: Option<(u32, u32)>,
    /// Offset of the symbol table and number of symbols (zero for none).
    pub symbols: (u32, u32),
    /// The sections, in the order of their headers.
    pub sections: Vec<Section>,
    /// Where the PE signature lies in the file.
    pub(super) header: usize,
    /// Where the section headers lie.
    pub(super) section_headers: usize,
    /// Where the directory entry lies that refers to signatures.
    security: Option<usize>,
}

/// A section of an executable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its name, without padding; any bytes.
    pub name: Vec<u8>,
    /// Bytes in memory.
    pub virtual_size: u32,
    /// Where it goes in memory, from the image's start.
    pub virtual_address: u32,
    /// Bytes in the file.
    pub raw_size: u32,
    /// Where they lie.
    pub raw_offset: u32,
}

impl Image {
    /// Reads and checks the headers.
    ///
    /// # Errors
    /// When they are none of a PE32+ executable, contradict each other, or refer to bytes that are not there.
    pub fn parse(source: &dyn ReadAt) -> Result<Self, PeError> {
        let invalid = |reason| Err(PeError::Invalid(reason));
        let mut dos = [0; 64];
        if source.len() < dos.len() as u64 {
            return invalid("it is shorter than a DOS header");
        }
        source.read_exact_at(0, &mut dos)?;
        if dos[..2] != *b"MZ" {
            return invalid("it does not begin with `MZ`");
        }
        let header = u32_at(&dos, 60);
        if header > MAX_HEADER_OFFSET {
            return invalid("its PE header lies too far from the start");
        }
        let header = header as usize;
        let head = read(source, header, field::OPTIONAL + 2)?;
        if head[..4] != *b"PE\0\0" {
            return invalid("it has no PE header");
        }
        if u16_at(&head, field::OPTIONAL) != PE32_PLUS {
            return invalid("it is not of the 64-bit form PE32+");
        }
        let optional_size = usize::from(u16_at(&head, field::OPTIONAL_SIZE));
        let count = usize::from(u16_at(&head, field::SECTION_COUNT));
        if optional_size < field::DIRECTORIES - field::OPTIONAL || count > MAX_SECTIONS {
            return invalid("its headers have an impossible size");
        }
        let sections_at = field::OPTIONAL + optional_size;
        let head = read(source, header, sections_at + count * field::section::SIZE)?;
        let security = security(&head, sections_at);
        let image = Self {
            machine: u16_at(&head, field::MACHINE),
            subsystem: u16_at(&head, field::SUBSYSTEM),
            size_of_image: u32_at(&head, field::IMAGE_SIZE),
            size_of_headers: u32_at(&head, field::HEADERS_SIZE),
            section_alignment: u32_at(&head, field::SECTION_ALIGNMENT),
            file_alignment: u32_at(&head, field::FILE_ALIGNMENT),
            signatures: security.and_then(|at| signatures(&head, at)),
            symbols: (u32_at(&head, field::SYMBOLS), u32_at(&head, field::SYMBOL_COUNT)),
            sections: head[sections_at..].chunks_exact(field::section::SIZE).map(section).collect(),
            header,
            section_headers: header + sections_at,
            security: security.map(|at| header + at),
        };
        let alignments = [image.section_alignment, image.file_alignment];
        if alignments.iter().any(|alignment| !alignment.is_power_of_two() || *alignment > 1 << 20) {
            return invalid("its sections are aligned to something else than a power of two");
        }
        let end = |section: &Section| u64::from(section.raw_offset) + u64::from(section.raw_size);
        if image.sections.iter().any(|section| end(section) > source.len()) {
            return invalid("a section lies outside of the file");
        }
        if u64::from(image.size_of_headers) > source.len() {
            return invalid("its headers lie outside of the file");
        }
        Ok(image)
    }

    /// The first section of this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// Where the checksum lies in the file.
    pub(crate) fn checksum_at(&self) -> usize {
        self.header + field::CHECKSUM
    }

    /// Where the directory entry lies that refers to signatures, if the headers have one.
    pub(crate) fn security_at(&self) -> Option<usize> {
        self.security
    }
}

fn read(source: &dyn ReadAt, at: usize, len: usize) -> Result<Vec<u8>, PeError> {
    if (at + len) as u64 > source.len() {
        return Err(PeError::Invalid("it ends within its headers"));
    }
    let mut bytes = vec![0; len];
    source.read_exact_at(at as u64, &mut bytes)?;
    Ok(bytes)
}

fn security(head: &[u8], end: usize) -> Option<usize> {
    let at = field::DIRECTORIES + 8 * SECURITY;
    (u32_at(head, field::DIRECTORY_COUNT) as usize > SECURITY && at + 8 <= end).then_some(at)
}

fn signatures(head: &[u8], at: usize) -> Option<(u32, u32)> {
    let (offset, len) = (u32_at(head, at), u32_at(head, at + 4));
    (offset != 0 && len != 0).then_some((offset, len))
}

fn section(header: &[u8]) -> Section {
    let name = &header[..8];
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Section {
        name: name[..len].to_vec(),
        virtual_size: u32_at(header, field::section::VIRTUAL_SIZE),
        virtual_address: u32_at(header, field::section::VIRTUAL_ADDRESS),
        raw_size: u32_at(header, field::section::RAW_SIZE),
        raw_offset: u32_at(header, field::section::RAW_OFFSET),
    }
}
