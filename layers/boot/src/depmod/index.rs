//! The binary indexes: a trie of keys with values (kmod, `libkmod/libkmod-index.h`: magic 0xB007F457, version
//! 2.1; all numbers big-endian).
//!
//! A node is its prefix, its children by their first byte, and its values, each part only if there is any; the
//! upper bits of an offset to a node say which. A node's prefix is as long as all of its keys allow, except for
//! the root's, which is always empty.
//!
//! Readers follow offsets, so nodes may lie in any order. kmod up to 33 writes children before their parent, so
//! that the root comes last; later ones write the root first.

/// `INDEX_MAGIC` and `INDEX_VERSION`.
const HEADER: [u32; 2] = [0xb007_f457, 0x0002_0001];
/// Where the first node lies: behind the header and the offset to the root.
const FIRST: u32 = 12;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
/// What is left for the offset.
const OFFSET_MASK: u32 = 0x0fff_ffff;
/// Longest key, in bytes. Real ones end below 300; the trie may be as deep as a key is long.
const MAX_KEY: usize = 1023;

/// In which order nodes lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// As kmod up to 33 writes them.
    ChildrenFirst,
    /// As kmod since 34 writes them.
    ParentsFirst,
}

impl Order {
    /// The order of an index that a distribution's own kmod wrote, by its first bytes.
    pub(super) fn of(index: &[u8]) -> Self {
        let root = index.first_chunk::<12>().map(|[.., a, b, c, d]| u32::from_be_bytes([*a, *b, *c, *d]));
        match root {
            // A root without children is the only node, wherever it lies.
            Some(root) if root & OFFSET_MASK == FIRST && root & HAS_CHILDREN != 0 => Self::ParentsFirst,
            _ => Self::ChildrenFirst,
        }
    }
}

/// An index in the making.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: Vec<(String, u32, String)>,
}

struct Node<'a> {
    prefix: &'a [u8],
    /// By first byte, ascending.
    children: Vec<(u8, Node<'a>)>,
    values: Vec<(u32, &'a str)>,
    /// Bytes of the node alone, and with everything below it.
    size: u32,
    total: u32,
}

impl Index {
    /// Adds a value; `priority` is the place of its module. A key may have several values, even the same twice.
    pub(super) fn insert(&mut self, key: &str, value: &str, priority: usize) -> Result<(), String> {
        for text in [key, value] {
            if !text.is_ascii() {
                return Err(format!("`{}` cannot be indexed: expected ASCII", text.escape_debug()));
            }
        }
        if key.len() > MAX_KEY {
            return Err(format!("`{}...` is longer than {MAX_KEY} bytes", &key[..80]));
        }
        self.entries.push((key.to_owned(), priority as u32, value.to_owned()));
        Ok(())
    }

    /// The bytes of the index.
    pub(super) fn encode(mut self, order: Order) -> Result<Vec<u8>, String> {
        // Values of one key ascend by priority; of equal ones, the last one given comes first.
        self.entries.reverse();
        self.entries.sort_by(|a, b| (a.0.as_bytes(), a.1).cmp(&(b.0.as_bytes(), b.1)));
        let entries: Vec<_> = self
            .entries
            .iter()
            .map(|(key, priority, value)| (key.as_bytes(), (*priority, &**value)))
            .collect();
        let root = Node::new(&entries, 0, 0);
        if root.total > OFFSET_MASK - FIRST {
            return Err("the index is larger than 256 MiB".to_owned());
        }
        let mut bytes = Vec::new();
        for number in HEADER.into_iter().chain([0]) {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        let offset = match order {
            Order::ChildrenFirst => root.write_after_children(&mut bytes),
            Order::ParentsFirst => {
                root.write_before_children(&mut bytes);
                FIRST | root.mask()
            }
        };
        bytes[8..12].copy_from_slice(&offset.to_be_bytes());
        Ok(bytes)
    }
}

impl<'a> Node<'a> {
    /// The node for sorted `entries`, whose keys agree up to `start`; its prefix reaches from there to `end`.
    fn new(entries: &[(&'a [u8], (u32, &'a str))], start: usize, end: usize) -> Self {
        let prefix = entries.first().map_or(&b""[..], |(key, _)| &key[start..end]);
        let here = entries.iter().take_while(|(key, _)| key.len() == end).count();
        let values: Vec<_> = entries[..here].iter().map(|(_, value)| *value).collect();
        let mut children = Vec::new();
        let below = entries[here..].chunk_by(|(a, _), (b, _)| a[end] == b[end]);
        for group in below {
            // Sorted, so what the first and the last agree on, all agree on.
            let (first, last) = (&group[0].0[end + 1..], &group[group.len() - 1].0[end + 1..]);
            let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
            children.push((group[0].0[end], Node::new(group, end + 1, end + 1 + common)));
        }
        let mut size = 0;
        if let (Some((first, _)), Some((last, _))) = (children.first(), children.last()) {
            size += 2 + 4 * (u32::from(*last) - u32::from(*first) + 1);
        }
        if !prefix.is_empty() {
            size += prefix.len() as u32 + 1;
        }
        if !values.is_empty() {
            size += 4 + values.iter().map(|(_, value)| 4 + value.len() as u32 + 1).sum::<u32>();
        }
        let total = children.iter().fold(size, |total, (_, child)| total.saturating_add(child.total));
        Self { prefix, children, values, size, total }
    }

    fn mask(&self) -> u32 {
        let flag = |bit, set: bool| if set { bit } else { 0 };
        flag(HAS_PREFIX, !self.prefix.is_empty())
            | flag(HAS_VALUES, !self.values.is_empty())
            | flag(HAS_CHILDREN, !self.children.is_empty())
    }

    /// Gives the offset of the node, with its mask.
    fn write_after_children(&self, bytes: &mut Vec<u8>) -> u32 {
        let offsets: Vec<u32> =
            self.children.iter().map(|(_, child)| child.write_after_children(bytes)).collect();
        let offset = bytes.len() as u32;
        self.write(bytes, &offsets);
        offset | self.mask()
    }

    fn write_before_children(&self, bytes: &mut Vec<u8>) {
        let mut offset = bytes.len() as u32 + self.size;
        let offsets: Vec<u32> = self
            .children
            .iter()
            .map(|(_, child)| {
                let number = offset | child.mask();
                offset += child.total;
                number
            })
            .collect();
        self.write(bytes, &offsets);
        for (_, child) in &self.children {
            child.write_before_children(bytes);
        }
    }

    /// Writes the node alone, with the offsets of its children.
    fn write(&self, bytes: &mut Vec<u8>, offsets: &[u32]) {
        if !self.prefix.is_empty() {
            bytes.extend_from_slice(self.prefix);
            bytes.push(0);
        }
        if let (Some((first, _)), Some((last, _))) = (self.children.first(), self.children.last()) {
            bytes.extend_from_slice(&[*first, *last]);
            let mut children = self.children.iter().zip(offsets).peekable();
            for byte in *first..=*last {
                // Children that are not there have a place all the same.
                let offset =
                    children.next_if(|((first, _), _)| *first == byte).map_or(0, |(_, offset)| *offset);
                bytes.extend_from_slice(&offset.to_be_bytes());
            }
        }
        if !self.values.is_empty() {
            bytes.extend_from_slice(&(self.values.len() as u32).to_be_bytes());
            for (priority, value) in &self.values {
                bytes.extend_from_slice(&priority.to_be_bytes());
                bytes.extend_from_slice(value.as_bytes());
                bytes.push(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks a key up as libkmod does.
    fn lookup(index: &[u8], key: &str) -> Vec<(u32, String)> {
        let number = |at: usize| u32::from_be_bytes([index[at], index[at + 1], index[at + 2], index[at + 3]]);
        let text = |at: usize| {
            let end = at + index[at..].iter().position(|byte| *byte == 0).unwrap();
            (std::str::from_utf8(&index[at..end]).unwrap(), end + 1)
        };
        let mut key = key;
        let mut node = number(8);
        loop {
            let mut at = (node & OFFSET_MASK) as usize;
            if node & HAS_PREFIX != 0 {
                let (prefix, next) = text(at);
                let Some(rest) = key.strip_prefix(prefix) else { return Vec::new() };
                (key, at) = (rest, next);
            }
            let (mut children, mut first) = (0..0, 0);
            if node & HAS_CHILDREN != 0 {
                first = index[at];
                children = at + 2..at + 2 + 4 * (usize::from(index[at + 1] - first) + 1);
                at = children.end;
            }
            let Some((byte, rest)) = key.as_bytes().split_first() else {
                let count = if node & HAS_VALUES == 0 { 0 } else { number(at) };
                at += 4;
                let values = (0..count).map(|_| {
                    let (value, next) = text(at + 4);
                    let priority = number(at);
                    at = next;
                    (priority, value.to_owned())
                });
                return values.collect();
            };
            let place = children.start + 4 * usize::from(byte.wrapping_sub(first));
            if *byte < first || place >= children.end || number(place) == 0 {
                return Vec::new();
            }
            (node, key) = (number(place), std::str::from_utf8(rest).unwrap());
        }
    }

    #[test]
    fn every_key_is_found_in_either_order() {
        let keys = ["", "a", "ab", "abc", "abd", "b", "symbol:one", "symbol:only", "symbol:two"];
        for order in [Order::ChildrenFirst, Order::ParentsFirst] {
            let mut index = Index::default();
            for (priority, key) in keys.iter().enumerate() {
                index.insert(key, &format!("value of {key}"), priority).unwrap();
            }
            index.insert("ab", "earlier", 1).unwrap();
            index.insert("ab", "twice", 1).unwrap();
            let bytes = index.encode(order).unwrap();
            assert_eq!(Order::of(&bytes), order);
            for (priority, key) in keys.iter().enumerate().filter(|(_, key)| **key != "ab") {
                assert_eq!(lookup(&bytes, key), [(priority as u32, format!("value of {key}"))]);
            }
            let values = [(1, "twice"), (1, "earlier"), (2, "value of ab")];
            assert_eq!(lookup(&bytes, "ab"), values.map(|(priority, value)| (priority, value.to_owned())));
            for key in ["abcd", "symbol:o", "c", "symbol"] {
                assert!(lookup(&bytes, key).is_empty(), "{key}");
            }
        }
        let empty = Index::default().encode(Order::ChildrenFirst).unwrap();
        assert_eq!(empty.len(), 12);
        assert!(Index::default().insert("\u{e4}", "", 0).is_err());
    }
}
