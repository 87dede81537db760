//! One record of the central directory, and the member that it amounts to.

use std::ops::Range;

use bake_base::Timestamp;
use bake_tree::{Metadata, TreePath};
use rawzip::extra_fields::ExtraFieldId;
use rawzip::{CompressionMethod, ZipArchiveEntryWayfinder, ZipFileHeaderRecord};

use super::TARGET_MAX;
use crate::error::MemberProblem;

/// What a record says, judged.
pub(super) struct Entry {
    pub name: Vec<u8>,
    /// Nothing where the name is of no use.
    pub path: Option<TreePath>,
    pub metadata: Metadata,
    pub kind: Kind,
    pub method: CompressionMethod,
    pub wayfinder: ZipArchiveEntryWayfinder,
    /// From the first byte of its header to the last one of its content.
    pub range: Range<u64>,
    /// The first thing that is wrong.
    pub problem: Option<String>,
}

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
}

impl Entry {
    pub(super) fn new(record: &ZipFileHeaderRecord) -> Self {
        let name = record.file_path().as_bytes().to_vec();
        let offset = record.local_header_offset();
        let mut entry = Self {
            path: None,
            metadata: Metadata { mtime: time(record), ..Metadata::root(0o644) },
            kind: Kind::File,
            method: record.compression_method(),
            wayfinder: record.wayfinder(),
            range: offset..offset,
            problem: None,
            name,
        };
        match path(&entry.name, record) {
            Ok(path) => entry.path = Some(path),
            Err(reason) => entry.refuse(reason),
        }
        match kind_and_mode(&entry.name, record) {
            Ok((kind, mode)) => (entry.kind, entry.metadata.mode) = (kind, mode),
            Err(reason) => entry.refuse(reason),
        }
        if let Err(reason) = content(entry.kind, record) {
            entry.refuse(reason);
        }
        entry
    }

    /// Notes what is wrong, unless something else has been noted.
    pub(super) fn refuse(&mut self, reason: String) {
        self.problem.get_or_insert(reason);
    }

    pub(super) fn problem(&self, reason: impl Into<String>) -> MemberProblem {
        MemberProblem::new(&self.name, self.range.start, reason)
    }
}

fn path(name: &[u8], record: &ZipFileHeaderRecord) -> Result<TreePath, String> {
    if name.contains(&b'\\') {
        return Err(
            "has a backslash in its name, which some readers take for a slash: expected none".to_owned()
        );
    }
    if std::str::from_utf8(name).is_err() {
        return Err("has a name in an unknown character set: expected UTF-8".to_owned());
    }
    // APPNOTE 4.6.9: a version, a checksum, and the name once more.
    let unicode = record.extra_fields().find(|(id, _)| *id == ExtraFieldId::INFO_ZIP_UNICODE_PATH);
    if unicode.is_some_and(|(_, field)| field.get(5..) != Some(name)) {
        return Err("has another name in its Unicode field: expected one name".to_owned());
    }
    let path = TreePath::parse(name).map_err(|error| format!("has a name of no use: {error}"))?;
    if path.is_root() && name.last() != Some(&b'/') {
        return Err("has no name: expected a path".to_owned());
    }
    Ok(path)
}

/// The upper half of the attributes is a Unix mode if a Unix system wrote them (APPNOTE 4.4.2 and 4.4.15).
fn kind_and_mode(name: &[u8], record: &ZipFileHeaderRecord) -> Result<(Kind, u16), String> {
    let has_slash = name.last() == Some(&b'/');
    let by_unix = matches!(record.version_made_by().creator_system().as_u8(), 3 | 19);
    let mode = if by_unix { record.external_attributes() >> 16 } else { 0 };
    let kind = match mode & 0o170_000 {
        0 if has_slash => Kind::Directory,
        0 => Kind::File,
        0o040_000 => Kind::Directory,
        _ if has_slash => {
            return Err("has the slash of a directory and is something else: expected one".to_owned());
        }
        0o100_000 => Kind::File,
        0o120_000 => Kind::Symlink,
        other => return Err(format!("has the type {other:o}: expected a file, a directory or a link")),
    };
    Ok((
        kind,
        match (kind, (mode & 0o7777) as u16) {
            (Kind::Directory, _) if mode == 0 => 0o755,
            (Kind::File, _) if mode == 0 => 0o644,
            (_, mode) => mode,
        },
    ))
}

fn content(kind: Kind, record: &ZipFileHeaderRecord) -> Result<(), String> {
    let flags = record.flags();
    if flags.is_encrypted() || flags.has_strong_encryption() || flags.is_masked() {
        return Err("is encrypted: expected an archive without a password".to_owned());
    }
    let method = record.compression_method();
    if !matches!(method, CompressionMethod::STORE | CompressionMethod::DEFLATE) {
        return Err(format!("is compressed by method {method}: expected 0 (stored) or 8 (deflate)"));
    }
    let (size, coded) = (record.uncompressed_size_hint(), record.compressed_size_hint());
    match kind {
        Kind::Directory if size > 0 => Err(format!("is a directory of {size} bytes: expected none")),
        Kind::Symlink if size == 0 || size > TARGET_MAX => {
            Err(format!("is a symbolic link with a target of {size} bytes: expected 1 to {TARGET_MAX}"))
        }
        _ if method == CompressionMethod::STORE && size != coded => {
            Err(format!("is stored as {coded} bytes and has {size}: expected one number"))
        }
        _ => Ok(()),
    }
}

/// The time in seconds since 1970 where there is one (Info-ZIP's field `UT`), else the one of MS-DOS, which knows no
/// time zone and is taken for UTC, so that the zone of this machine means nothing.
fn time(record: &ZipFileHeaderRecord) -> Timestamp {
    let field = record.extra_fields().find(|(id, _)| *id == ExtraFieldId::EXTENDED_TIMESTAMP);
    if let Some((_, [flags, a, b, c, d, ..])) = field
        && flags & 1 != 0
    {
        return Timestamp::from_seconds(i32::from_le_bytes([*a, *b, *c, *d]).into());
    }
    let dos = record.last_modified_dos();
    let days = days(dos.year().into(), dos.month().into(), dos.day().into());
    let seconds = i64::from(dos.hour()) * 3600 + i64::from(dos.minute()) * 60 + i64::from(dos.second());
    Timestamp::from_seconds(days * 86_400 + seconds)
}

/// Days from 1970-01-01 to a date of 1980 or later.
fn days(year: i64, month: i64, day: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let leap_days = |year: i64| year / 4 - year / 100 + year / 400;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let leap = leap_days(year - 1) - leap_days(1969) + i64::from(is_leap && month > 2);
    (year - 1970) * 365 + leap + BEFORE[(month - 1) as usize] + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (date, expected) in [
            ((1980, 1, 1), 3652),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2026, 11, 22), 20_779),
            ((2100, 3, 1), 47_541),
            ((2107, 12, 31), 50_402),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }
}
