//! What a recipe sets on hosts: variables and kernel settings, fit to be written one a line.

use std::collections::BTreeMap;

use super::fields::{Fields, Report, join, object, short, text, visible};
use super::json::Value;

/// Variables that activation itself writes.
const RESERVED_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// The member `environment`.
pub(super) fn environment(report: &mut Report<'_>, fields: &mut Fields) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::new();
    let Some(variables) = fields.object(report, "environment") else { return environment };
    for (name, value) in variables.rest() {
        let key = join("environment", &name);
        report.check(&key, variable(&name));
        let Some(value) = text(report, &key, value) else { continue };
        if let Some(message) = unfit_for_a_line(&value) {
            report.add(&key, message);
        }
        environment.insert(name, value);
    }
    environment
}

fn variable(name: &str) -> Result<(), String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !plain || name.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(format!(
            "`{}` is no name of a variable: expected letters, digits and `_`, not beginning with a digit",
            short(name)
        ));
    }
    if RESERVED_VARIABLES.contains(&name) {
        return Err(format!("`{name}` is reserved: activation sets it for all packages"));
    }
    Ok(())
}

/// Why a value cannot stand in a file of one setting a line.
fn unfit_for_a_line(value: &str) -> Option<String> {
    let found = value.chars().find(|character| matches!(character, '\n' | '\r' | '\0'))?;
    Some(format!(
        "holds `{}`, which a file of one value a line cannot: remove it",
        visible(&found.to_string())
    ))
}

/// The member `sysctl`.
pub(super) fn sysctl(
    report: &mut Report<'_>,
    fields: &mut Fields,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut services = BTreeMap::new();
    let Some(objects) = fields.object(report, "sysctl") else { return services };
    for (service, value) in objects.rest() {
        let key = join("sysctl", &service);
        report.check(&key, self::service(&service));
        let Some(settings) = object(report, key.clone(), value) else { continue };
        let mut texts = BTreeMap::new();
        for (setting, value) in settings.rest() {
            let key = join(&key, &setting);
            report.check(&key, self::setting(&setting));
            let value = match value {
                Value::Integer(number) => number.to_string(),
                Value::Text(text) => text,
                other => {
                    report.add(&key, format!("expected text or a whole number, found {}", other.kind()));
                    continue;
                }
            };
            if let Some(message) = unfit_for_a_line(&value) {
                report.add(&key, message);
            }
            texts.insert(setting, value);
        }
        services.insert(service, texts);
    }
    services
}

/// The name of a service becomes part of the name of a unit file.
fn service(name: &str) -> Result<(), String> {
    if let Some(name) = name.strip_suffix(".service") {
        return Err(format!("ends in `.service`: write `{}`", short(name)));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@-".contains(&byte);
    if name.is_empty() || name.len() > 200 || name.starts_with(['.', '-']) || !name.bytes().all(plain) {
        return Err(format!("`{}` is no name of a service", short(name)));
    }
    Ok(())
}

/// A setting becomes a path below `/proc/sys`.
fn setting(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if name.len() > 200 || !name.split(['.', '/']).all(|part| !part.is_empty() && part.bytes().all(plain)) {
        return Err(format!(
            "`{}` is no kernel setting: expected a name such as `vm.max_map_count`",
            short(name)
        ));
    }
    Ok(())
}
