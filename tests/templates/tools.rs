//! The tools themselves read the templates.

use std::collections::BTreeSet;
use std::process::Command;

use bake_publish::templates::{TEMPLATE_LIMIT, USER_DATA_LIMIT};
use serde_json::{Value, json};

use crate::support::container::{Container, Root};
use crate::support::{is_root, made, run, scratch};
use crate::{IMAGES, STACKS, Templates, published, published_with, python, user_data};

#[test]
fn the_linter_accepts_every_template_in_every_region() {
    let strange = [
        ("/name", json!("it's [a] (strange)/name@for-an_AMI.")),
        ("/architecture", json!("arm64")),
        ("/root-device", json!("/dev/sda1")),
    ];
    for published in [published(), published_with(&strange)] {
        let templates = Templates::of(&published);
        let tools = made("tools/python");
        let mut lint = Command::new(tools.join("bin/cfn-lint"));
        // Also what it keeps to itself otherwise: advice.
        lint.env("PYTHONPATH", &tools).args(["--include-checks", "I", "--regions"]);
        lint.args(IMAGES.map(|(region, _)| region)).arg("--").args(STACKS).current_dir(templates.directory());
        assert_eq!(run(&mut lint), "");
        for name in STACKS {
            assert!(templates.read(name).len() < TEMPLATE_LIMIT, "{name}");
            assert!(user_data(&templates.read(name), "arn").len() < USER_DATA_LIMIT / 2, "{name}");
        }
    }
}

#[test]
fn terraform_takes_the_module_and_lets_in_what_the_stacks_let_in() {
    let templates = Templates::of(&published());
    let bindings = std::fs::read_dir(made("tools/python/bindings")).unwrap().next().unwrap().unwrap().path();
    let mut judge = python("terraform.py");
    judge.arg(templates.directory()).arg(templates.scratch.path().join("values")).arg(bindings);
    let found: Value = serde_json::from_str(&run(&mut judge)).unwrap();
    assert_eq!(found["image"], IMAGES[2].1);
    assert_eq!(found["tags"], json!({"bake:disk": "5a".repeat(32)}));

    // The same rules as those that a stand-in for AWS makes of the stacks.
    let group = |name: &Value| found["groups"][name.as_str().unwrap()].as_str().unwrap().to_owned();
    let port = |rule: &Value| rule["port"].as_i64().unwrap_or(-1);
    let rules = |name: &str| found[name].as_array().unwrap().clone();
    let between = rules("between").into_iter().map(|rule| {
        let protocol = rule["protocol"].as_str().unwrap().to_owned();
        (group(&rule["to"]), group(&rule["from"]), protocol, port(&rule))
    });
    let outside = rules("outside").into_iter().map(|rule| {
        (group(&rule["to"]), rule["cidr"].as_str().unwrap().to_owned(), "tcp".to_owned(), port(&rule))
    });
    let of_module: BTreeSet<_> = between.chain(outside).collect();
    assert_eq!(of_module, crate::launch::cluster(&templates, 1).rules());
}

#[test]
fn cloud_init_accepts_all_user_data_as_root() {
    if !is_root("cloud-init, which runs in a container") {
        return;
    }
    let templates = Templates::of(&published());
    let directory = scratch();
    let mut names = Vec::new();
    for name in STACKS {
        std::fs::write(
            directory.path().join(name),
            user_data(&templates.read(name), "arn:aws:x:y:z:stack/a/b"),
        )
        .unwrap();
        names.push(name.to_owned());
    }
    let bindings = std::fs::read_dir(made("tools/python/bindings")).unwrap().next().unwrap().unwrap().path();
    let mut judge = python("terraform.py");
    judge.arg(templates.directory()).arg(directory.path().join("values")).arg(bindings);
    let found: Value = serde_json::from_str(&run(&mut judge)).unwrap();
    for (role, text) in found["user_data"].as_object().unwrap() {
        std::fs::write(directory.path().join(role), text.as_str().unwrap()).unwrap();
        names.push(role.clone());
    }
    assert_eq!(names.len(), 8);
    let root = Root::of("debian-12-cloud");
    let host = Container::boot(&root, &[(directory.path(), "/srv/user-data")]);
    for name in names {
        let said = host.run(&format!("cloud-init schema --config-file /srv/user-data/{name}"));
        assert!(said.contains("Valid cloud-config"), "{said}");
    }
}
