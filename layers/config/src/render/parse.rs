//! The reader of `files.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{FileRule, FileTable, Made, paths};
use crate::escape::Syntax;
use crate::template::Template;
use crate::types::nearest;
use crate::{Condition, Place, Problem, Problems, Target};

const FIELDS: [&str; 8] = ["link", "mode", "path", "syntax", "target", "template", "when", "when-set"];
const TARGETS: [Target; 4] = [Target::Config, Target::Metadata, Target::Host, Target::Secret];

/// Reads it, and takes the templates it names.
pub fn parse(
    file_name: &str,
    text: &str,
    directory: &str,
    templates: &BTreeMap<String, String>,
) -> Result<FileTable, Problems> {
    let mut reader = Reader { file: file_name.into(), text, directory, templates, problems: Vec::new() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let place = reader.place(error.span().map_or(0, |span| span.start));
        reader.problems.push(Problem::new(&place, "", error.message()));
    }
    let mut used = BTreeSet::new();
    let mut rules = Vec::new();
    if reader.problems.is_empty() {
        for (key, entry) in document.get_ref() {
            let place = reader.place(key.span().start);
            rules.extend(reader.rule(place, key.get_ref(), entry, &mut used));
        }
        // As they were written: tables of TOML are sorted by name.
        rules.sort_by(|a, b| a.place.cmp(&b.place));
        for name in templates.keys().filter(|name| !used.contains(*name)) {
            let message = format!("no file of {file_name} is made by this template");
            reader.problems.push(Problem::new(&Place::file(&format!("{directory}/{name}")), "", message));
        }
    }
    Problems::check(reader.problems)?;
    Ok(FileTable { rules })
}

struct Reader<'a> {
    file: std::sync::Arc<str>,
    text: &'a str,
    directory: &'a str,
    templates: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

/// The fields of one entry, taken out one by one.
struct Fields<'a, 'b> {
    name: &'a str,
    place: Place,
    table: &'a DeTable<'b>,
}

impl Reader<'_> {
    fn place(&self, at: usize) -> Place {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Place { file: self.file.clone(), line: number(line), column: number(column) }
    }

    fn problem(&mut self, place: &Place, name: &str, message: impl Into<String>) {
        self.problems.push(Problem::new(place, name, message));
    }

    fn rule(
        &mut self,
        place: Place,
        name: &str,
        entry: &Spanned<DeValue<'_>>,
        used: &mut BTreeSet<String>,
    ) -> Option<FileRule> {
        let DeValue::Table(table) = entry.get_ref() else {
            self.problem(&place, name, "expected a table: `[\"PATH\"]` and what makes the file");
            return None;
        };
        let fields = Fields { name, place, table };
        let before = self.problems.len();
        for key in table.keys().filter(|key| !FIELDS.contains(&key.get_ref().as_ref())) {
            let near = nearest(key.get_ref(), FIELDS).map(|near| format!("; did you mean `{near}`?"));
            let message = format!("there is no field `{}`{}", key.get_ref(), near.unwrap_or_default());
            let place = self.place(key.span().start);
            self.problem(&place, name, message);
        }
        let target = self.choice(&fields, "target", &TARGETS, Target::name).unwrap_or(Target::Config);
        let path = self.text_of(&fields, "path").map_or_else(|| name.to_owned(), |(path, _)| path);
        if let Err(message) = paths::check(target, &path) {
            self.problem(&fields.place, &path, message);
        }
        let source = self.source(&fields, target, used);
        let when = self.conditions(&fields);
        let when_set = self.names(&fields);
        (self.problems.len() == before).then_some(())?;
        Some(FileRule { place: fields.place, target, path, source: source?, when, when_set })
    }

    fn source(
        &mut self,
        fields: &Fields<'_, '_>,
        target: Target,
        used: &mut BTreeSet<String>,
    ) -> Option<Made> {
        let link = self.text_of(fields, "link");
        let template = self.text_of(fields, "template");
        let syntax = self.choice(fields, "syntax", &Syntax::ALL, Syntax::name);
        let mode = self.mode(fields, target);
        match (link, template) {
            (Some((link, place)), None) => {
                for field in ["mode", "syntax"].iter().filter(|field| fields.table.contains_key(**field)) {
                    self.problem(&place, fields.name, format!("a link has no `{field}`"));
                }
                if let Err(message) = paths::check_link(target, &link) {
                    self.problem(&place, fields.name, message);
                }
                Some(Made::Link(link))
            }
            (None, Some((name, place))) => {
                used.insert(name.clone());
                let Some(text) = self.templates.get(&name) else {
                    let near = nearest(&name, self.templates.keys().map(String::as_str));
                    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    let message = format!("there is no template `{name}` in {}/{near}", self.directory);
                    self.problem(&place, fields.name, message);
                    return None;
                };
                if !fields.table.contains_key("syntax") {
                    self.problem(
                        &fields.place,
                        fields.name,
                        format!("expected `syntax`, one of {}", all(&Syntax::ALL, Syntax::name)),
                    );
                }
                let template = Template::new(&format!("{}/{name}", self.directory), text);
                let syntax = syntax?;
                self.problems.extend(template.check(syntax).err());
                Some(Made::Template { template, syntax, mode })
            }
            _ => {
                self.problem(&fields.place, fields.name, "expected either `template` or `link`");
                None
            }
        }
    }

    fn mode(&mut self, fields: &Fields<'_, '_>, target: Target) -> u32 {
        let Some((text, place)) = self.text_of(fields, "mode") else {
            return if target == Target::Secret { 0o600 } else { 0o644 };
        };
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| text.len() == 4 && *mode <= 0o777);
        match mode {
            None => {
                self.problem(&place, fields.name, "expected a mode of four octal digits, such as \"0644\"");
            }
            Some(mode) if target == Target::Secret && mode != 0o600 => {
                self.problem(&place, fields.name, "a file with secrets has the mode \"0600\"");
            }
            Some(mode) if mode & 0o022 != 0 => {
                self.problem(
                    &place,
                    fields.name,
                    "nobody but the owner may write to it; expected such as \"0644\"",
                );
            }
            Some(mode) => return mode,
        }
        0
    }

    fn conditions(&mut self, fields: &Fields<'_, '_>) -> Vec<Condition> {
        let Some(value) = fields.table.get("when") else {
            return Vec::new();
        };
        let place = self.place(value.span().start);
        let DeValue::Table(table) = value.get_ref() else {
            self.problem(&place, fields.name, "expected `when = { PARAMETER = VALUE }`");
            return Vec::new();
        };
        let mut conditions = Vec::new();
        for (parameter, value) in table {
            let values = match value.get_ref() {
                DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect(),
                value => Some(vec![json(value)].into_iter().flatten().collect::<Vec<_>>())
                    .filter(|it| !it.is_empty()),
            };
            match values {
                Some(any_of) => {
                    conditions.push(Condition { parameter: parameter.get_ref().to_string(), any_of });
                }
                None => {
                    self.problem(&place, fields.name, "expected texts, numbers, true or false in `when`");
                }
            }
        }
        conditions
    }

    fn names(&mut self, fields: &Fields<'_, '_>) -> Vec<String> {
        let Some(value) = fields.table.get("when-set") else {
            return Vec::new();
        };
        let names = match value.get_ref() {
            DeValue::Array(items) => items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        names.unwrap_or_else(|| {
            let place = self.place(value.span().start);
            self.problem(&place, fields.name, "expected `when-set = [\"PARAMETER\"]`");
            Vec::new()
        })
    }

    fn text_of(&mut self, fields: &Fields<'_, '_>, field: &str) -> Option<(String, Place)> {
        let value = fields.table.get(field)?;
        let place = self.place(value.span().start);
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            self.problem(&place, fields.name, format!("expected a text as `{field}`"));
        }
        text.map(|text| (text, place))
    }

    fn choice<T: Copy>(
        &mut self,
        fields: &Fields<'_, '_>,
        field: &str,
        choices: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let (text, place) = self.text_of(fields, field)?;
        let found = choices.iter().copied().find(|choice| name(*choice) == text);
        if found.is_none() {
            let message = format!("expected {field} to be one of {}", all(choices, name));
            self.problem(&place, fields.name, message);
        }
        found
    }
}

fn all<T: Copy>(choices: &[T], name: impl Fn(T) -> &'static str) -> String {
    choices.iter().map(|choice| format!("\"{}\"", name(*choice))).collect::<Vec<_>>().join(", ")
}

fn json(value: &DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::String(text) => Some(Value::from(text.as_ref())),
        DeValue::Boolean(value) => Some(Value::from(*value)),
        DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix()).ok().map(Value::from),
        _ => None,
    }
}
