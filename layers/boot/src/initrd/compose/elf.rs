//! What a program says about the libraries that it needs.
//!
//! Read as the loader does it, by program headers and not by sections (System V ABI, "Program Loading and Dynamic
//! Linking"; `ld.so(8)`): interpreter, `DT_NEEDED`, `DT_RPATH`, `DT_RUNPATH`; and beside them what a program loads
//! later, from its notes (the specification "ELF dlopen metadata" of the UAPI group: owner `FDO`, type 0x407c0c0a, JSON).

use std::io;

/// Bytes of the header, of a program header, of a dynamic entry, of a note's header.
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const ENTRY: usize = 16;
const NOTE: usize = 12;
/// Types of program headers.
const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;
const NOTES: u32 = 4;
/// Tags of dynamic entries.
const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const STRINGS_LEN: u64 = 10;
const SONAME: u64 = 14;
const RPATH: u64 = 15;
const RUNPATH: u64 = 29;
/// Type of a note about libraries that are loaded later.
const DLOPEN: u32 = 0x407c_0c0a;

/// A program or a library.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Program {
    /// `e_machine`.
    pub machine: u16,
    /// The loader.
    pub interpreter: Option<String>,
    /// The name that a library goes by.
    pub soname: Option<String>,
    /// Libraries without which it does not start.
    pub needed: Vec<String>,
    /// Where they are looked for first, and with what loads it.
    pub rpath: Vec<String>,
    /// Where they are looked for, for itself.
    pub runpath: Vec<String>,
    /// Libraries that it may load later: of each group, all names, and how much it wants one of them.
    pub dlopen: Vec<(Vec<String>, Wanted)>,
}

/// How much a program wants a library that it loads by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Required,
    Recommended,
    Suggested,
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> io::Result<[u8; N]> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>().copied()).ok_or_else(outside)
}

fn u16_at(bytes: &[u8], at: usize) -> io::Result<u16> {
    Ok(u16::from_le_bytes(number(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> io::Result<u32> {
    Ok(u32::from_le_bytes(number(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> io::Result<u64> {
    Ok(u64::from_le_bytes(number(bytes, at)?))
}

fn outside() -> io::Error {
    invalid("it is cut short: something lies outside of the file")
}

/// `len` bytes at `offset`.
fn part(bytes: &[u8], offset: u64, len: u64) -> io::Result<&[u8]> {
    let end = offset.checked_add(len).filter(|end| *end <= bytes.len() as u64).ok_or_else(outside)?;
    Ok(&bytes[offset as usize..end as usize])
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Whether it is an ELF file of the kind that is understood: 64 bits, little-endian, a program or a library.
pub(super) fn is_program(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF\x02\x01") && matches!(u16_at(bytes, 16), Ok(2 | 3))
}

/// Reads a program or library.
pub(super) fn read(bytes: &[u8]) -> io::Result<Program> {
    let (at, count) = (u64_at(bytes, 32)?, u16_at(bytes, 56)?);
    if bytes.len() < HEADER || usize::from(u16_at(bytes, 54)?) != PROGRAM_HEADER && count > 0 {
        return Err(invalid("its program headers have an unknown size"));
    }
    let table = part(bytes, at, u64::from(count) * PROGRAM_HEADER as u64)?;
    let headers: Vec<&[u8]> = table.chunks_exact(PROGRAM_HEADER).collect();
    let mut program = Program { machine: u16_at(bytes, 18)?, ..Program::default() };
    let mut dynamic: &[u8] = &[];
    for header in &headers {
        let (offset, len) = (u64_at(header, 8)?, u64_at(header, 32)?);
        match u32_at(header, 0)? {
            INTERPRETER => program.interpreter = Some(text(part(bytes, offset, len)?)),
            DYNAMIC => dynamic = part(bytes, offset, len)?,
            NOTES => program.dlopen.extend(notes(part(bytes, offset, len)?, u64_at(header, 48)?)?),
            _ => {}
        }
    }
    let mut entries = Vec::new();
    for entry in dynamic.chunks_exact(ENTRY) {
        match u64_at(entry, 0)? {
            0 => break,
            tag => entries.push((tag, u64_at(entry, 8)?)),
        }
    }
    let value = |wanted: u64| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, value)| *value);
    let Some(address) = value(STRINGS) else { return Ok(program) };
    let strings = part(bytes, offset_of(&headers, address)?, value(STRINGS_LEN).unwrap_or(0))?;
    let string = |at: u64| -> io::Result<String> {
        let at = usize::try_from(at).ok().filter(|at| *at < strings.len());
        Ok(text(&strings[at.ok_or_else(outside)?..]))
    };
    let list = |text: String| text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    for (tag, value) in &entries {
        match *tag {
            NEEDED => program.needed.push(string(*value)?),
            SONAME => program.soname = Some(string(*value)?),
            RPATH => program.rpath = list(string(*value)?),
            RUNPATH => program.runpath = list(string(*value)?),
            _ => {}
        }
    }
    Ok(program)
}

/// Where in the file lies what is loaded to an address.
fn offset_of(headers: &[&[u8]], address: u64) -> io::Result<u64> {
    for header in headers {
        let (offset, start, len) = (u64_at(header, 8)?, u64_at(header, 16)?, u64_at(header, 32)?);
        let inside = address.checked_sub(start).filter(|inside| *inside < len);
        if let (LOAD, Some(inside)) = (u32_at(header, 0)?, inside) {
            return offset.checked_add(inside).ok_or_else(outside);
        }
    }
    Err(invalid("its strings are never loaded"))
}

/// The groups of libraries in a segment of notes.
fn notes(mut bytes: &[u8], align: u64) -> io::Result<Vec<(Vec<String>, Wanted)>> {
    let align = if align == 8 { 8 } else { 4 };
    let mut found = Vec::new();
    while bytes.len() >= NOTE {
        let (name, len) = (u32_at(bytes, 0)? as usize, u32_at(bytes, 4)? as usize);
        let start = (NOTE + name).next_multiple_of(align);
        let content = bytes.get(start..).and_then(|rest| rest.get(..len)).ok_or_else(outside)?;
        if u32_at(bytes, 8)? == DLOPEN && bytes[NOTE..NOTE + name] == *b"FDO\0" {
            let json = text(content);
            found.extend(groups(&json).ok_or_else(|| invalid("its note about libraries is not understood"))?);
        }
        bytes = bytes.get((start + len).next_multiple_of(align)..).unwrap_or_default();
    }
    Ok(found)
}

/// The groups of one note: `[{"feature":…,"description":…,"priority":"recommended","soname":["libx.so.1"]}]`.
fn groups(json: &str) -> Option<Vec<(Vec<String>, Wanted)>> {
    let document: serde_json::Value = serde_json::from_str(json).ok()?;
    let groups = document.as_array()?.iter().map(|group| {
        let names = group.get("soname")?.as_array()?.iter();
        let names = names.map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
        let wanted = match group.get("priority").and_then(serde_json::Value::as_str) {
            Some("required") => Wanted::Required,
            Some("suggested") => Wanted::Suggested,
            // As the specification has it for those that say nothing.
            _ => Wanted::Recommended,
        };
        Some((names, wanted))
    });
    groups.collect()
}

#[cfg(test)]
#[path = "elf/tests.rs"]
pub(super) mod tests;
