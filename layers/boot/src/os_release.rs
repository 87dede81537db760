//! What a tree says it is: `os-release(5)`.

use std::collections::BTreeMap;

use bake_tree::{EditError, Tree};

/// More than any os-release has, in bytes.
const LIMIT: u64 = 64 << 10;

/// The fields of an os-release file.
#[derive(Clone, Debug, Default)]
pub struct OsRelease {
    fields: BTreeMap<String, String>,
    text: Vec<u8>,
}

impl OsRelease {
    /// Reads `/etc/os-release`, else `/usr/lib/os-release`; nothing in it when there is neither.
    ///
    /// # Errors
    /// When something else than a readable file is there.
    pub fn read(tree: &Tree) -> Result<Self, EditError> {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(text) = tree.read(&crate::path(path), LIMIT)? {
                return Ok(Self::parse(text));
            }
        }
        Ok(Self::default())
    }

    fn parse(text: Vec<u8>) -> Self {
        let lines = String::from_utf8_lossy(&text);
        let fields = lines.lines().filter_map(|line| line.trim_start().split_once('='));
        let fields = fields.map(|(key, value)| (key.to_owned(), unquote(value))).collect();
        Self { fields, text }
    }

    /// The value of a field; nothing when it is missing or empty.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The file as it is.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// What a shell makes of the value (`os-release(5)`: no expansions, five characters are escaped).
fn unquote(value: &str) -> String {
    let value = value.trim();
    let mut text = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', None) => text.extend(characters.next()),
            ('\\', Some('"')) => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                other => text.extend(['\\'].into_iter().chain(other)),
            },
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => break,
            (c, _) => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_a_shell_reads() {
        let text = "PRETTY_NAME=\"A \\\"quoted\\\" $5 \\`name\\`\"\nID=debian # x\n#ID=no\nVARIANT='it''s \\'\nIMAGE_ID=\n";
        let release = OsRelease::parse(text.as_bytes().to_vec());
        assert_eq!(release.get("PRETTY_NAME"), Some("A \"quoted\" $5 `name`"));
        assert_eq!(release.get("ID"), Some("debian"));
        assert_eq!(release.get("VARIANT"), Some("its \\"));
        assert_eq!(release.get("IMAGE_ID"), None);
    }
}
