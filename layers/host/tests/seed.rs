//! `pkgpanda seed`: a host takes what its image brings once, whole or not at all, and keeps what its operator does.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[path = "support/seed.rs"]
mod planted;
#[allow(dead_code)]
#[path = "../../../tests/support/wares.rs"]
mod wares;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_host::seed::{LIST, SEED};
use serde_json::{Value, json};
use wares::Wares;

/// A host of an image with a seed.
struct Host {
    directory: tempfile::TempDir,
    wares: Wares,
}

impl Host {
    /// One that has not been booted yet: `/opt` leads to `/var`, and nothing is there.
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["wares", "root/etc", "root/var"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        symlink("var/opt", at("root/opt")).unwrap();
        let wares = Wares::new(&at("wares"));
        let host = Self { directory, wares };
        host.plant("serve");
        host
    }

    /// Its image brings another seed from now on.
    fn plant(&self, name: &str) {
        planted::plant(self.wares.directory(), name, &self.root());
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    fn command(&self, command: &str) -> Command {
        self.wares.command(Path::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic")), &self.root(), command)
    }

    fn run(&self, command: &str) -> String {
        wares::succeeds(&mut self.command(command))
    }

    fn seed(&self) -> Value {
        serde_json::from_str(&self.run("seed --json")).unwrap()
    }

    fn refused(&self) -> String {
        let output = wares::ends(&mut self.command("seed"));
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn current(&self) -> String {
        wares::current(&self.root()).unwrap()
    }

    fn active(&self) -> String {
        wares::active(&self.root()).into_iter().collect::<Vec<_>>().join(" ")
    }
}

const FIRST: &str = "dcos-config--setup_0123456789012345678901234567890123456789 hello--1 tool--1";
const NEXT: &str = "dcos-config--setup_9876543210987654321098765432109876543210 extra--1 hello--2 tool--1";

#[test]
fn a_host_takes_a_seed_once() {
    let host = Host::new();
    assert_eq!(host.seed(), json!({"outcome": "installed"}));
    assert_eq!((host.current().as_str(), host.active().as_str()), ("1", FIRST));
    assert!(host.at("var/opt/mesosphere/current").exists(), "where the link leads to");
    assert!(host.at("etc/mesosphere/roles/master").exists());
    let url = fs::read_to_string(host.at("etc/mesosphere/setup-flags/repository-url")).unwrap();
    assert!(url.starts_with("http://repository/"), "{url}");
    wares::packages_are_whole(&host.root());
    wares::links_lead_somewhere(&host.root());
    host.run("audit");
    let before = wares::everything(&host.root());
    assert_eq!(host.seed(), json!({"outcome": "already"}));
    assert_eq!(wares::everything(&host.root()), before, "not a byte");
    host.run("setup");
    host.run("audit");
}

#[test]
fn a_host_without_a_seed_is_left_alone() {
    let host = Host::new();
    fs::remove_file(host.at(LIST)).unwrap();
    assert_eq!(host.seed(), json!({"outcome": "none"}));
    assert!(!host.at("var/opt").exists());
}

#[test]
fn another_seed_is_a_new_generation_and_what_an_operator_does_stays_until_then() {
    let host = Host::new();
    host.seed();
    host.run("role add slave");
    host.run("add WARES/extra--1.tar.xz");
    host.run(&format!("activate {FIRST} extra--1"));
    let own = host.current();
    assert_eq!(host.seed(), json!({"outcome": "already"}));
    assert_eq!((host.current(), host.active().contains("extra--1")), (own.clone(), true));

    host.plant("next");
    assert_eq!(host.seed(), json!({"outcome": "activated", "generation": 4}));
    assert_eq!(host.active(), NEXT);
    let roles = fs::read_to_string(host.at("opt/mesosphere/current/generation.json")).unwrap();
    assert!(roles.contains("\"slave\""), "the host's roles stay: {roles}");
    host.run("audit");

    host.run("rollback");
    assert_eq!(host.current(), own, "what the operator had");
    assert_eq!(host.seed(), json!({"outcome": "already"}));
    assert_eq!(host.current(), own);

    // The image is rolled back as well: its product is a generation once more.
    host.plant("serve");
    assert_eq!(host.seed(), json!({"outcome": "activated", "generation": 5}));
    assert_eq!(host.active(), FIRST);
    host.run("audit");
}

#[test]
fn what_was_removed_stays_removed() {
    let host = Host::new();
    host.seed();
    host.run("uninstall --yes");
    assert!(!host.at("opt/mesosphere").exists());
    for product in ["serve", "next"] {
        host.plant(product);
        let outcome = host.seed();
        let expected = if product == "serve" { "already" } else { "removed" };
        assert_eq!(outcome, json!({ "outcome": expected }));
        assert!(!host.at("opt/mesosphere").exists());
    }
    fs::remove_file(host.at("var/lib/bake/seed.json")).unwrap();
    assert_eq!(host.seed(), json!({"outcome": "installed"}));
    assert_eq!(host.active(), NEXT);
}

#[test]
fn a_seed_that_is_not_what_was_baked_is_refused() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 4] = [
        ("is not what it was", |seed| {
            fs::write(seed.join("packages/hello--1/bin/hello"), "#!/bin/sh\necho 7\n").unwrap();
        }),
        ("is missing", |seed| fs::remove_file(seed.join("packages/tool--1/pkginfo.json")).unwrap()),
        ("is not in the list", |seed| fs::write(seed.join("more"), "").unwrap()),
        ("expected a directory, a file or a link", |seed| {
            wares::succeeds(Command::new("mkfifo").arg(seed.join("pipe")));
        }),
    ];
    for (expected, damage) in damages {
        let host = Host::new();
        damage(&host.at(SEED));
        let error = host.refused();
        assert!(error.contains(expected), "{error}");
        assert!(!host.at("opt/mesosphere").exists() && !host.at("var/lib/bake").exists(), "{error}");
        host.plant("serve");
        assert_eq!(host.seed(), json!({"outcome": "installed"}), "a good one again");
    }
    let host = Host::new();
    host.seed();
    host.plant("next");
    fs::remove_file(host.at(SEED).join("packages/hello--2/bin/hello")).unwrap();
    assert!(host.refused().contains("is missing"));
    assert_eq!((host.current().as_str(), host.active().as_str()), ("1", FIRST));
    fs::write(host.at(LIST), "{}").unwrap();
    assert!(host.refused().contains("no list of a seed"));
}

#[test]
fn what_a_deployment_does_to_times_and_links_is_undone() {
    let host = Host::new();
    let seed = host.at(SEED);
    let same = ["packages/hello--1/share/empty", "packages/tool--1/share/empty"];
    let read = |name: &str| fs::metadata(host.at("opt/mesosphere").join(name)).unwrap();
    // A repository has one object for the same bytes, and no times.
    fs::remove_file(seed.join(same[1])).unwrap();
    fs::hard_link(seed.join(same[0]), seed.join(same[1])).unwrap();
    wares::succeeds(Command::new("find").arg(&seed).args(["-exec", "touch", "-h", "-d", "@0", "{}", "+"]));
    assert_eq!(host.seed(), json!({"outcome": "installed"}));
    for name in same {
        assert_eq!((read(name).nlink(), read(name).mtime()), (1, 1_000_000_000), "{name}");
    }
    wares::packages_are_whole(&host.root());
}

#[test]
fn something_else_in_the_install_root_s_place_is_left_alone() {
    let host = Host::new();
    fs::create_dir_all(host.at("var/opt/mesosphere")).unwrap();
    fs::write(host.at("var/opt/mesosphere/mine"), "").unwrap();
    let error = host.refused();
    assert!(error.contains("holds `mine` and no installation"), "{error}");
    assert!(host.at("var/opt/mesosphere/mine").exists());
}
