//! YAML as operators write it: exact about what it means, or refused by name.
//!
//! Readers of YAML disagree about plain words (`yes`, `0755`, `1:20`), and anchors, tags and merge keys make a file
//! mean what cannot be seen. What is left here means the same to every reader.

use std::sync::Arc;

use crate::{Kind, Node, Place, Problem, Problems};

mod characters;
mod events;
mod plain;

/// Bytes of the longest file.
const LONGEST: usize = 1024 * 1024;

/// The mapping that a file holds.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<Node, Problems> {
    let file: Arc<str> = file_name.into();
    let text = characters::check(&file, bytes)?;
    let place = |line, column| Place { file: file.clone(), line, column };
    let root = events::load(text, &place)?;
    let message = match root.as_ref().map(|node| &node.kind) {
        Some(Kind::Map(_)) => None,
        Some(Kind::Null) | None => {
            Some("is empty, expected parameters and their values such as `cluster_name: demo`".into())
        }
        Some(_) => {
            let what = root.as_ref().map_or("nothing", Node::describe);
            Some(format!("is {what}, expected parameters and their values such as `cluster_name: demo`"))
        }
    };
    match (root, message) {
        (Some(root), None) => Ok(root),
        (root, message) => {
            let place = root.map_or_else(|| Place::file(file_name), |root| root.place);
            Err(Problems(vec![Problem::new(&place, "", message.unwrap_or_default())]))
        }
    }
}

/// A value by itself, as `--set NAME=VALUE` gives it: what would be a plain text, or a text in quotes, or a list or
/// mapping in `[]` or `{}`. Nothing at all is the empty text, and there are no comments: `#` is what it is.
/// All of it is at `place`.
pub fn scalar(text: &str, place: &Place) -> Result<Node, Problems> {
    let wrong = |message: String| Problems(vec![Problem::new(place, "", message)]);
    if text.len() > LONGEST {
        return Err(wrong(format!("has {} bytes, expected at most {LONGEST}", text.len())));
    }
    let trimmed = text.trim();
    if !trimmed.starts_with(['[', '{', '"', '\'']) {
        let kind = if trimmed.is_empty() || text.contains('\n') {
            // Lines given by a command are a text: a plain one would lose its ends of lines.
            Kind::Text(if trimmed.is_empty() { String::new() } else { text.into() })
        } else {
            plain::resolve(trimmed).map_err(wrong)?
        };
        return Ok(Node { place: place.clone(), kind });
    }
    if let Some(problem) = characters::find(trimmed, &|_, _| place.clone()).into_iter().next() {
        return Err(Problems(vec![problem]));
    }
    events::load(trimmed, &|_, _| place.clone())?.ok_or_else(|| wrong("is empty".into()))
}

#[cfg(test)]
mod tests;
