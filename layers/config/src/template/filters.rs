//! What templates can do with values. Every filter gives a value like any other, which is escaped like any other.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, Serde};
use minijinja::{Environment, Error, Value};
use serde_json::Value as Json;

use super::{invalid, plain};
use crate::escape::{env as env_value, json as json_text, text, word};

/// Names of the filters.
pub const NAMES: [&str; 9] =
    ["`env`", "`items`", "`join`", "`json`", "`length`", "`lines`", "`shell`", "`sorted`", "`words`"];

/// Adds the filters, and the tests `defined` and `none`.
pub fn add(environment: &mut Environment<'_>) {
    environment
        .add_filter("env", |value: &Value| text_of(value).and_then(|text| env_value(&text).map_err(invalid)));
    environment.add_filter("items", |value: &Value| minijinja::filters::items(value));
    environment.add_filter("join", |value: &Value, between: Option<&str>| join(value, between.unwrap_or("")));
    environment
        .add_filter("json", |value: &Value| plain(value).map(|value| json_text(&value)).map_err(invalid));
    environment.add_filter("length", |value: &Value| minijinja::filters::length(value));
    environment.add_filter("lines", |value: &Value| join(value, "\n"));
    environment
        .add_filter("shell", |value: &Value| text_of(value).and_then(|text| word(&text).map_err(invalid)));
    environment.add_filter("sorted", sorted);
    environment.add_filter("words", |value: &Value| Ok::<_, Error>(Value::from_object(Words(texts(value)?))));
    environment.add_test("defined", |value: &Value| !value.is_undefined());
    environment.add_test("none", |value: &Value| value.is_none());
}

/// Words of a shell script: for its arrays and its arguments.
#[derive(Debug)]
pub struct Words(Vec<String>);

impl Words {
    /// All of them, each quoted.
    pub fn written(&self) -> Result<String, String> {
        let words: Result<Vec<_>, _> = self.0.iter().map(|text| word(text)).collect();
        Ok(words?.join(" "))
    }
}

impl Object for Words {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    // Within a longer text it is no longer several words.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

fn text_of(value: &Value) -> Result<String, Error> {
    plain(value).and_then(|value| text(&value)).map_err(invalid)
}

fn list(value: &Value) -> Result<Vec<Json>, Error> {
    match plain(value).map_err(invalid)? {
        Json::Array(items) => Ok(items),
        _ => Err(invalid("expected a list".to_owned())),
    }
}

fn texts(value: &Value) -> Result<Vec<String>, Error> {
    list(value)?.iter().map(|item| text(item).map_err(invalid)).collect()
}

/// A text that would look like two is refused: readers could not tell.
fn join(value: &Value, between: &str) -> Result<String, Error> {
    let texts = texts(value)?;
    match texts.iter().find(|text| !between.is_empty() && text.contains(between)) {
        None => Ok(texts.join(between)),
        Some(text) => {
            Err(invalid(format!("{text:?} contains {between:?}, which stands between values here")))
        }
    }
}

/// Numbers first, by size, then texts, by their characters.
fn sorted(value: &Value) -> Result<Value, Error> {
    let mut items = list(value)?;
    items.sort_by_key(|item| {
        (!item.is_number(), item.as_i64(), item.as_str().map(str::to_owned), item.to_string())
    });
    Ok(Value::from(Serde(items)))
}
