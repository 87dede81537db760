//! Zip archives as lists of members, for sources of packages.
//!
//! In goes a source of bytes, out come [`Member`]s whose content lies decoded in one unnamed file. The central
//! directory is what counts (PKWARE APPNOTE 6.3.10, section 4.3.12); `rawzip` takes its records and those of zip64
//! apart, as they are: no name is changed, none lost. An archive of which readers could make two different trees
//! is refused: names given twice, other names in the headers of members, members that overlap, bytes after the end.

mod entry;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::sync::Arc;

use bake_base::{FileBytes, ReadAt, Unnamed};
use bake_tree::{Content, Member, MemberKind, TreePath};
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipLocator};

use crate::error::{ArchiveError, MemberProblem};
use crate::{Limits, OpenOptions};
use entry::{Entry, Kind};

/// Bytes of compressed content, and of decoded content, in memory at once.
const BUFFER: usize = 128 << 10;
/// Longest target of a symbolic link, in bytes.
const TARGET_MAX: u64 = 4095;
/// Longest name and extra fields of a header: two numbers of 16 bits count them.
const HEADER_MAX: usize = 2 * 65_535;

/// Whether `head`, the first bytes of a file, begins a zip archive: a member, or the end of one without any.
pub(crate) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Reads the zip that `source` holds. `file` names it in messages.
///
/// # Errors
/// With every member that cannot be used, or when more comes out than the limits allow.
pub(crate) fn read_zip(
    file: &str,
    source: &Arc<dyn ReadAt>,
    options: &OpenOptions,
) -> Result<Vec<Member>, ArchiveError> {
    let entries = directory(file, source)?;
    let problems = contradictions(&entries);
    if !problems.is_empty() {
        return Err(ArchiveError::Members { file: file.to_owned(), problems });
    }
    let place = options.scratch.display().to_string();
    let scratch = Unnamed::new(&options.scratch).map_err(ArchiveError::io(&place, "making a file in"))?;
    let bodies = decode(file, source, &entries, scratch.file(), options)?;
    let decoded = scratch.file().try_clone().and_then(FileBytes::new);
    let decoded: Arc<dyn ReadAt> = Arc::new(decoded.map_err(ArchiveError::io(file, "reading"))?);
    let members = entries.into_iter().zip(bodies).map(|(entry, body)| {
        let (path, metadata) = (entry.path?, entry.metadata);
        let kind = match body {
            Body::None => MemberKind::Directory,
            Body::Target(target) => MemberKind::Symlink(target.into()),
            Body::At(offset, len) => {
                MemberKind::File(Content::whole(Arc::clone(&decoded), offset, len).ok()?)
            }
        };
        Some(Member { path, metadata, kind })
    });
    Ok(members.map(|member| member.expect("entries without problems have what it takes")).collect())
}

/// The bytes as the crate wants them.
struct Source<'a>(&'a dyn ReadAt);

impl ReaderAt for Source<'_> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.0.len().saturating_sub(offset).min(buffer.len() as u64) as usize;
        self.0.read_exact_at(offset, &mut buffer[..n])?;
        Ok(n)
    }
}

fn open<'a>(
    file: &str,
    source: &'a Arc<dyn ReadAt>,
    buffer: &mut [u8],
) -> Result<ZipArchive<Source<'a>>, ArchiveError> {
    let located = ZipLocator::new().locate_in_reader(Source(&**source), buffer, source.len());
    located.map_err(|(_, error)| broken(file, &error))
}

fn broken(file: &str, error: &rawzip::Error) -> ArchiveError {
    ArchiveError::document(file, "the zip directory at its end", format!("cannot be read: {error}"))
}

/// The records of the central directory, each judged by itself.
fn directory(file: &str, source: &Arc<dyn ReadAt>) -> Result<Vec<Entry>, ArchiveError> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE.max(3 * 65_536)];
    let archive = open(file, source, &mut buffer)?;
    let end = archive.end_offset();
    if end != source.len() {
        let reason = format!("ends at byte {end} of {}: expected nothing after it", source.len());
        return Err(ArchiveError::document(file, "the zip directory", reason));
    }
    let mut entries = Vec::new();
    let mut local = vec![0; HEADER_MAX];
    let mut records = archive.entries(&mut buffer);
    while let Some(record) = records.next_entry().map_err(|error| broken(file, &error))? {
        let mut entry = Entry::new(&record);
        match archive.get_entry(entry.wayfinder) {
            Ok(found) => {
                entry.range = record.local_header_offset()..found.compressed_data_range().1;
                let header = found.local_header(&mut local).map_err(|error| broken(file, &error))?;
                if *header.file_path().as_bytes() != *entry.name {
                    let other = header.file_path();
                    let other = other.as_bytes()[..other.len().min(200)].escape_ascii().to_string();
                    entry.refuse(format!("is called `{other}` by its own header: expected one name"));
                }
            }
            Err(error) => entry.refuse(format!("has no header of its own: {error}")),
        }
        entries.push(entry);
    }
    if entries.len() as u64 != archive.entries_hint() {
        let (found, said) = (entries.len(), archive.entries_hint());
        let reason = format!("has {found} members: expected the {said} that its end counts");
        return Err(ArchiveError::document(file, "the zip directory", reason));
    }
    Ok(entries)
}

/// All that is wrong with entries, alone and together.
fn contradictions(entries: &[Entry]) -> Vec<MemberProblem> {
    let mut problems = Vec::new();
    let mut seen: BTreeSet<&TreePath> = BTreeSet::new();
    for entry in entries {
        if let Some(reason) = &entry.problem {
            problems.push(entry.problem(reason.clone()));
        } else if entry.path.as_ref().is_some_and(|path| !seen.insert(path)) {
            problems.push(entry.problem("is given twice: expected every name once"));
        }
    }
    let mut by_place: Vec<_> = entries.iter().filter(|entry| entry.problem.is_none()).collect();
    by_place.sort_by_key(|entry| entry.range.start);
    for pair in by_place.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            problems.push(pair[1].problem("lies inside of the member before it: expected bytes of its own"));
        }
    }
    problems
}

/// What a member holds.
enum Body {
    None,
    Target(Vec<u8>),
    /// So many bytes of the decoded file from an offset on.
    At(u64, u64),
}

/// Decodes all content into `output`, one member after the other.
fn decode(
    file: &str,
    source: &Arc<dyn ReadAt>,
    entries: &[Entry],
    output: &File,
    options: &OpenOptions,
) -> Result<Vec<Body>, ArchiveError> {
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = open(file, source, &mut buffer)?;
    let mut output = BufWriter::with_capacity(BUFFER, output);
    let (mut bodies, mut problems, mut offset) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        if matches!(entry.kind, Kind::Directory) {
            bodies.push(Body::None);
            continue;
        }
        let found = archive.get_entry(entry.wayfinder).map_err(|error| broken(file, &error))?;
        let coded = BufReader::with_capacity(BUFFER, found.reader());
        let mut decoder: Box<dyn Read> = match entry.method {
            CompressionMethod::STORE => Box::new(found.verifying_reader(coded)),
            _ => Box::new(found.verifying_reader(flate2::bufread::DeflateDecoder::new(coded))),
        };
        let mut target = Vec::new();
        let is_link = matches!(entry.kind, Kind::Symlink);
        let sink: &mut dyn Write = if is_link { &mut target } else { &mut output };
        match copy(file, &mut *decoder, sink, options.limits, offset)? {
            Ok(len) => {
                bodies.push(if is_link { Body::Target(target) } else { Body::At(offset, len) });
                // The limit is on what is kept, wherever that is.
                offset += if is_link { 0 } else { len };
                (options.progress)(len);
            }
            Err(reason) => problems.push(entry.problem(format!("cannot be decoded: {reason}"))),
        }
    }
    output.flush().map_err(ArchiveError::io(file, "writing what decodes from"))?;
    if problems.is_empty() {
        Ok(bodies)
    } else {
        Err(ArchiveError::Members { file: file.to_owned(), problems })
    }
}

/// Copies one member; how long it is, or what is wrong with it.
fn copy(
    file: &str,
    decoder: &mut dyn Read,
    output: &mut dyn Write,
    limits: Limits,
    before: u64,
) -> Result<Result<u64, String>, ArchiveError> {
    let mut buffer = vec![0; BUFFER];
    let mut len = 0;
    loop {
        let n = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(Ok(len)),
            Ok(n) => n,
            Err(error) if error.raw_os_error().is_some() => {
                return Err(ArchiveError::io(file, "reading")(error));
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        len += n as u64;
        if before + len > limits.decoded {
            return Err(ArchiveError::TooLarge { file: file.to_owned(), limit: limits.decoded });
        }
        output.write_all(&buffer[..n]).map_err(ArchiveError::io(file, "writing what decodes from"))?;
    }
}

#[cfg(test)]
#[path = "zip/tests.rs"]
mod tests;
