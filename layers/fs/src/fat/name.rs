//! Names: which of them FAT can hold (FAT specification, sections 6 and 7).

/// Longest name, in UTF-16 code units (section 7).
const MAX_UNITS: usize = 255;

/// The name as text, or why FAT cannot hold it.
pub(super) fn check(name: &[u8]) -> Result<&str, String> {
    let Ok(text) = std::str::from_utf8(name) else {
        return Err("is no UTF-8: expected a name that FAT can hold in UTF-16".to_owned());
    };
    // `fatfs` counts bytes, which is never less strict.
    if text.len() > MAX_UNITS {
        return Err(format!("has a name of {} bytes: expected at most {MAX_UNITS}", text.len()));
    }
    if let Some(wrong) = text.chars().find(|c| !allowed(*c)) {
        return Err(format!("has a `{}` in its name, which FAT cannot hold", wrong.escape_default()));
    }
    if text.ends_with(['.', ' ']) {
        // Section 7: trailing periods and spaces are ignored, so the name would come back without them.
        return Err("ends with a dot or a space, which FAT drops".to_owned());
    }
    Ok(text)
}

/// Section 7 lists what short names may hold and adds `+ , ; = [ ]`, dots and spaces for long ones. Up to
/// U+FFFD: beyond the first plane `fatfs` refuses, and the two after it are padding.
fn allowed(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '\u{80}'..='\u{fffd}' => true,
        _ => "$%'-_@~`!(){}^#&. +,;=[]".contains(c),
    }
}

/// What two names have in common that FAT takes for the same.
pub(super) fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// Whether the name is its own short name, but for case.
///
/// Such names go into a directory first: the short names that are made up for the others then keep clear of
/// them. Were `LONGNA~1` added after `longname.text`, it would be taken for that file.
pub(super) fn is_short(name: &str) -> bool {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let plain =
        |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&b));
    (1..=8).contains(&base.len()) && extension.len() <= 3 && plain(base) && plain(extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fat_cannot_hold_are_refused() {
        let long = "x".repeat(256);
        for (name, reason) in [
            (&b"\xff"[..], "UTF-8"),
            (b"a:b", "`:`"),
            (b"tab\t", "`\\t`"),
            ("smile\u{1f600}".as_bytes(), "1f600"),
            (b"dot.", "dot"),
            (b"space ", "space"),
            (long.as_bytes(), "256 bytes"),
        ] {
            assert!(check(name).unwrap_err().contains(reason), "{}", name.escape_ascii());
        }
        for name in ["a", "BOOTX64.EFI", "vmlinuz-6.1.0+deb", "ärger [1].txt", &long[1..]] {
            assert_eq!(check(name.as_bytes()).unwrap(), name);
        }
    }

    #[test]
    fn short_names_are_known() {
        for (name, expected) in [
            ("EFI", true),
            ("bootx64.efi", true),
            ("a.b.c", false),
            (".abc", false),
            ("loader.conf", false),
            ("a b", false),
            ("longname1", false),
            ("LONGNA~1.TXT", true),
        ] {
            assert_eq!(is_short(name), expected, "{name}");
        }
    }
}
