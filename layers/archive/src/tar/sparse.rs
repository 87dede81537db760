//! Sparse files: which runs of the file follow in the archive.
//!
//! GNU tar manual, "Storing Sparse Files": the old GNU format keeps the map in headers, pax versions 0.0 and
//! 0.1 in extended headers, version 1.0 in front of the data.

use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::{Content, Extent};

use super::header::{Header, field};
use super::pax::decimal;
use super::window::Window;
use super::{BLOCK, SIZE_MAX};

/// How many runs one file may have: each costs memory.
const RUNS_MAX: usize = 1 << 20;

/// The runs of a sparse file.
pub(super) struct Map {
    len: u64,
    /// Offset in the file and length of each.
    runs: Vec<(u64, u64)>,
}

impl Map {
    /// The file whose runs lie one after the other in the `size` bytes from `body` on.
    pub(super) fn content(self, source: &Arc<dyn ReadAt>, body: u64, size: u64) -> Result<Content, String> {
        if self.len > SIZE_MAX {
            return Err(format!("has a size of {} bytes: expected at most {SIZE_MAX}", self.len));
        }
        let mut stored = 0_u64;
        let mut extents = Vec::with_capacity(self.runs.len());
        for (start, len) in self.runs {
            let source_offset = body + stored;
            stored = stored
                .checked_add(len)
                .filter(|stored| *stored <= size)
                .ok_or_else(|| format!("has a sparse map of more bytes than the {size} that follow"))?;
            extents.push(Extent { start, len, source: Arc::clone(source), source_offset });
        }
        if stored != size {
            return Err(format!("has a sparse map of {stored} bytes: expected the {size} that follow"));
        }
        Content::sparse(self.len, extents).map_err(|error| format!("has a sparse map of no use: {error}"))
    }
}

/// The map of a header of type `S`, and where the data begins: after the headers that go on with the map.
pub(super) fn old_gnu(header: &Header, window: &mut Window, mut body: u64) -> Result<(Map, u64), String> {
    let gnu = header.raw.as_gnu().ok_or("is sparse in a header that is not GNU's: expected GNU or pax")?;
    let mut map = Map { len: field("real size", &gnu.realsize)?, runs: Vec::new() };
    let mut more = push_all(&mut map.runs, &gnu.sparse, gnu.isextended[0])?;
    while more {
        let block = window.block(body).map_err(|error| format!("cannot be read: {error}"))?;
        let block = block.ok_or("is cut short: its sparse map goes on after the end of the archive")?;
        let mut next = tar::GnuExtSparseHeader::new();
        next.as_mut_bytes().copy_from_slice(block);
        more = push_all(&mut map.runs, &next.sparse, next.isextended[0])?;
        body += BLOCK;
    }
    Ok((map, body))
}

/// Adds the runs of one header; whether another header goes on.
fn push_all(
    runs: &mut Vec<(u64, u64)>,
    headers: &[tar::GnuSparseHeader],
    is_extended: u8,
) -> Result<bool, String> {
    // The first unused entry ends the list.
    for header in headers.iter().take_while(|header| header.numbytes[0] != 0) {
        push(runs, field("sparse map", &header.offset)?, field("sparse map", &header.numbytes)?)?;
    }
    Ok(is_extended != 0)
}

fn push(runs: &mut Vec<(u64, u64)>, start: u64, len: u64) -> Result<(), String> {
    if runs.len() == RUNS_MAX {
        return Err(format!("has a sparse map of more than {RUNS_MAX} runs"));
    }
    runs.push((start, len));
    Ok(())
}

/// What the `GNU.sparse.*` records of an extended header say.
#[derive(Default)]
pub(super) struct Records {
    /// The name of the file; that in `path` is made up.
    pub name: Option<Vec<u8>>,
    version: (Option<u64>, Option<u64>),
    len: Option<u64>,
    count: Option<u64>,
    runs: Option<Vec<(u64, u64)>>,
    /// An offset of version 0.0 that still waits for its length.
    start: Option<u64>,
}

impl Records {
    /// Takes in one record, by its key without `GNU.sparse.`.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let wrong = || {
            let shown = |bytes: &[u8]| bytes[..bytes.len().min(60)].escape_ascii().to_string();
            format!("has an extended header `GNU.sparse.{}` of `{}`", shown(key), shown(value))
        };
        let number = || decimal(value).ok_or_else(|| wrong() + ": expected a number");
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.version.0 = Some(number()?),
            b"minor" => self.version.1 = Some(number()?),
            b"size" | b"realsize" => self.len = Some(number()?),
            b"numblocks" => self.count = Some(number()?),
            b"offset" => {
                if self.start.replace(number()?).is_some() {
                    return Err(wrong() + ": expected a length after each offset");
                }
            }
            b"numbytes" => {
                let start = self.start.take().ok_or_else(|| wrong() + ": expected an offset before it")?;
                push(self.runs.get_or_insert_default(), start, number()?)?;
            }
            b"map" => {
                let runs = self.runs.insert(Vec::new());
                let mut numbers = value.split(|byte| *byte == b',').map(decimal);
                while let Some(start) = numbers.next().filter(|_| !value.is_empty()) {
                    let len = numbers.next().flatten();
                    let (Some(start), Some(len)) = (start, len) else {
                        return Err(wrong() + ": expected pairs of numbers");
                    };
                    push(runs, start, len)?;
                }
            }
            _ => return Err(wrong() + ": expected a key of GNU tar's sparse formats"),
        }
        Ok(())
    }

    fn is_used(&self) -> bool {
        self.version != (None, None)
            || self.len.is_some()
            || self.count.is_some()
            || self.runs.is_some()
            || self.start.is_some()
            || self.name.is_some()
    }
}

/// The map that extended headers announce and the bytes that it takes in front of the data, if the file is
/// sparse.
pub(super) fn pax(
    records: &Records,
    source: &Arc<dyn ReadAt>,
    body: u64,
    size: u64,
) -> Result<Option<(Map, u64)>, String> {
    if !records.is_used() {
        return Ok(None);
    }
    let len = records.len.ok_or("is sparse without a real size: expected `GNU.sparse.realsize`")?;
    match records.version {
        (Some(1), Some(0) | None) if records.runs.is_none() => {
            let (runs, map_len) = map_in_front(source, body, size)?;
            Ok(Some((Map { len, runs }, map_len)))
        }
        (None | Some(0), None | Some(0 | 1)) => {
            let runs = records.runs.clone().unwrap_or_default();
            if records.start.is_some() || records.count.is_some_and(|count| count != runs.len() as u64) {
                return Err("has a sparse map of another length than it says".to_owned());
            }
            Ok(Some((Map { len, runs }, 0)))
        }
        (major, minor) => Err(format!(
            "is sparse in version {}.{}: expected 0.0, 0.1 or 1.0",
            major.unwrap_or(0),
            minor.unwrap_or(0)
        )),
    }
}

/// Version 1.0: decimal numbers, one a line, the first of them the number of runs, filled up to a block.
fn map_in_front(source: &Arc<dyn ReadAt>, body: u64, size: u64) -> Result<(Vec<(u64, u64)>, u64), String> {
    let mut lines = Lines { source, at: body, end: body + size, bytes: Vec::new(), used: 0 };
    let count = lines.number()?;
    let mut runs = Vec::new();
    for _ in 0..count {
        let (start, len) = (lines.number()?, lines.number()?);
        push(&mut runs, start, len)?;
    }
    let map_len = (lines.at - body) - (lines.bytes.len() - lines.used) as u64;
    Ok((runs, map_len.next_multiple_of(BLOCK).min(size)))
}

struct Lines<'a> {
    source: &'a Arc<dyn ReadAt>,
    at: u64,
    end: u64,
    bytes: Vec<u8>,
    used: usize,
}

impl Lines<'_> {
    fn number(&mut self) -> Result<u64, String> {
        let no_list = || "has a sparse map that is no list of numbers: expected one a line".to_owned();
        // Twenty digits hold every number of 64 bits.
        let mut digits = Vec::with_capacity(20);
        loop {
            if self.used == self.bytes.len() {
                self.bytes.resize((self.end - self.at).min(4096) as usize, 0);
                let read = self.source.read_exact_at(self.at, &mut self.bytes);
                read.map_err(|error| format!("cannot be read: {error}"))?;
                self.at += self.bytes.len() as u64;
                self.used = 0;
            }
            let byte = self.bytes.get(self.used).copied();
            self.used += 1;
            match byte {
                Some(b'\n') => break,
                Some(digit @ b'0'..=b'9') if digits.len() < 20 => digits.push(digit),
                _ => return Err(no_list()),
            }
        }
        decimal(&digits).ok_or_else(no_list)
    }
}
