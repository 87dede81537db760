//! A difference as people read it.

use std::fmt;

use similar::{ChangeTag, TextDiff};

use super::{Change, Diff, FileState};

/// Lines around a change that are shown.
const CONTEXT: usize = 2;
/// The largest file whose lines are compared, in bytes.
const LARGEST: usize = 1 << 20;

/// The difference of a file; nothing when there is none.
pub(super) fn change(path: &str, old: Option<&FileState>, new: Option<&FileState>) -> Option<Change<String>> {
    match (old, new) {
        // Every file of every package is in it: it says nothing that is not said already.
        _ if path.ends_with(":contents.json") => None,
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => {
            let mode = (old.mode != new.mode).then(|| format!("mode {} -> {}\n", old.mode, new.mode));
            Some(Change::Changed(mode.unwrap_or_default() + &lines(&old.content, &new.content)))
        }
        (Some(old), None) => Some(Change::Removed(lines(&old.content, b""))),
        (None, new) => Some(Change::Added(lines(b"", &new?.content))),
    }
}

fn lines(old: &[u8], new: &[u8]) -> String {
    if old == new {
        return String::new();
    }
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("{} bytes -> {} bytes, no text\n", old.len(), new.len());
    };
    if old.len().max(new.len()) > LARGEST {
        return format!("{} bytes -> {} bytes\n", old.len(), new.len());
    }
    let diff = TextDiff::from_lines(old, new);
    let mut text = String::new();
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            text.push_str("...\n");
        }
        for change in group.iter().flat_map(|operation| diff.iter_changes(operation)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            text.push(sign);
            // What an operator wrote may not move the reader's cursor.
            text.extend(change.value().trim_end_matches('\n').chars().flat_map(visible));
            text.push('\n');
        }
    }
    text
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() && character != '\t' {
        character.escape_default().collect()
    } else {
        vec![character]
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, new) = &self.config_id;
        if self.is_empty() {
            return writeln!(f, "configuration {new}: nothing changes");
        }
        writeln!(f, "configuration {old} -> {new}")?;
        if let Some((old, new)) = &self.bootstrap {
            writeln!(f, "bootstrap {old} -> {new}")?;
        }
        if let Some((old, new)) = &self.pkgpanda {
            writeln!(f, "pkgpanda {old} -> {new}")?;
        }
        for (name, change) in &self.packages {
            let (word, versions) = change.parts();
            writeln!(f, "package {name} {word}: {versions}")?;
        }
        for id in &self.rebuilt {
            writeln!(f, "package {id}: other bytes under the same id")?;
        }
        for (path, change) in &self.files {
            let (word, lines) = change.parts();
            writeln!(f, "file {path} {word}")?;
            for line in lines.lines() {
                writeln!(f, "  {line}")?;
            }
        }
        for (path, change) in &self.secrets {
            writeln!(f, "secret {path} {}", change.parts().0)?;
        }
        if self.secrets_changed {
            writeln!(f, "secrets changed (or the installer's own text): nothing else did")?;
        }
        Ok(())
    }
}

impl Change<String> {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Added(text) => ("added", text),
            Self::Removed(text) => ("removed", text),
            Self::Changed(text) => ("changed", text),
        }
    }
}
