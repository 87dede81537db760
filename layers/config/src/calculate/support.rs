//! What tests of calculations share.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Files, View, find};
use crate::{Resolved, Source};

/// The files that exist in tests.
pub(super) struct Scripts;

impl Files for Scripts {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "genconf/ip-detect" => Ok(b"#!/bin/sh\necho 192.0.2.1\n".to_vec()),
            "genconf/broken" => Ok(b"#!/bin/sh\nif\n".to_vec()),
            "genconf/odd" => Ok(b"echo 192.0.2.1\n".to_vec()),
            _ => Err(format!("`{path}` does not exist")),
        }
    }
}

/// What a calculation makes of these values.
pub(super) fn run(rule: &str, values: Value) -> Result<Value, String> {
    let calculation = find(rule).unwrap();
    let Value::Object(values) = values else { panic!("{values} is no object") };
    for name in values.keys() {
        assert!(calculation.from.contains(name), "`{rule}` does not read `{name}`");
    }
    let values: BTreeMap<_, _> = values
        .into_iter()
        .map(|(name, value)| (name, Resolved { value, source: Source::Default, secret: false }))
        .collect();
    calculation.run(&View::new(&values, &Scripts, None))
}

/// As [`run`], where it succeeds.
pub(super) fn calculate(rule: &str, values: Value) -> Value {
    run(rule, values).unwrap()
}

/// As [`run`], where it fails.
pub(super) fn fails(rule: &str, values: Value) -> String {
    run(rule, values).unwrap_err()
}
