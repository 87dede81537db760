//! The little of ELF that tells whether a program runs on a host that has nothing else.

use std::collections::BTreeMap;
use std::io::Read;

use bake_tree::{Node, Tree, TreePath};

/// `EM_X86_64`, as in `elf.h`.
pub const X86_64: u16 = 62;
/// `EM_AARCH64`.
pub const AARCH64: u16 = 183;
/// `PT_INTERP`: the program wants a loader.
const INTERPRETER: u32 = 3;

/// How many programs and libraries there are for each machine.
#[derive(Clone, Debug, Default)]
pub struct Machines(BTreeMap<u16, usize>);

impl Machines {
    /// Counts those in a tree, but not what lies below `except`.
    pub fn count(&mut self, tree: &Tree, except: Option<&TreePath>) {
        for (path, id) in tree.walk() {
            let Node::File(content) = &tree.inode(id).node else { continue };
            let mut header = [0; 20];
            if content.len() >= header.len() as u64
                && except.is_none_or(|except| !path.starts_with(except))
                && content.reader().read_exact(&mut header).is_ok()
                && let Some(machine) = machine(&header)
            {
                *self.0.entry(machine).or_default() += 1;
            }
        }
    }

    /// The one that most are for: some carry programs of other machines as data. Nothing when there are no programs.
    pub fn usual(&self) -> Option<u16> {
        self.0.iter().max_by_key(|(_, count)| **count).map(|(machine, _)| *machine)
    }
}

/// What `uname -m` calls a machine, of those that hosts are.
pub fn name(machine: u16) -> Option<&'static str> {
    match machine {
        X86_64 => Some("x86_64"),
        AARCH64 => Some("aarch64"),
        _ => None,
    }
}

/// The machine that a 64-bit little-endian program is for, by the beginning of its file.
pub fn machine(header: &[u8]) -> Option<u16> {
    let is_elf = header.starts_with(b"\x7fELF\x02\x01");
    is_elf.then(|| Some(u16::from_le_bytes([*header.get(18)?, *header.get(19)?]))).flatten()
}

/// The machine of a static program.
///
/// # Errors
/// What the file is instead.
pub fn check_static(bytes: &[u8]) -> Result<u16, &'static str> {
    let machine = machine(bytes).filter(|machine| name(*machine).is_some());
    let machine = machine.ok_or("is no program for x86_64 or aarch64")?;
    let field = |at: usize, len: usize| {
        let slice = bytes.get(at..at.checked_add(len)?)?;
        Some(slice.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)))
    };
    let headers = || {
        let (offset, size, count) = (field(32, 8)?, field(54, 2)?, field(56, 2)?);
        (0..count)
            .map(|at| field(usize::try_from(offset.checked_add(at * size)?).ok()?, 4))
            .collect::<Option<Vec<_>>>()
    };
    match headers() {
        None => Err("is cut off"),
        Some(types) if types.is_empty() => Err("is no program"),
        Some(types) if types.contains(&u64::from(INTERPRETER)) => {
            Err("needs a loader and libraries, which hosts may not have: expected a static program")
        }
        Some(_) => Ok(machine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with program headers of these types.
    fn program(types: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[18] = 62;
        (bytes[32], bytes[54], bytes[56]) = (64, 56, types.len() as u8);
        for kind in types {
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&[0; 52]);
        }
        bytes
    }

    #[test]
    fn a_static_program_is_told_from_others() {
        assert_eq!(check_static(&program(&[1, 2])), Ok(X86_64));
        assert!(check_static(&program(&[1, 3])).unwrap_err().contains("expected a static program"));
        assert_eq!(check_static(&program(&[])), Err("is no program"));
        assert_eq!(check_static(&program(&[1])[..70]), Ok(X86_64));
        assert_eq!(check_static(&program(&[1])[..66]), Err("is cut off"));
        assert!(check_static(b"#!/bin/sh\n").is_err());
        let mut endless = program(&[1]);
        endless[32..40].fill(0xff);
        assert_eq!(check_static(&endless), Err("is cut off"));
    }
}
