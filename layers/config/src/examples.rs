//! Examples for what people bring software to hosts with already: each is ready to use, and does nothing but
//! fetch the one installer, check its digest and run it for a role; or audit hosts and bring the reports.
//!
//! Values are quoted once, in the script that all but one of the examples carry. What carries it takes a text as
//! it is, or has its own line breaks and quotes put by [`escape`](mod@crate::escape).

mod carry;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bake_base::Digest;
use serde_json::{Value, json};

use crate::escape::Syntax;
use crate::template::Template;
use crate::{Place, Problem, serve};
use carry::{carried, data_url, hcl};

/// Most bytes that a cloud takes as user data.
pub const USER_DATA_LIMIT: usize = 16 << 10;
/// Most bytes of a template of CloudFormation that is handed over as it is.
pub const CLOUDFORMATION_LIMIT: usize = 51_200;

/// What examples are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleData {
    /// The id of the configuration; empty while it is being worked out.
    pub config_id: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// Where hosts find the serve directory.
    pub bootstrap_url: String,
    /// Digest of `dcos_install.sh`; none while the id is being worked out.
    pub installer_sha256: Option<Digest>,
    /// Roles of the cluster; never empty.
    pub roles: Vec<String>,
    /// Paths of files that hold secrets.
    pub secrets: Vec<String>,
}

/// The examples: each path within the serve directory, and its bytes.
///
/// # Errors
/// When there is no role, or a value cannot be written into an example whatever its quotes.
pub fn render(data: &ExampleData) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    check(data)?;
    let script = script(data)?;
    let texts = [
        ("ansible-audit.yml", audit(data)?),
        ("ansible.yml", ansible(data)?),
        ("cloud-init-baked.yaml", baked(data)?),
        ("cloud-init.yaml", cloud_init(data, &script)?),
        ("cloudformation.json", cloudformation(data, &script)?),
        ("dcos-audit.service", include_str!("../examples/dcos-audit.service").to_owned()),
        ("dcos-audit.timer", include_str!("../examples/dcos-audit.timer").to_owned()),
        ("ignition.json", ignition(data, &script)?),
        ("puppet.pp", puppet(data, &script)),
        ("user-data.tf", terraform(data, &script)),
    ];
    Ok(texts.map(|(name, text)| (format!("examples/{name}"), text.into_bytes())).into())
}

fn check(data: &ExampleData) -> Result<(), Problem> {
    let problem = |name: &str, message: String| Err(Problem::new(&Place::file("examples"), name, message));
    if data.roles.is_empty() {
        return problem("roles", "there is none; examples need one at least".to_owned());
    }
    for role in &data.roles {
        if role.is_empty() || !role.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            return problem("roles", format!("{role:?} is no role: expected letters a-z, digits and `_`"));
        }
    }
    if !data.config_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return problem("config_id", format!("{:?} is no id: expected hex digits", data.config_id));
    }
    // No text of any of the languages can hold them without an escape, and none of them is in a URL.
    if let Some(c) = data.bootstrap_url.chars().find(|&c| !is_printable(c)) {
        let message = format!("the character U+{:04X} is in it; write it as %XX, as URLs do", u32::from(c));
        return problem("bootstrap_url", message);
    }
    Ok(())
}

/// Whether YAML, which is the strictest, takes it for a character of a line.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The role that an example is for before somebody changes it: most hosts are agents.
fn role(data: &ExampleData) -> &str {
    let usual = data.roles.iter().find(|role| *role == "slave");
    usual.or(data.roles.first()).map_or("", String::as_str)
}

/// The installer that stays when a newer configuration has another one.
fn installer_url(data: &ExampleData) -> String {
    let path = serve::installer_path(installer_sha256(data));
    format!("{}/{path}", data.bootstrap_url.trim_end_matches('/'))
}

/// An id is worked out from examples with a digest that no file has.
fn installer_sha256(data: &ExampleData) -> String {
    data.installer_sha256.unwrap_or(Digest::from_bytes([0; 32])).to_string()
}

fn filled(name: &str, text: &str, syntax: Syntax, values: Value) -> Result<String, Problem> {
    let values: BTreeMap<String, Value> = match values {
        Value::Object(values) => values.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    Template::new(&format!("examples/{name}"), text).render(syntax, &values)
}

/// What runs on hosts, for the roles that are its arguments.
fn script(data: &ExampleData) -> Result<String, Problem> {
    let values = json!({
        "installer_url": installer_url(data),
        "installer_sha256": installer_sha256(data),
        "secrets": !data.secrets.is_empty(),
    });
    filled("install.sh", include_str!("../examples/install.sh"), Syntax::Shell, values)
}

fn cloud_init(data: &ExampleData, script: &str) -> Result<String, Problem> {
    let text = include_str!("../examples/cloud-init.yaml");
    let text = filled("cloud-init.yaml", text, Syntax::Yaml, json!({ "role": role(data) }))?;
    Ok(carried(&text, script))
}

fn baked(data: &ExampleData) -> Result<String, Problem> {
    let values = json!({ "role_file": format!("/etc/mesosphere/roles/{}", role(data)) });
    filled("cloud-init-baked.yaml", include_str!("../examples/cloud-init-baked.yaml"), Syntax::Yaml, values)
}

fn ignition(data: &ExampleData, script: &str) -> Result<String, Problem> {
    let unit = include_str!("../examples/dcos-install.service").replace("ROLE", role(data));
    let values = json!({ "script_url": data_url(script), "unit": unit });
    filled("ignition.json", include_str!("../examples/ignition.json"), Syntax::Json, values)
}

fn ansible(data: &ExampleData) -> Result<String, Problem> {
    let groups: BTreeMap<_, _> = data.roles.iter().map(|role| (group(role), role)).collect();
    let values = json!({
        "hosts": groups.keys().copied().collect::<Vec<_>>(),
        "role_of_group": groups,
        "installer_url": installer_url(data),
        "installer_sha256": installer_sha256(data),
        "config_id": data.config_id,
        "secrets": !data.secrets.is_empty(),
    });
    filled("ansible.yml", include_str!("../examples/ansible.yml"), Syntax::Yaml, values)
}

/// The playbook that brings the audits of all hosts.
fn audit(data: &ExampleData) -> Result<String, Problem> {
    let groups: BTreeSet<_> = data.roles.iter().map(|role| group(role)).collect();
    let values = json!({ "hosts": groups });
    filled("ansible-audit.yml", include_str!("../examples/ansible-audit.yml"), Syntax::Yaml, values)
}

/// What hosts of a role are called in an inventory.
fn group(role: &str) -> &str {
    match role {
        "master" => "masters",
        "slave" => "agents",
        "slave_public" => "public_agents",
        other => other,
    }
}

fn cloudformation(data: &ExampleData, script: &str) -> Result<String, Problem> {
    let values = json!({
        "cluster_name": data.cluster_name,
        "config_id": data.config_id,
        "roles": data.roles,
        "role": role(data),
        "lines": without_interpreter(script).split_inclusive('\n').collect::<Vec<_>>(),
    });
    filled("cloudformation.json", include_str!("../examples/cloudformation.json"), Syntax::Json, values)
}

fn terraform(data: &ExampleData, script: &str) -> String {
    let text = with_names(include_str!("../examples/user-data.tf"), data, '"');
    carried(&text, &hcl(without_interpreter(script)))
}

fn puppet(data: &ExampleData, script: &str) -> String {
    carried(&with_names(include_str!("../examples/puppet.pp"), data, '\''), script)
}

/// Roles and the id, which are plain words in any language.
fn with_names(text: &str, data: &ExampleData, quote: char) -> String {
    let roles: Vec<_> = data.roles.iter().map(|role| format!("{quote}{role}{quote}")).collect();
    text.replace("ROLES", &roles.join(", ")).replace("ROLE", role(data)).replace("CONFIG_ID", &data.config_id)
}

/// The script as the rest of another one.
fn without_interpreter(script: &str) -> &str {
    script.strip_prefix("#!/bin/bash\n").unwrap_or(script)
}
