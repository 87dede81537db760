//! Tar archives as lists of members: v7, ustar, GNU and pax, read in place. Written: `write.rs`.
//!
//! In goes a source of plain tar bytes, out come [`Member`]s whose content refers to ranges of that source;
//! no content is copied. Formats: POSIX.1-2017 `pax`, sections "pax Interchange Format" and "ustar
//! Interchange Format"; GNU tar 1.35 manual, "Tar Internals" (basic format, GNU extensions, sparse formats).
//!
//! The `tar` crate gives the header types. The sequence of headers is read here and not by its iterator,
//! because that one reads a stream: it copies what lies between, applies `x` before `L` and `L` before `x`
//! alike, truncates base-256 numbers to 64 bits, ignores the sparse formats of pax, and stops at the end of the
//! input as if it were the end of the archive. Members of an input are hostile until proven otherwise: every
//! sum here is checked, and whatever has two readings is refused.

mod acl;
mod claims;
mod header;
mod notation;
mod pax;
mod sparse;
mod window;
mod write;

use std::collections::BTreeSet;
use std::sync::Arc;

use bake_base::ReadAt;
use bake_tree::Member;

use crate::error::{ArchiveError, MemberProblem};
use claims::{Claims, Kind, one_of};
use header::Header;
use pax::{Global, Local};
use window::Window;

pub use write::{WriteTarError, write_tar};

/// Size of every header and granule of every body, in bytes.
const BLOCK: u64 = 512;
/// Longest payload of a header that describes another header: long names, pax records.
const PAYLOAD_MAX: u64 = 1 << 20;
/// The largest size that any system has for a file.
const SIZE_MAX: u64 = i64::MAX as u64;
/// How many different things without effect are noted.
const NOTES_MAX: usize = 32;

/// A tar that has been read.
#[derive(Debug)]
pub struct TarMembers {
    /// The members in the order of the archive.
    pub members: Vec<Member>,
    /// What the archive says beyond members and is left out, in words.
    pub notes: Vec<String>,
}

/// Whether `head`, the first bytes of a file, begins a tar: a header with the right checksum, or the end of an
/// archive without members.
pub fn is_tar(head: &[u8]) -> bool {
    head.first_chunk::<512>().is_some_and(|block| bake_base::is_zero(block) || Header::parse(block).is_ok())
}

/// Reads the tar that `source` holds. `file` names it in messages.
///
/// # Errors
/// [`ArchiveError::Members`] with every member that cannot be used; reading stops early where a header leaves
/// unclear where the next one begins. A tar without its end-of-archive marker has been cut short.
pub fn read_tar(file: &str, source: &Arc<dyn ReadAt>) -> Result<TarMembers, ArchiveError> {
    let mut reader = Reader {
        source,
        window: Window::new(source),
        global: Global::default(),
        next: Next::default(),
        members: Vec::new(),
        notes: BTreeSet::new(),
        problems: Vec::new(),
    };
    match reader.run() {
        Ok(()) => {}
        Err(Stop::Problem(problem)) => reader.problems.push(problem),
        Err(Stop::Io(error)) => return Err(ArchiveError::io(file, "reading")(error)),
    }
    if !reader.problems.is_empty() {
        return Err(ArchiveError::Members { file: file.to_owned(), problems: reader.problems });
    }
    Ok(TarMembers { members: reader.members, notes: reader.notes.into_iter().collect() })
}

/// Why reading cannot go on.
enum Stop {
    Problem(MemberProblem),
    Io(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// What the headers before a member's own say of it.
#[derive(Default)]
struct Next {
    local: Option<Local>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

struct Reader<'a> {
    source: &'a Arc<dyn ReadAt>,
    window: Window<'a>,
    global: Global,
    next: Next,
    members: Vec<Member>,
    notes: BTreeSet<String>,
    /// Members that cannot be used although it is clear where the next one begins.
    problems: Vec<MemberProblem>,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut offset = 0;
        loop {
            let stop = |reason: &str| Stop::Problem(MemberProblem::new(b"", offset, reason));
            let Some(block) = self.window.block(offset)? else {
                return Err(stop(
                    "is missing: the archive is cut short, expected a header or the two zero blocks at the end",
                ));
            };
            if bake_base::is_zero(block) {
                let described = self.next.local.is_some()
                    || self.next.long_name.is_some()
                    || self.next.long_link.is_some();
                if described {
                    return Err(stop("is missing: headers before the end of the archive describe it"));
                }
                return self.end(offset);
            }
            let header = Header::parse(block).map_err(|reason| stop(&reason))?;
            offset = self.header(offset, &header)?;
        }
    }

    /// Two zero blocks end an archive (POSIX); writers fill their last record with more of them.
    fn end(&mut self, offset: u64) -> Result<(), Stop> {
        let stop = |at, reason: &str| Stop::Problem(MemberProblem::new(b"", at, reason));
        match self.window.block(offset + BLOCK)? {
            Some(block) if bake_base::is_zero(block) => {}
            Some(_) => return Err(stop(offset + BLOCK, "follows a lone zero block: expected two or none")),
            None => return Err(stop(offset + BLOCK, "is missing: expected a second zero block at the end")),
        }
        if let Some(at) = self.window.data_after(offset + 2 * BLOCK)? {
            return Err(stop(
                at,
                "follows the end of the archive: expected zeros; archives that were joined need `tar -A`",
            ));
        }
        Ok(())
    }

    /// Takes in one header and gives the offset of the next.
    fn header(&mut self, offset: u64, header: &Header) -> Result<u64, Stop> {
        let stop = |reason: String| Stop::Problem(MemberProblem::new(&header.name, offset, reason));
        let body = offset + BLOCK;
        match header.typeflag {
            b'x' | b'g' | b'L' | b'K' => {
                let size = header.size().map_err(stop)?;
                if size > PAYLOAD_MAX {
                    return Err(stop(format!(
                        "describes another one in {size} bytes: expected at most {PAYLOAD_MAX}"
                    )));
                }
                let payload = self.payload(body, size)?.ok_or_else(|| stop(cut_short(size)))?;
                self.describe(header.typeflag, payload).map_err(stop)?;
                Ok(body + size.next_multiple_of(BLOCK))
            }
            // The name of the medium (GNU tar manual, "Including a Label in the Archive").
            b'V' => {
                self.note("a volume label");
                self.next = Next::default();
                Ok(body)
            }
            _ => self.member(offset, header),
        }
    }

    fn payload(&mut self, offset: u64, size: u64) -> std::io::Result<Option<Vec<u8>>> {
        if offset.checked_add(size).is_none_or(|end| end > self.source.len()) {
            return Ok(None);
        }
        let mut payload = vec![0; size as usize];
        self.source.read_exact_at(offset, &mut payload)?;
        Ok(Some(payload))
    }

    fn describe(&mut self, typeflag: u8, mut payload: Vec<u8>) -> Result<(), String> {
        let twice = |what: &str| Err(format!("is the second {what} before one member: expected one"));
        match typeflag {
            b'g' => self.global.apply(&payload)?,
            b'x' if self.next.local.is_some() => return twice("extended header"),
            b'x' => self.next.local = Some(Local::parse(&payload)?),
            flag => {
                if payload.last() == Some(&0) {
                    payload.pop();
                }
                let long = if flag == b'L' { &mut self.next.long_name } else { &mut self.next.long_link };
                if long.replace(payload).is_some() {
                    return twice("long name");
                }
            }
        }
        Ok(())
    }

    /// Takes in a member's own header. Where its body ends is found out before anything else, so that a member
    /// that cannot be used does not keep the ones after it from being judged.
    fn member(&mut self, offset: u64, header: &Header) -> Result<u64, Stop> {
        let Next { local, long_name, long_link } = std::mem::take(&mut self.next);
        let local = local.unwrap_or_default();
        let name = one_of(local.sparse.name.as_ref().or(local.path.as_ref()), long_name, &header.name);
        let link = one_of(local.linkpath.as_ref(), long_link, &header.linkname);
        let shown = name.clone().unwrap_or_else(|_| header.name.clone());
        let problem = |reason: String| MemberProblem::new(&shown, offset, reason);
        let stop = |reason: String| Stop::Problem(problem(reason));

        let kind = Kind::of(header, &shown).map_err(stop)?;
        let mut body = offset + BLOCK;
        let mut map = None;
        if header.typeflag == b'S' {
            let (found, end) = sparse::old_gnu(header, &mut self.window, body).map_err(stop)?;
            map = Some(found);
            body = end;
        }
        let size = self.body_size(header, &local, kind, body).map_err(stop)?;
        let end = body.checked_add(size).filter(|end| *end <= self.source.len());
        end.ok_or_else(|| stop(cut_short(size)))?;

        for key in &local.ignored {
            self.note(&format!("extended headers `{key}`"));
        }
        let claims = Claims { header, global: &self.global, local, kind, name, link, map, body, size };
        match claims.member(self.source) {
            Ok(member) => self.members.push(member),
            Err(reason) => self.problems.push(problem(reason)),
        }
        Ok(body + size.next_multiple_of(BLOCK))
    }

    /// How many bytes follow the header.
    fn body_size(&mut self, header: &Header, local: &Local, kind: Kind, body: u64) -> Result<u64, String> {
        let size = match (kind, local.size) {
            // POSIX: the size of these types means nothing, no logical records follow.
            (Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo, _) => 0,
            (Kind::Directory, _) if header.typeflag == b'5' => 0,
            (_, Some(size)) => size,
            // Links hold their file's content in the pax format, never in the formats before it, where
            // writers left its size in the header all the same. A plain ustar may be either: with content
            // that is no header, the next header tells.
            (Kind::HardLink, None) if header.is_gnu || header.is_v7 => 0,
            (Kind::HardLink, None) if !local.present => {
                let next = self.window.block(body).map_err(|error| format!("cannot be read: {error}"))?;
                let none = next.is_none_or(|block| bake_base::is_zero(block) || Header::parse(block).is_ok());
                if none { 0 } else { header.size()? }
            }
            (_, None) => header.size()?,
        };
        if size > SIZE_MAX {
            return Err(format!("has a size of {size} bytes: expected at most {SIZE_MAX}"));
        }
        Ok(size)
    }

    fn note(&mut self, what: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.insert(format!("the archive has {what}, which an image has no place for"));
        }
    }
}

fn cut_short(size: u64) -> String {
    format!("is cut short: its {size} bytes reach past the end of the archive")
}

#[cfg(test)]
#[path = "tar/tests.rs"]
mod tests;
