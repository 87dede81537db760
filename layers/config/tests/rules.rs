//! What resolving makes of a configuration, over the built-in table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bake_config::{
    Effective, FileTable, Files, Note, Problem, Problems, Source, Table, configure, resolve, yaml,
};
use proptest::prelude::*;
use serde_json::{Value, json};

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::builtin().unwrap());

struct Scripts;

impl Files for Scripts {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        match path {
            "genconf/ip-detect" => Ok(b"#!/bin/sh\necho 192.0.2.1\n".to_vec()),
            _ => Err(format!("`{path}` does not exist")),
        }
    }

    fn check_script(&self, _script: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

const GOOD: &str = "\
bootstrap_url: http://192.0.2.10:8000
cluster_name: test
exhibitor_storage_backend: static
master_discovery: static
master_list: [192.0.2.1, 192.0.2.2, 192.0.2.3]
";

fn resolve_in(table: &Table, text: &str, set: &[(&str, &str)]) -> Result<(Effective, Vec<Note>), Problems> {
    let document = yaml::read("genconf/config.yaml", text.as_bytes())?;
    let place = bake_config::Place::file("--set");
    let set: Vec<_> =
        set.iter().map(|(name, value)| ((*name).to_owned(), yaml::scalar(value, &place).unwrap())).collect();
    let given = BTreeMap::from([
        ("bootstrap_id".to_owned(), json!("0123")),
        ("custom_check_bins_provided".to_owned(), json!(false)),
        ("dcos_image_commit".to_owned(), json!("4567")),
        ("package_ids".to_owned(), json!(["a--1"])),
    ]);
    resolve(table, &document, &set, &given, &Scripts)
}

fn good(text: &str) -> Effective {
    resolve_in(&TABLE, &format!("{GOOD}{text}"), &[]).unwrap_or_else(|problems| panic!("{problems}")).0
}

fn problems_of(text: &str) -> Vec<Problem> {
    resolve_in(&TABLE, text, &[]).unwrap_err().0
}

/// The problems of the good configuration and these lines.
fn bad(text: &str) -> Vec<String> {
    problems_of(&format!("{GOOD}{text}")).iter().map(ToString::to_string).collect()
}

fn value(effective: &Effective, name: &str) -> Value {
    effective.get(name).unwrap_or_else(|| panic!("`{name}` has no value")).clone()
}

#[test]
fn a_small_configuration_is_whole() {
    let effective = good("");
    for (name, expected) in [
        ("num_masters", json!(3)),
        ("master_quorum", json!(2)),
        ("exhibitor_static_ensemble", json!("1:192.0.2.1,2:192.0.2.2,3:192.0.2.3")),
        ("ip_detect_contents", json!("#!/bin/sh\necho 192.0.2.1\n")),
        ("ip_detect_public_contents", json!("#!/bin/sh\necho 192.0.2.1\n")),
        ("resolvers_str", json!("8.8.8.8,8.8.4.4")),
        ("dcos_l4lb_min_named_ip_erltuple", json!("{11,0,0,0}")),
        ("mesos_log_directory_max_files", json!(162)),
        (
            "rexray_config",
            json!({"rexray": {"service": "vfs", "modules": {"default-docker": {"disabled": true}}}}),
        ),
        ("adminrouter_tls_version_override", json!("TLSv1.2")),
        ("bootstrap_id", json!("0123")),
    ] {
        assert_eq!(value(&effective, name), expected, "{name}");
    }
    // Every parameter that holds without a condition has a value, but for those given by later stages.
    let missing: Vec<_> = TABLE
        .parameters
        .values()
        .filter(|parameter| parameter.when.is_empty() && effective.get(&parameter.name).is_none())
        .filter(|parameter| parameter.rule.is_some() || parameter.default.is_some() || parameter.required)
        .map(|parameter| &parameter.name)
        .collect();
    assert_eq!(missing, Vec::<&String>::new());
}

#[test]
fn every_rule_is_a_calculation_of_parameters() {
    let mut used = Vec::new();
    for parameter in TABLE.parameters.values() {
        let Some(rule) = &parameter.rule else { continue };
        let calculation = bake_config::calculate::find(rule).unwrap();
        for from in &calculation.from {
            assert!(TABLE.parameters.contains_key(from), "{} needs {from}", parameter.name);
        }
        used.push(rule.as_str());
    }
    for name in bake_config::calculate::names() {
        assert!(used.contains(&name), "nothing is calculated by `{name}`");
    }
    for rule in bake_config::rules::ALL {
        for name in rule.reads {
            assert!(TABLE.parameters.contains_key(*name), "a rule reads {name}");
        }
    }
}

#[test]
fn sources_are_kept() {
    let set = [("cluster_name", "other"), ("enable_lb", "false")];
    let (effective, _) = resolve_in(&TABLE, GOOD, &set).unwrap();
    let source = |name: &str| bake_config::plan::source(&effective.0[name].source);
    assert_eq!(source("bootstrap_url"), "genconf/config.yaml:1");
    assert_eq!(source("cluster_name"), "--set");
    assert_eq!(source("enable_lb"), "--set");
    assert_eq!(source("resolvers"), "default");
    assert_eq!(source("master_quorum"), "calculated from num_masters");
    assert_eq!(source("bootstrap_id"), "from artifacts");
    assert_eq!(source("rexray_config"), "default");
}

#[test]
fn what_is_missed_says_why() {
    let problems = problems_of("{}");
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let names: Vec<_> = problems.iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(names, ["bootstrap_url", "cluster_name", "exhibitor_storage_backend", "master_discovery"]);
    let first = "genconf/config.yaml: `bootstrap_url`: must be set: Where hosts fetch the serve directory";
    assert_eq!(told[0], first);

    let problems = problems_of(
        "bootstrap_url: http://x\ncluster_name: x\nexhibitor_storage_backend: aws_s3\n\
         master_discovery: master_http_loadbalancer\nuse_proxy: true\nexhibitor_explicit_keys: true\n",
    );
    let told: BTreeMap<_, _> =
        problems.iter().map(|problem| (problem.name.as_str(), &problem.message)).collect();
    let names: Vec<_> = told.keys().copied().collect();
    let expected = [
        "aws_access_key_id",
        "aws_region",
        "exhibitor_address",
        "exhibitor_explicit_keys",
        "http_proxy",
        "https_proxy",
        "num_masters",
        "s3_bucket",
        "s3_prefix",
    ];
    assert_eq!(names, expected);
    let why = "must be set because `use_proxy` is `true`: Proxy for http";
    assert_eq!(told["http_proxy"], why);
    let why = "must be set because `master_discovery` is `master_http_loadbalancer`: Number of masters";
    assert!(told["num_masters"].starts_with(why), "{}", told["num_masters"]);
    let both = "must be set because `exhibitor_storage_backend` is `aws_s3` and `exhibitor_explicit_keys` is `true`: ";
    let both_turned = "must be set because `exhibitor_explicit_keys` is `true` and `exhibitor_storage_backend` is `aws_s3`: ";
    let told_key = told["aws_access_key_id"];
    assert!(told_key.starts_with(both) || told_key.starts_with(both_turned), "{told_key}");
}

#[test]
fn what_may_not_be_set_is_told() {
    let told = bad(
        "master_quorum: 2\nmarathon_port: 1\npackage_ids: []\nssh_user: root\nclustername: x\nzzzzzz: 1\n",
    );
    let expected = [
        "genconf/config.yaml:6:1: `master_quorum`: is calculated from `num_masters` and cannot be set; remove it",
        "genconf/config.yaml:7:1: `marathon_port`: always has the same value and cannot be set; remove it",
        "genconf/config.yaml:8:1: `package_ids`: is given by what is configured and cannot be set; remove it",
        "genconf/config.yaml:9:1: `ssh_user`: is no longer read: hosts are reached by their own tools and run \
         dcos_install.sh with a role; remove it",
        "genconf/config.yaml:10:1: `clustername`: is not a parameter; did you mean `cluster_name`?",
        "genconf/config.yaml:11:1: `zzzzzz`: is not a parameter; `bake configure --schema` lists them",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_has_no_effect_is_a_note() {
    let (_, notes) = resolve_in(&TABLE, &format!("{GOOD}s3_bucket: x\nhttp_proxy: x\n"), &[]).unwrap();
    let told: Vec<_> = notes.iter().map(ToString::to_string).collect();
    let bucket =
        "genconf/config.yaml:6:12: `s3_bucket` has no effect: it is for `exhibitor_storage_backend` `aws_s3`";
    assert_eq!(told[0], bucket);
    assert_eq!(told[1], "genconf/config.yaml:7:13: `http_proxy` has no effect: it is for `use_proxy` `true`");
    assert_eq!(told.len(), 2);
}

#[test]
fn rules_about_several_parameters_are_told_once() {
    let overlays = "dcos_overlay_network: {vtep_subnet: 44.128.0.0/20, vtep_subnet6: 'fd01:a::/64', \
                    vtep_mac_oui: '70:B3:D5:00:00:00', overlays: [{name: mine, subnet: 172.29.128.0/17, prefix: 24}]}\n";
    let check = "{description: d, cmd: [x], timeout: 1s}";
    let cases: &[(String, &[(&str, &str)])] = &[
        ("adminrouter_tls_1_2_enabled: false\n".into(), &[("6:30", "adminrouter_tls_1_2_enabled")]),
        (
            "dcos_overlay_network_default_name: other\n".into(),
            &[("6:36", "dcos_overlay_network_default_name")],
        ),
        (
            "dcos_overlay_network6_default_name: dcos\n".into(),
            &[("6:37", "dcos_overlay_network6_default_name")],
        ),
        ("calico_network_cidr: 9.1.0.0/16\n".into(), &[("6:22", "calico_network_cidr")]),
        (
            format!("{overlays}dcos_overlay_network_default_name: mine\n"),
            &[("6:148", "dcos_overlay_network.overlays[0].subnet")],
        ),
        ("enable_ipv6: false\n".into(), &[("6:14", "enable_ipv6")]),
        ("enable_ipv6: false\ndcos_l4lb_enable_ipv6: true\n".into(), &[("7:24", "dcos_l4lb_enable_ipv6")]),
        ("dcos_l4lb_min_named_ip: 12.0.0.0\n".into(), &[("6:25", "dcos_l4lb_min_named_ip")]),
        ("dcos_l4lb_max_named_ip6: 'fd01::'\n".into(), &[("6:26", "dcos_l4lb_max_named_ip6")]),
        ("superuser_service_account_uid: x\n".into(), &[("6:32", "superuser_service_account_uid")]),
        ("num_masters: 5\n".into(), &[("6:14", "num_masters")]),
        ("rexray_config_preset: aws\nrexray_config: {rexray: {}}\n".into(), &[("7:16", "rexray_config")]),
        (
            format!("custom_checks: {{node_checks: {{checks: {{xz: {check}}}, poststart: [xz]}}}}\n"),
            &[("6:44", "custom_checks.node_checks.checks.xz")],
        ),
    ];
    for (text, expected) in cases {
        let problems = problems_of(&format!("{GOOD}{text}"));
        let told: Vec<_> = problems
            .iter()
            .map(|problem| (format!("{}:{}", problem.place.line, problem.place.column), problem.name.clone()))
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(at, name)| ((*at).to_owned(), (*name).to_owned())).collect();
        assert_eq!(told, expected, "{text}: {problems:?}");
    }
    for fine in [
        "enable_ipv6: false\ndcos_l4lb_enable_ipv6: false\n",
        "calico_network_cidr: 9.1.0.0/16\ncalico_enabled: false\n",
        "calico_network_cidr: 9.1.0.0/16\ndcos_overlay_enable: false\n",
        "adminrouter_tls_1_2_enabled: false\nadminrouter_tls_1_0_enabled: true\n",
        "num_masters: 3\n",
        "rexray_config_preset: aws\n",
    ] {
        good(fine);
    }
    let balanced = GOOD.replace("discovery: static", "discovery: master_http_loadbalancer");
    let told: Vec<_> = problems_of(&format!("{balanced}num_masters: 3\nexhibitor_address: x\n"))
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = "genconf/config.yaml:3:28: `exhibitor_storage_backend`: is `static`, which needs \
                    `master_discovery: static`, not `master_http_loadbalancer`; choose another place for the \
                    ensemble's state";
    assert_eq!(told, [expected]);
}

#[test]
fn traps_of_yaml_are_told_of_with_all_else() {
    let text = format!(
        "{}calico_enabled: yes\ncalico_veth_mtu: 1\nmaster_list: [&a 192.0.2.1, 192.0.2.2, 192.0.2.3]\nnum_masters: 5\n\
         custom_checks: {{node_checks: {{checks: on}}}}\nenable_lb: true\nenable_lb: maybe\nno_such: off\n\
         dcos_overlay_network: {{overlays: [{{name: x, subnet: 1:20, prefix: 24}}]}}\n",
        GOOD.replace("master_list", "#").replace("cluster_name: test", "cluster_name: 0123"),
    );
    let known = configure::Known { table: TABLE.clone(), files: FileTable::builtin().unwrap() };
    let set = ["dns_search=[a", "calico_vxlan_vni=off", "calico_vxlan_port=0"];
    let written = configure::Written {
        config: ("c".to_owned(), text.into_bytes()),
        set: set.map(str::to_owned).into(),
    };
    let problems = configure::plan(&known, &written, &BTreeMap::new(), &Scripts).map(|_| ()).unwrap_err().0;
    let told: Vec<_> = problems
        .iter()
        .map(|problem| (format!("{}:{}", problem.place.file, problem.place.line), problem.name.as_str()))
        .collect();
    let expected = [
        ("--set:0", "calico_vxlan_port"),
        ("--set:0", "calico_vxlan_vni"),
        ("--set:0", "dns_search"),
        ("c:2", ""),
        ("c:6", ""),
        ("c:7", "calico_veth_mtu"),
        ("c:8", ""),
        ("c:10", ""),
        ("c:12", "enable_lb"),
        ("c:13", "no_such"),
        ("c:13", ""),
        ("c:14", "dcos_overlay_network"),
        ("c:14", "dcos_overlay_network"),
        ("c:14", "dcos_overlay_network"),
        ("c:14", ""),
    ];
    let expected = expected.map(|(place, name)| (place.to_owned(), name));
    assert_eq!(told, expected, "{problems:#?}");
}

#[test]
fn exceptions_of_a_proxy_are_for_a_proxy() {
    let (effective, notes) = resolve_in(&TABLE, &format!("{GOOD}no_proxy: [.example.com]\n"), &[]).unwrap();
    assert_eq!(effective.get("no_proxy"), None);
    assert!(!value(&effective, "no_proxy_final").to_string().contains("example.com"));
    assert_eq!(notes.len(), 1);
    let effective = good("use_proxy: true\nhttp_proxy: p:1\nhttps_proxy: p:1\nno_proxy: [.example.com]\n");
    assert!(value(&effective, "no_proxy_final").to_string().contains(".example.com"));
}

#[test]
fn a_failed_parameter_silences_its_dependents_only() {
    let told = bad("master_list_: 1\nip_detect_filename: genconf/none\ncalico_veth_mtu: 1\n");
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told[1], "genconf/config.yaml:7:21: `ip_detect_filename`: `genconf/none` does not exist");
    // Four things depend on the list, none of which is heard.
    let broken = GOOD.replace("192.0.2.3]", "192.0.2.300]");
    let told: Vec<_> = problems_of(&broken).iter().map(|problem| problem.name.clone()).collect();
    assert_eq!(told, ["master_list[2]"]);
}

#[test]
fn secrets_stay_secret() {
    let mut table = TABLE.clone();
    table
        .extend(
            "extension/parameters.toml",
            "[copy]\ntype = \"line\"\nrule = \"same-as exhibitor_admin_password\"\nset-by = \"calculated\"\nhelp = \"A copy.\"\n\
             [copy_of_copy]\ntype = \"line\"\nrule = \"json copy\"\nset-by = \"calculated\"\nhelp = \"A copy.\"\n",
        )
        .unwrap();
    let text = format!("{GOOD}exhibitor_admin_password: hunter2\n");
    let (effective, notes) = resolve_in(&table, &text, &[]).unwrap();
    for name in ["exhibitor_admin_password", "copy", "copy_of_copy"] {
        assert!(effective.0[name].secret, "{name}");
        assert!(effective.get(name).unwrap().to_string().contains("hunter2"), "{name}");
    }
    // That there is a password is no secret.
    assert!(!effective.0["exhibitor_admin_password_enabled"].secret);
    assert_eq!(value(&effective, "exhibitor_admin_password_enabled"), json!(true));
    let plan = bake_config::plan::text(&effective, &notes);
    assert!(!plan.contains("hunter2"));
    assert!(plan.contains("copy: \"**HIDDEN**\"  # calculated from exhibitor_admin_password\n"));

    // Nor do messages tell.
    table
        .extend(
            "other/parameters.toml",
            "[number]\ntype = \"integer\"\nrule = \"same-as exhibitor_admin_password\"\nset-by = \"calculated\"\nhelp = \"A number.\"\n",
        )
        .unwrap();
    let problems = resolve_in(&table, &text, &[]).unwrap_err().to_string();
    assert!(problems.contains("`number`: is not a whole number (secret, so not shown)"), "{problems}");
    let problems = bad("exhibitor_admin_password: [hunter2]\n");
    assert_eq!(problems.len(), 1);
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}

#[test]
fn extensions_change_defaults_and_may_not_go_in_circles() {
    let mut table = TABLE.clone();
    table
        .extend("tree/config/x/parameters.toml", "[set]\nenable_lb = false\nmarathon_port = 8081\n")
        .unwrap();
    let (effective, _) = resolve_in(&table, GOOD, &[]).unwrap();
    assert_eq!(value(&effective, "marathon_port"), json!(8081));
    let source = bake_config::plan::source(&effective.0["enable_lb"].source);
    assert_eq!(source, "set by tree/config/x/parameters.toml:2");

    // An operator's value comes before it, and rules of others hold for it.
    let check = "{description: d, cmd: [x], timeout: 1s}";
    let mine = "{ node_checks = { poststart = [\"mine\"], checks = { mine = { description = \"d\", cmd = [\"x\"], timeout = \"1s\" } } } }";
    table.extend("y.toml", &format!("[set]\ncheck_config = {mine}\n")).unwrap();
    let (effective, _) = resolve_in(&table, GOOD, &[]).unwrap();
    assert_eq!(bake_config::plan::source(&effective.0["check_config"].source), "set by y.toml:2");
    assert_eq!(value(&effective, "check_config")["node_checks"]["poststart"], json!(["mine"]));
    let contents = value(&effective, "check_config_contents").to_string();
    assert!(contents.contains("mine") && !contents.contains("ip_detect_script"), "{contents}");
    let again =
        format!("{GOOD}custom_checks: {{node_checks: {{checks: {{mine: {check}}}, poststart: [mine]}}}}\n");
    let told = resolve_in(&table, &again, &[]).unwrap_err().0;
    assert_eq!(told[0].name, "custom_checks.node_checks.checks.mine");
    let own =
        format!("{GOOD}check_config: {{node_checks: {{checks: {{own: {check}}}, poststart: [own]}}}}\n");
    let (effective, _) = resolve_in(&table, &own, &[]).unwrap();
    assert_eq!(value(&effective, "check_config")["node_checks"]["poststart"], json!(["own"]));

    let circle = |name: &str, of: &str| {
        format!("[{name}]\ntype = \"line\"\nrule = \"same-as {of}\"\nset-by = \"calculated\"\nhelp = \"x\"\n")
    };
    let text =
        [circle("a", "b"), circle("b", "c"), circle("c", "a"), circle("d", "a"), circle("e", "nothing")];
    table.extend("x.toml", &text.concat()).unwrap();
    let told: Vec<_> = resolve_in(&table, GOOD, &[]).unwrap_err().0.iter().map(ToString::to_string).collect();
    let expected = [
        "x.toml:1:2: `a`: depends on itself: `a` needs `b` needs `c` needs `a`",
        "x.toml:21:2: `e`: depends on `nothing`, which is no parameter",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_long_chain_is_refused() {
    let mut table = TABLE.clone();
    let link = |at: usize| {
        let rule =
            if at == 2999 { "json cluster_name".to_owned() } else { format!("same-as p{:04}", at + 1) };
        format!("[p{at:04}]\ntype = \"line\"\nrule = \"{rule}\"\nset-by = \"calculated\"\nhelp = \"x\"\n")
    };
    table.extend("x.toml", &(0..3000).map(link).collect::<String>()).unwrap();
    let problems = resolve_in(&table, GOOD, &[]).unwrap_err();
    assert!(problems.to_string().contains("needs more than 128 parameters one after another"), "{problems}");
}

#[test]
fn arguments_override_the_file() {
    let broken = format!("{GOOD}calico_veth_mtu: 1\n");
    let (effective, _) = resolve_in(&TABLE, &broken, &[("calico_veth_mtu", "1400")]).unwrap();
    assert_eq!(value(&effective, "calico_veth_mtu"), json!(1400));
    let twice = [("calico_veth_mtu", "1400"), ("calico_veth_mtu", "1300")];
    let (effective, _) = resolve_in(&TABLE, GOOD, &twice).unwrap();
    assert_eq!(value(&effective, "calico_veth_mtu"), json!(1300));
    assert!(matches!(effective.0["calico_veth_mtu"].source, Source::Written(_)));
    let problems = resolve_in(&TABLE, GOOD, &[("calico_veth_mtu", "1"), ("nothing_here", "1")]).unwrap_err();
    let told: Vec<_> = problems.0.iter().map(|problem| problem.place.to_string()).collect();
    assert_eq!(told, ["--set", "--set"]);
}

/// Lines that are right, whatever others are there.
const RIGHT: &[&str] = &[
    "cluster_name: test",
    "bootstrap_url: http://192.0.2.10",
    "exhibitor_storage_backend: static",
    "master_discovery: static",
    "master_list: ['192.0.2.1']",
    "resolvers: ['192.0.2.53']",
    "use_proxy: false",
    "enable_lb: 'false'",
    "calico_vxlan_vni: 7",
    "dns_search: a.example b.example",
    "custom_checks: {}",
    "weights: web=2",
];

/// Lines that are wrong, each in one way that has nothing to do with others.
const WRONG: &[(&str, &str)] = &[
    ("calico_veth_mtu: 1", "calico_veth_mtu"),
    ("calico_vxlan_vni: 1024", "calico_vxlan_vni"),
    ("adminrouter_tls_1_2_enabled: false", "adminrouter_tls_1_2_enabled"),
    ("dns_search: 'a,b'", "dns_search"),
    ("resolvers: [198.51.100.1]", "resolvers[0]"),
    ("use_proxy: maybe", "use_proxy"),
    ("cluser_name: x", "cluser_name"),
    ("master_quorum: 2", "master_quorum"),
    ("dcos_l4lb_max_named_ip: 10.0.0.0", "dcos_l4lb_max_named_ip"),
    ("superuser_service_account_uid: x", "superuser_service_account_uid"),
    ("ssh_port: 22", "ssh_port"),
    ("ip6_detect_filename: genconf/none", "ip6_detect_filename"),
];

#[test]
fn a_store_that_asks_for_a_key_gets_one() {
    let s3 = [
        ("exhibitor_storage_backend", "aws_s3"),
        ("aws_region", "eu-west-1"),
        ("s3_bucket", "b"),
        ("s3_prefix", "p"),
        ("exhibitor_explicit_keys", "true"),
        ("aws_access_key_id", "id"),
    ];
    let azure = [
        ("exhibitor_storage_backend", "azure"),
        ("exhibitor_azure_account_name", "a"),
        ("exhibitor_azure_prefix", "p"),
    ];
    for (set, key) in [(&s3[..], "aws_secret_access_key"), (&azure[..], "exhibitor_azure_account_key")] {
        let problems = resolve_in(&TABLE, GOOD, set).unwrap_err().0;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].message.contains(&format!("which needs `{key}`")), "{}", problems[0].message);
        resolve_in(&TABLE, GOOD, &[set, &[(key, "secret")]].concat()).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_order_of_keys_does_not_matter(lines in Just(RIGHT.to_vec()).prop_shuffle()) {
        let values = |lines: &[&str]| {
            let (effective, notes) = resolve_in(&TABLE, &(lines.join("\n") + "\n"), &[]).unwrap();
            let values: BTreeMap<_, _> =
                effective.0.into_iter().map(|(name, resolved)| (name, (resolved.value, resolved.secret))).collect();
            (values, notes.len())
        };
        prop_assert_eq!(values(&lines), values(RIGHT));
    }

    #[test]
    fn every_problem_is_found_regardless_of_others(
        wrong in proptest::sample::subsequence(WRONG.to_vec(), 1..=WRONG.len()).prop_shuffle(),
    ) {
        let text: String = wrong.iter().map(|(line, _)| format!("{line}\n")).collect();
        let found: Vec<_> = problems_of(&format!("{GOOD}{text}")).into_iter().map(|problem| problem.name).collect();
        let mut sorted = found.clone();
        sorted.sort();
        let mut expected: Vec<_> = wrong.iter().map(|(_, name)| (*name).to_owned()).collect();
        expected.sort();
        prop_assert_eq!(sorted, expected);
    }

    #[test]
    fn arguments_beat_the_file(file in 552..=1500_i64, argument in 552..=1500_i64) {
        let text = format!("{GOOD}calico_veth_mtu: {file}\n");
        let (effective, _) = resolve_in(&TABLE, &text, &[("calico_veth_mtu", &argument.to_string())]).unwrap();
        prop_assert_eq!(value(&effective, "calico_veth_mtu"), json!(argument));
    }
}
