//! The schema for editors, by a validator that knows nothing of us.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bake_config::{Files, Table, resolve, schema, yaml};
use serde_json::json;

struct Scripts;

impl Files for Scripts {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Ok(b"#!/bin/sh\necho 192.0.2.1\n".to_vec())
    }

    fn check_script(&self, _script: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const STATIC: &str = "\
bootstrap_url: http://192.0.2.10:8000
cluster_name: test
exhibitor_storage_backend: static
master_discovery: static
master_list: [192.0.2.1, 192.0.2.2, 192.0.2.3]
";
const BALANCED: &str = "\
bootstrap_url: https://example.com/serve
cluster_name: test
exhibitor_storage_backend: aws_s3
master_discovery: master_http_loadbalancer
num_masters: '3'
exhibitor_address: masters.example.com
aws_region: eu-west-1
s3_bucket: b
s3_prefix: p
exhibitor_explicit_keys: 'false'
";

/// Documents that both take.
const GOOD: &[(&str, &str)] = &[
    (STATIC, ""),
    (STATIC, "master_list: '[\"192.0.2.1\"]'\n"),
    (STATIC, "calico_veth_mtu: '1400'\nenable_lb: 'false'\ncalico_enabled: false\n"),
    (STATIC, "resolvers: '[\"192.0.2.53:53\"]'\ndns_forward_zones: {example.com: [192.0.2.53]}\n"),
    (STATIC, "ui_banner_dismissible: null\nui_banner_header_title: '\"Hello\"'\nweights: ''\n"),
    (STATIC, "use_proxy: false\ns3_bucket: unused\n"),
    (STATIC, "use_proxy: true\nhttp_proxy: http://p\nhttps_proxy: http://p\nno_proxy: [.example.com]\n"),
    (STATIC, "ip_detect_filename: ready:aws\ncluster_docker_credentials: {auths: {}}\n"),
    (STATIC, "custom_checks: {cluster_checks: {c: {description: d, cmd: [x], timeout: 1s}}}\n"),
    (STATIC, "exhibitor_admin_password: 12345\ncluster_docker_registry_url: ''\n"),
    (STATIC, "exhibitor_explicit_keys: true\n"),
    (BALANCED, ""),
    (BALANCED, "exhibitor_explicit_keys: true\naws_access_key_id: a\naws_secret_access_key: b\n"),
];

/// Documents that both refuse.
const BAD: &[(&str, &str)] = &[
    (STATIC, "clustername: x\n"),
    (STATIC, "ssh_user: root\n"),
    (STATIC, "master_quorum: 2\n"),
    (STATIC, "cluster_name: [x]\n"),
    (STATIC, "cluster_name: null\n"),
    (STATIC, "bootstrap_url: example.com\n"),
    (STATIC, "enable_lb: 1\n"),
    (STATIC, "enable_lb: 'True'\n"),
    (STATIC, "calico_veth_mtu: 551\n"),
    (STATIC, "calico_vxlan_vni: 1024\n"),
    (STATIC, "calico_veth_mtu: high\n"),
    (STATIC, "master_list: [192.0.2.1, 192.0.2.2]\n"),
    (STATIC, "master_list: [192.0.2.1, 192.0.2.1, 192.0.2.2]\n"),
    (STATIC, "master_list: [a]\n"),
    (STATIC, "master_list: 192.0.2.1\n"),
    (STATIC, "exhibitor_storage_backend: disk\n"),
    (STATIC, "rexray_config: x\n"),
    (STATIC, "custom_checks: {checks: {}}\n"),
    (STATIC, "dcos_overlay_network: {}\n"),
    (STATIC, "use_proxy: true\n"),
    (STATIC, "use_proxy: 'true'\nhttp_proxy: http://p\n"),
    (STATIC, "master_discovery: master_http_loadbalancer\nnum_masters: 3\n"),
    (BALANCED, "num_masters: 2\n"),
    (
        STATIC,
        "exhibitor_storage_backend: zookeeper\nexhibitor_zk_hosts: z:2181\nexhibitor_zk_path: /x\nmaster_discovery: master_http_loadbalancer\nexhibitor_address: x\n",
    ),
    (BALANCED, "exhibitor_explicit_keys: true\n"),
    (BALANCED, "exhibitor_explicit_keys: 'true'\n"),
    (BALANCED, "master_discovery: static\n"),
    (BALANCED, "exhibitor_storage_backend: zookeeper\n"),
];

/// `base` with some lines instead of those of the same keys.
fn document(base: &str, lines: &str) -> String {
    let key = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let changed: Vec<_> = lines.lines().map(key).collect();
    let kept: String =
        base.lines().filter(|line| !changed.contains(&key(line))).map(|line| format!("{line}\n")).collect();
    kept + lines
}

#[test]
fn the_schema_agrees_with_resolving() {
    let table = Table::builtin().unwrap();
    let schema = schema::schema(&table);
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (expected, cases) in [(true, GOOD), (false, BAD)] {
        for (base, lines) in cases {
            let text = document(base, lines);
            let node = yaml::read("config.yaml", text.as_bytes()).unwrap();
            let resolved = resolve(&table, &node, &[], &BTreeMap::new(), &Scripts);
            assert_eq!(
                resolved.is_ok(),
                expected,
                "{text}\n{}",
                resolved.err().map_or(String::new(), |e| e.to_string())
            );
            let errors: Vec<_> =
                validator.iter_errors(&node.to_json()).map(|error| error.to_string()).collect();
            assert_eq!(errors.is_empty(), expected, "{text}\n{errors:#?}");
        }
    }
}

#[test]
fn every_default_fits() {
    let table = Table::builtin().unwrap();
    let schema = schema::schema(&table);
    for (name, property) in schema["properties"].as_object().unwrap() {
        let Some(default) = property.get("default") else { continue };
        let validator = jsonschema::validator_for(property).unwrap();
        assert!(validator.is_valid(default), "{name}: {default}");
    }
}

#[test]
fn editors_are_told_what_they_need() {
    let mut table = Table::builtin().unwrap();
    let schema = schema::schema(&table);
    assert_eq!(schema["$schema"], json!("https://json-schema.org/draft/2020-12/schema"));
    let required = json!(["bootstrap_url", "cluster_name", "exhibitor_storage_backend", "master_discovery"]);
    assert_eq!(schema["required"], required);
    assert_eq!(schema["additionalProperties"], json!(false));
    let properties = schema["properties"].as_object().unwrap();
    assert!(!properties.contains_key("master_quorum") && !properties.contains_key("ssh_user"));
    let mtu = &properties["calico_veth_mtu"];
    assert_eq!(mtu["default"], json!(1500));
    assert_eq!(mtu["anyOf"][0], json!({"type": "integer", "minimum": 552, "maximum": 65535}));
    let description = "MTU of interfaces of containers.\n\nUsed in etc/dcos/network/cni/calico.conf.";
    assert_eq!(mtu["description"], json!(description));
    assert_eq!(properties["exhibitor_admin_password"]["writeOnly"], json!(true));
    // The same table gives the same bytes; an extension's parameters are in it.
    let again = schema::schema(&Table::builtin().unwrap());
    assert_eq!(schema.to_string(), again.to_string());
    let text = "[my_port]\ntype = \"port\"\nrequired = true\nhelp = \"Mine.\"\n[set]\nenable_lb = false\n";
    table.extend("x.toml", text).unwrap();
    // A rule's value is not known here; what an extension sets instead is.
    assert_eq!(schema["properties"]["num_masters"].get("default"), None);
    table.extend("y.toml", "[set]\nnum_masters = 5\n").unwrap();
    let extended = schema::schema(&table);
    assert_eq!(extended["properties"]["num_masters"]["default"], json!(5));
    assert_eq!(extended["properties"]["enable_lb"]["default"], json!(false));
    assert!(extended["required"].as_array().unwrap().contains(&json!("my_port")));
}
