//! Names of partitions and file systems in text: `fstab`, kernel command lines, configurations of loaders.
//!
//! A name is a key with an id: `UUID=…`, `PARTUUID=…`, `PARTLABEL=…`, or a path below `/dev/disk`. GRUB's `search`
//! and its menu have bare ids. Everything else of a text stays as it is, to the byte.

/// Which property of a partition is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The id of the file system on it.
    FileSystem,
    /// Its GUID.
    Partition,
    /// Its name.
    Label,
}

impl Key {
    const ALL: [Self; 3] = [Self::Partition, Self::Label, Self::FileSystem];

    /// As a tag and as a directory. That of the file system ends others, and is looked for last.
    fn spellings(self) -> [&'static str; 2] {
        match self {
            Self::FileSystem => ["UUID=", "by-uuid/"],
            Self::Partition => ["PARTUUID=", "by-partuuid/"],
            Self::Label => ["PARTLABEL=", "by-partlabel/"],
        }
    }
}

/// What takes the place of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rename {
    /// A key with its id.
    Name((Key, String), (Key, String)),
    /// An id by itself.
    Bare(String, String),
}

impl Rename {
    fn from(&self) -> &str {
        match self {
            Self::Name((_, from), _) | Self::Bare(from, _) => from,
        }
    }
}

/// A text in which names have been replaced.
pub(super) fn rewrite(text: &[u8], renames: &[Rename]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let (mut at, mut line) = (0, 0);
    while at < text.len() {
        if text[at] == b'\n' {
            line = at + 1;
        }
        let end_of_line =
            || text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |len| at + len);
        let mut matching = renames.iter().filter(|rename| is_id_at(text, at, rename.from()));
        let next = matching.find_map(|rename| apply(rename, &out, &|| &text[line..end_of_line()]));
        match next {
            Some((keep, with, len)) => {
                out.truncate(keep);
                out.extend_from_slice(&with);
                at += len;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    out
}

/// How much of what is before is kept, what follows, and how long the id was.
fn apply<'a>(rename: &Rename, before: &[u8], line: &dyn Fn() -> &'a [u8]) -> Option<(usize, Vec<u8>, usize)> {
    let named = name_before(before);
    match (rename, named) {
        (Rename::Name((key, from), (to, id)), Some((found, spelling, start))) if *key == found => {
            let quote = &before[start + found.spellings()[spelling].len()..];
            let with = [to.spellings()[spelling].as_bytes(), quote, id.as_bytes()].concat();
            Some((start, with, from.len()))
        }
        (Rename::Bare(from, id), None) => {
            // A short id may be something else by chance.
            let is_search = |line: &[u8]| contains(line, b"fs-uuid") || contains(line, b"fs_uuid");
            let is_sure = from.len() == 36 || is_search(line());
            is_sure.then(|| (before.len(), id.clone().into_bytes(), from.len()))
        }
        _ => None,
    }
}

/// The key that a text ends with, in which spelling, and where that begins; a quote may follow it.
fn name_before(text: &[u8]) -> Option<(Key, usize, usize)> {
    let bare = [&b"\\\""[..], b"\\'", b"\"", b"'"].iter().find_map(|quote| text.strip_suffix(*quote));
    let bare = bare.unwrap_or(text);
    Key::ALL.into_iter().find_map(|key| {
        let mut spellings = key.spellings().into_iter().enumerate();
        spellings.find_map(|(index, spelling)| {
            bare.strip_suffix(spelling.as_bytes()).map(|before| (key, index, before.len()))
        })
    })
}

/// Whether an id, in whatever case, begins here and ends where it ends.
fn is_id_at(text: &[u8], at: usize, id: &str) -> bool {
    let there = text[at..].get(..id.len()).is_some_and(|there| there.eq_ignore_ascii_case(id.as_bytes()));
    // What has few digits must not be a part of what has more.
    let goes_on = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || id.len() < 36 && b"-_.".contains(byte))
    };
    there
        && !id.is_empty()
        && !goes_on(at.checked_sub(1).map(|at| &text[at]))
        && !goes_on(text.get(at + id.len()))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: &str = "aaaaaaaa-0000-4000-8000-000000000001";
    const ROOT: &str = "bbbbbbbb-0000-4000-8000-000000000002";
    const NEW: &str = "cccccccc-0000-8000-8000-000000000003";

    fn name(from: Key, id: &str, to: Key, new: &str) -> Rename {
        Rename::Name((from, id.to_owned()), (to, new.to_owned()))
    }

    fn after(text: &str, renames: &[Rename]) -> String {
        String::from_utf8(rewrite(text.as_bytes(), renames)).unwrap()
    }

    #[test]
    fn names_are_replaced_in_every_spelling() {
        let renames = [name(Key::Partition, PART, Key::FileSystem, NEW)];
        for (text, expected) in [
            (format!("root=PARTUUID={PART} ro"), format!("root=UUID={NEW} ro")),
            (format!("PARTUUID=\"{PART}\" / ext4"), format!("UUID=\"{NEW}\" / ext4")),
            (format!("x=\\\"PARTUUID={PART}\\\""), format!("x=\\\"UUID={NEW}\\\"")),
            (format!("/dev/disk/by-partuuid/{PART} /"), format!("/dev/disk/by-uuid/{NEW} /")),
            (format!("PARTUUID={}", PART.to_uppercase()), format!("UUID={NEW}")),
            (format!("a=PARTUUID={PART}\nb=PARTUUID={PART}\n"), format!("a=UUID={NEW}\nb=UUID={NEW}\n")),
        ] {
            assert_eq!(after(&text, &renames), expected);
            assert_eq!(after(&expected, &renames), expected);
        }
    }

    #[test]
    fn other_names_and_parts_of_names_stay() {
        let renames = [name(Key::Partition, PART, Key::FileSystem, NEW)];
        for text in [
            format!("UUID={PART}"),
            format!("root=PARTUUID={PART}0"),
            PART.to_owned(),
            format!("PARTUUID={ROOT}"),
            "PARTUUID=".to_owned(),
            String::new(),
        ] {
            assert_eq!(after(&text, &renames), text);
        }
        // A key that ends another.
        let renames = [name(Key::FileSystem, PART, Key::Partition, NEW)];
        assert_eq!(after(&format!("PARTUUID={PART}"), &renames), format!("PARTUUID={PART}"));
        assert_eq!(after(&format!("root=UUID={PART}"), &renames), format!("root=PARTUUID={NEW}"));
    }

    #[test]
    fn bare_ids_are_those_of_grub() {
        let renames = [
            Rename::Bare(ROOT.to_owned(), NEW.to_owned()),
            Rename::Bare("1A2B-3C4D".to_owned(), "5E6F-7081".to_owned()),
        ];
        for (text, expected) in [
            (format!("search --fs-uuid --set=root {ROOT}\n"), format!("search --fs-uuid --set=root {NEW}\n")),
            (format!("'gnulinux-6.1-advanced-{ROOT}'"), format!("'gnulinux-6.1-advanced-{NEW}'")),
            ("search --fs-uuid 1a2b-3c4d\n1A2B-3C4D".into(), "search --fs-uuid 5E6F-7081\n1A2B-3C4D".into()),
            ("search.fs_uuid 1A2B-3C4D root".into(), "search.fs_uuid 5E6F-7081 root".into()),
            ("--fs-uuid 0-1A2B-3C4D".into(), "--fs-uuid 0-1A2B-3C4D".into()),
            (format!("UUID={ROOT}"), format!("UUID={ROOT}")),
        ] {
            assert_eq!(after(&text, &renames), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let mut text = vec![0xff, 0, b'\n', 0xfe];
        text.extend_from_slice(format!("PARTUUID={PART}").as_bytes());
        let renamed = rewrite(&text, &[name(Key::Partition, PART, Key::Label, "root")]);
        assert_eq!(renamed, [&[0xff, 0, b'\n', 0xfe][..], b"PARTLABEL=root"].concat());
    }
}
