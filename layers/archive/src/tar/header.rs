//! One header block: its checksum, its names and its numbers.

use bake_base::Timestamp;

/// What a header block says, checked. Fields that only some types use are parsed when they are asked for.
pub(super) struct Header {
    pub typeflag: u8,
    /// The name, with ustar's prefix.
    pub name: Vec<u8>,
    pub linkname: Vec<u8>,
    /// Whether the header is GNU's own ("oldgnu"), which has other fields in place of the prefix.
    pub is_gnu: bool,
    /// Whether the header is older than POSIX and ends after the name of the link.
    pub is_v7: bool,
    pub raw: tar::Header,
}

impl Header {
    /// Parses a block.
    ///
    /// # Errors
    /// When its checksum is wrong: what stands there is no header.
    pub(super) fn parse(block: &[u8; 512]) -> Result<Self, String> {
        let no_header = || "is no tar header: its checksum is wrong".to_owned();
        let raw = tar::Header::from_byte_slice(block).clone();
        let old = raw.as_old();
        let sum = octal(&old.cksum).map_err(|_| no_header())?;
        // The field itself counts as spaces. Old systems summed signed bytes (POSIX rationale; GNU tar too).
        let rest = || block[..148].iter().chain(&block[156..]);
        let unsigned: u64 = rest().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * 32;
        let signed: i64 = rest().map(|byte| i64::from(*byte as i8)).sum::<i64>() + 8 * 32;
        if sum != unsigned && i64::try_from(sum) != Ok(signed) {
            return Err(no_header());
        }
        let magic = &block[257..265];
        let is_gnu = magic == b"ustar  \0";
        let is_v7 = !is_gnu && !magic.starts_with(b"ustar");
        let mut name = Vec::new();
        if !is_gnu && !is_v7 {
            let prefix = text(&block[345..500]);
            if !prefix.is_empty() {
                name.extend_from_slice(prefix);
                name.push(b'/');
            }
        }
        name.extend_from_slice(text(&old.name));
        let linkname = text(&old.linkname).to_vec();
        Ok(Self { typeflag: old.linkflag[0], name, linkname, is_gnu, is_v7, raw })
    }

    pub(super) fn size(&self) -> Result<u64, String> {
        field("size", &self.raw.as_old().size)
    }

    /// The permission bits; some writers put the type of the file above them.
    pub(super) fn mode(&self) -> Result<u16, String> {
        field("mode", &self.raw.as_old().mode).map(|mode: u64| (mode & 0o7777) as u16)
    }

    pub(super) fn uid(&self) -> Result<u32, String> {
        field("uid", &self.raw.as_old().uid)
    }

    pub(super) fn gid(&self) -> Result<u32, String> {
        field("gid", &self.raw.as_old().gid)
    }

    pub(super) fn mtime(&self) -> Result<Timestamp, String> {
        let seconds = number(&self.raw.as_old().mtime).map_err(|reason| format!("has an mtime {reason}"))?;
        i64::try_from(seconds)
            .map(Timestamp::from_seconds)
            .map_err(|_| format!("has an mtime of {seconds}: expected a number of 64 bits"))
    }

    pub(super) fn devmajor(&self) -> Result<u32, String> {
        self.device("device number", 329)
    }

    pub(super) fn devminor(&self) -> Result<u32, String> {
        self.device("device number", 337)
    }

    /// Both formats since ustar keep device numbers in the same place.
    fn device(&self, name: &str, at: usize) -> Result<u32, String> {
        if self.is_v7 {
            return Err("is a device in a format that has no numbers for it".to_owned());
        }
        field(name, &self.raw.as_bytes()[at..at + 8])
    }
}

/// A field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number that must fit into its type.
pub(super) fn field<T: TryFrom<i128>>(name: &str, bytes: &[u8]) -> Result<T, String> {
    let value = number(bytes).map_err(|reason| format!("has a {name} {reason}"))?;
    T::try_from(value)
        .map_err(|_| format!("has a {name} of {value}: expected 0 to 2^{} - 1", 8 * std::mem::size_of::<T>()))
}

/// Octal digits, or GNU's base-256: the first bit set, then a big-endian number in two's complement (GNU tar
/// manual, "Extensions to POSIX"; star has the same).
fn number(bytes: &[u8]) -> Result<i128, String> {
    let Some((first, rest)) = bytes.split_first().filter(|(first, _)| **first & 0x80 != 0) else {
        return octal(bytes).map(i128::from);
    };
    // The second bit is the sign; twelve bytes at most, so nothing overflows.
    let start = i128::from(((first & 0x7f) << 1) as i8 >> 1);
    Ok(rest.iter().fold(start, |value, byte| value << 8 | i128::from(*byte)))
}

fn octal(bytes: &[u8]) -> Result<u64, String> {
    let digits = text(bytes).trim_ascii();
    digits
        .iter()
        .try_fold(0_u64, |value, digit| {
            let digit = u64::from(digit.checked_sub(b'0').filter(|digit| *digit < 8)?);
            value.checked_mul(8)?.checked_add(digit)
        })
        .ok_or_else(|| format!("of `{}`: expected an octal number", digits.escape_ascii()))
}
