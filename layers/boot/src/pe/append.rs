//! Adding sections to an executable. Their bytes are referred to, never read.

use std::sync::Arc;

use bake_base::{Bytes, ReadAt};
use bake_tree::{Content, Extent};

use super::{Image, PeError, field, u32_at};

/// Executables to which sections are added are loader stubs of about 100 KB; they are held in memory.
const MAX_STUB: u64 = 16 << 20;
/// Sections begin in memory at multiples of at least this: firmware sets access rights by page, and kernels
/// want to begin at one. Stubs linked by old tools claim 512.
const PAGE: u64 = 4096;
/// `IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ`
const DATA: u32 = 0x4000_0040;
/// `IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_READ`
const CODE: u32 = 0x4000_0020;
/// `IMAGE_FILE_LOCAL_SYMS_STRIPPED`
const SYMBOLS_STRIPPED: u16 = 0x0008;
/// The instruction with which assemblers pad code; arm64 stubs have their headers written by one.
const ARM64_NOP: [u8; 4] = [0x1f, 0x20, 0x03, 0xd5];
/// Bytes of a COFF symbol.
const SYMBOL: u64 = 18;

/// A section to be added.
#[derive(Clone, Debug)]
pub struct NewSection {
    /// Its name, 1 to 8 bytes.
    pub name: &'static str,
    /// Its bytes.
    pub content: Content,
    /// Bytes in memory, where that is more than `content` has: the rest is zero.
    pub virtual_size: u64,
    /// Whether it may hold code that runs in place.
    pub code: bool,
}

/// Adds `sections` after those of `stub`, and puts `replacements` in place of the bytes of sections that it
/// has.
///
/// The timestamp and the checksum become zero: firmware looks at neither (UEFI 2.10, section 2.1.1, asks for
/// no more than the headers that describe the load), a time would say when and not what, and the checksum
/// would be wrong again after signing.
///
/// # Errors
/// When `stub` is no executable that can take the sections.
pub fn append(
    stub: &Content,
    replacements: &[(&'static str, Vec<u8>)],
    sections: &[NewSection],
) -> Result<Content, PeError> {
    let image = Image::parse(stub)?;
    if image.signatures.is_some() {
        return Err(PeError::Signed);
    }
    let mut bytes = stub.read_all(MAX_STUB)?;
    strip_symbols(&image, &mut bytes);
    cut_behind_sections(&image, &mut bytes);
    for (name, text) in replacements {
        replace(&image, &mut bytes, name, text)?;
    }
    let file_alignment = u64::from(image.file_alignment);
    let headers_size = make_room(&image, &bytes, sections.len())?;
    let mut raw_offset = (bytes.len() as u64).next_multiple_of(file_alignment);
    let memory_alignment = u64::from(image.section_alignment).max(PAGE);
    let ends = image.sections.iter().map(|s| u64::from(s.virtual_address) + u64::from(s.virtual_size));
    let mut address = ends.max().unwrap_or(0).max(u64::from(image.size_of_headers));
    let mut initialized = u64::from(u32_at(&bytes, image.header + field::INITIALIZED));
    let mut extents = Vec::new();
    let mut at = image.section_headers + image.sections.len() * field::section::SIZE;
    for section in sections {
        let too_large = || PeError::TooLarge(section.name.to_owned());
        let narrow = |value: u64| u32::try_from(value).map_err(|_| too_large());
        let len = section.content.len();
        address = address.next_multiple_of(memory_alignment);
        let raw_size = len.checked_next_multiple_of(file_alignment).ok_or_else(too_large)?;
        let virtual_size = section.virtual_size.max(len);
        let header = &mut bytes[at..at + field::section::SIZE];
        header.fill(0);
        header[..section.name.len()].copy_from_slice(section.name.as_bytes());
        put(header, field::section::VIRTUAL_SIZE, narrow(virtual_size)?);
        put(header, field::section::VIRTUAL_ADDRESS, narrow(address)?);
        put(header, field::section::RAW_SIZE, narrow(raw_size)?);
        put(header, field::section::RAW_OFFSET, narrow(raw_offset)?);
        put(header, field::section::CHARACTERISTICS, if section.code { CODE } else { DATA });
        for extent in section.content.extents() {
            extents.push(Extent { start: raw_offset + extent.start, ..extent });
        }
        at += field::section::SIZE;
        raw_offset += raw_size;
        address += virtual_size;
        initialized += virtual_size;
        narrow(raw_offset)?;
        narrow(address.next_multiple_of(memory_alignment))?;
    }
    let header = &mut bytes[image.header..];
    let count = (image.sections.len() + sections.len()) as u16;
    header[field::SECTION_COUNT..field::SECTION_COUNT + 2].copy_from_slice(&count.to_le_bytes());
    put(header, field::TIME, 0);
    put(header, field::CHECKSUM, 0);
    put(header, field::HEADERS_SIZE, headers_size);
    put(header, field::INITIALIZED, initialized.min(u64::from(u32::MAX)) as u32);
    let size_of_image = address.next_multiple_of(u64::from(image.section_alignment));
    put(header, field::IMAGE_SIZE, size_of_image.min(u64::from(u32::MAX)) as u32);

    let stub: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes));
    extents.insert(0, Extent { start: 0, len: stub.len(), source: stub, source_offset: 0 });
    Content::sparse(raw_offset, extents).map_err(|_| PeError::Invalid("its sections overlap"))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Takes a symbol table at the end away, which only objects should have. Old stubs have one, and it would end
/// up between sections.
fn strip_symbols(image: &Image, bytes: &mut Vec<u8>) {
    let (offset, count) = image.symbols;
    let strings_at = u64::from(offset) + SYMBOL * u64::from(count);
    let Some(strings) = bytes.get(strings_at as usize..).and_then(|rest| rest.first_chunk()) else { return };
    let strings_len = u64::from(u32::from_le_bytes(*strings));
    let after_sections = image.sections.iter().all(|section| section.raw_offset + section.raw_size <= offset);
    if offset == 0 || strings_at + strings_len != bytes.len() as u64 || !after_sections {
        return;
    }
    bytes.truncate(offset as usize);
    let header = &mut bytes[image.header..];
    put(header, field::SYMBOLS, 0);
    put(header, field::SYMBOL_COUNT, 0);
    header[field::CHARACTERISTICS] |= SYMBOLS_STRIPPED as u8;
}

/// Takes away what lies behind the last section, which nothing loads (arm64 stubs have what their linker did
/// not place): between sections, no signature would cover it.
fn cut_behind_sections(image: &Image, bytes: &mut Vec<u8>) {
    let data = image.sections.iter().filter(|section| section.raw_size > 0);
    let ends = data.map(|section| section.raw_offset as usize + section.raw_size as usize);
    bytes.truncate(ends.max().unwrap_or(0).max(image.size_of_headers as usize));
}

/// Checks that the section headers have room up to the first byte of any section, and gives the headers' new
/// size.
fn make_room(image: &Image, bytes: &[u8], needed: usize) -> Result<u32, PeError> {
    let data = image.sections.iter().filter(|section| section.raw_size > 0);
    let first = data.map(|section| section.raw_offset).min().unwrap_or(image.size_of_headers) as usize;
    let used = image.section_headers + image.sections.len() * field::section::SIZE;
    // Only padding is free: something may hide behind the headers.
    let limit = first.min(bytes.len());
    let (words, _) = bytes.get(used..limit).unwrap_or_default().as_chunks::<4>();
    let free = words.iter().take_while(|word| matches!(**word, [0, 0, 0, 0] | ARM64_NOP)).count();
    let room = 4 * free / field::section::SIZE;
    if needed > room {
        return Err(PeError::NoRoom { room, needed });
    }
    let end = (used + needed * field::section::SIZE) as u32;
    Ok(end.next_multiple_of(image.file_alignment).max(image.size_of_headers).min(first as u32))
}

/// Puts `text` where the bytes of the section `name` are.
fn replace(image: &Image, bytes: &mut [u8], name: &str, text: &[u8]) -> Result<(), PeError> {
    let index = image.sections.iter().position(|section| section.name == name.as_bytes());
    let index = index.ok_or(PeError::Invalid("it lacks a section that is to be replaced"))?;
    let section = &image.sections[index];
    let next =
        image.sections.iter().map(|s| s.virtual_address).filter(|a| *a > section.virtual_address).min();
    let in_memory = next.map_or(u32::MAX, |next| next - section.virtual_address);
    let room = u64::from(section.raw_size.min(in_memory));
    if text.len() as u64 > room {
        return Err(PeError::SectionTooSmall { name: name.to_owned(), room, needed: text.len() as u64 });
    }
    let raw = section.raw_offset as usize..(section.raw_offset + section.raw_size) as usize;
    let raw = bytes.get_mut(raw).ok_or(PeError::Invalid("a section lies among the symbols"))?;
    raw.fill(0);
    raw[..text.len()].copy_from_slice(text);
    let at = image.section_headers + index * field::section::SIZE;
    put(&mut bytes[at..], field::section::VIRTUAL_SIZE, text.len() as u32);
    Ok(())
}
