//! The whole life of a host: installed by the script, upgraded, an upgrade that fails, another role, an edit, a repair,
//! and everything gone again. A real Debian 12 under its own systemd, in a container, which needs root.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "installer/host.rs"]
#[allow(dead_code)] // the installer's own tests need more of it
mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use host::{DONE, FAILED, Product, URL, ended, install, nothing_failed, runs_as};
use serde_json::Value;
use support::container::{Container, Root};
use support::listing::{Kind, at, list};
use support::{is_root, project, scratch, text};

/// Where hosts have the program.
const PKGPANDA: &str = "/opt/mesosphere/bin/pkgpanda";
/// Where every release is served from in turn.
const WWW: &str = "/run/www";

/// The releases of a cluster: the first, one with another name, and one whose check never passes.
struct Releases {
    first: Product,
    second: Product,
    broken: Product,
}

impl Releases {
    fn new(extension: &Path) -> Self {
        fs::create_dir_all(extension.join("templates")).unwrap();
        fs::write(
            extension.join("files.toml"),
            "[\"check/broken\"]\ntemplate = \"broken\"\nmode = \"0755\"\nsyntax = \"shell\"\n",
        )
        .unwrap();
        fs::write(extension.join("templates/broken"), "#!/bin/sh\necho 'this never works' >&2\nexit 7\n")
            .unwrap();
        Self {
            first: Product::small(),
            second: Product::configured(&["--set=cluster_name=Second"]),
            broken: Product::configured(&[
                "--set=cluster_name=Third",
                "--extend",
                extension.to_str().unwrap(),
            ]),
        }
    }

    /// Boots `root` with all releases in reach.
    fn boot<'a>(&self, root: &'a Root) -> Container<'a> {
        let tests = project("tests/installer").canonicalize().unwrap();
        let [first, second, broken] = [&self.first, &self.second, &self.broken].map(Product::serve);
        let binds = [
            (first.as_path(), "/srv/first"),
            (second.as_path(), "/srv/second"),
            (broken.as_path(), "/srv/broken"),
            (tests.as_path(), "/srv/tests"),
        ];
        Container::boot(root, &binds)
    }
}

/// Serves one of the releases where the configurations say that they are.
fn serve(host: &Container, release: &str) {
    host.run(&format!("ln -sfn /srv/{release} {WWW}"));
    let is_up = format!("curl --silent --fail --output /dev/null {URL}/product.json");
    if !host.output(&is_up).status.success() {
        host.run(&format!(
            "systemd-run --quiet --collect /srv/tests/serve.py {WWW} 8000 /run/web.log && rm -f /root/*.sh"
        ));
    }
    host.until(&is_up);
}

/// Runs a script of the release that is served, as people do.
fn fetched(host: &Container, script: &str, arguments: &str) -> std::process::Output {
    host.run(&format!("cd /run && curl --silent --fail --remote-name {URL}/{script}"));
    host.output(&format!("bash /run/{script} {arguments}"))
}

fn pkgpanda(host: &Container, arguments: &str) -> String {
    host.run(&format!("{PKGPANDA} {arguments}"))
}

/// What the audit says, whether the host is clean or not.
fn audit(host: &Container) -> Value {
    let output = host.output(&format!("{PKGPANDA} audit --json"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The digest of a clean host.
fn clean(host: &Container) -> String {
    let report = audit(host);
    assert_eq!(report["clean"], true, "{report:#}");
    report["state"].as_str().unwrap().to_owned()
}

fn configuration(host: &Container) -> String {
    let document: Value = serde_json::from_str(&host.run("cat /opt/mesosphere/product.json")).unwrap();
    document["config_id"].as_str().unwrap().to_owned()
}

/// What is on a host that matters to whoever removes something: everything but times and sizes of directories.
fn everything(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let describe = |(path, entry): (Vec<u8>, support::listing::Entry)| {
        let content = match entry.kind {
            Kind::File { .. } => {
                let bytes = fs::read(at(root, &path)).unwrap();
                bake_base::Digest::of(&bytes).to_string()
            }
            _ => String::new(),
        };
        let said =
            format!("{:?} {:o} {:?} {:?} {content}", entry.kind, entry.mode, entry.owner, entry.xattrs);
        (path, said)
    };
    list(root).into_iter().map(describe).collect()
}

/// Paths that differ between two states of a host.
fn changed(before: &BTreeMap<Vec<u8>, String>, after: &BTreeMap<Vec<u8>, String>) -> BTreeSet<String> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    changed.map(|path| text(path)).collect()
}

#[test]
fn in_a_container_a_host_is_installed_upgraded_rolled_back_edited_repaired_and_left_as_it_was() {
    if !is_root("containers") {
        return;
    }
    let scratch = scratch();
    let releases = Releases::new(&scratch.path().join("extension"));
    let root = Root::debian();
    // What a Debian changes by itself, boot for boot: its journal, seeds, time stamps.
    releases.boot(&root).power_off();
    let never = everything(&root.path());
    releases.boot(&root).power_off();
    let before = everything(&root.path());
    let own = changed(&never, &before);

    let host = releases.boot(&root);
    serve(&host, "first");
    ended(&fetched(&host, "dcos_install.sh", "master"), DONE);
    runs_as(&host, "master");
    let first = clean(&host);

    // An upgrade: new configuration, same packages, and services are started anew.
    serve(&host, "second");
    ended(&fetched(&host, "dcos_node_upgrade.sh", ""), DONE);
    runs_as(&host, "master");
    assert_eq!(configuration(&host), releases.second.config_id());
    assert_eq!(host.run("cat /var/lib/dcos/dcos-hello/starts").trim(), "2");
    let second = clean(&host);
    assert_ne!(first, second);
    ended(&fetched(&host, "dcos_node_upgrade.sh", ""), DONE);
    assert_eq!(host.run("cat /var/lib/dcos/dcos-hello/starts").trim(), "2", "it was up to date");

    // One that does not become healthy is undone by itself, and the host is what it was.
    serve(&host, "broken");
    let failed = fetched(&host, "dcos_node_upgrade.sh", "--timeout 5");
    assert!(text(&failed.stdout).contains("this never works"), "{failed:?}");
    ended(&failed, FAILED);
    runs_as(&host, "master");
    assert_eq!(configuration(&host), releases.second.config_id());
    assert_eq!(clean(&host), second);

    // Back by hand, and forth again.
    pkgpanda(&host, "rollback 1");
    assert_eq!(clean(&host), first);
    runs_as(&host, "master");
    pkgpanda(&host, "rollback 2");
    assert_eq!(clean(&host), second);

    // Another role is an activation like any other; it outlives a boot.
    pkgpanda(&host, "role remove master");
    pkgpanda(&host, "role add slave");
    runs_as(&host, "slave");
    assert_eq!(clean(&host), second, "roles have a digest of their own");
    host.power_off();
    let host = releases.boot(&root);
    runs_as(&host, "slave");
    // And whoever writes a role file is heard.
    host.run("mkdir -p /etc/mesosphere/roles && touch /etc/mesosphere/roles/slave_public && rm /etc/mesosphere/roles/slave");
    host.until("systemctl is-active dcos-hello-slave_public.service");
    host.until("! systemctl is-active dcos-hello-slave.service");
    runs_as(&host, "slave_public");
    assert_eq!(clean(&host), second);

    // An edit works at once, outlives a boot, is reported and undone.
    host.run("sed 's/\"bake-demo/\"edited bake-demo/' /opt/mesosphere/bin/dcos-hello >/run/edited");
    pkgpanda(&host, "edit /opt/mesosphere/bin/dcos-hello --from /run/edited");
    host.run("grep -q 'edited bake-demo' /opt/mesosphere/bin/dcos-hello");
    host.run("systemctl restart dcos-hello-slave_public && journalctl -u dcos-hello-slave_public | grep -q 'edited bake-demo'");
    host.power_off();
    let host = releases.boot(&root);
    host.until("journalctl --boot -u dcos-hello-slave_public | grep -q 'edited bake-demo'");
    let report = audit(&host);
    assert_eq!(report["clean"], false);
    assert!(report["overrides"].to_string().contains("bin/dcos-hello"), "{report:#}");
    assert_ne!(report["state"], second);
    pkgpanda(&host, "repair");
    assert_eq!(clean(&host), second);

    // So is what somebody wrote into the store.
    serve(&host, "second");
    host.run("echo '# damage' >>/opt/mesosphere/packages/dcos-hello--*/bin/dcos-hello");
    let report = audit(&host);
    assert!(report["differences"].to_string().contains("bin/dcos-hello"), "{report:#}");
    pkgpanda(&host, "repair");
    assert_eq!(clean(&host), second);
    nothing_failed(&host);

    // Nothing is left, in memory or on disk.
    pkgpanda(&host, "uninstall --yes");
    let units = host.run("systemctl list-units --all --plain --no-legend 'dcos*'");
    assert_eq!(units.trim(), "", "units are left");
    host.run("! getent passwd dcos_hello && ! getent group dcos_hello");
    host.power_off();
    let left: BTreeSet<_> = changed(&before, &everything(&root.path()));
    let left: Vec<_> = left.difference(&own).filter(|path| !is_own(path)).collect();
    // But for the role that somebody wrote by hand: it is theirs.
    let theirs = ["etc/mesosphere", "etc/mesosphere/roles", "etc/mesosphere/roles/slave_public"];
    assert_eq!(left, theirs, "an uninstalled host is what it was");
}

/// What a Debian writes once, not at every boot, or at times of its own.
fn is_own(path: &str) -> bool {
    ["var/log/", "var/lib/systemd/"].iter().any(|own| path.starts_with(own))
}

#[test]
fn in_a_container_a_host_without_a_role_waits_for_one_and_is_set_up_when_it_comes() {
    if !is_root("containers") {
        return;
    }
    let scratch = scratch();
    let releases = Releases::new(&scratch.path().join("extension"));
    let root = Root::debian();
    let host = releases.boot(&root);
    serve(&host, "first");
    ended(&install_without_start(&host), DONE);
    host.power_off();
    fs::remove_file(root.at("etc/mesosphere/roles/master")).unwrap();
    let generation = root.at("opt/mesosphere/generations/1/generation.json");
    let record = fs::read_to_string(&generation).unwrap();
    let neutral = record.replace("\"roles\": [\n    \"master\"\n  ]", "\"roles\": []");
    assert_ne!(record, neutral, "{record}");
    fs::write(&generation, neutral).unwrap();

    let host = releases.boot(&root);
    host.until("systemctl show -p ActiveState --value dcos-setup | grep -q inactive");
    assert!(host.journal().contains("waiting for a role"), "{}", host.journal());
    let status = pkgpanda(&host, "status");
    assert!(status.contains("waiting for a role"), "{status}");
    host.run("touch /etc/mesosphere/roles/slave");
    runs_as(&host, "slave");
    let status = pkgpanda(&host, "status");
    assert!(status.contains("slave"), "{status}");
    host.power_off();
}

fn install_without_start(host: &Container) -> std::process::Output {
    host.run(&format!("cd /root && curl --silent --fail --remote-name {URL}/dcos_install.sh"));
    install(host, "--no-start master")
}
