//! `pkgpanda setup`: a host learns what it is, becomes that, and stays it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[path = "setup/machine.rs"]
mod machine;
#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use yard::{CONFIG, Package, Yard};

/// A component that has something for everybody, for masters and for slaves.
fn hello() -> Package {
    Package::new("hello--1")
        .program("bin/hello", "#!/bin/sh\n")
        .file("etc_master/who", "master")
        .file("etc_slave/who2", "slave")
        .unit("dcos.target.wants/all.service", "all")
        .unit("dcos.target.wants_master/master.service", "master")
        .unit("dcos.target.wants_slave/slave.service", "slave")
}

fn put(yard: &Yard, path: &str, bytes: &[u8]) {
    let path = yard.root().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn roles(yard: &Yard) -> Vec<String> {
    names(&yard.root().join("etc/mesosphere/roles"))
}

fn units(yard: &Yard) -> Vec<String> {
    names(&yard.home("dcos.target.wants"))
}

#[test]
fn a_host_without_a_role_waits_and_says_so() {
    let yard = Yard::installed(&[hello()], &[]);
    let said = yard.done(&["setup"]);
    assert!(said.starts_with("warning: waiting for a role: none in /etc/mesosphere/roles, "), "{said}");
    let done = yard.json(&["setup", "--no-block-systemd"]);
    assert_eq!(
        done,
        json!({"generation": 1, "is_removed": false, "is_waiting": true, "roles": [], "source": null})
    );
    // In the journal it has a level, so that it reaches consoles.
    let journal = yard.command(&["setup"]).env("JOURNAL_STREAM", "8:1").output().unwrap();
    assert!(journal.stdout.starts_with(b"<4>warning: waiting for a role"), "{journal:?}");
    let status = yard.done(&["status"]);
    assert!(status.contains("\nroles: waiting for a role\n"), "{status}");
    let status = yard.json(&["status"]);
    assert_eq!((&status["is_waiting"], &status["config_id"]), (&json!(true), &json!(CONFIG)));
    assert!(!yard.root().join("run").exists(), "another machine's /run is not made");
}

#[test]
fn a_role_learnt_is_an_activation_and_outlives_its_source() {
    let yard = Yard::installed(&[hello()], &[]);
    assert_eq!(units(&yard), ["all.service"]);
    put(&yard, "proc/cmdline", b"quiet dcos.roles=slave\n");
    let said = yard.done(&["setup"]);
    assert!(said.starts_with("the kernel command line names the roles slave\n"), "{said}");
    assert!(said.ends_with("generation 2 as slave\n"), "{said}");
    assert_eq!(units(&yard), ["all.service", "slave.service"]);
    assert_eq!(yard.link("etc/who2"), "/opt/mesosphere/packages/hello--1/etc_slave/who2");
    assert_eq!(roles(&yard), ["slave"]);
    let record = yard.record(2);
    assert_eq!((&record["roles"], &record["seen"]), (&json!(["slave"]), &json!(["slave"])));

    // The next boots find nothing new, and write nothing, whatever the kernel is told.
    let before = listing::list(&yard.root());
    assert_eq!(yard.done(&["setup"]), "generation 2 as slave\n");
    assert!(listing::list(&yard.root()) == before, "not even a time has changed");
    put(&yard, "proc/cmdline", b"quiet dcos.roles=master\n");
    assert_eq!(yard.done(&["setup"]), "generation 2 as slave\n");
    fs::remove_file(yard.root().join("etc/mesosphere/roles/slave")).unwrap();
    fs::remove_file(yard.root().join("proc/cmdline")).unwrap();
    // Nobody names a role any more: the host stays what it is.
    assert_eq!(yard.done(&["setup"]), "wrote /etc/mesosphere/roles: slave\ngeneration 2 as slave\n");
    assert_eq!(roles(&yard), ["slave"]);
}

#[test]
fn what_an_operator_writes_comes_before_everything_else() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    put(&yard, "run/credentials/@system/dcos.roles", b"slave_public\n");
    put(&yard, "run/credentials/setup/dcos.roles", b"slave_public\n");
    put(&yard, "etc/mesosphere/roles/master", b"");
    put(&yard, "etc/mesosphere/roles/.keep", b"mine");
    let done = yard.json(&["setup"]);
    assert_eq!(
        (&done["generation"], &done["roles"], &done["source"]),
        (&json!(2), &json!(["master", "slave"]), &json!("/etc/mesosphere/roles"))
    );
    assert_eq!(units(&yard), ["all.service", "master.service", "slave.service"]);
    fs::remove_file(yard.root().join("etc/mesosphere/roles/slave")).unwrap();
    assert_eq!(yard.json(&["setup"])["roles"], json!(["master"]));
    assert_eq!(units(&yard), ["all.service", "master.service"]);
    assert_eq!(roles(&yard), [".keep", "master"]);
}

#[test]
fn credentials_are_read_from_wherever_they_come() {
    let smbios = b"\x0b\x05\x0b\0\x02first\0io.systemd.credential.binary:dcos.roles=bWFzdGVyLHNsYXZl\0\0";
    let cases: [(&str, &[u8], &str, &[&str]); 4] = [
        ("run/credentials/@system/dcos.roles", b"master", "/run/credentials/@system/", &["master"]),
        ("run/credentials/unit/dcos.roles", b"slave,master", "/run/credentials/unit/", &["master", "slave"]),
        ("sys/firmware/dmi/entries/11-0/raw", smbios, "SMBIOS", &["master", "slave"]),
        ("proc/cmdline", br#"a "dcos.roles=master slave""#, "kernel", &["master", "slave"]),
    ];
    for (path, bytes, source, roles) in cases {
        let yard = Yard::installed(&[hello()], &[]);
        put(&yard, path, bytes);
        let mut setup = yard.command(&["setup", "--json"]);
        let output = setup.env("CREDENTIALS_DIRECTORY", "/run/credentials/unit").output().unwrap();
        let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(done["roles"], json!(roles), "{path}");
        assert!(done["source"].as_str().unwrap().contains(source), "{done}");
    }
}

#[test]
fn what_is_no_role_never_keeps_a_host_from_starting() {
    let yard = Yard::installed(&[hello()], &[]);
    put(&yard, "etc/mesosphere/roles/master.dpkg-old", b"");
    put(&yard, "run/credentials/@system/dcos.roles", b"../evil,slave");
    put(&yard, "sys/firmware/dmi/entries/11-0/raw", &[11, 255, 0]);
    let said = yard.done(&["setup"]);
    assert!(
        said.contains("warning: `/etc/mesosphere/roles/master.dpkg-old` is no role: remove it\n"),
        "{said}"
    );
    assert!(
        said.contains("warning: the credential /run/credentials/@system/dcos.roles: `../evil` is no role")
    );
    assert!(said.ends_with("generation 2 as slave\n"), "{said}");
    let status = yard.json(&["status"]);
    assert_eq!(status["warnings"].as_array().unwrap().len(), 1, "{status}");
    assert_eq!(roles(&yard), ["master.dpkg-old", "slave"], "what is not this program's stays");
    // A role that no package knows may be meant for one to come.
    put(&yard, "etc/mesosphere/roles/gpu", b"");
    let said = yard.done(&["setup"]);
    assert!(said.contains("warning: no package knows the role `gpu`\n"), "{said}");
    assert!(said.ends_with("generation 3 as gpu slave\n"), "{said}");
}

#[test]
fn a_role_that_may_be_a_slip_of_the_pen_is_told_of_until_it_is_mended() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    assert_eq!(yard.json(&["status"])["warnings"], json!([]));
    // Whatever it is: only the name counts.
    fs::create_dir_all(yard.root().join("etc/mesosphere/roles/mastr")).unwrap();
    let warnings = json!(["no package knows the role `mastr`"]);
    assert_eq!(yard.json(&["status"])["warnings"], warnings, "before it is the host's");
    yard.done(&["setup"]);
    assert_eq!(yard.json(&["status"])["warnings"], warnings);
    let status = yard.done(&["status"]);
    assert!(status.contains("\nwarning: no package knows the role `mastr`\n"), "{status}");
}

#[test]
fn a_role_that_cannot_be_leaves_the_host_what_it_is() {
    let clash = Package::new("clash--1").file("etc_master/who", "other");
    let yard = Yard::installed(&[hello(), clash], &["slave"]);
    put(&yard, "etc/mesosphere/roles/master", b"");
    let refused = yard.refused(&["setup"]);
    assert!(refused.contains("clash--1") && refused.contains("hello--1"), "{refused}");
    assert_eq!((yard.link("current"), units(&yard).len()), ("generations/1".to_owned(), 2));
    assert!(!yard.home("generations/2").exists());
    // Nobody's word is lost: it counts as soon as it can.
    assert_eq!(roles(&yard), ["master", "slave"]);
    assert_eq!(yard.json(&["status"])["named"], json!(["master", "slave"]));
    yard.refused(&["setup"]);
    fs::remove_file(yard.root().join("etc/mesosphere/roles/master")).unwrap();
    assert_eq!(yard.done(&["setup"]), "generation 1 as slave\n");
}

#[test]
fn a_role_that_was_given_by_command_outlives_a_kill_before_its_file() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    yard.done(&["role", "add", "master"]);
    assert_eq!(roles(&yard), ["master", "slave"]);
    // As if it had been killed right after the commit: the directory is as it was before.
    let directory = yard.root().join("etc/mesosphere/roles");
    let before = fs::metadata(&directory).unwrap().modified().unwrap() - std::time::Duration::from_mins(1);
    fs::remove_file(directory.join("master")).unwrap();
    fs::File::open(&directory).unwrap().set_modified(before).unwrap();
    assert_eq!(
        yard.done(&["setup"]),
        "wrote /etc/mesosphere/roles: master, slave\ngeneration 2 as master slave\n"
    );
    assert_eq!(roles(&yard), ["master", "slave"]);
}

#[test]
fn files_outside_of_the_install_root_are_put_right() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    let at = |path: &str| yard.root().join(path);
    let url = at("etc/mesosphere/setup-flags/repository-url");
    let (before, text) = (listing::list(&at("etc")), fs::read(&url).unwrap());
    fs::write(&url, "elsewhere").unwrap();
    fs::set_permissions(at("etc/systemd/system/dcos.target"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(at("etc/systemd/system/multi-user.target.wants/dcos-setup.service")).unwrap();
    fs::remove_file(at("etc/systemd/system/dcos-setup.service")).unwrap();
    let said = yard.done(&["setup"]);
    for line in [
        "wrote /etc/mesosphere/setup-flags/repository-url\n",
        "wrote /etc/systemd/system/dcos.target\n",
        "wrote /etc/systemd/system/dcos-setup.service\n",
        "enabled dcos-setup.service\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(fs::read(&url).unwrap(), text);
    let content = |list: listing::Listing| list.into_keys().collect::<Vec<_>>();
    assert_eq!(content(listing::list(&at("etc"))), content(before));
}

#[test]
fn a_run_waits_for_the_one_before() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    let lock = fs::File::open(yard.root().join("opt")).unwrap();
    lock.lock().unwrap();
    let mut waiting = yard.command(&["setup"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    lock.unlock().unwrap();
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn status_tells_what_an_operator_must_know() {
    let yard = Yard::installed(&[hello()], &["slave"]);
    let status = yard.done(&["status"]);
    assert_eq!(
        status,
        format!("generation: 1\nconfiguration: {CONFIG}\nroles: slave (/etc/mesosphere/roles)\n")
    );
    put(&yard, "etc/mesosphere/roles/master", b"");
    fs::create_dir(yard.home("generations/.2.unfinished")).unwrap();
    let status = yard.done(&["status"]);
    assert!(status.contains("\nroles: slave\n"), "{status}");
    let named = "\nroles that /etc/mesosphere/roles names: master, slave: run `pkgpanda setup`\n";
    assert!(status.contains(named), "{status}");
    assert!(status.contains("\nleft by a run that was killed: generations/.2.unfinished\n"), "{status}");
    let status = yard.json(&["status"]);
    assert_eq!(status["named"], json!(["master", "slave"]));
    assert_eq!(status["leftovers"], json!(["generations/.2.unfinished"]));
}
