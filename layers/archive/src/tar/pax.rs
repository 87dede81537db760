//! Extended headers: records of key and value that overrule a header's fields.
//!
//! POSIX.1-2017 `pax`, "pax Extended Header". Keys that describe content or attributes apply; keys without
//! a meaning for an image (`uname`, `atime`, `comment`, ...) do not; what nobody here knows is named in a note.

use bake_base::Timestamp;
use bake_tree::Xattrs;

use super::acl;
use super::notation::{base64, percent_decoded};
use super::sparse::Records;

/// What `x` says of the next member.
#[derive(Default)]
pub(super) struct Local {
    /// Whether there was an extended header at all.
    pub present: bool,
    pub path: Option<Vec<u8>>,
    pub linkpath: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Timestamp>,
    pub devmajor: Option<u32>,
    pub devminor: Option<u32>,
    pub sparse: Records,
    /// Keys that mean something, but not here.
    pub ignored: Vec<String>,
    /// Attributes by their own bytes.
    plain: Xattrs,
    /// Attributes that other records encode; plain ones come first.
    encoded: Xattrs,
    /// Access control lists as text.
    access_list: Option<Vec<u8>>,
    default_list: Option<Vec<u8>>,
}

/// What `g` says of all members that follow.
///
/// Only what many members can have in common: POSIX allows any key, but a path or size for all members makes
/// no sense, and attributes for all of them would let a small archive fill the memory.
#[derive(Default)]
pub(super) struct Global {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mtime: Option<Timestamp>,
}

impl Local {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, String> {
        let mut local = Self { present: true, ..Self::default() };
        for record in records(payload) {
            let (key, value) = record?;
            local.set(key, value)?;
        }
        Ok(local)
    }

    /// An empty value takes back what was said before (POSIX).
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let bytes = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = bytes(),
            b"linkpath" => self.linkpath = bytes(),
            b"size" => self.size = number(key, value)?,
            b"uid" => self.uid = number(key, value)?,
            b"gid" => self.gid = number(key, value)?,
            b"mtime" => self.mtime = time(key, value)?,
            b"SCHILY.devmajor" => self.devmajor = number(key, value)?,
            b"SCHILY.devminor" => self.devminor = number(key, value)?,
            b"hdrcharset" => charset(value)?,
            b"SCHILY.realsize" => {
                return Err("is sparse as star writes it: expected a format of GNU tar or pax".to_owned());
            }
            b"RHT.security.selinux" => {
                // The kernel's own form ends with a NUL; the record holds the text alone.
                let label = [value.strip_suffix(b"\0").unwrap_or(value), b"\0"].concat();
                self.encoded.insert((*b"security.selinux").into(), label.into());
            }
            b"SCHILY.acl.access" => self.access_list = bytes(),
            b"SCHILY.acl.default" => self.default_list = bytes(),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    // GNU tar escapes the two bytes that would end a key or begin an escape.
                    let name = percent_decoded(name, |byte| matches!(byte, b'=' | b'%'));
                    self.plain.insert(name.into(), value.into());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = percent_decoded(name, |_| true);
                    let value = base64(value).ok_or_else(|| wrong(key, value, "base64"))?;
                    self.encoded.insert(name.into(), value.into());
                } else if let Some(rest) = key.strip_prefix(b"GNU.sparse.") {
                    self.sparse.set(rest, value)?;
                } else if !is_silent(key) {
                    self.ignored.push(key[..key.len().min(60)].escape_ascii().to_string());
                }
            }
        }
        Ok(())
    }

    /// All attributes. Where a writer gives one twice (libarchive and GNU tar do), the plain bytes are the
    /// ones.
    pub(super) fn xattrs(&self) -> Result<Xattrs, String> {
        let mut all = self.encoded.clone();
        all.extend(self.plain.iter().map(|(name, value)| (name.clone(), value.clone())));
        for (name, text) in [(acl::ACCESS, &self.access_list), (acl::DEFAULT, &self.default_list)] {
            if let Some(text) = text
                && !all.contains_key(name)
                && let Some(value) = acl::from_text(name, text)?
            {
                all.insert(name.into(), value.into());
            }
        }
        if all.keys().any(|name| name.is_empty()) {
            return Err("has an extended attribute without a name".to_owned());
        }
        Ok(all)
    }
}

impl Global {
    pub(super) fn apply(&mut self, payload: &[u8]) -> Result<(), String> {
        for record in records(payload) {
            let (key, value) = record?;
            match key {
                b"uid" => self.uid = number(key, value)?,
                b"gid" => self.gid = number(key, value)?,
                b"mtime" => self.mtime = time(key, value)?,
                b"hdrcharset" => charset(value)?,
                b"path" | b"linkpath" | b"size" => return Err(every_member(key)),
                b"GNU.volume.label" => {}
                _ if PER_MEMBER.iter().any(|prefix| key.starts_with(prefix)) => {
                    return Err(every_member(key));
                }
                // `comment` of `git archive`, and whatever else says nothing about members.
                _ => {}
            }
        }
        Ok(())
    }
}

/// Keys by their beginnings that describe one member.
const PER_MEMBER: [&[u8]; 7] = [
    b"SCHILY.xattr.",
    b"SCHILY.acl.",
    b"SCHILY.devm",
    b"LIBARCHIVE.xattr.",
    b"RHT.",
    b"GNU.sparse.",
    // Part of a file that another volume goes on with.
    b"GNU.volume.",
];

fn every_member(key: &[u8]) -> String {
    let key = key[..key.len().min(60)].escape_ascii();
    format!("gives every member that follows the same `{key}`: expected that of single members only")
}

/// Keys whose loss is no loss: names beside the numbers, times that an image does not keep, and places on
/// the medium that the archive was made from.
fn is_silent(key: &[u8]) -> bool {
    matches!(
        key,
        b"uname"
            | b"gname"
            | b"atime"
            | b"ctime"
            | b"comment"
            | b"charset"
            | b"LIBARCHIVE.creationtime"
            | b"SCHILY.dev"
            | b"SCHILY.ino"
            | b"SCHILY.nlink"
            | b"SCHILY.filetype"
    )
}

/// `LENGTH KEY=VALUE\n`, the length in decimal and counting itself.
fn records(payload: &[u8]) -> impl Iterator<Item = Result<(&[u8], &[u8]), String>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = payload.len() - rest.len();
        let record = first_record(rest);
        rest = record.map_or(&[], |(_, _, after)| after);
        Some(record.map(|(key, value, _)| (key, value)).ok_or_else(|| {
            format!("has an extended header with a broken record at byte {at}: expected `LENGTH KEY=VALUE`")
        }))
    })
}

fn first_record(rest: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = rest.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&rest[..space])?).ok()?;
    let record = rest.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], &rest[len..]))
}

/// Digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        value.checked_mul(10)?.checked_add(digit)
    })
}

fn number<T: TryFrom<u64>>(key: &[u8], value: &[u8]) -> Result<Option<T>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = decimal(value).and_then(|value| T::try_from(value).ok());
    number.map(Some).ok_or_else(|| {
        wrong(key, value, &format!("a decimal number below 2^{}", 8 * std::mem::size_of::<T>()))
    })
}

/// Seconds since 1970 with an optional sign and fraction, rounded down to nanoseconds.
fn time(key: &[u8], value: &[u8]) -> Result<Option<Timestamp>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    parse_time(value).map(Some).ok_or_else(|| wrong(key, value, "seconds such as `1700000000.25`"))
}

fn parse_time(value: &[u8]) -> Option<Timestamp> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let dot = value.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = dot.map_or((value, &b""[..]), |at| (&value[..at], &value[at + 1..]));
    if fraction.iter().any(|digit| !digit.is_ascii_digit()) {
        return None;
    }
    let whole = i64::try_from(decimal(whole)?).ok()?;
    let digits = |i| fraction.get(i).map_or(0, |digit| u32::from(digit - b'0'));
    let nanoseconds = (0..9).fold(0, |value, i| value * 10 + digits(i));
    let more = fraction.iter().skip(9).any(|digit| *digit != b'0');
    if !negative {
        return Some(Timestamp { seconds: whole, nanoseconds });
    }
    // -1.25 s is 0.75 s after -2 s; a finer fraction of a negative time rounds down as well.
    match nanoseconds + u32::from(more) {
        0 => Some(Timestamp::from_seconds(-whole)),
        below => Some(Timestamp { seconds: -whole - 1, nanoseconds: 1_000_000_000 - below }),
    }
}

/// Names are bytes here; a charset other than UTF-8 or "as they are" would need a conversion.
fn charset(value: &[u8]) -> Result<(), String> {
    match value {
        b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
        other => Err(wrong(b"hdrcharset", other, "`BINARY` or `ISO-IR 10646 2000 UTF-8`")),
    }
}

fn wrong(key: &[u8], value: &[u8], expected: &str) -> String {
    let shown = |bytes: &[u8]| bytes[..bytes.len().min(80)].escape_ascii().to_string();
    format!("has an extended header `{}` of `{}`: expected {expected}", shown(key), shown(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down() {
        let time = |text: &str| parse_time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.25", Some((1_700_000_000, 250_000_000))),
            ("1.0000000019", Some((1, 1))),
            ("1.", Some((1, 0))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.5", Some((-1, 500_000_000))),
            ("-0.0000000001", Some((-1, 999_999_999))),
            ("-1.9999999999", Some((-2, 0))),
            ("9223372036854775807.999999999", Some((i64::MAX, 999_999_999))),
            ("-9223372036854775807.5", Some((i64::MIN, 500_000_000))),
            ("9223372036854775808", None),
            ("1e9", None),
            ("", None),
            ("-", None),
            ("1.2.3", None),
            ("+1", None),
            (".5", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn records_that_lie_about_their_length_are_refused() {
        let parsed = |payload: &[u8]| Local::parse(payload).map(|local| local.path);
        assert_eq!(parsed(b"10 path=a\n").unwrap().unwrap(), b"a");
        assert_eq!(parsed(b"10 path=a\n10 path=b\n").unwrap().unwrap(), b"b");
        assert_eq!(parsed(b"10 path=a\n8 path=\n").unwrap(), None);
        assert_eq!(parsed(b"14 path=\xff\0\n\xfe=\n").unwrap().unwrap(), b"\xff\0\n\xfe=");
        for lie in [
            &b"8 path=a\n"[..],
            b"11 path=a\n",
            b"0 path=a\n",
            b"2 path=a\n",
            b"-1 path=a\n",
            b"18446744073709551615 path=a\n",
            b"99999999999999999999 path=a\n",
            b"10path=a\n\n",
            b"5 =a\n",
            b"7 path\n",
            b"9 path=\n",
            b"10 path=a\n\0\0",
            b" 10 path=a\n",
            b"path",
        ] {
            let error = parsed(lie).unwrap_err();
            assert!(error.contains("LENGTH KEY=VALUE"), "{error}");
        }
    }

    #[test]
    fn attributes_come_in_three_notations() {
        let record = |text: &[u8]| {
            let len =
                (1..1000).find(|len: &usize| len.to_string().len() + 1 + text.len() + 1 == *len).unwrap();
            [len.to_string().as_bytes(), b" ", text, b"\n"].concat()
        };
        let records = [
            &b"SCHILY.xattr.user.a=one\0=\ntwo"[..],
            b"SCHILY.xattr.user.%3D%25%41=",
            b"LIBARCHIVE.xattr.user.%c3%a9=AQI",
            b"LIBARCHIVE.xattr.user.a=AAAA",
            b"RHT.security.selinux=system_u:object",
            b"SCHILY.acl.access=user::rw-,group::r--,other::---",
            b"SCHILY.acl.default=user::rw-,group::r--,other::---",
        ];
        let local = Local::parse(&records.map(record).concat());
        let xattrs = local.unwrap().xattrs().unwrap();
        let shown: Vec<_> = xattrs.iter().map(|(k, v)| (k.escape_ascii().to_string(), v.to_vec())).collect();
        let expected = [
            ("security.selinux", &b"system_u:object\0"[..]),
            (
                "system.posix_acl_default",
                b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x04\0\x04\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
            ),
            ("user.=%%41", b""),
            ("user.a", b"one\0=\ntwo"),
            ("user.\\xc3\\xa9", &[1, 2]),
        ];
        assert_eq!(shown, expected.map(|(k, v)| (k.to_owned(), v.to_vec())).to_vec());
    }
}
