//! Credentials in the strings that a hypervisor gives its guest (SMBIOS type 11). systemd has imported them only
//! since version 252, so this program reads them itself.

use std::os::fd::OwnedFd;

use bake_base::names;

use crate::files::read_at;
use crate::place::{self, Root};

/// Where the kernel shows the tables of the firmware.
const ENTRIES: &str = "sys/firmware/dmi/entries";
/// The kind of table that holds strings for whoever runs the machine.
const TYPE: u8 = 11;
/// The shortest header: type, length, a handle of two bytes, the number of strings.
const HEADER: usize = 5;
/// The largest table, in bytes.
const LIMIT: u64 = 1 << 20;

/// The credentials called `name`, in the order of the tables. What is damaged is left out.
pub(super) fn credentials(root: &Root, name: &str) -> Vec<Vec<u8>> {
    let Ok(Some(entries)) = root.find(&place::path(ENTRIES)) else { return Vec::new() };
    let tables = names(&entries).unwrap_or_default();
    let tables = tables.iter().filter(|table| table.starts_with(format!("{TYPE}-").as_bytes()));
    let raw = |table: &Vec<u8>| {
        let directory: OwnedFd = place::enter(&entries, table).ok()?;
        read_at(directory, b"raw", LIMIT).ok()
    };
    tables.filter_map(raw).flat_map(|raw| found(&raw, name)).collect()
}

/// The credentials called `name` in one table.
fn found(table: &[u8], name: &str) -> Vec<Vec<u8>> {
    let plain = format!("io.systemd.credential:{name}=");
    let binary = format!("io.systemd.credential.binary:{name}=");
    let value = |text: &[u8]| {
        if let Some(value) = text.strip_prefix(plain.as_bytes()) {
            return Some(value.to_vec());
        }
        base64(text.strip_prefix(binary.as_bytes())?)
    };
    strings(table).into_iter().filter_map(value).collect()
}

/// The strings of a table: they follow the header, each ends with a zero byte, and an empty one is the end.
fn strings(table: &[u8]) -> Vec<&[u8]> {
    let (Some(TYPE), Some(length)) = (table.first().copied(), table.get(1)) else { return Vec::new() };
    let Some(after) = table.get(usize::from(*length)..).filter(|_| usize::from(*length) >= HEADER) else {
        return Vec::new();
    };
    let mut rest = after;
    let mut strings = Vec::new();
    // The header says how many there are, whatever follows.
    while strings.len() < usize::from(table[HEADER - 1])
        && let Some(end) = rest.iter().position(|byte| *byte == 0)
        && end > 0
    {
        strings.push(&rest[..end]);
        rest = &rest[end + 1..];
    }
    strings
}

/// Bytes from base64 (RFC 4648), with or without padding; nothing if it is something else.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let padding = text.len() - end;
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || end % 4 == 1 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(end * 3 / 4);
    for group in text[..end].chunks(4) {
        let mut bits = 0;
        for byte in group {
            bits = bits << 6 | u32::from(digit(*byte)?);
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
