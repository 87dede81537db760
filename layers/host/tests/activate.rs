//! Changes of a host: all or nothing, told beforehand, and back again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[path = "activate/garbage.rs"]
mod garbage;
#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;
#[path = "activate/original.rs"]
mod original;
#[path = "activate/refusals.rs"]
mod refusals;
#[path = "activate/roles.rs"]
mod roles;
#[path = "activate/rollback.rs"]
mod rollback;
#[path = "activate/services.rs"]
mod services;
#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::fs;

use serde_json::json;
use yard::{CONFIG, Package, Yard};

/// A component in a version that shows in all that it brings.
fn hello(version: &str) -> Package {
    Package::new(&format!("hello--{version}"))
        .info(&format!(r#"{{"environment": {{"HELLO": "{version}"}}}}"#))
        .program("bin/hello", &format!("#!/bin/sh\necho {version}\n"))
        .file("etc_master/hello", version)
        .unit("dcos.target.wants/hello.service", version)
}

fn world() -> Package {
    Package::new("world--1")
        .program("bin/world", "#!/bin/sh\n")
        .unit("dcos.target.wants/world.service", "world")
}

fn config() -> String {
    format!("dcos-config--setup_{CONFIG}")
}

/// A host with hello--1 and world--1, which has hello--2 in its store.
fn host() -> Yard {
    let yard = Yard::installed(&[hello("1"), world()], &["master"]);
    yard.add(&hello("2"));
    yard
}

#[test]
fn packages_become_active_in_a_new_generation() {
    let yard = host();
    let before = listing::list(&yard.home("generations/1"));
    let said = yard.done(&["activate", "hello--2", &config()]);
    assert!(said.starts_with("prepared generation 2\ngeneration 2 is current\n"), "{said}");
    assert_eq!(yard.link("current"), "generations/2");
    assert_eq!(yard.link("bin/hello"), "/opt/mesosphere/packages/hello--2/bin/hello");
    assert_eq!(yard.link("etc/hello"), "/opt/mesosphere/packages/hello--2/etc_master/hello");
    assert!(fs::symlink_metadata(yard.home("bin/world")).is_err());
    let environment = fs::read_to_string(yard.home("environment")).unwrap();
    assert!(environment.contains("PATH=/opt/mesosphere/generations/2/bin:"), "{environment}");
    assert!(environment.contains("\nHELLO=2\n"), "{environment}");
    assert_eq!(yard.done(&["active"]), format!("{}\nhello--2\n", config()));
    assert_eq!(yard.json(&["active"]), json!([config(), "hello--2"]));
    assert!(listing::list(&yard.home("generations/1")) == before, "what was current stays as it was");
    assert_eq!(
        fs::read(yard.home("product.json")).unwrap(),
        fs::read(yard.from().join("product.json")).unwrap(),
        "the product stays that of the configuration"
    );
    let record = yard.record(2);
    assert_eq!((&record["before"], &record["roles"]), (&json!(1), &json!(["master"])));
    let digest = &record["active"]["hello--2"];
    let list = fs::read(yard.home("packages/hello--2/contents.json")).unwrap();
    assert_eq!(*digest, json!(bake_base::Digest::of(&list).to_string()));
}

#[test]
fn a_generation_made_by_an_activation_is_what_an_installation_makes() {
    let activated = Yard::installed(&[world()], &["master"]);
    activated.add(&hello("1"));
    activated.done(&["activate", "hello--1", "world--1", &config()]);
    activated.done(&["activate", "hello--1", &config()]);
    let installed = Yard::installed(&[hello("1")], &["master"]);
    let show = |yard: &Yard, number: u32| {
        let at = yard.home(&format!("generations/{number}"));
        let entries = listing::list(&at).into_iter().filter(|(path, _)| {
            // Its number, its history, and a product that names world--1.
            ![&b""[..], b"environment", b"environment.export", b"generation.json", b"product.json"]
                .contains(&&path[..])
        });
        let entries = entries.map(|(path, entry)| {
            let content = matches!(entry.kind, listing::Kind::File { .. })
                .then(|| fs::read(listing::at(&at, &path)).unwrap());
            format!(
                "{} {:?} {:o} {:?} {content:?}",
                listing::shown(&path),
                entry.kind,
                entry.mode,
                entry.owner
            )
        });
        entries.collect::<Vec<_>>()
    };
    assert_eq!(show(&activated, 3), show(&installed, 1));
    let text = |yard: &Yard, number: u32| {
        let path = yard.home(&format!("generations/{number}/environment"));
        fs::read_to_string(path).unwrap().replace(&format!("generations/{number}/"), "generations/N/")
    };
    assert_eq!(text(&activated, 3), text(&installed, 1));
}

#[test]
fn what_is_active_already_makes_no_generation() {
    let yard = host();
    let before = listing::list(&yard.home(""));
    let said = yard.done(&["activate", "hello--1", "world--1", &config()]);
    assert_eq!(said, "active already: generation 1\n");
    assert_eq!(
        yard.json(&["activate", "world--1", "hello--1", &config()]),
        json!({"before": 1, "generation": 1, "changed": false, "notes": []})
    );
    assert!(listing::list(&yard.home("")) == before, "not even a time has changed");
}

#[test]
fn a_package_takes_the_place_of_the_one_of_its_name() {
    let yard = host();
    assert_eq!(
        yard.json(&["swap", "hello--2"]),
        json!({"before": 1, "generation": 2, "changed": true, "notes": []})
    );
    assert_eq!(yard.done(&["active"]), format!("{}\nhello--2\nworld--1\n", config()));
    yard.add(&Package::new("other--1"));
    let said = yard.refused(&["swap", "other--1"]);
    assert!(said.contains("no package `other` is active: expected the name of an active one"), "{said}");
    assert_eq!(yard.link("current"), "generations/2");
}

#[test]
fn a_plan_tells_everything_and_changes_nothing() {
    let yard = host();
    let before = listing::list(&yard.root());
    let plan = ["activate", "hello--2", &config(), "--plan"];
    assert_eq!(
        yard.done(&plan),
        "- package hello--1\n- package world--1\n+ package hello--2\n- unit world.service\n~ unit hello.service\n"
    );
    assert_eq!(
        yard.json(&plan),
        json!({
            "current": 1, "added": ["hello--2"], "removed": ["hello--1", "world--1"], "roles_added": [],
            "roles_removed": [], "notes": [],
            "units": {"added": [], "removed": ["world.service"], "changed": ["hello.service"]},
        })
    );
    assert_eq!(
        yard.done(&["activate", "hello--1", "world--1", &config(), "--plan"]),
        "nothing would change: generation 1 has it all\n"
    );
    assert_eq!(yard.done(&["role", "add", "slave", "--plan"]), "+ role slave\n");
    assert!(yard.refused(&["activate", "hello--3", "--plan"]).contains("`hello--3` is not on this host"));
    assert!(listing::list(&yard.root()) == before, "not even a time has changed");
}

#[test]
fn a_package_without_a_list_of_contents_becomes_active_with_a_note() {
    let yard = host();
    yard.add(&Package::new("old--1").unlisted());
    let said = yard.done(&["activate", "hello--1", "world--1", "old--1", &config()]);
    let note = "note: `old--1` has no contents.json: nobody can tell whether it is what was built\n";
    assert!(said.ends_with(note), "{said}");
    assert_eq!(yard.record(2)["active"]["old--1"], json!(null));
}

#[test]
fn what_a_run_that_was_killed_left_is_removed_by_the_next() {
    let yard = host();
    for leftover in ["generations/.2.unfinished/bin", "packages/.hello--2.unfinished/bin"] {
        fs::create_dir_all(yard.home(leftover)).unwrap();
    }
    fs::write(yard.home(".pkgpanda.unfinished"), "").unwrap();
    // One that was whole and never became current has a number.
    fs::create_dir(yard.home("generations/7")).unwrap();
    yard.done(&["activate", "hello--2", &config()]);
    assert_eq!(yard.link("current"), "generations/8");
    for (directory, left) in [
        ("generations", &["1", "7", "8"][..]),
        ("packages", &[&config(), "hello--1", "hello--2", "world--1"]),
    ] {
        let mut names: Vec<String> = fs::read_dir(yard.home(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, left);
    }
    assert!(fs::symlink_metadata(yard.home(".pkgpanda.unfinished")).is_err());
}
