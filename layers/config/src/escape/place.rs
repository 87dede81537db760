//! Where in a file a value may stand: only where its own quotes make it one value. In the middle of a template's
//! quotes, in a comment or in a here-document they would not.

mod html;
mod shell;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::Value;

use super::Syntax;

/// What a template made: its own text, and between each two pieces of it a value as it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// All of it.
    pub text: String,
    /// Where in it each value begins and ends.
    pub values: Vec<(usize, usize)>,
}

/// What is wrong with what a template made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The number of the value that is in the wrong place; none when it is the file as a whole.
    pub value: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl Misplaced {
    fn value(number: usize, message: &str) -> Self {
        Self { value: Some(number), message: message.to_owned() }
    }

    fn whole(message: String) -> Self {
        Self { value: None, message }
    }
}

impl Pieces {
    /// The template's own texts: one more than there are values.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(0).chain(self.values.iter().map(|value| value.1));
        let ends = self.values.iter().map(|value| value.0).chain([self.text.len()]);
        starts.zip(ends).map(|(start, end)| &self.text[start..end])
    }

    /// The whole with something else for each value.
    fn with(&self, stand_in: impl Fn(usize) -> String) -> String {
        let mut out = String::new();
        for (number, text) in self.texts().enumerate() {
            out.push_str(text);
            if number < self.values.len() {
                out.push_str(&stand_in(number));
            }
        }
        out
    }
}

/// Checks that every value stands where it is one value.
///
/// # Errors
/// The first one that does not.
pub fn check(syntax: Syntax, pieces: &Pieces) -> Result<(), Misplaced> {
    match syntax {
        Syntax::Json => json(pieces),
        Syntax::Yaml => yaml(pieces),
        Syntax::Shell => shell::check(pieces),
        Syntax::Env => env(pieces),
        Syntax::Properties => properties(pieces),
        Syntax::Conf => Ok(()),
        Syntax::Html => html::check(pieces),
        Syntax::Script => script(pieces),
    }
}

const QUOTED: &str = "it stands within quotes or other text; a value brings its own quotes: write \
    `{{ … }}` alone, and put texts together within it, as in `{{ \"a \" ~ b }}`";

/// A word that is in no template.
fn token(pieces: &Pieces) -> String {
    let mut token = String::from("VALUE");
    while pieces.text.contains(&token) {
        token.push('X');
    }
    token
}

/// The file must be JSON with a text in place of each value, and each of these texts a whole one.
fn json(pieces: &Pieces) -> Result<(), Misplaced> {
    let token = token(pieces);
    let named = |number| format!("{token}{number}");
    let parsed = serde_json::from_str(&pieces.with(|number| format!("\"{}\"", named(number))));
    let parsed: Value = parsed.map_err(|error| {
        Misplaced::whole(format!(
            "it does not make JSON (line {} of the file: {error}); values bring their own quotes",
            error.line()
        ))
    })?;
    let mut found = Vec::new();
    texts_of(&parsed, &mut found);
    whole(pieces, &named, &found)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&pieces.text)
        .map(drop)
        .map_err(|error| Misplaced::whole(format!("it does not make JSON: {error}")))
}

fn texts_of(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, found)),
        Value::Object(entries) => {
            for (key, value) in entries {
                found.push(key.clone());
                texts_of(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn whole(pieces: &Pieces, named: &impl Fn(usize) -> String, found: &[String]) -> Result<(), Misplaced> {
    (0..pieces.values.len())
        .find(|number| !found.contains(&named(*number)))
        .map_or(Ok(()), |number| Err(Misplaced::value(number, QUOTED)))
}

/// The same with YAML, and what stands in for a value is plain, so that quotes around it show.
fn yaml(pieces: &Pieces) -> Result<(), Misplaced> {
    let token = token(pieces);
    let named = |number| format!("{token}{number}E");
    let found = scalars(&pieces.with(named))?;
    whole(pieces, &named, &found)?;
    scalars(&pieces.text).map(drop)
}

/// The plain scalars of a YAML text.
fn scalars(text: &str) -> Result<Vec<String>, Misplaced> {
    let mut found = Vec::new();
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::Scalar(text, ScalarStyle::Plain, ..), _)) => found.push(text.into_owned()),
            Ok(_) => {}
            Err(error) => {
                return Err(Misplaced::whole(format!(
                    "it does not make YAML ({error}); values bring their own quotes"
                )));
            }
        }
    }
    Ok(found)
}

/// Every value is all that its line assigns: systemd takes quotes for quotes only there.
fn env(pieces: &Pieces) -> Result<(), Misplaced> {
    let texts: Vec<_> = pieces.texts().collect();
    for number in 0..pieces.values.len() {
        let (before, after) = (texts[number], texts[number + 1]);
        let line = before.rsplit('\n').next().unwrap_or_default();
        // The line must begin in this piece: one value a line.
        let begins = number == 0 || before.contains('\n');
        let ends = after.starts_with('\n') || (after.is_empty() && number + 1 == pieces.values.len());
        // A line that ends in a backslash goes on in the next one.
        let continued = before.strip_suffix(line).is_some_and(|above| above.ends_with("\\\n"));
        if !(begins && ends && !continued && line.strip_suffix('=').is_some_and(is_variable)) {
            return Err(Misplaced::value(
                number,
                "expected `NAME={{ … }}` alone on a line; put texts together within it, as in \
                `{{ \"-a \" ~ b }}`",
            ));
        }
    }
    Ok(())
}

fn is_variable(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn properties(pieces: &Pieces) -> Result<(), Misplaced> {
    for (number, before) in pieces.texts().take(pieces.values.len()).enumerate() {
        let backslashes = before.len() - before.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            return Err(Misplaced::value(number, "it follows a backslash, which would take part of it"));
        }
    }
    Ok(())
}

fn script(pieces: &Pieces) -> Result<(), Misplaced> {
    if pieces.values == [(0, pieces.text.len())] {
        return Ok(());
    }
    Err(Misplaced::whole(
        "expected one `{{ … }}` and nothing else: such a file is an operator's text as it is".into(),
    ))
}
