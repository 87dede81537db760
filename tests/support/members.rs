//! A tar taken apart into its members, each with the headers that belong to it, byte for byte: so that members
//! can be left out and put into another order without any library having its say.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::ops::Range;
use std::path::Path;

const BLOCK: usize = 512;

/// One member.
pub struct Member {
    /// Its path as the archive gives it, in bytes.
    pub path: Vec<u8>,
    /// Extension headers, header and content.
    bytes: Vec<u8>,
    /// Where the content lies in them.
    content: Range<usize>,
}

impl Member {
    /// What a regular file holds.
    pub fn content(&self) -> &[u8] {
        &self.bytes[self.content.clone()]
    }

    /// What a hard link leads to.
    pub fn hard_link(&self) -> Option<&[u8]> {
        let header = &self.bytes[self.content.start - BLOCK..self.content.start];
        (header[156] == b'1').then(|| text(&header[157..257]))
    }
}

/// Reads the members of a plain tar for which `keep` is true.
pub fn read(tar: &Path, keep: impl Fn(&[u8]) -> bool) -> Vec<Member> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(tar).unwrap());
    let (mut members, mut bytes, mut long_path) = (Vec::new(), Vec::new(), None);
    loop {
        let start = bytes.len();
        bytes.resize(start + BLOCK, 0);
        reader.read_exact(&mut bytes[start..]).unwrap();
        let header: [u8; BLOCK] = bytes[start..].try_into().unwrap();
        if header == [0; BLOCK] {
            assert!(start == 0, "{}: headers without a member", tar.display());
            return members;
        }
        let size = number(&header[124..136]);
        bytes.resize(start + BLOCK + size.next_multiple_of(BLOCK), 0);
        reader.read_exact(&mut bytes[start + BLOCK..]).unwrap();
        let content = &bytes[start + BLOCK..][..size];
        match header[156] {
            b'x' => {
                let found = pax_value(content, b"GNU.sparse.name").or_else(|| pax_value(content, b"path"));
                long_path = found.or(long_path);
            }
            b'L' => long_path = Some(text(content).to_vec()),
            b'K' => {}
            kind => {
                assert!(kind != b'g', "{}: a global header belongs to no member", tar.display());
                let path = long_path.take().unwrap_or_else(|| short_path(&header));
                let bytes = std::mem::take(&mut bytes);
                if keep(&path) {
                    let content = start + BLOCK..start + BLOCK + size;
                    members.push(Member { path, bytes, content });
                }
            }
        }
    }
}

/// Writes a tar of these members in this order.
pub fn write<'a>(members: impl IntoIterator<Item = &'a Member>, tar: &Path) {
    let mut file = File::create(tar).unwrap();
    for member in members {
        file.write_all(&member.bytes).unwrap();
    }
    file.write_all(&[0; 2 * BLOCK]).unwrap();
}

/// Another order, the same each time: a pseudo-random permutation (a linear congruential generator's).
pub fn shuffle<T>(items: &mut [T]) {
    let mut state = 1_u64;
    for last in (1..items.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(last, (state >> 33) as usize % (last + 1));
    }
}

/// An octal number; the fixtures hold no member for which that is not enough.
fn number(field: &[u8]) -> usize {
    let digits = std::str::from_utf8(text(field)).unwrap().trim();
    usize::from_str_radix(digits, 8).unwrap()
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn short_path(header: &[u8; BLOCK]) -> Vec<u8> {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    let is_posix = header[257..263] == *b"ustar\0";
    if is_posix && !prefix.is_empty() { [prefix, b"/", name].concat() } else { name.to_vec() }
}

fn pax_value(records: &[u8], wanted: &[u8]) -> Option<Vec<u8>> {
    let mut rest = records;
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&rest[..blank]).unwrap().parse().unwrap();
        let record = &rest[blank + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').unwrap();
        if &record[..equals] == wanted {
            return Some(record[equals + 1..].to_vec());
        }
        rest = &rest[length..];
    }
    None
}
