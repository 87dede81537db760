//! The configuration as a document within itself: what was written, and all of what holds.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::effective::Source;
use crate::{Effective, Resolved};

/// Documents without secrets, and whether there are any.
pub const PUBLIC: [&str; 3] = ["expanded_config", "has_secrets", "user_arguments"];
/// The same with secrets.
pub const SECRET: [&str; 2] = ["expanded_config_full", "user_arguments_full"];

/// What stands in for a secret that somebody wrote.
const HIDDEN: &str = "**HIDDEN**";

/// All of them by name. Documents are mappings from parameters to values.
pub fn documents(effective: &Effective) -> BTreeMap<String, Value> {
    let written = |it: &Resolved| matches!(it.source, Source::Written(_));
    let any = |_: &Resolved| true;
    let given = |it: &Resolved| matches!(it.source, Source::Written(_) | Source::Extension(_));
    let has_secrets = effective.0.values().any(|it| it.secret && given(it) && super::is_set(&it.value));
    let plain = |it: &Resolved| it.value.clone();
    let hidden = |it: &Resolved| if it.secret { Value::from(HIDDEN) } else { it.value.clone() };
    [
        ("expanded_config", document(effective, any, hidden)),
        ("expanded_config_full", document(effective, any, plain)),
        ("has_secrets", Value::from(has_secrets)),
        ("user_arguments", document(effective, written, hidden)),
        ("user_arguments_full", document(effective, written, plain)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn document(
    effective: &Effective,
    belongs: impl Fn(&Resolved) -> bool,
    value: impl Fn(&Resolved) -> Value,
) -> Value {
    let is_document = |name: &str| PUBLIC.contains(&name) || SECRET.contains(&name);
    let entries = effective.0.iter().filter(|(name, it)| !is_document(name) && belongs(it));
    Value::Object(entries.map(|(name, it)| (name.clone(), value(it))).collect::<Map<_, _>>())
}
