//! Files with reports: one document, an array of them, or one after the other.

use std::io::{self, Read};
use std::path::Path;

use bake_host::audit::{Report, SCHEMA};
use serde_json::{Deserializer, Value};

use super::{Fleet, plain};

/// The largest file that is read, in bytes: room for the reports of all hosts.
const LIMIT: u64 = 4 << 30;

/// Takes in every report of a file; `-` is standard input. What is none is noted as a problem.
pub fn read(fleet: &mut Fleet, path: &Path) {
    let (shown, bytes) = if path == Path::new("-") {
        ("standard input".to_owned(), bounded(&mut io::stdin().lock()))
    } else {
        let opened = std::fs::File::open(path);
        (path.display().to_string(), opened.and_then(|mut file| bounded(&mut file)))
    };
    match bytes {
        Ok(bytes) => parse(fleet, &bytes, &shown, &stem(path)),
        Err(error) => fleet.problem(&shown, &format!("cannot be read: {error}")),
    }
}

fn bounded(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if reader.take(LIMIT + 1).read_to_end(&mut bytes)? as u64 > LIMIT {
        return Err(io::Error::other(format!("it has more than {LIMIT} bytes")));
    }
    Ok(bytes)
}

/// What a host without a name is called: its file, without `.json`.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".json").unwrap_or(&name).to_owned()
}

/// Takes in every report in `bytes`.
pub(super) fn parse(fleet: &mut Fleet, bytes: &[u8], file: &str, stem: &str) {
    let mut is_empty = true;
    for (at, value) in Deserializer::from_slice(bytes).into_iter::<Value>().enumerate() {
        let values = match value {
            Ok(Value::Array(values)) => values,
            Ok(value) => vec![value],
            Err(error) => return fleet.problem(file, &format!("is no JSON: {error}")),
        };
        for value in values {
            is_empty = false;
            match report(value) {
                // Several hosts without a name are different ones.
                Ok(report) if at == 0 => fleet.add(report, file, stem),
                Ok(report) => fleet.add(report, file, &format!("{stem}#{}", at + 1)),
                Err(reason) => fleet.problem(file, &reason),
            }
        }
    }
    if is_empty {
        fleet.problem(file, "holds no report: expected what `pkgpanda audit --json` prints");
    }
}

fn report(value: Value) -> Result<Report, String> {
    let schema = value.get("schema").and_then(Value::as_str);
    match schema {
        Some(SCHEMA) => {}
        Some(other) => {
            let other: String = plain(other).chars().take(100).collect();
            return Err(format!("holds a document with the schema `{other}`: expected {SCHEMA}"));
        }
        None => return Err(format!("holds a document without a schema: expected {SCHEMA}")),
    }
    serde_json::from_value(value).map_err(|error| {
        let error: String = plain(&error.to_string()).chars().take(200).collect();
        format!("holds no report of an audit: {error}")
    })
}
