//! Strict reading of JSON objects: every fault becomes a problem with file and key, and reading goes on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::str::FromStr;

use bake_base::Digest;

use super::json::{Members, Value};
use crate::Problem;

/// What is wrong with one file, so far.
pub(super) struct Report<'a> {
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Report<'a> {
    pub(super) fn new(file: &'a str, problems: &'a mut Vec<Problem>) -> Self {
        Self { file, problems }
    }

    pub(super) fn add(&mut self, key: &str, message: impl AsRef<str>) {
        let problem =
            Problem { file: visible(self.file), key: key.to_owned(), message: visible(message.as_ref()) };
        self.problems.push(problem);
    }

    /// Takes what went well; what did not becomes a problem.
    pub(super) fn check<T>(&mut self, key: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }

    /// The file's JSON object; an empty one when it holds none, which is a problem then.
    pub(super) fn object(&mut self, bytes: &[u8]) -> Fields {
        let members = match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => members,
            Ok(other) => {
                self.add("", format!("expected an object, found {}", other.kind()));
                Members::new()
            }
            Err(error) => {
                self.add("", format!("is no JSON: {error}"));
                Members::new()
            }
        };
        Fields::new(self, String::new(), members)
    }
}

/// The members of an object, taken out one by one.
pub(super) struct Fields {
    /// Where the object is; empty for the file's own.
    key: String,
    members: BTreeMap<String, Value>,
}

impl Fields {
    fn new(report: &mut Report<'_>, key: String, members: Members) -> Self {
        let mut fields = Self { key, members: BTreeMap::new() };
        for (name, value) in members {
            let at = fields.at(&name);
            if fields.members.insert(name, value).is_some() {
                report.add(&at, "is given twice: JSON readers would silently take the last one");
            }
        }
        fields
    }

    /// The path of a member.
    pub(super) fn at(&self, name: &str) -> String {
        join(&self.key, name)
    }

    /// Where the object itself is.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// All that is left.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, Value)> {
        self.members.into_iter()
    }

    /// Refuses every key but these.
    pub(super) fn know(&mut self, report: &mut Report<'_>, known: &[&str]) {
        let unknown: Vec<_> =
            self.members.keys().filter(|name| !known.contains(&name.as_str())).cloned().collect();
        for name in unknown {
            self.members.remove(&name);
            report.add(&self.at(&name), format!("unknown key: {}", suggestion(&name, known.iter().copied())));
        }
    }

    pub(super) fn text(&mut self, report: &mut Report<'_>, name: &str) -> Option<String> {
        let value = self.take(name)?;
        text(report, &self.at(name), value)
    }

    /// Like [`Fields::text`], for a key that has to be there; `what` says what is expected.
    pub(super) fn needed(&mut self, report: &mut Report<'_>, name: &str, what: &str) -> Option<String> {
        if !self.has(name) {
            report.add(&self.at(name), format!("is missing: expected {what}"));
        }
        self.text(report, name)
    }

    /// Text that a type of its own understands.
    pub(super) fn parsed<T: FromStr<Err: ToString>>(
        &mut self,
        report: &mut Report<'_>,
        name: &str,
    ) -> Option<T> {
        let text = self.text(report, name)?;
        report.check(&self.at(name), parse(&text))
    }

    pub(super) fn flag(&mut self, report: &mut Report<'_>, name: &str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(value) => Some(value),
            other => {
                report.add(&self.at(name), format!("expected `true` or `false`, found {}", other.kind()));
                None
            }
        }
    }

    pub(super) fn list(&mut self, report: &mut Report<'_>, name: &str) -> Option<Vec<Value>> {
        match self.take(name)? {
            Value::List(values) => Some(values),
            other => {
                report.add(&self.at(name), format!("expected a list, found {}", other.kind()));
                None
            }
        }
    }

    pub(super) fn object(&mut self, report: &mut Report<'_>, name: &str) -> Option<Self> {
        let value = self.take(name)?;
        object(report, self.at(name), value)
    }

    /// A SHA-256 digest in either case.
    pub(super) fn sha256(&mut self, report: &mut Report<'_>, name: &str) -> Option<Digest> {
        let text = self.text(report, name)?;
        let digest = text
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| format!("`{}` is no SHA-256 digest: expected 64 hexadecimal digits", short(&text)));
        report.check(&self.at(name), digest)
    }
}

/// The object that a value is.
pub(super) fn object(report: &mut Report<'_>, key: String, value: Value) -> Option<Fields> {
    match value {
        Value::Object(members) => Some(Fields::new(report, key, members)),
        other => {
            report.add(&key, format!("expected an object, found {}", other.kind()));
            None
        }
    }
}

/// The text that a value is.
pub(super) fn text(report: &mut Report<'_>, key: &str, value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        other => {
            let quotes = match &other {
                Value::Bool(_) | Value::Integer(_) | Value::Float(_) => ": put it in quotes",
                _ => "",
            };
            report.add(key, format!("expected text, found {}{quotes}", other.kind()));
            None
        }
    }
}

/// Parses a name; the message stays short whatever the text is.
pub(super) fn parse<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    if text.len() > LONG {
        return Err(format!("`{}` is too long for a name", short(text)));
    }
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// The path of `name` below `key`.
pub(super) fn join(key: &str, name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-@+/".contains(&byte);
    let name = if !name.is_empty() && name.len() <= LONG && name.bytes().all(plain) {
        name.to_owned()
    } else {
        format!("{:?}", short(name))
    };
    if key.is_empty() { name } else { format!("{key}.{name}") }
}

/// The nearest of the known names, or all of them when none is near and they are few.
pub(super) fn suggestion<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let near = known
        .clone()
        .filter(|known| known.len().abs_diff(name.len()) <= known.len().div_ceil(3))
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        // Names of which no letter is the same are not near, however short they are.
        .filter(|(distance, known)| {
            *distance <= known.len().div_ceil(3) && *distance < known.len().max(name.len())
        });
    match near.min() {
        Some((_, nearest)) => format!("did you mean `{nearest}`?"),
        None => {
            let mut all = known.take(FEW + 1).collect::<Vec<_>>();
            let more = if all.len() > FEW { ", …" } else { "" };
            all.truncate(FEW);
            format!("expected one of {}{more}", all.join(", "))
        }
    }
}

/// Longer texts are cut in messages.
const LONG: usize = 160;
/// So many names are listed when none is near.
const FEW: usize = 20;

/// The beginning of a text that may be of any length.
pub(super) fn short(text: &str) -> String {
    match text.char_indices().nth(LONG) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text without characters that would move the cursor or forge a line.
pub(super) fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, character| {
        if character.is_control() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", character.escape_default());
        } else {
            shown.push(character);
        }
        shown
    })
}
