//! The packages of a host: how they come, go, and tell whether the host is well.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[path = "store/check.rs"]
mod check;
#[path = "store/fetch.rs"]
mod fetch;
#[path = "store/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::fs;
use std::path::PathBuf;

use yard::{CONFIG, Package, Yard};

/// The file of a package that nobody serves yet.
fn packed(yard: &Yard, package: &Package) -> PathBuf {
    let directory = yard.at("packed").join(&package.id);
    package.make(&directory);
    let archive = yard.at("packed").join(format!("{}.tar.xz", package.id));
    yard::pack(&directory, &archive);
    archive
}

fn installed() -> Yard {
    Yard::installed(&[Package::new("hello--1").program("bin/hello", "#!/bin/sh\n")], &["master"])
}

/// What is in the store, hidden things too.
fn names(yard: &Yard) -> Vec<String> {
    let names = fs::read_dir(yard.home("packages")).unwrap();
    let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_package_comes_whole_and_stays_as_it_is() {
    let yard = installed();
    let two = Package::new("hello--2").program("bin/hello", "#!/bin/sh\nexit 2\n").link("lib", "bin");
    let archive = packed(&yard, &two);
    let archive = archive.to_str().unwrap();
    assert_eq!(yard.done(&["add", archive]), "");
    assert_eq!(fs::read(yard.home("packages/hello--2/bin/hello")).unwrap(), b"#!/bin/sh\nexit 2\n");
    assert_eq!(yard.done(&["add", archive]), "Package already added.\n");
    assert_eq!(yard.done(&["list"]), format!("dcos-config--setup_{CONFIG}\nhello:\n  1\n  2\n"));
    let ids = yard.json(&["list"]);
    assert_eq!(ids, serde_json::json!([format!("dcos-config--setup_{CONFIG}"), "hello--1", "hello--2"]));

    fs::write(yard.home("packages/hello--2/bin/hello"), "changed").unwrap();
    let said = yard.refused(&["add", archive]);
    assert!(said.contains("`hello--2` is damaged") && said.contains("`pkgpanda repair`"), "{said}");
}

#[test]
fn what_is_no_package_leaves_nothing() {
    let yard = installed();
    let before = names(&yard);
    let good = packed(&yard, &Package::new("new--1").file("file", "text"));
    let renamed = |name: &str| {
        let to = yard.at("packed").join(name);
        fs::copy(&good, &to).unwrap();
        to.display().to_string()
    };
    for (name, expected) in [
        ("new.tar.xz", "expected a file called ID.tar.xz"),
        ("new--1.tar", "expected a file called ID.tar.xz"),
        ("a--b--c.tar.xz", "expected a file called ID.tar.xz"),
    ] {
        let said = yard.refused(&["add", &renamed(name)]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    // Each is broken in another way, after its list was made.
    let directory = yard.at("packed/new--1");
    let pack = || {
        yard::pack(&directory, &good);
        yard.refused(&["add", good.to_str().unwrap()])
    };
    fs::write(directory.join("file"), "other").unwrap();
    assert!(pack().contains("`file` is not what it was"));
    fs::write(directory.join("file"), "text").unwrap();
    fs::write(directory.join("more"), "").unwrap();
    assert!(pack().contains("`more` is not in contents.json"));
    fs::remove_file(directory.join("more")).unwrap();
    fs::remove_file(directory.join("file")).unwrap();
    assert!(pack().contains("`file` is missing"));
    fs::write(&good, "no archive").unwrap();
    assert!(yard.refused(&["add", good.to_str().unwrap()]).contains("expected"));
    let said = yard.refused(&["add", good.to_str().unwrap(), "--sha256", &"0".repeat(64)]);
    assert!(said.contains(&"0".repeat(64)), "{said}");
    assert!(yard.refused(&["add", "/nowhere/new--1.tar.xz"]).contains("opening `/nowhere/new--1.tar.xz`"));
    assert_eq!(names(&yard), before);
}

#[test]
fn an_unlisted_package_is_taken_with_a_note() {
    let yard = installed();
    let archive = packed(&yard, &Package::new("old--1").unlisted());
    let output = yard.run(&["add", archive.to_str().unwrap()]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("note: `old--1` has no contents.json"), "{said}");
}

#[test]
fn what_a_killed_run_has_left_is_in_nobodys_way() {
    let yard = installed();
    fs::create_dir_all(yard.home("packages/.new--1.unfinished/bin")).unwrap();
    let archive = packed(&yard, &Package::new("new--1"));
    yard.done(&["add", archive.to_str().unwrap()]);
    assert!(names(&yard).iter().all(|name| !name.starts_with('.')), "{:?}", names(&yard));
}

#[test]
fn only_what_nobody_needs_is_removed() {
    let yard = installed();
    yard.add(&Package::new("hello--2"));
    yard.add(&Package::new("spare--1"));
    assert_eq!(
        yard.done(&["remove", "spare--1", "gone--1"]),
        concat!("\rRemoving: gone--1\rRemoved: gone--1\n", "\rRemoving: spare--1\rRemoved: spare--1\n",)
    );
    assert!(!yard.home("packages/spare--1").exists());
    let said = yard.refused(&["remove", "hello--2", "hello--1"]);
    assert!(said.contains("`hello--1` is active"), "{said}");
    assert!(yard.home("packages/hello--2").exists(), "all or nothing");

    yard.done(&["swap", "hello--2"]);
    let said = yard.refused(&["remove", "hello--1"]);
    assert!(
        said.contains("a rollback to generation 1 needs `hello--1`") && said.contains("--force"),
        "{said}"
    );
    yard.done(&["remove", "--force", "hello--1"]);
    assert!(!yard.home("packages/hello--1").exists());
    assert!(yard.refused(&["rollback"]).contains("hello--1"));
}

#[test]
fn one_run_at_a_time() {
    let yard = installed();
    let parent = fs::File::open(yard.root().join("opt")).unwrap();
    parent.lock().unwrap();
    assert!(yard.refused(&["remove", "spare--1"]).contains("another run is at work"));
}
