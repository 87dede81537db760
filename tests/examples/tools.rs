//! The tools themselves read the examples: those of an ordinary cluster, of one with secrets, and of one whose
//! values try to be something else.

use std::fs;
use std::path::Path;
use std::process::Command;

use bake_base::Digest;
use bake_config::examples::{CLOUDFORMATION_LIMIT, ExampleData, USER_DATA_LIMIT, render};
use serde_json::Value;
use tempfile::TempDir;

use crate::host::Product;
use crate::support::container::{Container, Root};
use crate::support::{is_root, made, project, run, scratch};

/// Each set of examples in a directory of its own, by its name.
fn sets() -> (TempDir, Vec<&'static str>) {
    let plain = ExampleData {
        config_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        cluster_name: "Plain".to_owned(),
        bootstrap_url: "http://192.0.2.1:8080".to_owned(),
        installer_sha256: Some(Digest::of(b"installer")),
        roles: ["master", "slave", "slave_public"].map(str::to_owned).into(),
        secrets: Vec::new(),
    };
    let secrets = ExampleData { secrets: vec!["/etc/mesosphere/secrets/key".to_owned()], ..plain.clone() };
    let hostile = ExampleData {
        cluster_name: "a\"b\\ ${x} {{ y }}\n- c: 'd".to_owned(),
        bootstrap_url: "http://h/'\"\\ ${file(\"/etc/passwd\")} %{ if } {{ lookup('pipe', 'touch /ran') }} \
                        $(touch /ran) `touch /ran` # : é😀$$%${q} INSTALL USER_DATA SCRIPT"
            .to_owned(),
        ..plain.clone()
    };
    let directory = scratch();
    for (name, data) in [("plain", plain), ("secrets", secrets), ("hostile", hostile)] {
        for (path, bytes) in render(&data).unwrap_or_else(|problem| panic!("{problem}")) {
            let path = directory.path().join(name).join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    (directory, vec!["plain", "secrets", "hostile"])
}

#[test]
fn tools_of_hosts_accept_every_example_as_root() {
    if !is_root("cloud-init, Ignition, Ansible and Puppet, which run in a container") {
        return;
    }
    let (directory, names) = sets();
    let root = Root::of("debian-12-cloud");
    let host = Container::boot(&root, &[(directory.path(), "/srv/sets")]);
    for name in names {
        let at = format!("/srv/sets/{name}/examples");
        for user_data in ["cloud-init.yaml", "cloud-init-baked.yaml"] {
            let said = host.run(&format!("cloud-init schema --config-file {at}/{user_data}"));
            assert!(said.contains("Valid cloud-config"), "{said}");
        }
        // Also silent: it would name what it knows and nobody should use.
        let said = host.output(&format!("ignition-validate {at}/ignition.json"));
        assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
        host.run(&format!("puppet parser validate {at}/puppet.pp"));
        let ansible = format!("LC_ALL=C.UTF-8 ansible-playbook --inventory localhost, {at}/ansible.yml");
        host.run(&format!("{ansible} --syntax-check"));
        host.run(&format!("{} --syntax-check", ansible.replace("ansible.yml", "ansible-audit.yml")));
        // It says what it does not like, and ends well all the same.
        let verified =
            host.output(&format!("systemd-analyze verify {at}/dcos-audit.service {at}/dcos-audit.timer"));
        assert!(verified.status.success() && verified.stderr.is_empty(), "{verified:?}");
    }
    // What they would do is tried with the worst of them: it may fail to fetch, but nothing else runs.
    host.run("printf '[masters]\\nlocalhost ansible_connection=local\\n' >/root/hosts");
    let play = "sed 's/retries: 30/retries: 1/; s/delay: 10/delay: 1/' /srv/sets/hostile/examples/ansible.yml >/root/play.yml
        LC_ALL=C.UTF-8 ansible-playbook --inventory /root/hosts /root/play.yml";
    assert!(!host.output(play).status.success());
    host.run("test ! -e /ran");
}

#[test]
fn linters_of_clouds_accept_every_example() {
    let (directory, names) = sets();
    let tools = made("tools/python");
    for name in names {
        let at = directory.path().join(name).join("examples");
        let mut lint = Command::new(tools.join("bin/cfn-lint"));
        // What it says is a failure. (Its advice, which it keeps to itself, is `Fn::Sub`: that would look into values.)
        lint.env("PYTHONPATH", &tools).arg("--");
        assert_eq!(run(lint.arg(at.join("cloudformation.json"))), "", "{name}");
        assert_eq!(terraform(&tools, &at), cloudformation(&at), "{name}");
    }
}

/// User data of the launch template, as Terraform itself works it out; it has formatted the file before.
fn terraform(tools: &Path, examples: &Path) -> String {
    let judge = project("tests/examples/terraform.py");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools).env("CHECKPOINT_DISABLE", "1");
    run(python.arg(judge).arg(examples.join("user-data.tf")).arg(examples.join("terraform")))
}

/// The same of CloudFormation, whose join this is.
fn cloudformation(examples: &Path) -> String {
    let template: Value =
        serde_json::from_slice(&fs::read(examples.join("cloudformation.json")).unwrap()).unwrap();
    let data = &template["Resources"]["HostTemplate"]["Properties"]["LaunchTemplateData"]["UserData"];
    let parts = data["Fn::Base64"]["Fn::Join"][1].as_array().unwrap();
    parts.iter().map(|part| part.as_str().unwrap_or("slave")).collect()
}

#[test]
fn shells_and_clouds_take_what_configure_writes() {
    let product = Product::small();
    let examples = product.serve().join("examples");
    for name in ["cloud-init.yaml", "cloud-init-baked.yaml", "ignition.json"] {
        assert!(fs::metadata(examples.join(name)).unwrap().len() < USER_DATA_LIMIT as u64, "{name}");
    }
    assert!(fs::metadata(examples.join("cloudformation.json")).unwrap().len() < CLOUDFORMATION_LIMIT as u64);
    let script = cloudformation(&examples);
    assert!(script.len() < USER_DATA_LIMIT);
    let installer = Digest::of(&fs::read(product.serve().join("dcos_install.sh")).unwrap());
    assert!(script.contains(&format!("installer_sha256='{installer}'")), "{script}");
    let file = product.serve().join("user-data.sh");
    fs::write(&file, script).unwrap();
    run(Command::new("shellcheck").arg(&file));
    let playbook = fs::read_to_string(examples.join("ansible.yml")).unwrap();
    assert!(playbook.contains(&product.config_id()), "{playbook}");
}
