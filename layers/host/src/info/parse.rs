//! `pkginfo.json` from bytes: strict, and every problem at once.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use serde_json::{Map, Value};

use super::check::shown;
use super::{InfoProblem, PkgInfo, Requirement, Sysctl};
use crate::{NameError, Variant};

/// The keys of the file, as messages list them.
const KEYS: &str = "environment, group, requires, state_directory, sysctl, username, variant";

impl PkgInfo {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, sorted by key.
    pub fn parse(bytes: &[u8]) -> Result<Self, Vec<InfoProblem>> {
        let document = match serde_json::from_slice(bytes) {
            Ok(Value::Object(document)) => document,
            Ok(other) => return Err(vec![wrong(String::new(), &other, "an object")]),
            Err(error) => return Err(vec![InfoProblem::new("", format!("is no JSON: {error}"))]),
        };
        let has_user = document.contains_key("username");
        let mut reader = Reader::default();
        let info = reader.info(document);
        let mut problems = reader.problems;
        problems.extend(info.check_with(has_user));
        problems.sort();
        if problems.is_empty() { Ok(info) } else { Err(problems) }
    }
}

/// Collects what is wrong while it reads on.
#[derive(Default)]
struct Reader {
    problems: Vec<InfoProblem>,
}

impl Reader {
    fn info(&mut self, document: Map<String, Value>) -> PkgInfo {
        let mut info = PkgInfo::default();
        for (key, value) in document {
            match key.as_str() {
                "environment" => info.environment = self.environment(value),
                "group" => info.group = self.name(key, &value),
                "requires" => info.requires = self.requires(value),
                "state_directory" => match value {
                    Value::Bool(wanted) => info.state_directory = wanted,
                    other => self.problems.push(wrong(key, &other, "true or false")),
                },
                "sysctl" => info.sysctl = self.sysctl(value),
                "username" => info.username = self.name(key, &value),
                "variant" => info.variant = self.variant(key, &value).unwrap_or_default(),
                unknown => {
                    let message = format!("is no key of this file: expected one of {KEYS}");
                    self.problems.push(InfoProblem::new(shown(unknown), message));
                }
            }
        }
        info
    }

    fn environment(&mut self, value: Value) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for (name, value) in self.object("environment".to_owned(), value) {
            match value {
                Value::String(value) => drop(environment.insert(name, value)),
                other => {
                    self.problems.push(wrong(format!("environment.{}", shown(&name)), &other, "text"));
                }
            }
        }
        environment
    }

    fn requires(&mut self, value: Value) -> BTreeSet<Requirement> {
        let Value::Array(list) = value else {
            self.problems.push(wrong("requires".to_owned(), &value, "a list"));
            return BTreeSet::new();
        };
        let list = list.into_iter().enumerate();
        list.filter_map(|(at, value)| self.requirement(&format!("requires[{at}]"), value)).collect()
    }

    fn requirement(&mut self, key: &str, value: Value) -> Option<Requirement> {
        let mut object = match value {
            Value::String(_) => {
                let name = self.name(key.to_owned(), &value)?;
                return Some(Requirement { name, variant: Variant::default() });
            }
            Value::Object(object) => object,
            other => {
                let expected = "a package's name, or an object with `name` and `variant`";
                self.problems.push(wrong(key.to_owned(), &other, expected));
                return None;
            }
        };
        let name = match object.remove("name") {
            Some(name) => self.name(format!("{key}.name"), &name),
            None => {
                self.problems.push(InfoProblem::new(format!("{key}.name"), "is missing"));
                None
            }
        };
        let variant = match object.remove("variant") {
            Some(variant) => self.variant(format!("{key}.variant"), &variant),
            None => Some(Variant::default()),
        };
        for unknown in object.keys() {
            let key = format!("{key}.{}", shown(unknown));
            self.problems.push(InfoProblem::new(key, "is no key of a requirement: expected name, variant"));
        }
        Some(Requirement { name: name?, variant: variant? })
    }

    fn sysctl(&mut self, value: Value) -> Sysctl {
        let mut sysctl = Sysctl::new();
        for (service, settings) in self.object("sysctl".to_owned(), value) {
            let at = format!("sysctl.{}", shown(&service));
            let mut values = BTreeMap::new();
            for (name, value) in self.object(at.clone(), settings) {
                match value {
                    Value::String(value) => drop(values.insert(name, value)),
                    // Hosts write text: 1 and "1" are the same setting.
                    Value::Number(number) if !number.is_f64() => {
                        drop(values.insert(name, number.to_string()));
                    }
                    other => {
                        let key = format!("{at}.{}", shown(&name));
                        self.problems.push(wrong(key, &other, "text or an integer"));
                    }
                }
            }
            sysctl.insert(service, values);
        }
        sysctl
    }

    fn variant(&mut self, key: String, value: &Value) -> Option<Variant> {
        if value.is_null() {
            return Some(Variant::default());
        }
        // By the rule of package names, but with a message of its own.
        let text = self.text(&key, value)?;
        self.valid(key, Variant::named(text))
    }

    /// A text that is a name.
    fn name<T: FromStr<Err = NameError>>(&mut self, key: String, value: &Value) -> Option<T> {
        let text = self.text(&key, value)?;
        self.valid(key, text.parse())
    }

    fn valid<T>(&mut self, key: String, result: Result<T, NameError>) -> Option<T> {
        result.map_err(|error| self.problems.push(InfoProblem::new(key, error.to_string()))).ok()
    }

    fn text<'a>(&mut self, key: &str, value: &'a Value) -> Option<&'a str> {
        let text = value.as_str();
        if text.is_none() {
            self.problems.push(wrong(key.to_owned(), value, "text"));
        }
        text
    }

    fn object(&mut self, key: String, value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => {
                self.problems.push(wrong(key, &other, "an object"));
                Map::new()
            }
        }
    }
}

fn wrong(key: String, found: &Value, expected: &str) -> InfoProblem {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    InfoProblem::new(key, format!("is {found}: expected {expected}"))
}
