//! What a type expects, in words.

use super::Type;

/// Texts as a choice: `a`, `b` or `c`.
pub fn choice<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut texts: Vec<String> = texts.map(|text| format!("`{text}`")).collect();
    match texts.pop() {
        Some(last) if !texts.is_empty() => format!("{} or {last}", texts.join(", ")),
        last => last.unwrap_or_default(),
    }
}

impl Type {
    /// What is expected, for messages: `a port, 1 to 65535`.
    pub fn expected(&self) -> String {
        match self {
            Self::Boolean => "`true` or `false`".into(),
            Self::Integer { min: 1, max: 65535, except } if except.is_empty() => "a port, 1 to 65535".into(),
            Self::Integer { min, max, except } => {
                let range = match (*min, *max) {
                    (i64::MIN, i64::MAX) => "a whole number".into(),
                    (min, i64::MAX) => format!("a whole number from {min}"),
                    (i64::MIN, max) => format!("a whole number up to {max}"),
                    (min, max) => format!("a whole number from {min} to {max}"),
                };
                let except: Vec<_> = except.iter().map(ToString::to_string).collect();
                if except.is_empty() { range } else { format!("{range} but not {}", except.join(", ")) }
            }
            Self::Number(values) => {
                choice(values.iter().map(ToString::to_string).collect::<Vec<_>>().iter().map(String::as_str))
            }
            Self::Choice(values) => choice(values.iter().map(String::as_str)),
            Self::Text(form) => form.expected().into(),
            Self::List { of, distinct, lengths } => {
                let count: Vec<_> = lengths.iter().map(ToString::to_string).collect();
                let (last, rest) =
                    count.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
                let count =
                    if rest.is_empty() { last.into() } else { format!("{} or {last}", rest.join(", ")) };
                let distinct = if *distinct { "distinct " } else { "" };
                let space = if count.is_empty() { "" } else { " " };
                format!("a list of {count}{space}{distinct}values, each {}", of.expected())
            }
            Self::Object => "a mapping".into(),
            Self::Document(document) => document.expected().into(),
            Self::OrEmpty(kind) => format!("{}, or the empty text", kind.expected()),
            Self::OrNull(kind) => format!("{}, or null", kind.expected()),
        }
    }
}
