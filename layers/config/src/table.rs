//! The table of parameters: what may be configured.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::types::Type;
use crate::{Place, Problems};

/// Every parameter that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// By name.
    pub parameters: BTreeMap<String, Parameter>,
    /// Names that older installers read, and what to do instead.
    pub retired: BTreeMap<String, String>,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What its value may be.
    pub kind: Type,
    /// Who says its value.
    pub who: Who,
    /// Its value when nobody says one; for a calculated parameter without a rule, its only value.
    pub default: Option<Value>,
    /// Whether somebody must say its value, as long as its conditions hold.
    pub required: bool,
    /// The calculation that gives its value when nobody says one. A calculated parameter with neither a rule nor
    /// a default is given by what is configured.
    pub rule: Option<String>,
    /// Whether it is kept from everything that is published.
    pub secret: bool,
    /// One line: what it does.
    pub help: String,
    /// Files it enters.
    pub used_in: Vec<String>,
    /// When it holds: if all of these do.
    pub when: Vec<Condition>,
    /// Where it was declared.
    pub place: Place,
    /// What an extension made of its default, and where.
    pub extended_default: Option<(Value, Place)>,
}

/// Who says a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The operator may.
    Operator,
    /// The operator may but is not expected to.
    Internal,
    /// Nobody: saying one is an error.
    Calculated,
}

/// A condition: a parameter has one of these values.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The parameter.
    pub parameter: String,
    /// The values.
    pub any_of: Vec<Value>,
}

impl Table {
    /// The parameters that are built in.
    pub fn builtin() -> Result<Self, Problems> {
        Ok(Self::default())
    }

    /// Adds what an extension's `parameters.toml` declares, and takes the values of its `[set]` as defaults.
    pub fn extend(&mut self, file_name: &str, text: &str) -> Result<(), Problems> {
        let _ = (file_name, text);
        Ok(())
    }
}
