//! A parameter as a table declares it.

use serde_json::Value;

use super::{Condition, Parameter, Who};
use crate::types::{FIELDS, Type, nearest};
use crate::{Key, Kind, Node, Problem};

const OTHER_FIELDS: &[&str] =
    &["default", "help", "required", "required-when", "rule", "secret", "set-by", "used-in", "when"];

/// What a table of TOML declares.
pub enum Declaration {
    /// A parameter.
    Parameter(Box<Parameter>),
    /// A name that is no longer read, and what to do instead.
    Retired(String),
}

/// Whether a name can be one of a parameter.
fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    first && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Reads the table of one name.
pub fn read(key: &Key, node: &Node) -> Result<Declaration, Vec<Problem>> {
    let name = &key.name;
    let wrong = |node: &Node, message: String| vec![Problem::new(&node.place, name, message)];
    if !is_name(name) {
        let message = "is not the name of a parameter, expected lower-case letters, digits and `_`";
        return Err(vec![Problem::new(&key.place, name, message)]);
    }
    let Kind::Map(entries) = &node.kind else {
        return Err(wrong(node, format!("is {}, expected a table such as `[{name}]`", node.describe())));
    };
    if let [(Key { name: field, .. }, node)] = entries.as_slice()
        && field == "retired"
    {
        return text("retired", node).map(Declaration::Retired).map_err(|message| wrong(node, message));
    }
    let mut problems = vec![];
    for (key, _) in entries {
        let known = || FIELDS.iter().chain(OTHER_FIELDS).copied();
        if !known().any(|field| field == key.name) {
            let near = nearest(&key.name, known()).map(|near| format!("; did you mean `{near}`?"));
            let message =
                format!("has the key `{}`, which is not known{}", key.name, near.unwrap_or_default());
            problems.push(Problem::new(&key.place, name, message));
        }
    }
    let kind = Type::declared(name, node, entries).map_err(|found| problems.extend(found)).ok();
    let mut parameter = Parameter {
        name: name.clone(),
        kind: kind.clone().unwrap_or(Type::Object),
        who: Who::Operator,
        default: None,
        required: false,
        rule: None,
        secret: false,
        help: String::new(),
        used_in: vec![],
        when: vec![],
        required_when: vec![],
        place: key.place.clone(),
        extended_default: None,
    };
    for (key, node) in entries {
        let read = match key.name.as_str() {
            "default" => match kind.as_ref().map(|kind| kind.check(name, node)) {
                Some(Ok(value)) => {
                    parameter.default = Some(value);
                    Ok(())
                }
                Some(Err(found)) => {
                    problems.extend(found);
                    Ok(())
                }
                None => Ok(()),
            },
            "help" => text("help", node).map(|text| parameter.help = text),
            "required" => flag("required", node).map(|value| parameter.required = value),
            "rule" => text("rule", node).map(|text| parameter.rule = Some(text)),
            "secret" => flag("secret", node).map(|value| parameter.secret = value),
            "set-by" => who(node).map(|who| parameter.who = who),
            "used-in" => texts("used-in", node).map(|texts| parameter.used_in = texts),
            "when" => conditions("when", node).map(|when| parameter.when = when),
            "required-when" => conditions("required-when", node).map(|when| parameter.required_when = when),
            _ => Ok(()),
        };
        problems.extend(read.err().into_iter().flat_map(|message| wrong(node, message)));
    }
    if parameter.help.is_empty() {
        problems.extend(wrong(node, "lacks `help`, one line that says what it does".into()));
    }
    if parameter.required && parameter.default.is_some() {
        problems.extend(wrong(node, "has a `default` and is `required`; one of them is meant".into()));
    }
    if parameter.required && parameter.who != Who::Operator {
        problems.extend(wrong(node, "is `required` but not set by the operator".into()));
    }
    if !parameter.required_when.is_empty() && (parameter.required || parameter.who != Who::Operator) {
        problems
            .extend(wrong(node, "has `required-when` and is `required` or not set by the operator".into()));
    }
    if problems.is_empty() { Ok(Declaration::Parameter(Box::new(parameter))) } else { Err(problems) }
}

fn text(field: &str, node: &Node) -> Result<String, String> {
    match &node.kind {
        Kind::Text(text) if !text.is_empty() && !text.contains(char::is_control) => Ok(text.clone()),
        _ => Err(format!("has a `{field}` that is not a text of one line")),
    }
}

fn flag(field: &str, node: &Node) -> Result<bool, String> {
    match node.kind {
        Kind::Bool(value) => Ok(value),
        _ => Err(format!("has a `{field}` that is not true or false")),
    }
}

fn texts(field: &str, node: &Node) -> Result<Vec<String>, String> {
    match &node.kind {
        Kind::List(items) => items.iter().map(|item| text(field, item)).collect(),
        _ => Err(format!("has a `{field}` that is not a list of texts")),
    }
}

fn who(node: &Node) -> Result<Who, String> {
    match &node.kind {
        Kind::Text(text) if text == "operator" => Ok(Who::Operator),
        Kind::Text(text) if text == "internal" => Ok(Who::Internal),
        Kind::Text(text) if text == "calculated" => Ok(Who::Calculated),
        _ => Err("has a `set-by` that is none of `operator`, `internal` and `calculated`".into()),
    }
}

fn conditions(field: &str, node: &Node) -> Result<Vec<Condition>, String> {
    let Kind::Map(entries) = &node.kind else {
        return Err(format!("has a `{field}` that is not a table of parameters and their values"));
    };
    let condition = |(key, node): &(Key, Node)| match &node.kind {
        Kind::List(items) => Condition {
            parameter: key.name.clone(),
            any_of: items.iter().map(Node::to_json).collect::<Vec<Value>>(),
        },
        _ => Condition { parameter: key.name.clone(), any_of: vec![node.to_json()] },
    };
    Ok(entries.iter().map(condition).collect())
}
