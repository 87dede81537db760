//! Where in a template what is named.

use std::collections::BTreeSet;

/// A tag of a template: `{{ … }}` or `{% … %}`.
pub struct Tag<'a> {
    /// The line where it begins, from 1.
    pub line: u32,
    /// What is between its braces.
    pub text: &'a str,
    block: bool,
}

impl Tag<'_> {
    /// Whether it begins a block whose output goes elsewhere than into the file.
    pub fn keeps_output(&self) -> bool {
        let mut words = self.text.trim_matches(['-', '+']).split_whitespace();
        match words.next() {
            Some("filter" | "autoescape") => self.block,
            Some("set") => self.block && !self.text.contains('='),
            _ => false,
        }
    }

    /// The names in it, without those in its texts.
    fn names(&self) -> BTreeSet<&str> {
        let outside_texts = self.text.split(['"', '\'']).step_by(2);
        outside_texts
            .flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')))
            .map(|path| path.split('.').next().unwrap_or_default())
            .filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
            .collect()
    }
}

/// The tags of a template, without its comments.
pub fn tags(text: &str) -> Vec<Tag<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('{').map(|at| from + at) {
        let (close, block) = match text[at + 1..].chars().next() {
            Some('{') => ("}}", false),
            Some('%') => ("%}", true),
            Some('#') => ("#}", false),
            _ => {
                from = at + 1;
                continue;
            }
        };
        let inner = &text[at + 2..];
        let end = inner.find(close).unwrap_or(inner.len());
        if close != "#}" {
            let line = text[..at].matches('\n').count() + 1;
            found.push(Tag { line: u32::try_from(line).unwrap_or_default(), text: &inner[..end], block });
        }
        from = (at + 2 + end + 2).min(text.len());
    }
    found
}

/// The line where a name is used first; 0 when it is not.
pub fn line_of(text: &str, name: &str) -> u32 {
    tags(text).iter().find(|tag| tag.names().contains(name)).map_or(0, |tag| tag.line)
}

/// The first name that a line puts out, for messages about its value.
pub fn in_line(text: &str, line: u32) -> String {
    let tags = tags(text);
    let tag = tags.iter().find(|tag| tag.line == line && !tag.block);
    let first = tag.and_then(|tag| {
        let names = tag.names();
        tag.text
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .find(|word| names.contains(word))
            .map(str::to_owned)
    });
    first.unwrap_or_default()
}
