//! Directories: blocks that begin with entries of fixed size and end with the names, sorted across all blocks
//! (`erofs.rst`, "Directories"; `struct erofs_dirent`).

use bake_tree::Node;

use super::BLOCK;

/// Bytes of an entry.
const ENTRY: usize = 12;

/// The type of an entry (`EROFS_FT_*`).
pub(super) fn entry_kind(node: &Node) -> u8 {
    match node {
        Node::File(_) => 1,
        Node::Directory(_) => DIRECTORY,
        Node::CharDevice(_) => 3,
        Node::BlockDevice(_) => 4,
        Node::Fifo => 5,
        Node::Symlink(_) => 7,
    }
}

/// The type of a directory's entry.
pub(super) const DIRECTORY: u8 = 2;

/// Sorted names with `.` and `..` among them: what each name stands for is up to the caller.
pub(super) fn with_dots<'a, T>(
    names: impl Iterator<Item = (&'a [u8], T)>,
    own: T,
    parent: T,
) -> Vec<(&'a [u8], T)> {
    let mut all: Vec<_> = names.collect();
    for (name, what) in [(&b"."[..], own), (b"..", parent)] {
        let at = all.partition_point(|(other, _)| *other < name);
        all.insert(at, (name, what));
    }
    all
}

/// How many of the first names fit one block, and how many bytes they take.
fn fit<T>(names: &[(&[u8], T)]) -> (usize, usize) {
    let mut size = 0;
    for (count, (name, _)) in names.iter().enumerate() {
        let next = size + ENTRY + name.len();
        if next > BLOCK as usize {
            return (count, size);
        }
        size = next;
    }
    (names.len(), size)
}

/// How long a directory with these names is.
pub(super) fn len<T>(mut names: &[(&[u8], T)]) -> u64 {
    let mut len = 0;
    loop {
        let (count, size) = fit(names);
        names = &names[count..];
        if names.is_empty() {
            return len + size as u64;
        }
        len += BLOCK;
    }
}

/// The bytes of a directory, from numbers and types.
pub(super) fn encode(mut names: &[(&[u8], (u64, u8))]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !names.is_empty() {
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        let (count, _) = fit(names);
        let (here, rest) = names.split_at(count);
        let mut name_at = count * ENTRY;
        for (name, (number, kind)) in here {
            bytes.extend(number.to_le_bytes());
            bytes.extend((name_at as u16).to_le_bytes());
            bytes.extend([*kind, 0]);
            name_at += name.len();
        }
        bytes.extend(here.iter().flat_map(|(name, _)| *name));
        names = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_sorted_like_any_other_name() {
        let names: [(&[u8], u64); 3] = [(b"!", 1), (b"..a", 2), (b"a", 3)];
        let all = with_dots(names.into_iter(), 4, 5);
        let expected: [(&[u8], u64); 5] = [(b"!", 1), (b".", 4), (b"..", 5), (b"..a", 2), (b"a", 3)];
        assert_eq!(all, expected);
    }

    #[test]
    fn blocks_are_filled_to_their_end_and_no_further() {
        let long = vec![b'x'; 255];
        let mut names: Vec<(&[u8], (u64, u8))> = vec![(&long, (7, 1)); 15];
        // 15 entries of 267 bytes leave 91.
        names.push((&long[..79], (7, 1)));
        assert_eq!((len(&names), encode(&names).len()), (4096, 4096));
        names.push((b"y", (8, 2)));
        let bytes = encode(&names);
        assert_eq!((len(&names), bytes.len()), (4096 + 13, 4096 + 13));
        assert_eq!(bytes[4096..], [&8_u64.to_le_bytes()[..], &[12, 0, 2, 0], b"y"].concat());
        names[15].0 = &long[..80];
        assert_eq!(len(&names), 4096 + 12 + 80 + 13);
        assert_eq!(len(&with_dots(std::iter::empty(), 0, 0)), 27);
    }
}
