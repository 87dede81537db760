//! What a vendor's signed GRUB for UEFI has built in: its modules, and where it looks for its configuration.
//!
//! `grub-mkimage` puts both into a section of the PE file that is called `mods`: a header (magic, its own size,
//! size of everything, as 64-bit numbers) and objects (type, size, bytes), as in a core image for BIOS. Under
//! Secure Boot nothing else can be loaded, so a configuration can use these modules only.

use std::collections::BTreeSet;

use bake_base::ReadAt;
use bake_tree::Content;

use super::core_image::{MODULE_MAGIC, object};
use crate::pe::{Image, PeError, u16_at, u32_at};

/// More than the modules have (Debian's take 4 MB with fonts), in bytes.
const MAX_MODS: u32 = 64 << 20;
/// Most modules that are read.
const MAX_MODULES: usize = 1024;

/// What is built in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BuiltIn {
    /// Names of modules.
    pub modules: BTreeSet<String>,
    /// The directory of its configuration, such as `/EFI/debian`.
    pub prefix: Option<String>,
}

/// Reads it from the program.
pub(super) fn read(program: &Content) -> Result<BuiltIn, PeError> {
    let image = Image::parse(program)?;
    let section = image.section("mods").ok_or(PeError::Invalid("it has no section `mods`"))?;
    let len = section.raw_size.min(section.virtual_size);
    if len > MAX_MODS {
        return Err(PeError::Invalid("its section `mods` is too large"));
    }
    let mut bytes = vec![0; len as usize];
    program.read_exact_at(u64::from(section.raw_offset), &mut bytes)?;
    parse(&bytes).ok_or(PeError::Invalid("its section `mods` is damaged"))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn parse(bytes: &[u8]) -> Option<BuiltIn> {
    let mut found = BuiltIn::default();
    if bytes.len() < 24 || u32_at(bytes, 0) != MODULE_MAGIC {
        return None;
    }
    let (offset, size) = (u64_at(bytes, 8)?, u64_at(bytes, 16)?);
    let mut rest = bytes.get(offset..size)?;
    while !rest.is_empty() {
        if rest.len() < 8 {
            return None;
        }
        let (kind, size) = (u32_at(rest, 0), u32_at(rest, 4) as usize);
        let content = rest.get(8..size)?;
        match kind {
            object::ELF if found.modules.len() < MAX_MODULES => {
                found.modules.insert(module_name(content)?);
            }
            object::ELF => return None,
            object::PREFIX => found.prefix = Some(text(content)?),
            _ => {}
        }
        rest = &rest[size..];
    }
    Some(found)
}

/// The section `.modname` of a module, a 64-bit ELF file.
fn module_name(elf: &[u8]) -> Option<String> {
    const SECTION_HEADER: usize = 64;
    if elf.len() < 64 || elf[..6] != *b"\x7fELF\x02\x01" || usize::from(u16_at(elf, 58)) != SECTION_HEADER {
        return None;
    }
    let (at, count) = (u64_at(elf, 40)?, usize::from(u16_at(elf, 60)));
    let table = elf.get(at..at.checked_add(count * SECTION_HEADER)?)?;
    let section = |header: &[u8]| {
        let (offset, len) = (u64_at(header, 24)?, u64_at(header, 32)?);
        elf.get(offset..offset.checked_add(len)?)
    };
    let (headers, _) = table.as_chunks::<SECTION_HEADER>();
    let names = section(headers.get(usize::from(u16_at(elf, 62)))?)?;
    let named = |header: &&[u8; 64]| {
        names.get(u32_at(*header, 0) as usize..).is_some_and(|name| name.starts_with(b".modname\0"))
    };
    text(section(headers.iter().find(named)?)?)
}

/// Text up to the first NUL.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A module that says no more than its name.
    fn module(name: &str) -> Vec<u8> {
        let names = b"\0.modname\0";
        let mut elf = [0; 64 + 2 * 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let mut put = |at: usize, value: u64, len: usize| {
            elf[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        };
        put(40, 64, 8);
        put(58, 64, 2);
        put(60, 2, 2);
        // Section 0 holds the names, section 1 the module's.
        put(64 + 24, 192, 8);
        put(64 + 32, names.len() as u64, 8);
        put(128, 1, 4);
        put(128 + 24, 192 + names.len() as u64, 8);
        put(128 + 32, name.len() as u64 + 1, 8);
        [&elf[..], names, name.as_bytes(), b"\0"].concat()
    }

    /// A section with these modules and this prefix.
    pub(in super::super) fn section(modules: &[&str], prefix: &str) -> Vec<u8> {
        let object = |kind: u32, bytes: &[u8]| {
            [&kind.to_le_bytes()[..], &(bytes.len() as u32 + 8).to_le_bytes(), bytes].concat()
        };
        let mut objects = vec![object(1, b"a memory disk")];
        objects.extend(modules.iter().map(|name| object(0, &module(name))));
        objects.push(object(3, format!("{prefix}\0").as_bytes()));
        let objects = objects.concat();
        let mut bytes = [MODULE_MAGIC.to_le_bytes(), [0; 4]].concat();
        bytes.extend_from_slice(&24_u64.to_le_bytes());
        bytes.extend_from_slice(&(24 + objects.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&objects);
        // Sections end with padding.
        bytes.extend_from_slice(&[0; 100]);
        bytes
    }

    #[test]
    fn modules_and_prefix_are_found() {
        let found = parse(&section(&["normal", "regexp"], "/EFI/debian")).unwrap();
        assert_eq!(found.modules.into_iter().collect::<Vec<_>>(), ["normal", "regexp"]);
        assert_eq!(found.prefix.as_deref(), Some("/EFI/debian"));
    }

    #[test]
    fn damaged_sections_are_nothing() {
        let good = section(&["normal"], "/EFI/debian");
        for len in 0..good.len() - 100 {
            assert_eq!(parse(&good[..len]), None, "{len}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = parse(&bad);
            }
        }
    }
}
