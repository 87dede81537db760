//! What was written, by whom it may be written.

use std::collections::BTreeMap;

use crate::{Kind, Node, Parameter, Place, Problem, Table, Who, calculate};

/// The values that may be written; `set` before `document`. And what is wrong with the others.
pub(super) fn gather<'a>(
    table: &'a Table,
    document: &'a Node,
    set: &'a [(String, Node)],
) -> (BTreeMap<&'a str, &'a Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut written = BTreeMap::new();
    let entries = match &document.kind {
        Kind::Map(entries) => entries.as_slice(),
        Kind::Refused => &[],
        _ => {
            let message = format!("holds {}; expected a mapping of parameters", document.describe());
            problems.push(Problem::new(&document.place, "", message));
            &[]
        }
    };
    let of_file = entries.iter().map(|(key, node)| (key.name.as_str(), &key.place, node));
    let of_set = set.iter().map(|(name, node)| (name.as_str(), &node.place, node));
    for (name, place, node) in of_file.chain(of_set) {
        match accept(table, name, place) {
            Ok(()) => {
                written.insert(name, node);
            }
            Err(problem) => problems.push(problem),
        }
    }
    (written, problems)
}

/// Whether an operator may write this name.
fn accept(table: &Table, name: &str, place: &Place) -> Result<(), Problem> {
    if let Some(parameter) = table.parameters.get(name) {
        return match parameter.who {
            Who::Operator | Who::Internal => Ok(()),
            Who::Calculated => Err(Problem::new(place, name, calculated(parameter))),
        };
    }
    Err(Problem::new(place, name, table.unknown(name)))
}

fn calculated(parameter: &Parameter) -> String {
    let from = parameter.rule.as_deref().and_then(|rule| calculate::find(rule).ok()).map(|found| found.from);
    match from {
        Some(from) => format!("is calculated from {} and cannot be set; remove it", quoted(&from)),
        None if parameter.default.is_some() => {
            "always has the same value and cannot be set; remove it".to_owned()
        }
        None => "is given by what is configured and cannot be set; remove it".to_owned(),
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
