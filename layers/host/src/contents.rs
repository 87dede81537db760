//! What a package holds, entry by entry: `contents.json` travels in the package, so that a host can tell years
//! later whether a file is still what was built.

use std::collections::BTreeMap;
use std::io::Read;

use bake_base::{Digest, Hasher, json, parallel};
use bake_tree::{Content, InodeId, Node, Tree, TreePath};
use serde::{Deserialize, Serialize};

/// The file in a package's top directory.
pub const CONTENTS: &str = "contents.json";
/// The revision of its format.
const SCHEMA: &str = "bake-contents-1";
/// Bytes read at once.
const STEP: usize = 1 << 18;

/// A whole `contents.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    schema: String,
    /// Every entry but the top directory and `contents.json` itself, by its path without a leading slash.
    /// Bytes that are no UTF-8 and backslashes are written as `\x` and two hex digits.
    pub entries: BTreeMap<String, Entry>,
}

/// One entry of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Entry {
    /// A directory.
    Directory {
        /// Permissions, four octal digits.
        mode: String,
    },
    /// A regular file.
    File {
        /// Permissions, four octal digits.
        mode: String,
        /// Its length in bytes.
        size: u64,
        /// Digest of its bytes.
        sha256: Digest,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, escaped as paths are.
        target: String,
    },
}

impl Contents {
    /// What `tree` holds, which has nothing but directories, files and symbolic links; files are read on up to
    /// `threads` threads.
    ///
    /// # Errors
    /// When a file cannot be read: its path and why.
    pub fn of(tree: &Tree, threads: usize) -> Result<Self, (TreePath, std::io::Error)> {
        let entries: Vec<(TreePath, InodeId)> = tree
            .walk()
            .filter(|(path, _)| !path.is_root() && path.as_bytes() != CONTENTS.as_bytes())
            .collect();
        let describe = |buffer: &mut Vec<u8>, at: usize| {
            let (path, id) = &entries[at];
            let inode = tree.inode(*id);
            let mode = format!("{:04o}", inode.metadata.mode);
            let entry = match &inode.node {
                Node::File(content) => {
                    let sha256 = digest(content, buffer).map_err(|error| (path.clone(), error))?;
                    Entry::File { mode, size: content.len(), sha256 }
                }
                Node::Symlink(target) => Entry::Symlink { target: escape(target) },
                _ => Entry::Directory { mode },
            };
            Ok((escape(path.as_bytes()), entry))
        };
        let described = parallel::map(threads, entries.len(), || vec![0; STEP], describe)?;
        Ok(Self { schema: SCHEMA.to_owned(), entries: described.into_iter().collect() })
    }

    /// The document's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts and its numbers integers")
    }
}

fn digest(content: &Content, buffer: &mut [u8]) -> std::io::Result<Digest> {
    let (mut reader, mut hasher) = (content.reader(), Hasher::new());
    loop {
        match reader.read(buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// `bytes` as text from which they can be had back.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\x5c"),
                character => text.push(character),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// The bytes that [`escape`] made `text` from; none if it made no such text.
pub(crate) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split("\\x");
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (byte, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(byte, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use bake_tree::Metadata;

    use super::*;

    #[test]
    fn what_was_escaped_can_be_had_back() {
        for bytes in [&b""[..], b"bin/tool", b"a\\x5cb\\", b"\xff\xfe x", "gr\u{fc}n".as_bytes()] {
            assert_eq!(unescape(&escape(bytes)).as_deref(), Some(bytes));
        }
        for wrong in ["\\x5", "\\xzz", "\\x\u{fc}\u{fc}"] {
            assert_eq!(unescape(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_entry_is_listed_and_the_list_is_not() {
        let mut tree = Tree::new();
        let path = |bytes: &[u8]| TreePath::parse(bytes).unwrap();
        let file = || Node::File(Content::bytes(b"abc".as_slice()));
        tree.put(&path(b"bin/tool"), Metadata::root(0o755), file()).unwrap();
        tree.put(&path(b"odd\\\xff"), Metadata::root(0o644), file()).unwrap();
        tree.put(&path(b"link"), Metadata::root(0o777), Node::Symlink(b"bin/tool".as_slice().into()))
            .unwrap();
        tree.put(&path(CONTENTS.as_bytes()), Metadata::root(0o644), file()).unwrap();
        let expected = r#"{
  "entries": {
    "bin": {
      "mode": "0755",
      "type": "directory"
    },
    "bin/tool": {
      "mode": "0755",
      "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "size": 3,
      "type": "file"
    },
    "link": {
      "target": "bin/tool",
      "type": "symlink"
    },
    "odd\\x5c\\xff": {
      "mode": "0644",
      "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      "size": 3,
      "type": "file"
    }
  },
  "schema": "bake-contents-1"
}
"#;
        for threads in [1, 3] {
            let contents = Contents::of(&tree, threads).unwrap();
            assert_eq!(String::from_utf8(contents.to_json()).unwrap(), expected);
            assert_eq!(serde_json::from_slice::<Contents>(expected.as_bytes()).unwrap(), contents);
        }
    }
}
