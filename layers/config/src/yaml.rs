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

/// The mapping that a file holds, if nothing of it is refused.
pub fn read(file_name: &str, bytes: &[u8]) -> Result<Node, Problems> {
    let mut problems = vec![];
    let root = read_marked(file_name, bytes, &mut problems);
    Problems::check(problems)?;
    root.ok_or_else(|| Problems(vec![]))
}

/// The mapping that a file holds, in which what is refused is [`Kind::Refused`]; so that the rest can be judged
/// besides. None when it is not certain what the rest is: what is no YAML, too deep or too long. `problems` gets all
/// that is wrong, at least one for none.
pub fn read_marked(file_name: &str, bytes: &[u8], problems: &mut Vec<Problem>) -> Option<Node> {
    let file: Arc<str> = file_name.into();
    let text = characters::check(&file, bytes).map_err(|found| problems.extend(found.0)).ok()?;
    let place = |line, column| Place { file: file.clone(), line, column };
    let before = problems.len();
    let root = events::load(text, &place, problems);
    let what = match root.as_ref().map(|node| &node.kind) {
        Some(Kind::Map(_)) => return root,
        Some(Kind::Refused) => return None,
        None if problems.len() > before => return None,
        Some(Kind::Null) | None => "empty",
        Some(_) => root.as_ref().map_or("nothing", Node::describe),
    };
    let place = root.as_ref().map_or_else(|| Place::file(file_name), |root| root.place.clone());
    let message = format!("is {what}, expected parameters and their values such as `cluster_name: demo`");
    problems.push(Problem::new(&place, "", message));
    None
}

/// A value by itself, as `--set NAME=VALUE` gives it: what would be a plain text, or a text in quotes, or a list or
/// mapping in `[]` or `{}`. Nothing at all is the empty text, and there are no comments: `#` is what it is.
/// All of it is at `place`.
pub fn scalar(text: &str, place: &Place) -> Result<Node, Problems> {
    let mut problems = vec![];
    let node = scalar_marked(text, place, &mut problems);
    Problems::check(problems)?;
    Ok(node)
}

/// A value by itself like [`scalar`], in which what is refused is [`Kind::Refused`].
pub fn scalar_marked(text: &str, place: &Place, problems: &mut Vec<Problem>) -> Node {
    let node = |kind| Node { place: place.clone(), kind };
    let mut wrong = |message: String| {
        problems.push(Problem::new(place, "", message));
        node(Kind::Refused)
    };
    if text.len() > LONGEST {
        return wrong(format!("has {} bytes, expected at most {LONGEST}", text.len()));
    }
    let trimmed = text.trim();
    if !trimmed.starts_with(['[', '{', '"', '\'']) {
        if trimmed.is_empty() {
            return node(Kind::Text(String::new()));
        }
        if text.contains('\n') {
            // Lines given by a command are a text: a plain one would lose its ends of lines.
            return node(Kind::Text(text.into()));
        }
        return plain::resolve(trimmed).map_or_else(wrong, node);
    }
    if let Some(problem) = characters::find(trimmed, &|_, _| place.clone()).into_iter().next() {
        problems.push(problem);
        return node(Kind::Refused);
    }
    let before = problems.len();
    events::load(trimmed, &|_, _| place.clone(), problems).unwrap_or_else(|| {
        if problems.len() == before {
            problems.push(Problem::new(place, "", "is empty"));
        }
        node(Kind::Refused)
    })
}

#[cfg(test)]
mod tests;
