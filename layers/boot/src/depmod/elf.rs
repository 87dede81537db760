//! What a module says: the parts of its ELF file that depmod and the kernel's loader look at.
//!
//! Follows kmod's `libkmod/libkmod-elf.c` for what counts as an export or a need, and in which order; damaged
//! files are errors here, where kmod goes on without them.

use std::collections::BTreeSet;
use std::io;

use bake_base::ReadAt;
use bake_tree::Content;

/// Largest section that is read, in bytes. The symbols of the largest modules take a few megabytes.
const MAX_SECTION: u64 = 64 << 20;
const HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
const SYMBOL: usize = 24;
/// Bytes of an entry in `__versions`: checksum and name (`struct modversion_info` of Linux).
const VERSION: usize = 64;
/// Section type without bytes in the file.
const NOBITS: u32 = 8;
/// Section index of symbols that are defined elsewhere, and of those with a value of their own.
const UNDEFINED: u16 = 0;
const ABSOLUTE: u16 = 0xfff1;
/// Names of the symbols that hold checksums of exports begin with this.
const CRC_PREFIX: &str = "__crc_";

/// A module's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    /// Symbols that it exports, with their checksums where it has them.
    pub exports: Vec<(String, Option<u32>)>,
    /// Symbols that it needs.
    pub needs: Vec<String>,
    /// Checksums of symbols that it was built against.
    pub versions: Vec<(String, u32)>,
    /// `.modinfo`, in order.
    pub info: Vec<(String, String)>,
}

impl Module {
    /// All values of a key.
    pub(super) fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.info.iter().filter(move |(name, _)| name == key).map(|(_, value)| &**value)
    }
}

struct Section {
    name: String,
    kind: u32,
    offset: u64,
    len: u64,
}

struct Symbol {
    name: String,
    section: u16,
    value: u64,
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Strings between NULs, without empty ones.
fn strings(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty()).map(text)
}

/// Reads a module that is not compressed.
pub(super) fn read(content: &Content) -> io::Result<Module> {
    let sections = sections(content)?;
    let bytes = |name: &str| -> io::Result<Vec<u8>> {
        sections.iter().find(|section| section.name == name).map_or(Ok(Vec::new()), |s| section(content, s))
    };
    let info = bytes(".modinfo")?;
    let info = strings(&info).map(|line| {
        let (key, value) = line.split_once('=').unwrap_or((&line, ""));
        (key.to_owned(), value.to_owned())
    });
    let versions = bytes("__versions")?;
    let (entries, rest) = versions.as_chunks::<VERSION>();
    if !rest.is_empty() {
        return Err(invalid("its section `__versions` has an impossible size"));
    }
    let versions: Vec<_> = entries.iter().map(|entry| (text(&entry[8..]), u32_at(entry, 0))).collect();
    let symbols = symbols(&bytes(".symtab")?, &bytes(".strtab")?)?;

    let mut needs: Vec<String> = Vec::new();
    for symbol in symbols.iter().filter(|symbol| symbol.section == UNDEFINED && !symbol.name.is_empty()) {
        needs.push(symbol.name.clone());
    }
    // Versions without a symbol count as needs, after those with one.
    let named: BTreeSet<&String> = needs.iter().collect();
    let others: Vec<_> = versions.iter().map(|(name, _)| name).filter(|name| !named.contains(name)).collect();
    let others: Vec<_> = others.into_iter().cloned().collect();
    needs.extend(others);

    let mut exports = Vec::new();
    for symbol in &symbols {
        if let Some(name) = symbol.name.strip_prefix(CRC_PREFIX) {
            exports.push((name.to_owned(), checksum(content, &sections, symbol)?));
        }
    }
    if exports.is_empty() {
        exports = strings(&bytes("__ksymtab_strings")?).map(|name| (name, None)).collect();
    }
    Ok(Module { exports, needs, versions, info: info.collect() })
}

fn sections(content: &Content) -> io::Result<Vec<Section>> {
    let mut header = [0; HEADER];
    if content.len() < HEADER as u64 {
        return Err(invalid("it is shorter than an ELF header"));
    }
    content.read_exact_at(0, &mut header)?;
    // 64-bit, little-endian, relocatable (ELF-64 Object File Format, 1.5, "ELF Header").
    if header[..6] != *b"\x7fELF\x02\x01" || u16_at(&header, 16) != 1 {
        return Err(invalid("it is no relocatable 64-bit little-endian ELF file"));
    }
    let (at, size) = (u64_at(&header, 40), u16_at(&header, 58));
    let (count, names) = (usize::from(u16_at(&header, 60)), usize::from(u16_at(&header, 62)));
    let table_len = (count * SECTION_HEADER) as u64;
    let fits = at.checked_add(table_len).is_some_and(|end| end <= content.len());
    if usize::from(size) != SECTION_HEADER || !fits || names >= count {
        return Err(invalid("its section headers lie outside of the file"));
    }
    let mut table = vec![0; table_len as usize];
    content.read_exact_at(at, &mut table)?;
    let (headers, _) = table.as_chunks::<SECTION_HEADER>();
    let raw = |header: &[u8; SECTION_HEADER]| Section {
        name: String::new(),
        kind: u32_at(header, 4),
        offset: u64_at(header, 24),
        len: u64_at(header, 32),
    };
    let names = section(content, &raw(&headers[names]))?;
    // The first header describes no section.
    Ok(headers
        .iter()
        .map(|header| Section {
            name: text(names.get(u32_at(header, 0) as usize..).unwrap_or_default()),
            ..raw(header)
        })
        .collect())
}

fn section(content: &Content, section: &Section) -> io::Result<Vec<u8>> {
    if section.kind == NOBITS {
        return Ok(Vec::new());
    }
    let fits = section.offset.checked_add(section.len).is_some_and(|end| end <= content.len());
    if !fits || section.len > MAX_SECTION {
        return Err(invalid("a section lies outside of the file"));
    }
    let mut bytes = vec![0; section.len as usize];
    content.read_exact_at(section.offset, &mut bytes)?;
    Ok(bytes)
}

fn symbols(table: &[u8], names: &[u8]) -> io::Result<Vec<Symbol>> {
    let (entries, rest) = table.as_chunks::<SYMBOL>();
    if !rest.is_empty() {
        return Err(invalid("its symbol table has an impossible size"));
    }
    let mut symbols = Vec::with_capacity(entries.len());
    // The first entry describes no symbol.
    for entry in entries.iter().skip(1) {
        let name = names.get(u32_at(entry, 0) as usize..);
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| invalid("a symbol has no name"))?;
        symbols.push(Symbol { name: text(name), section: u16_at(entry, 6), value: u64_at(entry, 8) });
    }
    Ok(symbols)
}

/// The checksum that a `__crc_` symbol stands for: its value, or since Linux 5.19 the four bytes that it points
/// to.
fn checksum(content: &Content, sections: &[Section], symbol: &Symbol) -> io::Result<Option<u32>> {
    if matches!(symbol.section, UNDEFINED | ABSOLUTE) {
        return Ok(Some(symbol.value as u32).filter(|_| symbol.section == ABSOLUTE));
    }
    let Some(section) = sections.get(usize::from(symbol.section)) else { return Ok(None) };
    let inside = symbol.value.checked_add(4).is_some_and(|end| end <= section.len);
    let at = section.offset.checked_add(symbol.value);
    let at = at.filter(|at| inside && section.kind != NOBITS && at.saturating_add(4) <= content.len());
    let Some(at) = at else { return Ok(None) };
    let mut bytes = [0; 4];
    content.read_exact_at(at, &mut bytes)?;
    Ok(Some(u32::from_le_bytes(bytes)))
}
