//! Health checks: what runs, and when.

use std::collections::BTreeSet;

use super::document::{Field, each, entries, record};
use super::{Checked, Document, Form, Type, got, text, wrong};
use crate::{Kind, Node, Problem};

const UNITS: &[&str] = &["ns", "us", "µs", "ms", "s", "m", "h"];

fn field(key: &'static str, required: bool, kind: Type) -> Field {
    Field { key, required, kind }
}

fn words() -> Type {
    Type::List { of: Box::new(Type::Text(Form::Word)), distinct: true, lengths: vec![] }
}

/// Checks the document, and that node checks and the lists that name them agree.
pub fn check(name: &str, node: &Node) -> Checked {
    let fields = [field("cluster_checks", false, Type::Object), field("node_checks", false, Type::Object)];
    record(name, node, Document::Checks.expected(), &fields)?;
    each(name, entries(name, node, "")?, |name, key, node| match key.name.as_str() {
        "cluster_checks" => {
            each(name, entries(name, node, "")?, |name, key, node| one(name, &key.name, node, false))
        }
        _ => node_checks(name, node),
    })
}

fn node_checks(name: &str, node: &Node) -> Checked {
    let fields = [
        field("checks", true, Type::Object),
        field("prestart", false, words()),
        field("poststart", false, words()),
    ];
    let value = record(name, node, "a mapping with `checks`, `prestart` and `poststart`", &fields)?;
    let mut problems: Vec<Problem> = vec![];
    if value["prestart"].is_null() && value["poststart"].is_null() {
        problems.extend(wrong(name, node, "lacks `prestart` and `poststart`, expected at least one of them"));
    }
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut named: BTreeSet<&str> = BTreeSet::new();
    let parts = entries(name, node, "")?;
    for (key, part) in parts {
        match &part.kind {
            Kind::Map(checks) => known.extend(checks.iter().map(|(key, _)| key.name.as_str())),
            Kind::List(names) => named.extend(names.iter().filter_map(|node| match &node.kind {
                Kind::Text(text) => Some(text.as_str()),
                _ => None,
            })),
            Kind::Refused => {}
            _ => problems.extend(wrong(&format!("{name}.{}", key.name), part, "is JSON in a mapping")),
        }
    }
    for (key, part) in parts {
        let name = format!("{name}.{}", key.name);
        match &part.kind {
            Kind::Map(checks) => {
                for (key, _) in checks.iter().filter(|(key, _)| !named.contains(key.name.as_str())) {
                    let message = "is in neither `prestart` nor `poststart`, so that it would never run";
                    problems.push(Problem::new(&key.place, format!("{name}.{}", key.name), message));
                }
                let checked = each(&name, checks, |name, key, node| one(name, &key.name, node, true));
                problems.extend(checked.err().unwrap_or_default());
            }
            Kind::List(names) => {
                for (at, node) in names.iter().enumerate() {
                    match &node.kind {
                        Kind::Text(text) if known.contains(text.as_str()) => {}
                        Kind::Refused => {}
                        _ => problems.extend(wrong(
                            &format!("{name}[{at}]"),
                            node,
                            format!("is {}, expected the name of one of `checks`", got(node)),
                        )),
                    }
                }
            }
            _ => {}
        }
    }
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}

fn one(name: &str, key: &str, node: &Node, of_nodes: bool) -> Checked {
    if key.is_empty() || key.contains(char::is_whitespace) || key.contains(char::is_control) {
        return Err(wrong(name, node, "is not the name of a check, expected a text without spaces"));
    }
    let roles = Type::List {
        of: Box::new(Type::Choice(vec!["master".into(), "agent".into()])),
        distinct: true,
        lengths: vec![],
    };
    let command = Type::List { of: Box::new(Type::Text(Form::Line)), distinct: false, lengths: vec![] };
    let mut fields = vec![
        field("description", true, Type::Text(Form::Word)),
        field("cmd", true, command),
        field("timeout", true, Type::Text(Form::Word)),
    ];
    if of_nodes {
        fields.push(field("roles", false, roles));
    }
    let value = record(name, node, "a mapping with `description`, `cmd` and `timeout`", &fields)?;
    let mut problems = vec![];
    if value["cmd"].as_array().is_some_and(Vec::is_empty) {
        problems.extend(wrong(name, node, "has an empty `cmd`, expected a command and its arguments"));
    }
    if let Some(timeout) = value["timeout"].as_str().filter(|timeout| !text::is_amount(timeout, UNITS)) {
        let message = format!(
            "has the timeout `{timeout}`, expected a number and one of {}, such as `30s`",
            UNITS.join(", ")
        );
        problems.extend(wrong(name, node, message));
    }
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}
