//! Templates: texts with values in them.
//!
//! They have conditions, loops and a few filters, and nothing that reads a file, another template, the clock or
//! chance. Whatever a template puts out passes [`escape()`](crate::escape::escape) for the file's syntax; no filter
//! and no block turns that off.

mod filters;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::Value;

use crate::escape::place::{self, Pieces};
use crate::escape::{Syntax, escape};
use crate::{Place, Problem};

/// Steps that a template may take: thousands of hosts in a list, but no loop of loops of them.
const FUEL: u64 = 2_000_000;
/// The largest file that a template may make, in bytes.
const LARGEST: usize = 16 << 20;

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The file that it comes from, for messages.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

impl Template {
    /// The text that was read from `file`.
    pub fn new(file: &str, text: &str) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// What is wrong with it, whatever the values are.
    ///
    /// # Errors
    /// The first thing that is no template.
    pub fn check(&self, syntax: Syntax) -> Result<(), Problem> {
        if let Some((line, c)) = self.control() {
            let message = format!(
                "the control character U+{:04X} stands here; templates have line breaks and tabs only",
                u32::from(c)
            );
            return Err(self.problem(line, "", message));
        }
        if let Some(tag) = names::tags(&self.text).into_iter().find(names::Tag::keeps_output) {
            let message = "blocks that keep or change what they put out are not used here: \
                give a variable its value by `{% set name = … %}`";
            return Err(self.problem(tag.line, "", message.to_owned()));
        }
        environment(syntax, &Shared::default(), None)
            .template_from_named_str(&self.file, &self.text)
            .map(drop)
            .map_err(|error| self.explain(&error))
    }

    /// The names of parameters that it uses, each with the line where it does so first.
    pub fn names(&self) -> BTreeMap<String, u32> {
        let environment = Environment::empty();
        let Ok(template) = environment.template_from_named_str(&self.file, &self.text) else {
            return BTreeMap::new();
        };
        let names: BTreeSet<_> = template.undeclared_variables(false).into_iter().collect();
        names.into_iter().map(|name| (name.clone(), names::line_of(&self.text, &name))).collect()
    }

    /// The file that it makes of these values.
    ///
    /// # Errors
    /// When it is no template, uses a name that has no value, or puts a value where its file cannot hold it.
    pub fn render(&self, syntax: Syntax, values: &BTreeMap<String, Value>) -> Result<String, Problem> {
        self.check(syntax)?;
        let pieces = self.run(syntax, values, None)?;
        let Err(misplaced) = place::check(syntax, &pieces) else {
            return Ok(pieces.text);
        };
        match misplaced.value {
            None => Err(self.problem(0, "", misplaced.message)),
            // Again, to stop at that value and so learn its line.
            Some(number) => {
                let stop = (number, misplaced.message.clone());
                Err(self
                    .run(syntax, values, Some(stop))
                    .err()
                    .unwrap_or_else(|| self.problem(0, "", misplaced.message)))
            }
        }
    }

    fn run(
        &self,
        syntax: Syntax,
        values: &BTreeMap<String, Value>,
        stop: Option<(usize, String)>,
    ) -> Result<Pieces, Problem> {
        let shared = Shared::default();
        let environment = environment(syntax, &shared, stop);
        environment
            .template_from_named_str(&self.file, &self.text)
            .and_then(|template| {
                template.render_captured_to(minijinja::Value::from(Serde(values)), shared.clone()).map(drop)
            })
            .map_err(|error| self.explain(&error))?;
        Ok(shared.take())
    }

    fn control(&self) -> Option<(u32, char)> {
        let at = self.text.find(|c: char| c.is_control() && c != '\n' && c != '\t')?;
        let line = self.text[..at].matches('\n').count() + 1;
        Some((u32::try_from(line).unwrap_or_default(), self.text[at..].chars().next()?))
    }

    fn explain(&self, error: &Error) -> Problem {
        let line = error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or_default();
        let mut message = match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => "it takes too many steps; shorten its loops".to_owned(),
            (ErrorKind::UndefinedError, _) => {
                "it uses something that has no value here; test for it with `is defined`, or by `when` in files.toml"
                    .to_owned()
            }
            (ErrorKind::UnknownFilter, detail) => {
                format!("{}; there are {}", detail.unwrap_or("unknown filter"), filters::NAMES.join(", "))
            }
            (ErrorKind::WriteFailure, _) => {
                format!("it makes a file of more than {LARGEST} bytes")
            }
            (_, Some(detail)) => detail.to_owned(),
            (kind, None) => kind.to_string(),
        };
        let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
        while let Some(inner) = source {
            message = format!("{message}: {inner}");
            source = inner.source();
        }
        self.problem(line, &names::in_line(&self.text, line), message)
    }

    fn problem(&self, line: u32, name: &str, message: String) -> Problem {
        Problem::new(&Place { file: self.file.clone(), line, column: 0 }, name, message)
    }

    /// A problem with its use of a parameter.
    pub fn problem_of(&self, line: u32, name: &str, message: String) -> Problem {
        self.problem(line, name, message)
    }
}

/// What is put out, as it grows.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<Pieces>>);

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Pieces) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self) -> Pieces {
        self.with(std::mem::take)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.with(|pieces| {
            if pieces.text.len() + text.len() > LARGEST {
                return Err(io::Error::other("too large"));
            }
            pieces.text.push_str(text);
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment<'a>(syntax: Syntax, shared: &Shared, stop: Option<(usize, String)>) -> Environment<'a> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax_config());
    environment.set_fuel(Some(FUEL));
    filters::add(&mut environment);
    let shared = shared.clone();
    environment.set_formatter(move |out: &mut Output, _: &mut State, value: &minijinja::Value| {
        let start = shared.with(|pieces| pieces.text.len());
        let number = shared.with(|pieces| pieces.values.len());
        if let Some((at, message)) = &stop
            && *at == number
        {
            return Err(invalid(message.clone()));
        }
        let text = written(syntax, value).map_err(invalid)?;
        out.write_str(&text)?;
        shared.with(|pieces| {
            // A block that kept it for itself would let it pass unseen.
            if pieces.text.len() != start + text.len() {
                return Err(invalid("what a block puts out cannot be kept".to_owned()));
            }
            pieces.values.push((start, start + text.len()));
            Ok(())
        })
    });
    environment
}

/// Lines of nothing but blocks leave no empty lines, and the last line break stays.
fn syntax_config() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    builder.build().unwrap_or_default()
}

fn written(syntax: Syntax, value: &minijinja::Value) -> Result<String, String> {
    match value.downcast_object_ref::<filters::Words>() {
        Some(words) if syntax == Syntax::Shell => words.written(),
        Some(_) => Err("`words` is for shell scripts".to_owned()),
        None => escape(syntax, &plain(value)?),
    }
}

/// A value as data.
fn plain(value: &minijinja::Value) -> Result<Value, String> {
    if value.is_undefined() {
        return Err("it has no value".to_owned());
    }
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
