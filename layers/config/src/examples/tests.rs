#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // shells judge what is written for them

use std::process::Command;

use hcl::eval::{Context, Evaluate, FuncArgs, FuncDef, ParamType};
use proptest::prelude::*;
use saphyr_parser::{Event, Parser};

use super::*;

fn data() -> ExampleData {
    ExampleData {
        config_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        cluster_name: "Test Cluster".to_owned(),
        bootstrap_url: "http://192.0.2.1:8080".to_owned(),
        installer_sha256: Some(Digest::of(b"installer")),
        roles: ["master", "slave", "slave_public"].map(str::to_owned).into(),
        secrets: Vec::new(),
    }
}

fn example(data: &ExampleData, name: &str) -> String {
    let examples = render(data).unwrap_or_else(|problem| panic!("{problem}"));
    let path = format!("examples/{name}");
    let found = examples.into_iter().find(|example| example.0 == path).unwrap();
    String::from_utf8(found.1).unwrap()
}

/// Every scalar of a YAML document, in order.
fn scalars(text: &str) -> Vec<String> {
    let events =
        Parser::new_from_str(text).map(|event| event.unwrap_or_else(|error| panic!("{error}\n{text}")).0);
    events
        .filter_map(|event| match event {
            Event::Scalar(text, ..) => Some(text.into_owned()),
            _ => None,
        })
        .collect()
}

/// The user data of the launch template, as Terraform works it out.
fn user_data_of_terraform(text: &str) -> String {
    let body: hcl::Body = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
    let resource = body.blocks().find(|block| block.identifier() == "resource").unwrap();
    let user_data = resource.body().attributes().find(|attribute| attribute.key() == "user_data").unwrap();
    let mut context = Context::new();
    context.declare_var("var", hcl::value!({ "role" = "slave" }));
    let same = FuncDef::builder().param(ParamType::String);
    context.declare_func("base64encode", same.build(|args: FuncArgs| Ok(args[0].clone())));
    let value = user_data.expr().evaluate(&context).unwrap_or_else(|error| panic!("{error}\n{text}"));
    value.as_str().unwrap().to_owned()
}

fn user_data_of_cloudformation(text: &str) -> String {
    let template: Value = serde_json::from_str(text).unwrap();
    let parts = &template["Resources"]["HostTemplate"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
        ["Fn::Join"][1];
    let part = |part: &Value| {
        part.as_str().map_or_else(
            || {
                assert_eq!(*part, json!({ "Ref": "Role" }));
                "slave".to_owned()
            },
            str::to_owned,
        )
    };
    parts.as_array().unwrap().iter().map(part).collect()
}

/// The script that Ignition writes; decoded by a shell of its own.
fn script_of_ignition(text: &str) -> String {
    let (_, warnings) = ignition_config::Config::parse_slice(text.as_bytes()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let document: Value = serde_json::from_str(text).unwrap();
    let source = document["storage"]["files"][0]["contents"]["source"].as_str().unwrap();
    let encoded = source.strip_prefix("data:,").unwrap();
    assert!(!encoded.contains('\\'));
    let output = Command::new("printf").arg("%b").arg(encoded.replace('%', r"\x")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn script_of_puppet(text: &str) -> String {
    let (_, rest) = text.split_once("@(INSTALL)\n").unwrap();
    let (lines, _) = rest.split_once("    | INSTALL\n").unwrap();
    lines.lines().map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n").collect()
}

/// What bash takes for the URL in a script.
fn url_in(script: &str) -> String {
    let lines: Vec<_> = script.lines().take_while(|line| !line.starts_with("work=")).collect();
    let program = format!("{}\nprintf %s \"$installer_url\"", lines.join("\n"));
    let output = Command::new("bash").args(["-c", &program]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{program}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn judge(data: &ExampleData) {
    let script = script(data).unwrap_or_else(|problem| panic!("{problem}"));
    let url = installer_url(data);
    assert_eq!(url_in(&script), url);
    assert!(scalars(&example(data, "cloud-init.yaml")).contains(&script));
    assert_eq!(
        scalars(&example(data, "cloud-init-baked.yaml"))[2],
        format!("/etc/mesosphere/roles/{}", role(data))
    );
    assert!(scalars(&example(data, "ansible.yml")).contains(&url));
    assert_eq!(script_of_puppet(&example(data, "puppet.pp")), script);
    assert_eq!(script_of_ignition(&example(data, "ignition.json")), script);
    let as_user_data = script.replacen('\n', "\nset -- slave\n", 1);
    assert_eq!(user_data_of_terraform(&example(data, "user-data.tf")), as_user_data);
    assert_eq!(user_data_of_cloudformation(&example(data, "cloudformation.json")), as_user_data);
}

#[test]
fn every_example_carries_the_script_as_it_is() {
    judge(&data());
    judge(&ExampleData { secrets: vec!["/etc/mesosphere/secrets/key".to_owned()], ..data() });
}

#[test]
fn signs_of_hcl_before_braces_are_strings() {
    for (text, written) in [
        ("$x {y} %", "$x {y} %"),
        ("${x}", r#"${"$"}{x}"#),
        ("$${x}", r#"${"$$"}{x}"#),
        ("$%{x}", r#"${"$%"}{x}"#),
        ("100%", "100%"),
    ] {
        assert_eq!(hcl(text), written);
    }
}

#[test]
fn examples_stay_below_the_limits_of_clouds_with_much_room() {
    let long = ExampleData { bootstrap_url: format!("https://{}/", "x".repeat(2048)), ..data() };
    for data in [data(), long] {
        for name in ["cloud-init.yaml", "cloud-init-baked.yaml", "ignition.json"] {
            assert!(example(&data, name).len() < USER_DATA_LIMIT / 2, "{name}");
        }
        assert!(
            user_data_of_cloudformation(&example(&data, "cloudformation.json")).len() < USER_DATA_LIMIT / 2
        );
        assert!(example(&data, "cloudformation.json").len() < CLOUDFORMATION_LIMIT / 2);
    }
}

#[test]
fn the_usual_role_is_that_of_agents_and_else_the_first() {
    assert_eq!(role(&data()), "slave");
    let data = ExampleData { roles: vec!["edge".to_owned(), "core".to_owned()], ..data() };
    assert_eq!(role(&data), "edge");
    assert!(example(&data, "ansible.yml").contains(r#""edge":"edge""#));
}

#[test]
fn hosts_of_every_role_are_audited() {
    let texts = scalars(&example(&data(), "ansible-audit.yml"));
    assert!(
        texts.contains(&"{{ ['/opt/mesosphere/bin/pkgpanda', 'audit', '--json'] + options }}".to_owned())
    );
    for group in ["agents", "masters", "public_agents"] {
        assert!(texts.contains(&group.to_owned()), "{group}");
    }
    assert!(example(&data(), "dcos-audit.timer").contains("OnCalendar=hourly\n"));
    assert!(example(&data(), "dcos-audit.service").contains("pkgpanda audit --incremental --json"));
}

#[test]
fn examples_are_the_same_wherever_the_url_ends() {
    let slashes = ExampleData { bootstrap_url: data().bootstrap_url + "//", ..data() };
    assert_eq!(render(&slashes), render(&data()));
}

#[test]
fn what_no_example_can_hold_is_named() {
    let none = || -> Vec<String> { Vec::new() };
    for (data, message) in [
        (
            ExampleData { roles: none(), ..data() },
            "examples: `roles`: there is none; examples need one at least",
        ),
        (
            ExampleData { roles: vec!["a b".to_owned()], ..data() },
            "examples: `roles`: \"a b\" is no role: expected letters a-z, digits and `_`",
        ),
        (
            ExampleData { bootstrap_url: "http://a/\n".to_owned(), ..data() },
            "examples: `bootstrap_url`: the character U+000A is in it; write it as %XX, as URLs do",
        ),
        (
            ExampleData { config_id: "'".to_owned(), ..data() },
            "examples: `config_id`: \"'\" is no id: expected hex digits",
        ),
    ] {
        assert_eq!(render(&data).unwrap_err().to_string(), message);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_leaves_its_place(
        cluster_name in ".{0,40}",
        url in r#"[ -~é“😀]{0,20}(\$\{x\}|%\{ if \}|\{\{ x \}\}|'|"|\\|\$\(id\)|`id`|EOT|: |#|SCRIPT|ROLE|-->){0,4}[!-~]{0,8}"#,
        secrets in proptest::collection::vec("/[a-z]{1,5}", 0..2),
    ) {
        let data = ExampleData { cluster_name, bootstrap_url: url, secrets, ..data() };
        judge(&data);
        let template: Value = serde_json::from_str(&example(&data, "cloudformation.json")).unwrap();
        prop_assert_eq!(template["Metadata"]["Cluster"].as_str().unwrap(), data.cluster_name);
    }
}
