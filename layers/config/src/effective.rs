//! The effective configuration: every parameter that holds, with its value and where it came from.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Place;

/// Every parameter that holds, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effective(pub BTreeMap<String, Resolved>);

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Its value, in the one form that its type has: numbers are numbers, whatever way they were written.
    pub value: Value,
    /// Where it came from.
    pub source: Source,
    /// Whether it is secret, or was calculated from something that is.
    pub secret: bool,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Somebody wrote it there.
    Written(Place),
    /// The parameter's own default.
    Default,
    /// A default that a tree or an operator's extension set there.
    Extension(Place),
    /// Calculated from these.
    Calculated(Vec<String>),
    /// What is configured: artifacts, scripts, the tool itself.
    Given(&'static str),
}

impl Effective {
    /// The value of a parameter that holds.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(|resolved| &resolved.value)
    }
}
