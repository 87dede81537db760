//! The files that an install root holds beside its links.

use std::collections::BTreeMap;

use bake_base::json;
use serde::Serialize;
use serde_json::Value;

use crate::{PackageId, PackageName, Sysctl};

/// The variables of every package, by its id.
type Variables = BTreeMap<PackageId, BTreeMap<String, String>>;

/// What both environment files begin with.
const HEADER: &str = "# The environment of the active packages. Written by the installation: do not edit.\n";

/// What systemd reads as an `EnvironmentFile`.
pub(super) fn environment(root: &str, variables: &Variables) -> Vec<u8> {
    let library = quoted(&format!("{root}/lib"));
    let path = quoted(&format!("{root}/bin:/usr/bin:/bin:/sbin"));
    let own = format!("LD_LIBRARY_PATH={library}\nPATH={path}\n");
    format!("{HEADER}{own}\n{}", packages("", variables)).into_bytes()
}

/// What shells read with `source`.
pub(super) fn environment_export(root: &str, variables: &Variables) -> Vec<u8> {
    let library = quoted(&format!("{root}/lib"));
    let own = format!("export LD_LIBRARY_PATH={library}\nexport PATH=\"{}/bin:$PATH\"\n", escaped(root));
    format!("{HEADER}{own}\n{}", packages("export ", variables)).into_bytes()
}

fn packages(export: &str, variables: &Variables) -> String {
    let lines = |(name, value): (&String, &String)| format!("{export}{name}={}\n", quoted(value));
    let package = |(id, values): (&PackageId, &BTreeMap<String, String>)| {
        format!("# package: {id}\n{}\n", values.iter().map(lines).collect::<String>())
    };
    variables.iter().map(package).collect()
}

/// A value that shells and every systemd read alike: plain where nothing in it means anything to either,
/// else in double quotes. (Single quotes would do for shells, but older versions of systemd take
/// backslashes inside of them for escapes.)
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(&byte);
    if value.bytes().all(plain) { value.to_owned() } else { format!("\"{}\"", escaped(value)) }
}

/// The inside of double quotes: only what POSIX lets a backslash escape there is escaped, because systemd
/// keeps any other backslash.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// `active.buildinfo.full.json`.
pub(super) fn buildinfo(buildinfo: &BTreeMap<PackageName, Option<Value>>) -> Vec<u8> {
    let by_name: BTreeMap<&str, _> = buildinfo.iter().map(|(name, value)| (name.as_str(), value)).collect();
    document(&by_name)
}

/// What services read when they start.
pub(super) fn service_configuration(sysctl: &Sysctl) -> Vec<u8> {
    document(&BTreeMap::from([("sysctl", sysctl)]))
}

fn document(value: &impl Serialize) -> Vec<u8> {
    json::to_canonical(value).expect("every key is text and every number came from JSON")
}
