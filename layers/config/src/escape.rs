//! How a value is written in each kind of file, so that whatever it holds stays one value.
//!
//! Values bring the quotes that they need; [`place`] holds templates to writing them where that is true.

pub mod place;

use std::fmt::Write;

use serde_json::Value;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Syntax {
    /// JSON: a value is the JSON text of it.
    Json,
    /// YAML: a value is its JSON text too, which is a flow node.
    Yaml,
    /// A shell script: a value is one quoted word.
    Shell,
    /// What systemd reads by `EnvironmentFile=`: a value follows the `=` of its line.
    Env,
    /// What `java.util.Properties` loads.
    Properties,
    /// Lines of plain text: a value stays in its line.
    Conf,
    /// HTML: a value is text, or part of a quoted attribute.
    Html,
    /// An operator's own text, such as a script, as the whole file.
    Script,
}

impl Syntax {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Json,
        Self::Yaml,
        Self::Shell,
        Self::Env,
        Self::Properties,
        Self::Conf,
        Self::Html,
        Self::Script,
    ];

    /// Its name in `files.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Shell => "shell",
            Self::Env => "env",
            Self::Properties => "properties",
            Self::Conf => "conf",
            Self::Html => "html",
            Self::Script => "script",
        }
    }
}

/// The text of `value` in a file of `syntax`.
///
/// # Errors
/// When such a file cannot hold it; the message says why, and what a template can do.
pub fn escape(syntax: Syntax, value: &Value) -> Result<String, String> {
    match syntax {
        Syntax::Json | Syntax::Yaml => Ok(json(value)),
        Syntax::Shell => word(&text(value)?),
        Syntax::Env => env(&text(value)?),
        Syntax::Properties => Ok(properties(&text(value)?)),
        Syntax::Conf => conf(text(value)?),
        Syntax::Html => html(&text(value)?),
        Syntax::Script => text(value),
    }
}

/// JSON on one line that is YAML too: no character is raw that either of them takes for a break, or refuses.
pub fn json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                push(&mut out, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

/// One word of a shell script.
pub fn word(text: &str) -> Result<String, String> {
    without_controls(text, "a shell script", &['\n', '\t'])?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

/// A value of an environment file, without quotes when it is plain, for those who read such files line by line.
pub fn env(text: &str) -> Result<String, String> {
    without_controls(text, "an environment file", &['\t'])?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    Ok(out)
}

fn properties(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' ' | '\\' | '=' | ':' | '#' | '!' => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push(&mut out, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

fn conf(text: String) -> Result<String, String> {
    without_controls(&text, "a line of plain text", &[])?;
    Ok(text)
}

fn html(text: &str) -> Result<String, String> {
    without_controls(text, "HTML", &['\n', '\t'])?;
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '`' => out.push_str("&#96;"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// A value that is one text: a text itself, a number, or `true` and `false`.
pub fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => {
            Err("it is nothing (`null`), which has no text; test it with `{% if … is none %}`".into())
        }
        Value::Array(_) => {
            Err("it is a list, which is not one text; use `| join(\",\")`, `| lines`, `| json` or a loop"
                .into())
        }
        Value::Object(_) => {
            Err("it is a mapping, which is not one text; use `| json`, or its entries".into())
        }
    }
}

fn without_controls(text: &str, place: &str, allowed: &[char]) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
        None => Ok(()),
        Some('\n') => Err(format!("it has a line break, which {place} cannot hold")),
        Some(c) => {
            Err(format!("it has the control character U+{:04X}, which {place} cannot hold", u32::from(c)))
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // A `String` takes whatever it is given.
    let _ = out.write_fmt(text);
}
