//! Calculations that are about any parameter, and those of a single line.

use serde_json::{Value, json};

use super::{About, Named, View};

/// By verb: whether the value tells only that something is set, and the function.
pub(super) const ABOUT: &[(&str, bool, About)] =
    &[("has", true, has), ("json", false, json_text), ("join", false, join), ("same-as", false, same)];

/// By name.
pub(super) const NAMED: &[Named] = &[
    named("adminrouter_auth_enabled", &["oauth_enabled"], |view| Ok(json!(view.flag("oauth_enabled")))),
    named(
        "adminrouter_tls_version_override",
        &["adminrouter_tls_1_0_enabled", "adminrouter_tls_1_1_enabled", "adminrouter_tls_1_2_enabled"],
        tls_versions,
    ),
    has_set("adminrouter_tls_cipher_override", &["adminrouter_tls_cipher_suite"], |view| {
        has(view, "adminrouter_tls_cipher_suite")
    }),
    has_set("cluster_docker_credentials_dcos_owned", &["cluster_docker_credentials"], |view| {
        has(view, "cluster_docker_credentials")
    }),
    named("cluster_docker_credentials_path", &["cluster_docker_credentials_dcos_owned"], |view| {
        let owned = view.flag("cluster_docker_credentials_dcos_owned");
        let directory = if owned { "/opt/mesosphere/etc" } else { "/etc/mesosphere" };
        Ok(json!(format!("{directory}/docker_credentials")))
    }),
    has_set("cluster_docker_registry_enabled", &["cluster_docker_registry_url"], |view| {
        has(view, "cluster_docker_registry_url")
    }),
    has_set("exhibitor_admin_password_enabled", &["exhibitor_admin_password"], |view| {
        has(view, "exhibitor_admin_password")
    }),
    named("profile_symlink_target_dir", &["profile_symlink_target"], |view| {
        let target = view.text("profile_symlink_target");
        let (directory, _) = target.rsplit_once('/').ok_or("has no directory")?;
        Ok(json!(if directory.is_empty() { "/" } else { directory }))
    }),
    named("rexray_config", &["rexray_config_preset"], rexray_config),
    named("rexray_config_contents", &["rexray_config"], |view| {
        // JSON is YAML, and has only one way to quote.
        let config = view.object("rexray_config");
        let text = serde_json::to_string_pretty(&config).map_err(|error| error.to_string())?;
        Ok(json!(text + "\n"))
    }),
    named("_superuser_service_account_public_key_json", &["superuser_service_account_public_key"], |view| {
        json_text(view, "superuser_service_account_public_key")
    }),
    has_set("has_marathon_gpu_scheduling_behavior", &["marathon_gpu_scheduling_behavior"], |view| {
        has(view, "marathon_gpu_scheduling_behavior")
    }),
    has_set("has_marathon_new_group_enforce_role", &["marathon_new_group_enforce_role"], |view| {
        has(view, "marathon_new_group_enforce_role")
    }),
    has_set("has_master_external_loadbalancer", &["master_external_loadbalancer"], |view| {
        has(view, "master_external_loadbalancer")
    }),
    has_set("has_mesos_default_container_shm_size", &["mesos_default_container_shm_size"], |view| {
        has(view, "mesos_default_container_shm_size")
    }),
    has_set("has_mesos_seccomp_profile_name", &["mesos_seccomp_profile_name"], |view| {
        has(view, "mesos_seccomp_profile_name")
    }),
    has_set("has_metronome_gpu_scheduling_behavior", &["metronome_gpu_scheduling_behavior"], |view| {
        has(view, "metronome_gpu_scheduling_behavior")
    }),
];

/// A calculation whose value is as secret as what it reads.
pub(super) const fn named(
    name: &'static str,
    from: &'static [&'static str],
    run: fn(&View) -> Result<Value, String>,
) -> Named {
    Named { name, from, public: false, run }
}

/// A calculation that tells only whether something is set.
const fn has_set(
    name: &'static str,
    from: &'static [&'static str],
    run: fn(&View) -> Result<Value, String>,
) -> Named {
    Named { name, from, public: true, run }
}

#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn has(view: &View, name: &str) -> Result<Value, String> {
    Ok(json!(match view.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => true,
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn json_text(view: &View, name: &str) -> Result<Value, String> {
    Ok(json!(view.get(name).unwrap_or(&Value::Null).to_string()))
}

fn join(view: &View, name: &str) -> Result<Value, String> {
    let items = view.get(name).and_then(Value::as_array).ok_or_else(|| format!("`{name}` is no list"))?;
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    Ok(json!(items.iter().map(text).collect::<Vec<_>>().join(",")))
}

fn same(view: &View, name: &str) -> Result<Value, String> {
    view.get(name).cloned().ok_or_else(|| format!("`{name}` has no value"))
}

#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn tls_versions(view: &View) -> Result<Value, String> {
    let versions = [
        ("adminrouter_tls_1_0_enabled", "TLSv1"),
        ("adminrouter_tls_1_1_enabled", "TLSv1.1"),
        ("adminrouter_tls_1_2_enabled", "TLSv1.2"),
    ];
    let enabled = versions.iter().filter(|(name, _)| view.flag(name)).map(|(_, version)| *version);
    Ok(json!(enabled.collect::<Vec<_>>().join(" ")))
}

fn rexray_config(view: &View) -> Result<Value, String> {
    match view.text("rexray_config_preset") {
        // Credentials come from the instance's own role. Volumes are taken from dead hosts.
        "aws" => Ok(json!({
            "rexray": {
                "loglevel": "info",
                "service": "ebs",
                "modules": {"default-docker": {"disabled": true}},
            },
            "libstorage": {
                "server": {"tasks": {"logTimeout": "5m"}},
                "integration": {"volume": {"operations": {"unmount": {"ignoreusedcount": true}}}},
            },
        })),
        _ => view.default.cloned().ok_or_else(|| "has no default".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::support::{calculate, fails};

    #[test]
    fn tls_versions_are_in_order() {
        let name = "adminrouter_tls_version_override";
        let all = json!({"adminrouter_tls_1_2_enabled": true, "adminrouter_tls_1_0_enabled": true});
        assert_eq!(calculate(name, all), json!("TLSv1 TLSv1.2"));
        assert_eq!(calculate(name, json!({"adminrouter_tls_1_1_enabled": true})), json!("TLSv1.1"));
    }

    #[test]
    fn credentials_decide_their_path() {
        let owned = "cluster_docker_credentials_dcos_owned";
        assert_eq!(calculate(owned, json!({"cluster_docker_credentials": {}})), json!(false));
        assert_eq!(calculate(owned, json!({"cluster_docker_credentials": {"auths": {}}})), json!(true));
        let path = "cluster_docker_credentials_path";
        assert_eq!(calculate(path, json!({owned: true})), json!("/opt/mesosphere/etc/docker_credentials"));
        assert_eq!(calculate(path, json!({owned: false})), json!("/etc/mesosphere/docker_credentials"));
    }

    #[test]
    fn what_is_set_is_told() {
        for (name, of) in [
            ("adminrouter_tls_cipher_override", "adminrouter_tls_cipher_suite"),
            ("cluster_docker_registry_enabled", "cluster_docker_registry_url"),
            ("exhibitor_admin_password_enabled", "exhibitor_admin_password"),
            ("has_marathon_gpu_scheduling_behavior", "marathon_gpu_scheduling_behavior"),
            ("has_marathon_new_group_enforce_role", "marathon_new_group_enforce_role"),
            ("has_master_external_loadbalancer", "master_external_loadbalancer"),
            ("has_mesos_default_container_shm_size", "mesos_default_container_shm_size"),
            ("has_mesos_seccomp_profile_name", "mesos_seccomp_profile_name"),
            ("has_metronome_gpu_scheduling_behavior", "metronome_gpu_scheduling_behavior"),
        ] {
            assert_eq!(calculate(name, json!({of: "x"})), json!(true), "{name}");
            assert_eq!(calculate(name, json!({of: ""})), json!(false), "{name}");
            assert_eq!(calculate(&format!("has {of}"), json!({of: "x"})), json!(true), "{name}");
        }
        assert_eq!(calculate("has x", json!({})), json!(false));
        assert_eq!(calculate("has x", json!({"x": 0})), json!(true));
        assert_eq!(calculate("has x", json!({"x": []})), json!(false));
        assert_eq!(calculate("has x", json!({"x": null})), json!(false));
    }

    #[test]
    fn small_ones() {
        assert_eq!(calculate("adminrouter_auth_enabled", json!({"oauth_enabled": true})), json!(true));
        let target = json!({"profile_symlink_target": "/etc/profile.d/dcos.sh"});
        assert_eq!(calculate("profile_symlink_target_dir", target), json!("/etc/profile.d"));
        assert_eq!(
            calculate("profile_symlink_target_dir", json!({"profile_symlink_target": "/a"})),
            json!("/")
        );
        assert_eq!(calculate("json x", json!({"x": ["a", 1]})), json!(r#"["a",1]"#));
        assert_eq!(calculate("join x", json!({"x": ["a", 1]})), json!("a,1"));
        assert_eq!(calculate("same-as x", json!({"x": ["a"]})), json!(["a"]));
        let key = json!({"superuser_service_account_public_key": "-----BEGIN\nx\n"});
        let quoted = r#""-----BEGIN\nx\n""#;
        assert_eq!(calculate("_superuser_service_account_public_key_json", key), json!(quoted));
        assert_eq!(fails("join x", json!({"x": 1})), "`x` is no list");
        assert_eq!(fails("same-as x", json!({})), "`x` has no value");
    }

    #[test]
    fn rexray_follows_its_preset() {
        let config = calculate("rexray_config", json!({"rexray_config_preset": "aws"}));
        assert_eq!(config["rexray"]["service"], json!("ebs"));
        let text =
            calculate("rexray_config_contents", json!({"rexray_config": {"rexray": {"service": "vfs"}}}));
        assert_eq!(text, json!("{\n  \"rexray\": {\n    \"service\": \"vfs\"\n  }\n}\n"));
        assert_eq!(fails("rexray_config", json!({"rexray_config_preset": ""})), "has no default");
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        let message = super::super::find("nothing").unwrap_err();
        assert!(message.starts_with("`nothing` is no calculation; there are "), "{message}");
        let message = super::super::find("double x").unwrap_err();
        assert!(
            message.ends_with("there are `has NAME`, `json NAME`, `join NAME`, `same-as NAME`"),
            "{message}"
        );
    }
}
