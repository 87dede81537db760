//! Revocation by generation: whether a vendor's shim would start the vendor's GRUB (shim's `SBAT.md`).
//!
//! A program lists its components with their generations in a section `.sbat`; what a machine demands at least
//! is a list of the same form in the firmware variable `SbatLevel`. Shim brings two such lists in a section
//! `.sbatlevel` (a version, two offsets that count from behind the version, two texts): one that it sets on
//! machines that have none or an older one, and a newer one that it sets only when told to.

use bake_base::ReadAt;
use bake_tree::Content;

use crate::pe::{Image, PeError, Section, u32_at};

/// More than any such section has, in bytes.
const MAX_SECTION: u32 = 64 << 10;
/// Bytes of a symbol.
const SYMBOL: u64 = 18;

/// A component and its generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    pub name: String,
    pub generation: u32,
}

/// What shim demands of what it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// What it sets by itself.
    pub automatic: Vec<Component>,
    /// What it sets when told to.
    pub latest: Vec<Component>,
}

/// A component that a level does not let pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    /// Which, with the generation that the program has.
    pub component: Component,
    /// The least that the level allows.
    pub needed: u32,
}

/// The components that a program lists; nothing when it has no such section.
pub(super) fn components(program: &Content) -> Result<Option<Vec<Component>>, PeError> {
    let Some(bytes) = section(program, ".sbat")? else { return Ok(None) };
    parse(&bytes).map(Some).ok_or(PeError::Invalid("its section `.sbat` is damaged"))
}

/// The levels that shim brings; nothing when it is older than that section (15.6).
pub(super) fn levels(shim: &Content) -> Result<Option<Levels>, PeError> {
    let Some(bytes) = section(shim, ".sbatlevel")? else { return Ok(None) };
    let damaged = || PeError::Invalid("its section `.sbatlevel` is damaged");
    if bytes.len() < 12 || u32_at(&bytes, 0) != 0 {
        return Err(damaged());
    }
    let level = |at: usize| parse(bytes.get((u32_at(&bytes, at) as usize).checked_add(4)?..)?);
    let automatic = level(4).ok_or_else(damaged)?;
    Ok(Some(Levels { automatic, latest: level(8).ok_or_else(damaged)? }))
}

/// The first component of a program that a level revokes.
pub(super) fn revoked(program: &[Component], level: &[Component]) -> Option<Revoked> {
    let needed = |component: &Component| level.iter().find(|other| other.name == component.name);
    program.iter().find_map(|component| {
        let needed = needed(component).filter(|needed| needed.generation > component.generation)?;
        Some(Revoked { component: component.clone(), needed: needed.generation })
    })
}

fn section(program: &Content, name: &str) -> Result<Option<Vec<u8>>, PeError> {
    let image = Image::parse(program)?;
    let Some(section) = find(&image, program, name)? else { return Ok(None) };
    let len = section.raw_size.min(section.virtual_size);
    if len > MAX_SECTION {
        return Err(PeError::Invalid("one of its sections about revocation is too large"));
    }
    let mut bytes = vec![0; len as usize];
    program.read_exact_at(u64::from(section.raw_offset), &mut bytes)?;
    Ok(Some(bytes))
}

/// The section of this name. One of more than eight bytes is in the table of strings behind the symbols, and the
/// header has `/` and where it is there (PE Format, "Section Table").
fn find<'a>(image: &'a Image, program: &Content, name: &str) -> Result<Option<&'a Section>, PeError> {
    if name.len() <= 8 {
        return Ok(image.section(name));
    }
    let (symbols, count) = image.symbols;
    let strings = u64::from(symbols) + u64::from(count) * SYMBOL;
    let wanted = [name.as_bytes(), b"\0"].concat();
    for section in &image.sections {
        let offset = section.name.strip_prefix(b"/").and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(offset) = offset.and_then(|digits| digits.parse::<u32>().ok()) else { continue };
        let at = strings + u64::from(offset);
        let mut found = vec![0; wanted.len()];
        if at + wanted.len() as u64 <= program.len() {
            program.read_exact_at(at, &mut found)?;
        }
        if found == wanted {
            return Ok(Some(section));
        }
    }
    Ok(None)
}

/// Lines `NAME,GENERATION,…` up to a NUL.
fn parse(bytes: &[u8]) -> Option<Vec<Component>> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).ok()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut fields = line.split(',');
            let (name, generation) = (fields.next()?, fields.next()?);
            Some(Component { name: name.to_owned(), generation: generation.trim().parse().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Component> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_older_than_a_level_is_revoked() {
        let grub = list(
            "sbat,1,SBAT Version,sbat,1,https://…\ngrub,4,Free Software Foundation,grub,2.06,…\ngrub.debian,5,…\n",
        );
        assert_eq!(revoked(&grub, &list("sbat,1,2024010900\nshim,4\ngrub,4\ngrub.debian,4\n")), None);
        let found = revoked(&grub, &list("sbat,1,2025051000\nshim,4\ngrub,5\n")).unwrap();
        assert_eq!((&*found.component.name, found.component.generation, found.needed), ("grub", 4, 5));
    }

    #[test]
    fn damaged_lists_are_nothing() {
        assert_eq!(parse(b"\0grub"), Some(Vec::new()));
        for text in ["grub", "grub,x,", "grub,-1", "grub,99999999999"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"\xff,1"), None);
    }
}
