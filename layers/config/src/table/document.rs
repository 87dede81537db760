//! TOML with the places of its values.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::{Key, Kind, Node, Place, Problem};

/// The document, or what is wrong with it.
pub fn read(file_name: &str, text: &str) -> Result<Vec<(Key, Node)>, Vec<Problem>> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut lines = Lines { file: Place::file(file_name), text, starts, problems: vec![] };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = lines.place(error.span().map_or(0, |span| span.start));
        lines.problems.push(Problem::new(&place, "", error.message().replace('\n', ", ")));
    }
    if !lines.problems.is_empty() {
        return Err(lines.problems);
    }
    let entries = lines.entries(document.get_ref());
    if lines.problems.is_empty() { Ok(entries) } else { Err(lines.problems) }
}

struct Lines<'a> {
    file: Place,
    text: &'a str,
    /// Where each line starts.
    starts: Vec<usize>,
    problems: Vec<Problem>,
}

impl Lines<'_> {
    fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        Place { file: self.file.file.clone(), line: line as u32, column: column as u32 + 1 }
    }

    /// In the order they were written.
    fn entries(&mut self, table: &DeTable<'_>) -> Vec<(Key, Node)> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
            .into_iter()
            .map(|(key, value)| {
                let place = self.place(key.span().start);
                (Key { name: key.get_ref().to_string(), place }, self.node(value))
            })
            .collect()
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let place = self.place(value.span().start);
        let kind = match value.get_ref() {
            DeValue::String(text) => Kind::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Kind::Int(number),
                Err(_) => {
                    self.problems.push(Problem::new(&place, "", "is a number too large"));
                    Kind::Null
                }
            },
            DeValue::Float(number) => Kind::Float(number.as_str().into()),
            DeValue::Boolean(value) => Kind::Bool(*value),
            DeValue::Datetime(_) => {
                self.problems.push(Problem::new(
                    &place,
                    "",
                    "is a time, expected a text, a number, a boolean, a list or a table",
                ));
                Kind::Null
            }
            DeValue::Array(items) => Kind::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Kind::Map(self.entries(table)),
        };
        Node { place, kind }
    }
}
