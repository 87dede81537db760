//! Calculations: values that follow from others.
//!
//! Each is a pure function of the parameters that it names. The table of parameters refers to them by `rule`:
//! either by name, or with the parameter they are about, such as `has weights`.

mod checks;
mod generic;
mod mesos;
mod network;
mod scripts;
#[cfg(test)]
mod support;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::{Resolved, detect};

/// Files that parameters name.
pub trait Files {
    /// The bytes of a file by the path that was written, relative to the directory of `config.yaml`; or why not.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// Whether bash understands a script; or why not.
    fn check_script(&self, script: &[u8]) -> Result<(), String> {
        detect::check_syntax(script)
    }
}

/// What a calculation sees: parameters that hold. Others read as empty, zero or false.
pub struct View<'a> {
    values: &'a BTreeMap<String, Resolved>,
    files: &'a dyn Files,
    default: Option<&'a Value>,
}

/// A function of the table.
type Function = fn(&View) -> Result<Value, String>;
/// A function about a parameter that the rule names.
type About = fn(&View, &str) -> Result<Value, String>;

/// A calculation by name, and the parameters it reads.
struct Named {
    name: &'static str,
    from: &'static [&'static str],
    /// Whether it tells of secrets only that they are there.
    public: bool,
    run: Function,
}

/// A calculation that a rule names.
#[derive(Debug)]
pub struct Calculation {
    /// The parameters it reads.
    pub from: Vec<String>,
    /// Whether its value may be published although a parameter it reads is secret: it tells only that one is set.
    pub public: bool,
    run: Run,
}

#[derive(Debug)]
enum Run {
    Named(Function),
    About(About, String),
}

impl Calculation {
    /// Runs it.
    pub fn run(&self, view: &View) -> Result<Value, String> {
        match &self.run {
            Run::Named(run) => run(view),
            Run::About(run, parameter) => run(view, parameter),
        }
    }
}

/// The calculation that a rule names; or what was expected.
pub fn find(rule: &str) -> Result<Calculation, String> {
    if let Some((verb, parameter)) = rule.split_once(' ') {
        let (_, public, run) = generic::ABOUT
            .iter()
            .find(|(name, _, _)| *name == verb)
            .ok_or_else(|| format!("`{verb}` is no calculation about a parameter; there are {}", verbs()))?;
        return Ok(Calculation {
            from: vec![parameter.to_owned()],
            public: *public,
            run: Run::About(*run, parameter.to_owned()),
        });
    }
    let named = all().find(|named| named.name == rule).ok_or_else(|| {
        let names: Vec<_> = all().map(|named| named.name).collect();
        format!(
            "`{rule}` is no calculation; there are {}, and about a parameter {}",
            names.join(", "),
            verbs()
        )
    })?;
    Ok(Calculation {
        from: named.from.iter().map(|&name| name.to_owned()).collect(),
        public: named.public,
        run: Run::Named(named.run),
    })
}

/// The names of all calculations that need no parameter.
pub fn names() -> Vec<&'static str> {
    all().map(|named| named.name).collect()
}

fn all() -> impl Iterator<Item = &'static Named> {
    [generic::NAMED, network::NAMED, mesos::NAMED, checks::NAMED, scripts::NAMED].into_iter().flatten()
}

fn verbs() -> String {
    generic::ABOUT.iter().map(|(verb, _, _)| format!("`{verb} NAME`")).collect::<Vec<_>>().join(", ")
}

impl<'a> View<'a> {
    /// These values and files; `default` is what the table says of the parameter that is calculated.
    pub fn new(
        values: &'a BTreeMap<String, Resolved>,
        files: &'a dyn Files,
        default: Option<&'a Value>,
    ) -> Self {
        Self { values, files, default }
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.values.get(name).map(|resolved| &resolved.value)
    }

    fn text(&self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).and_then(Value::as_i64).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<&'a str> {
        self.get(name)
            .and_then(Value::as_array)
            .map(|items| items.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    fn object(&self, name: &str) -> Map<String, Value> {
        self.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
    }
}
