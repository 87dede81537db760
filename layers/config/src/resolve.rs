//! What was written and what the table says become the effective configuration, or everything that is wrong.
//!
//! A parameter that fails silences those that depend on it, and nothing else.

mod value;
mod written;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::calculate::Files;
use crate::{Condition, Effective, Node, Place, Problem, Problems, Resolved, Source, Table, rules};

/// Something that an operator may want to know although nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Where it was written.
    pub place: Place,
    /// The parameter.
    pub name: String,
    /// What there is to know.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, name, message } = self;
        write!(f, "{place}: `{name}` {message}")
    }
}

/// How far a parameter came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Others are resolved for it.
    Visited,
    /// Something is wrong with it, or with what it depends on.
    Failed,
    /// It does not hold.
    Absent,
    /// It has a value.
    Ready,
}

/// Whether conditions hold.
enum Holds {
    Yes,
    /// This one does not.
    No(Condition),
    /// A parameter that they are about has failed.
    Unknown,
}

struct Resolver<'a> {
    table: &'a Table,
    /// The file that an operator writes: where required parameters are missed.
    file: Place,
    written: BTreeMap<&'a str, &'a Node>,
    given: &'a BTreeMap<String, Value>,
    files: &'a dyn Files,
    states: BTreeMap<String, State>,
    /// Parameters that wait for others, outermost first.
    waiting: Vec<String>,
    values: BTreeMap<String, Resolved>,
    problems: Vec<Problem>,
    notes: Vec<Note>,
}

/// Resolves every parameter. `document` is `config.yaml`; `set` overrides it; `given` is what comes from what is
/// configured, such as the bootstrap id.
pub fn resolve(
    table: &Table,
    document: &Node,
    set: &[(String, Node)],
    given: &BTreeMap<String, Value>,
    files: &dyn Files,
) -> Result<(Effective, Vec<Note>), Problems> {
    let file = Place::file(&document.place.file);
    let (written, problems) = written::gather(table, document, set);
    let mut resolver = Resolver {
        table,
        file,
        written,
        given,
        files,
        states: BTreeMap::new(),
        waiting: Vec::new(),
        values: BTreeMap::new(),
        problems,
        notes: Vec::new(),
    };
    for name in table.parameters.keys() {
        resolver.settle(name);
    }
    resolver.judge();
    Problems::check(resolver.problems)?;
    resolver.notes.sort();
    Ok((Effective(resolver.values), resolver.notes))
}

impl Resolver<'_> {
    /// Checks what is about several parameters, unless one of them has failed.
    fn judge(&mut self) {
        for rule in rules::ALL {
            let whole = |name: &&str| matches!(self.states.get(*name), Some(State::Ready | State::Absent));
            if !rule.reads.iter().all(whole) {
                continue;
            }
            for fault in (rule.check)(&rules::Facts::new(&self.values)) {
                let problem = self.blame(fault);
                self.problems.push(problem);
            }
        }
    }

    /// A fault where it was written: at the first of its parameters that somebody wrote.
    fn blame(&self, fault: rules::Fault) -> Problem {
        let at = fault.at.iter().find(|at| self.written.contains_key(rules::parameter_of(at)));
        if let Some(at) = at {
            let parameter = rules::parameter_of(at);
            let node = rules::locate(self.written[parameter], &at[parameter.len()..]);
            return Problem::new(&node.place, at, fault.message);
        }
        let extended = fault.at.iter().find_map(|at| {
            match self.values.get(rules::parameter_of(at)).map(|resolved| &resolved.source) {
                Some(Source::Extension(place)) => Some((place, at)),
                _ => None,
            }
        });
        match (extended, fault.at.first()) {
            (Some((place, at)), _) => Problem::new(place, at, fault.message),
            (None, at) => Problem::new(&self.file, at.map_or("", String::as_str), fault.message),
        }
    }
}

/// A value as messages show it.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
