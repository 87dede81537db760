//! Rules about several parameters, each of which is right by itself.

mod network;
mod others;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Kind, Node, Resolved, Source};

/// A rule.
pub struct Rule {
    /// The parameters it is about. It is not asked when one of them has failed.
    pub reads: &'static [&'static str],
    /// What breaks it.
    pub check: fn(&Facts) -> Vec<Fault>,
}

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The parameters, or what is within them, one of which has to change; the likeliest first.
    pub at: Vec<String>,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// All rules.
pub const ALL: &[Rule] = &[
    others::TLS_VERSIONS,
    others::SUPERUSER,
    others::MASTERS,
    others::STATIC_ENSEMBLE,
    others::CHECK_NAMES,
    others::REXRAY,
    others::S3_KEY,
    others::AZURE_KEY,
    network::DEFAULT_OVERLAY,
    network::DEFAULT_OVERLAY6,
    network::CALICO,
    network::BALANCER_IPV6,
    network::BALANCER_RANGE,
    network::BALANCER_RANGE6,
];

/// Parameters that hold. Others read as empty, zero or false.
pub struct Facts<'a>(&'a BTreeMap<String, Resolved>);

impl<'a> Facts<'a> {
    /// These.
    pub fn new(values: &'a BTreeMap<String, Resolved>) -> Self {
        Self(values)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).map(|resolved| &resolved.value)
    }

    fn text(&self, name: &str) -> &'a str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether somebody wrote it.
    fn written(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Resolved { source: Source::Written(_), .. }))
    }
}

impl Fault {
    fn new(at: &[&str], message: impl Into<String>) -> Vec<Self> {
        vec![Self { at: at.iter().map(|&at| at.to_owned()).collect(), message: message.into() }]
    }
}

/// The parameter in `parameter.key[0].key`.
pub(crate) fn parameter_of(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// What is at `.key[0].key` within a value, or as near to it as what was written goes.
pub(crate) fn locate<'a>(node: &'a Node, path: &str) -> &'a Node {
    let mut node = node;
    for step in path.split(['.', '[']).filter(|step| !step.is_empty()) {
        let inner = match (&node.kind, step.strip_suffix(']')) {
            (Kind::List(items), Some(at)) => at.parse::<usize>().ok().and_then(|at| items.get(at)),
            (Kind::Map(entries), None) => {
                entries.iter().find(|(key, _)| key.name == step).map(|(_, inner)| inner)
            }
            _ => None,
        };
        match inner {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node
}
