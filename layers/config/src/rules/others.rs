//! Rules about masters, accounts and checks.

use serde_json::{Map, Value};

use super::{Fault, Rule};

pub(super) const TLS_VERSIONS: Rule = Rule {
    reads: &["adminrouter_tls_1_0_enabled", "adminrouter_tls_1_1_enabled", "adminrouter_tls_1_2_enabled"],
    check: |facts| {
        let versions =
            ["adminrouter_tls_1_2_enabled", "adminrouter_tls_1_1_enabled", "adminrouter_tls_1_0_enabled"];
        if versions.iter().any(|name| facts.flag(name)) {
            return Vec::new();
        }
        let message = "leaves Admin Router without any version of TLS; set one of the three switches to true";
        Fault::new(&versions, message)
    },
};

pub(super) const SUPERUSER: Rule = Rule {
    reads: &["superuser_service_account_uid", "superuser_service_account_public_key"],
    check: |facts| {
        let names = ["superuser_service_account_uid", "superuser_service_account_public_key"];
        match names.map(|name| facts.text(name).is_empty()) {
            [true, true] | [false, false] => Vec::new(),
            [false, true] => Fault::new(&names, format!("needs `{}` too", names[1])),
            [true, false] => Fault::new(&[names[1], names[0]], format!("needs `{}` too", names[0])),
        }
    },
};

pub(super) const MASTERS: Rule = Rule {
    reads: &["master_discovery", "master_list", "num_masters"],
    check: |facts| {
        let Some(list) = facts.get("master_list").and_then(Value::as_array) else { return Vec::new() };
        let Some(count) = facts.get("num_masters").and_then(Value::as_u64) else { return Vec::new() };
        if facts.text("master_discovery") != "static" || count == list.len() as u64 {
            return Vec::new();
        }
        let message =
            format!("is {count}, but `master_list` has {}; with static discovery leave it out", list.len());
        Fault::new(&["num_masters", "master_list"], message)
    },
};

pub(super) const STATIC_ENSEMBLE: Rule = Rule {
    reads: &["exhibitor_storage_backend", "master_discovery"],
    check: |facts| {
        let discovery = facts.text("master_discovery");
        if facts.text("exhibitor_storage_backend") != "static" || discovery == "static" {
            return Vec::new();
        }
        let message = format!(
            "is `static`, which needs `master_discovery: static`, not `{discovery}`; \
             choose another place for the ensemble's state"
        );
        Fault::new(&["exhibitor_storage_backend", "master_discovery"], message)
    },
};

pub(super) const CHECK_NAMES: Rule = Rule {
    reads: &["check_config", "custom_checks"],
    check: |facts| {
        let of = |name: &str, path: &str| -> Map<String, Value> {
            let document = facts.get(name).and_then(|document| document.pointer(path));
            document.and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let mut faults = Vec::new();
        for (pointer, within) in
            [("/cluster_checks", "cluster_checks"), ("/node_checks/checks", "node_checks.checks")]
        {
            let builtin = of("check_config", pointer);
            for name in of("custom_checks", pointer).keys().filter(|name| builtin.contains_key(*name)) {
                let at = format!("custom_checks.{within}.{name}");
                let message = "has the name of a check that is built in; choose another";
                faults.extend(Fault::new(&[&at], message));
            }
        }
        faults
    },
};

pub(super) const REXRAY: Rule = Rule {
    reads: &["rexray_config", "rexray_config_preset"],
    check: |facts| {
        let preset = facts.text("rexray_config_preset");
        if preset.is_empty() || !facts.written("rexray_config") {
            return Vec::new();
        }
        Fault::new(
            &["rexray_config"],
            format!("is what `rexray_config_preset: {preset}` says; leave one of both out"),
        )
    },
};

pub(super) const S3_KEY: Rule = Rule {
    reads: &["exhibitor_storage_backend", "exhibitor_explicit_keys", "aws_secret_access_key"],
    check: |facts| {
        let wanted =
            facts.text("exhibitor_storage_backend") == "aws_s3" && facts.flag("exhibitor_explicit_keys");
        if !wanted || !facts.text("aws_secret_access_key").is_empty() {
            return Vec::new();
        }
        Fault::new(
            &["exhibitor_explicit_keys", "aws_secret_access_key"],
            "is true, which needs `aws_secret_access_key`: give the key, or let hosts use their own role with false",
        )
    },
};

pub(super) const AZURE_KEY: Rule = Rule {
    reads: &["exhibitor_storage_backend", "exhibitor_azure_account_key"],
    check: |facts| {
        let wanted = facts.text("exhibitor_storage_backend") == "azure";
        if !wanted || !facts.text("exhibitor_azure_account_key").is_empty() {
            return Vec::new();
        }
        Fault::new(
            &["exhibitor_storage_backend", "exhibitor_azure_account_key"],
            "is azure, which needs `exhibitor_azure_account_key`, the storage account's key",
        )
    },
};
