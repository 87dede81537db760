//! Conditions of parameters as schemas of the whole document.

use serde_json::{Value, json};

use crate::{Condition, Table, Who};

/// Deeper than any conditions of conditions.
const DEEPEST: usize = 16;

/// A schema of documents in which these conditions hold; none if no schema can tell.
pub(super) fn holds(table: &Table, conditions: &[Condition]) -> Option<Value> {
    let mut parts = Vec::new();
    gather(table, conditions, DEEPEST, &mut parts)?;
    Some(json!({"allOf": parts}))
}

/// A schema of documents in which one of these conditions surely fails; none if no schema can tell.
pub(super) fn fails(table: &Table, conditions: &[Condition]) -> Option<Value> {
    holds(table, conditions).map(|holds| json!({"not": holds}))
}

fn gather(table: &Table, conditions: &[Condition], depth: usize, parts: &mut Vec<Value>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    for Condition { parameter: name, any_of } in conditions {
        let parameter = table.parameters.get(name)?;
        let by_default = parameter.fixed_default().is_some_and(|value| any_of.contains(value));
        if parameter.who == Who::Calculated {
            // A constant is known; what is calculated is not.
            parameter.fixed_default()?;
            parts.push(json!(by_default));
            continue;
        }
        // What is calculated when it is left out is not known then, and counts as another value.
        let mut part = json!({"properties": {name: {"enum": spellings(any_of)}}});
        if !by_default {
            part["required"] = json!([name]);
        }
        parts.push(part);
        gather(table, &parameter.when, depth, parts)?;
    }
    Some(())
}

/// Values, and the texts that mean the same.
pub(super) fn spellings(values: &[Value]) -> Vec<Value> {
    let texts = values.iter().filter(|value| !value.is_string()).map(|value| json!(value.to_string()));
    values.iter().cloned().chain(texts).collect()
}
