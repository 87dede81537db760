//! A JSON schema of `config.yaml`, for editors.
//!
//! It refuses nothing that resolving takes. What it cannot say, such as that two networks overlap, it leaves out.

mod condition;
mod kind;

use serde_json::{Map, Value, json};

use crate::{Parameter, Table, Who};

/// The dialect.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of what an operator may write.
pub fn schema(table: &Table) -> Value {
    let settable: Vec<_> =
        table.parameters.values().filter(|parameter| parameter.who != Who::Calculated).collect();
    let properties: Map<_, _> =
        settable.iter().map(|parameter| (parameter.name.clone(), property(parameter))).collect();
    let mut required = Vec::new();
    let mut conditions = Vec::new();
    let may_be_missed = |parameter: &&&Parameter| parameter.required || !parameter.required_when.is_empty();
    for parameter in settable.iter().filter(may_be_missed) {
        let missed = parameter.extended_default.is_none();
        let when = [parameter.when.as_slice(), &parameter.required_when].concat();
        if when.is_empty() {
            if missed {
                required.push(json!(parameter.name));
            }
            continue;
        }
        let then = json!({"required": [parameter.name]});
        if missed && let Some(holds) = condition::holds(table, &when) {
            conditions.push(json!({"if": holds, "then": then}));
        }
        if parameter.required
            && parameter.rule.is_some()
            && let Some(fails) = condition::fails(table, &parameter.when)
        {
            conditions.push(json!({"if": fails, "then": {"properties": {&parameter.name: false}}}));
        }
    }
    let mut schema = json!({
        "$schema": DIALECT,
        "title": "config.yaml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    });
    if !conditions.is_empty() {
        schema["allOf"] = json!(conditions);
    }
    schema
}

fn property(parameter: &Parameter) -> Value {
    let mut property = kind::schema(&parameter.kind);
    let mut description = parameter.help.clone();
    if !parameter.used_in.is_empty() {
        description += &format!("\n\nUsed in {}.", parameter.used_in.join(", "));
    }
    property["description"] = json!(description);
    if let Some(default) = parameter.fixed_default() {
        property["default"] = default.clone();
    }
    if parameter.secret {
        property["writeOnly"] = json!(true);
    }
    property
}
