//! Real hosts, installed from a real serve directory by nothing but an example.

use std::fs;
use std::process::Command;

use bake_host::audit::Report;

use crate::host::{Product, runs_as};
use crate::support::container::{Container, Root};
use crate::support::{is_root, made, run};

/// A host that has the tools, and whose server of the product comes up some seconds after everything else.
fn prepared() -> Root {
    let root = Root::of("debian-12-cloud");
    let server = "[Service]\n\
        ExecStartPre=/bin/sleep 3\n\
        ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/product/serve 8000\n";
    put(&root, "etc/systemd/system/web.service", server);
    let wants = root.at("etc/systemd/system/basic.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("../web.service", wants.join("web.service")).unwrap();
    // What a container has no use for: a network of a cloud, and locales that are not in it.
    put(&root, "etc/cloud/cloud.cfg.d/test.cfg", "network: {config: disabled}\nlocale: C.UTF-8\n");
    root
}

fn put(root: &Root, path: &str, text: &str) {
    let path = root.at(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn example(product: &Product, name: &str) -> String {
    fs::read_to_string(product.serve().join("examples").join(name)).unwrap()
}

/// Makes the host a new instance with this user data.
fn seed(root: &Root, instance: &str, user_data: &str) {
    put(root, "var/lib/cloud/seed/nocloud/meta-data", &format!("instance-id: {instance}\n"));
    put(root, "var/lib/cloud/seed/nocloud/user-data", user_data);
}

fn cloud_init_is_content(host: &Container) {
    let status = host.output("cloud-init status --wait --long");
    let log = host.output("tail -30 /var/log/cloud-init-output.log");
    assert!(status.status.success(), "{status:?}\n{log:?}");
}

#[test]
fn cloud_init_installs_a_host_and_gives_a_baked_one_its_role_as_root() {
    if !is_root("a host, which is a container") {
        return;
    }
    let product = Product::small();
    let root = prepared();
    seed(&root, "stock", &example(&product, "cloud-init.yaml"));
    let host = product.boot(&root);
    cloud_init_is_content(&host);
    runs_as(&host, "slave");
    // The server was not there at first, and that was waited for.
    let log = host.run("cat /var/log/cloud-init-output.log");
    assert!(log.contains("curl: (7)"), "{log}");
    host.power_off();

    // A host of an image has everything but the role.
    let root = prepared();
    let serve = product.serve();
    let mut install = Command::new(made("pkgpanda/pkgpanda"));
    install.arg("install").arg("--product").arg(serve.join("product.json")).arg("--from").arg(&serve);
    run(install.arg("--root").arg(root.path()));
    seed(&root, "baked", &example(&product, "cloud-init-baked.yaml"));
    let host = product.boot(&root);
    cloud_init_is_content(&host);
    runs_as(&host, "slave");
}

#[test]
fn ignition_prepares_a_host_that_installs_itself_as_root() {
    if !is_root("a host, which is a container") {
        return;
    }
    let product = Product::small();
    let root = prepared();
    put(&root, "root/config.ign", &example(&product, "ignition.json"));
    // It labels what it writes, and this Debian has no labels to give.
    put(&root, "etc/selinux/config", "SELINUX=disabled\nSELINUXTYPE=none\n");
    std::os::unix::fs::symlink("/bin/true", root.at("usr/sbin/setfiles")).unwrap();
    // As in an initrd: on the root file system before it starts.
    let host = product.boot(&root);
    host.run(
        "export IGNITION_CONFIG_FILE=/root/config.ign
         for stage in fetch-offline fetch files; do
             /usr/lib/dracut/modules.d/30ignition/ignition -platform file -stage $stage -root / || exit 1
         done
         systemctl preset dcos-install.service",
    );
    host.power_off();

    let host = product.boot(&root);
    host.until("systemctl is-active dcos-install.service");
    runs_as(&host, "slave");
    host.power_off();

    // What is installed is left alone.
    let host = product.boot(&root);
    runs_as(&host, "slave");
    assert_eq!(
        host.run("systemctl show --value --property=ConditionResult dcos-install.service").trim(),
        "no"
    );
}

/// Exit statuses of `puppet apply --detailed-exitcodes`.
const NOTHING: i32 = 0;
const CHANGES: i32 = 2;

#[test]
fn ansible_and_puppet_install_a_host_and_keep_it_as_root() {
    if !is_root("a host, which is a container") {
        return;
    }
    let product = Product::small();

    let root = prepared();
    put(&root, "root/hosts", "[masters]\n[agents]\nlocalhost ansible_connection=local\n[public_agents]\n");
    let host = product.boot(&root);
    let play = |arguments: &str| {
        let playbook = "/srv/product/serve/examples/ansible.yml";
        let command =
            format!("LC_ALL=C.UTF-8 ansible-playbook --inventory /root/hosts {arguments} {playbook}");
        let recap = host.run(&command);
        recap.lines().find(|line| line.starts_with("localhost ")).unwrap().replace(' ', "")
    };
    // What would be done is said, and not done.
    assert!(play("--check").contains("changed=2"));
    host.run("test ! -e /opt/mesosphere && test ! -e /root/dcos_install.sh");
    assert!(play("").contains("changed=2"));
    runs_as(&host, "slave");
    assert!(play("").contains("changed=0"));
    assert!(play("--check").contains("changed=0"));
    // What it finds comes to the host that this runs on, and a timer finds the same.
    host.run(
        "cd /root && LC_ALL=C.UTF-8 ansible-playbook --inventory hosts /srv/product/serve/examples/ansible-audit.yml
         cp /srv/product/serve/examples/dcos-audit.* /etc/systemd/system/ && systemctl daemon-reload
         systemctl start dcos-audit.service || test -s /run/dcos-audit/report.json",
    );
    let report = |path: &str| serde_json::from_str::<Report>(&host.run(&format!("cat {path}"))).unwrap();
    let brought = report("/root/audits/localhost.json");
    assert_eq!(brought.config_id.as_deref(), Some(product.config_id().as_str()));
    assert_eq!(report("/run/dcos-audit/report.json").state, brought.state);
    // As a run leaves it that was killed before its last step.
    host.run("systemctl disable dcos-setup.service");
    assert!(play("").contains("changed=1"));
    host.run("systemctl is-enabled dcos-setup.service");
    drop(host);

    let root = prepared();
    let host = product.boot(&root);
    let apply = |arguments: &str| {
        let manifest = "/srv/product/serve/examples/puppet.pp";
        let output = host.output(&format!("puppet apply --detailed-exitcodes {arguments} {manifest}"));
        output.status.code().unwrap_or_else(|| panic!("{output:?}"))
    };
    assert_eq!(apply("--noop"), NOTHING);
    host.run("test ! -e /opt/mesosphere");
    assert_eq!(apply(""), CHANGES);
    runs_as(&host, "slave");
    assert_eq!(apply(""), NOTHING);
}
