//! Health checks: those that are built in, and the document that the check runner reads.

use serde_json::{Map, Value, json};

use super::generic::named;
use super::{Named, View};

/// The program that most of the checks are part of.
const CHECKS: &str = "/opt/mesosphere/bin/dcos-checks";
/// Where checks find programs.
const SEARCH_PATH: &str = "/opt/mesosphere/bin:/usr/bin:/bin:/sbin";

pub(super) const NAMED: &[Named] = &[
    named("check_config", &["check_time"], builtin),
    named(
        "check_config_contents",
        &["check_config", "custom_checks", "check_search_path", "check_ld_library_path"],
        contents,
    ),
    named("check_search_path", &["custom_check_bins_provided", "custom_check_bins_package_id"], |view| {
        Ok(json!(if view.flag("custom_check_bins_provided") {
            format!("{SEARCH_PATH}:/opt/mesosphere/packages/{}", view.text("custom_check_bins_package_id"))
        } else {
            SEARCH_PATH.to_owned()
        }))
    }),
];

/// The checks of a host: name, what it tells, arguments, and the role if there is only one.
const NODE_CHECKS: &[(&str, &str, &[&str], Option<&str>)] = &[
    (
        "components_master",
        "Every unit of a master is healthy",
        &[CHECKS, "--role", "master", "components"],
        Some("master"),
    ),
    (
        "components_agent",
        "Every unit of an agent is healthy",
        &[CHECKS, "--role", "agent", "components"],
        Some("agent"),
    ),
    ("xz", "`xz` is there", &[CHECKS, "executable", "xz", "--version"], None),
    ("tar", "`tar` is there", &[CHECKS, "executable", "tar", "--version"], None),
    ("curl", "`curl` is there", &[CHECKS, "executable", "curl", "--version"], None),
    ("unzip", "`unzip` is there", &[CHECKS, "executable", "unzip", "-v"], None),
    ("ip_detect_script", "The script that finds the host's address prints one", &[CHECKS, "ip"], None),
    ("docker", "Docker answers", &[CHECKS, "executable", "docker", "info"], Some("agent")),
    (
        "mesos_master_replog_synchronized",
        "The replicated log of the master is in step",
        &[CHECKS, "--role", "master", "mesos-metrics"],
        Some("master"),
    ),
    (
        "mesos_agent_registered_with_masters",
        "The agent is known to the masters",
        &[CHECKS, "--role", "agent", "mesos-metrics"],
        Some("agent"),
    ),
    ("journald_dir_permissions", "The journal can be read by those who ship it", &[CHECKS, "journald"], None),
    (
        "cockroachdb_replication",
        "Every range of the database has its copies",
        &[CHECKS, "cockroachdb", "ranges"],
        Some("master"),
    ),
    ("clock_sync", "The clock is synchronised", &[CHECKS, "time"], None),
];

#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn builtin(view: &View) -> Result<Value, String> {
    let wanted = NODE_CHECKS.iter().filter(|(name, ..)| *name != "clock_sync" || view.flag("check_time"));
    let mut checks = Map::new();
    let mut names = Vec::new();
    for (name, description, cmd, role) in wanted {
        let mut check = json!({"description": description, "cmd": cmd, "timeout": "30s"});
        if let Some(role) = role {
            check["roles"] = json!([role]);
        }
        checks.insert((*name).to_owned(), check);
        names.push(json!(name));
    }
    Ok(json!({"node_checks": {"checks": checks, "poststart": names}}))
}

/// Both documents in one, and the environment that checks run in.
#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn contents(view: &View) -> Result<Value, String> {
    let mut all = view.object("check_config");
    merge(&mut all, view.object("custom_checks"));
    let environment = json!({
        "PATH": view.text("check_search_path"),
        "LD_LIBRARY_PATH": view.text("check_ld_library_path"),
    });
    all.insert("check_env".to_owned(), environment);
    Ok(json!(Value::Object(all).to_string()))
}

/// Mappings are united, lists appended. That no check is declared twice is a rule of its own.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(present)), Value::Object(more)) => merge(present, more),
            (Some(Value::Array(present)), Value::Array(more)) => present.extend(more),
            (Some(_), _) => {}
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::support::calculate;

    fn names(document: &Value) -> Vec<&str> {
        document["node_checks"]["poststart"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
    }

    #[test]
    fn builtin_checks_all_run_after_the_start() {
        let with = calculate("check_config", json!({"check_time": true}));
        let expected = [
            "components_master",
            "components_agent",
            "xz",
            "tar",
            "curl",
            "unzip",
            "ip_detect_script",
            "docker",
            "mesos_master_replog_synchronized",
            "mesos_agent_registered_with_masters",
            "journald_dir_permissions",
            "cockroachdb_replication",
            "clock_sync",
        ];
        assert_eq!(names(&with), expected);
        assert_eq!(with["node_checks"]["checks"].as_object().unwrap().len(), expected.len());
        let time = json!({
            "description": "The clock is synchronised",
            "cmd": ["/opt/mesosphere/bin/dcos-checks", "time"],
            "timeout": "30s",
        });
        assert_eq!(with["node_checks"]["checks"]["clock_sync"], time);
        assert_eq!(with["node_checks"]["checks"]["components_agent"]["roles"], json!(["agent"]));
        let without = calculate("check_config", json!({"check_time": false}));
        assert_eq!(names(&without), &expected[..12]);
        assert!(without["node_checks"]["checks"].get("clock_sync").is_none());
    }

    #[test]
    fn documents_are_united() {
        let check = |cmd: &str| json!({"description": "d", "cmd": [cmd], "timeout": "1s"});
        let values = |custom: Value| {
            json!({
                "check_config": {"node_checks": {"checks": {"a": check("a")}, "poststart": ["a"]}},
                "custom_checks": custom,
                "check_search_path": "/bin",
                "check_ld_library_path": "/lib",
            })
        };
        let custom = json!({
            "cluster_checks": {"c": check("c")},
            "node_checks": {"checks": {"b": check("b")}, "prestart": ["b"], "poststart": ["b"]},
        });
        let united = calculate("check_config_contents", values(custom));
        let expected = json!({
            "check_env": {"LD_LIBRARY_PATH": "/lib", "PATH": "/bin"},
            "cluster_checks": {"c": check("c")},
            "node_checks": {
                "checks": {"a": check("a"), "b": check("b")},
                "poststart": ["a", "b"],
                "prestart": ["b"],
            },
        });
        assert_eq!(united, json!(expected.to_string()));
    }

    #[test]
    fn operators_programs_are_found() {
        let name = "check_search_path";
        let without = json!({"custom_check_bins_provided": false});
        assert_eq!(calculate(name, without), json!("/opt/mesosphere/bin:/usr/bin:/bin:/sbin"));
        let with = json!({
            "custom_check_bins_provided": true,
            "custom_check_bins_package_id": "custom-check-bins--0123",
        });
        let path = "/opt/mesosphere/bin:/usr/bin:/bin:/sbin:/opt/mesosphere/packages/custom-check-bins--0123";
        assert_eq!(calculate(name, with), json!(path));
    }
}
