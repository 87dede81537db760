//! The table of parameters: what may be configured.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::types::{Type, nearest};
use crate::{Key, Kind, Node, Place, Problem, Problems};

mod declaration;
mod document;

use declaration::Declaration;

/// The parameters that are built in.
const BUILTIN: &str = include_str!("../parameters.toml");
/// The table of an extension that gives known parameters other defaults.
const SET: &str = "set";

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
    /// The calculation that gives its value when nobody says one. A parameter that is not required and has
    /// neither a rule nor a default is given by what is configured: artifacts, scripts, the tool. A rule of a
    /// required parameter gives its value where its conditions do not hold; saying one there is an error.
    pub rule: Option<String>,
    /// Whether it is kept from everything that is published.
    pub secret: bool,
    /// One line: what it does.
    pub help: String,
    /// Files it enters.
    pub used_in: Vec<String>,
    /// When it holds: if all of these do.
    pub when: Vec<Condition>,
    /// When somebody must say its value although it has a rule or a default: if all of these hold; never for none.
    pub required_when: Vec<Condition>,
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

impl Parameter {
    /// The value in the one form of its type. Messages about a secret repeat nothing of it. What was refused already
    /// is an error without a problem.
    pub fn check(&self, node: &Node) -> Result<Value, Vec<Problem>> {
        self.check_as(node, self.secret)
    }

    /// Its value when nobody says one, unless that is calculated: a default of an extension comes before a rule.
    pub fn fixed_default(&self) -> Option<&Value> {
        let own = self.default.as_ref().filter(|_| self.rule.is_none());
        self.extended_default.as_ref().map(|(value, _)| value).or(own)
    }

    /// The value like [`Self::check`], for one that may be secret though the parameter is not.
    pub(crate) fn check_as(&self, node: &Node, secret: bool) -> Result<Value, Vec<Problem>> {
        let checked = match self.kind.check(&self.name, node) {
            Ok(_) if node.has_refused() => Err(vec![]),
            checked => checked,
        };
        checked.map_err(|problems| {
            if !secret {
                return problems;
            }
            let message = format!("is not {} (secret, so not shown)", self.kind.expected());
            let places: std::collections::BTreeSet<_> =
                problems.into_iter().map(|problem| problem.place).collect();
            places.iter().map(|place| Problem::new(place, &self.name, message.clone())).collect()
        })
    }

    /// Its default, with what an extension made of it.
    pub fn default_value(&self) -> Option<&Value> {
        self.extended_default.as_ref().map(|(value, _)| value).or(self.default.as_ref())
    }
}

impl Table {
    /// The parameters that are built in.
    pub fn builtin() -> Result<Self, Problems> {
        let mut table = Self::default();
        table.extend("parameters.toml", BUILTIN)?;
        Ok(table)
    }

    /// Adds what an extension's `parameters.toml` declares, and takes the values of its `[set]` as defaults.
    ///
    /// Where anything is wrong, nothing is added.
    pub fn extend(&mut self, file_name: &str, text: &str) -> Result<(), Problems> {
        let entries = document::read(file_name, text).map_err(sorted)?;
        let mut extended = self.clone();
        let mut problems = vec![];
        let mut declared = vec![];
        for (key, node) in entries.iter().filter(|(key, _)| key.name != SET) {
            problems.extend(extended.clash(key));
            match declaration::read(key, node) {
                Ok(Declaration::Parameter(parameter)) => {
                    declared.push(parameter.name.clone());
                    extended.parameters.insert(parameter.name.clone(), *parameter);
                }
                Ok(Declaration::Retired(instead)) => {
                    extended.retired.insert(key.name.clone(), instead);
                }
                Err(found) => problems.extend(found),
            }
        }
        // A parameter that could not be read is known all the same: it is no mistake to speak of it.
        let known = |name: &str| {
            extended.parameters.contains_key(name) || entries.iter().any(|(key, _)| key.name == name)
        };
        for name in &declared {
            problems.extend(extended.conditions(&extended.parameters[name], known));
        }
        for (key, node) in entries.iter().filter(|(key, _)| key.name == SET) {
            problems.extend(extended.set(key, node));
        }
        Problems::check(problems)?;
        *self = extended;
        Ok(())
    }

    /// What is wrong with declaring a name that is known.
    fn clash(&self, key: &Key) -> Option<Problem> {
        let name = &key.name;
        let message = match self.parameters.get(name) {
            Some(known) => format!(
                "is declared already, at {}; choose another name, or change its default by `{name} = …` in `[set]`",
                known.place
            ),
            None if self.retired.contains_key(name) => {
                "is the name of a retired parameter; choose another".into()
            }
            None => return None,
        };
        Some(Problem::new(&key.place, name, message))
    }

    /// What is wrong with the conditions of a parameter.
    fn conditions(&self, parameter: &Parameter, known: impl Fn(&str) -> bool) -> Vec<Problem> {
        let wrong = |message: String| Problem::new(&parameter.place, &parameter.name, message);
        let mut problems = vec![];
        for Condition { parameter: other, any_of } in parameter.when.iter().chain(&parameter.required_when) {
            match self.parameters.get(other) {
                Some(other) => {
                    for value in any_of {
                        let node = Node::from_json(value, &parameter.place);
                        if other.kind.check(&other.name, &node).ok().as_ref() != Some(value) {
                            let (name, expected) = (&other.name, other.kind.expected());
                            problems.push(wrong(format!(
                                "has a condition that `{name}` is {value}, expected {expected}"
                            )));
                        }
                    }
                }
                None if known(other) => {}
                None => {
                    problems
                        .push(wrong(format!("has a condition about `{other}`, which is not a parameter")));
                }
            }
        }
        problems
    }

    /// Takes the defaults of `[set]`.
    fn set(&mut self, key: &Key, node: &Node) -> Vec<Problem> {
        let Kind::Map(entries) = &node.kind else {
            return vec![Problem::new(&key.place, SET, "is not a table of parameters and their values")];
        };
        let mut problems = vec![];
        for (key, node) in entries {
            let mut wrong = |message: String| problems.push(Problem::new(&key.place, &key.name, message));
            let Some(parameter) = self.parameters.get_mut(&key.name) else {
                wrong(self.unknown(&key.name));
                continue;
            };
            let settable = match parameter.who {
                Who::Operator => true,
                Who::Internal => false,
                Who::Calculated => parameter.default.is_some() && parameter.rule.is_none(),
            };
            if let Some((_, place)) = &parameter.extended_default {
                wrong(format!("has another default already, by {place}"));
            } else if !settable {
                wrong("is calculated, so that it has no default to change".into());
            } else if parameter.secret {
                wrong("is secret, and a tree is no place for secrets; set it in config.yaml".into());
            } else {
                match parameter.check(node) {
                    Ok(value) => parameter.extended_default = Some((value, key.place.clone())),
                    Err(found) => problems.extend(found),
                }
            }
        }
        problems
    }

    /// What is said of a name that is no parameter, with the nearest one.
    pub fn unknown(&self, name: &str) -> String {
        if let Some(instead) = self.retired.get(name) {
            return format!("is no longer read: {instead}");
        }
        let settable = self.parameters.values().filter(|parameter| parameter.who != Who::Calculated);
        match nearest(name, settable.map(|parameter| parameter.name.as_str())) {
            Some(near) => format!("is not a parameter; did you mean `{near}`?"),
            None => "is not a parameter; `bake configure --schema` lists them".into(),
        }
    }
}

fn sorted(mut problems: Vec<Problem>) -> Problems {
    problems.sort();
    Problems(problems)
}

#[cfg(test)]
mod tests;
