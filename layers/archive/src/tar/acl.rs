//! Access control lists: the text of `SCHILY.acl.*` becomes the value of `system.posix_acl_*`.
//!
//! Text: acl(5), "Short Text Form", as star and GNU tar write it; the value: version 2 of
//! `linux/posix_acl_xattr.h`, whose entries the kernel wants sorted by tag and id.

/// The attribute that holds who may access a file.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute of a directory that holds what new files in it get.
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Encodes a list such as `user::rwx,user:1000:r-x,group::r-x,mask::r-x,other::---` for the attribute `name`;
/// nothing if the list says no more than a mode does, for then no system stores it.
///
/// # Errors
/// When it is no such list, or names somebody by name: names mean nothing outside of the machine that wrote
/// the archive (GNU tar takes its own, even with `--numeric-owner`), except where star's fourth field gives the
/// number.
pub(super) fn from_text(name: &[u8], text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut entries = Vec::new();
    for entry in text.split(|byte| matches!(byte, b',' | b'\n')) {
        // A comment gives the effective rights (`acl_to_any_text`).
        let entry = entry.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if !entry.is_empty() {
            entries.push(parse(entry)?);
        }
    }
    entries.sort_unstable();
    if entries.windows(2).any(|pair| pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1) {
        return Err("has an access control list that names somebody twice".to_owned());
    }
    if name == ACCESS && entries.iter().all(|(tag, ..)| matches!(*tag, USER_OBJ | GROUP_OBJ | OTHER)) {
        return Ok(None);
    }
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, rights) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(rights.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    Ok(Some(value))
}

/// The mode of a file that has this list: its permission bits are those of the owner, of the mask (of the group
/// where there is none) and of others, and the kernel keeps them so. libarchive writes the group's all the same.
pub(super) fn mode_with(list: &[u8], mode: u16) -> u16 {
    let (entries, _) = list.get(4..).unwrap_or_default().as_chunks::<8>();
    let rights = |wanted: u16| {
        let mut entries = entries.iter().map(|[a, b, c, d, ..]| [[*a, *b], [*c, *d]].map(u16::from_le_bytes));
        entries.find_map(|[tag, rights]| (tag == wanted).then_some(rights & 7))
    };
    match (rights(USER_OBJ), rights(MASK).or_else(|| rights(GROUP_OBJ)), rights(OTHER)) {
        (Some(owner), Some(group), Some(other)) => mode & !0o777 | owner << 6 | group << 3 | other,
        _ => mode,
    }
}

fn parse(entry: &[u8]) -> Result<(u16, u32, u16), String> {
    let shown = || entry[..entry.len().min(80)].escape_ascii();
    let wrong = || format!("has an access control list with `{}`: expected such as `user:1000:r-x`", shown());
    let mut fields = entry.split(|byte| *byte == b':');
    let mut field = || fields.next().map(<[u8]>::trim_ascii);
    let tag = field().ok_or_else(wrong)?;
    // Solaris and star leave out the empty name of mask and other.
    let second = field().ok_or_else(wrong)?;
    let (who, rights) = match field() {
        Some(rights) => (second, rights),
        None => (&b""[..], second),
    };
    let number = field();
    let (tag, named) = match (tag, who.is_empty()) {
        (b"user" | b"u", true) => (USER_OBJ, false),
        (b"user" | b"u", false) => (USER, true),
        (b"group" | b"g", true) => (GROUP_OBJ, false),
        (b"group" | b"g", false) => (GROUP, true),
        (b"mask" | b"m", true) => (MASK, false),
        (b"other" | b"o", true) => (OTHER, false),
        _ => return Err(wrong()),
    };
    let id = if named {
        let digits = number.filter(|number| !number.is_empty()).unwrap_or(who);
        let id = super::pax::decimal(digits).and_then(|id| u32::try_from(id).ok());
        id.filter(|id| *id != NO_ID).ok_or_else(|| {
            format!(
                "has an access control list with `{}`: expected a number, as `tar --xattrs` writes it",
                shown()
            )
        })?
    } else {
        NO_ID
    };
    let mut bits = 0;
    for letter in rights {
        bits |= match letter {
            b'r' => 4,
            b'w' => 2,
            b'x' => 1,
            b'-' => 0,
            _ => return Err(wrong()),
        };
    }
    Ok((tag, id, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_encoded_as_the_kernel_sorts_them() {
        let expected = [
            &[2, 0, 0, 0][..],
            &[1, 0, 7, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 5, 0, 0, 0],
            &[2, 0, 5, 0, 232, 3, 0, 0],
            &[4, 0, 5, 0, 255, 255, 255, 255],
            &[16, 0, 5, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ]
        .concat();
        let texts = [
            "user::rwx,user:1000:r-x,user:5:r--,group::r-x,mask::r-x,other::---",
            "user::rwx\nuser:5:r--\nuser:1000:r-x\t#effective:r-x\ngroup::r-x\nmask::r-x\nother::---\n",
            "user::rwx,group::r-x,other:---,mask:r-x,user:joe:r-x:1000,user:ann:r--:5",
        ];
        for text in texts {
            assert_eq!(from_text(ACCESS, text.as_bytes()).unwrap().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_mode_follows_its_list() {
        let with = |text: &str, mode| {
            let list = from_text(DEFAULT, text.as_bytes()).unwrap().unwrap();
            mode_with(&list, mode)
        };
        assert_eq!(with("user::rw-,user:5:rwx,group::r--,mask::rwx,other::---", 0o4644), 0o4670);
        assert_eq!(with("user::rwx,group::r-x,other::r--", 0o600), 0o754);
        assert_eq!(with("user::rwx,user:5:rwx", 0o600), 0o600);
        assert_eq!(mode_with(b"\x02", 0o600), 0o600);
    }

    #[test]
    fn names_and_nonsense_are_refused() {
        for (text, reason) in [
            ("user:joe:r--", "tar --xattrs"),
            ("user:4294967295:r--", "tar --xattrs"),
            ("user:5:r--,user:5:rw-", "twice"),
            ("robot::rwx", "expected such as"),
            ("user::rwz", "expected such as"),
            ("user", "expected such as"),
            ("mask:5:rwx", "expected such as"),
        ] {
            let error = from_text(ACCESS, text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
