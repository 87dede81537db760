//! Another product for a host, and the way back when the host is not well with it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use yard::{CONFIG, Package, Yard};

/// The configuration of the product that hosts are upgraded to.
const NEXT: &str = "1111111111111111111111111111111111111111";
/// Where the product has its secret.
const SECRET: &str = "etc/mesosphere/secrets/key";

fn hello(version: &str) -> Package {
    Package::new(&format!("hello--{version}")).program("bin/hello", &format!("#!/bin/sh\necho {version}\n"))
}

/// A package that does not change.
fn same() -> Package {
    Package::new("same--1").unit("dcos.target.wants/same.service", "same")
}

/// A host that has a product, and another product that is served.
fn yard(next: Package) -> Yard {
    let mut yard = Yard::installed(&[hello("1"), same()], &["master"]);
    yard.serve(NEXT, &[next, same()]);
    yard
}

fn upgrade(yard: &Yard, arguments: &[&str]) -> Output {
    let (product, from) = (yard.from().join("product.json"), yard.from());
    let mut all = vec!["upgrade", "--product", product.to_str().unwrap()];
    if !arguments.contains(&"--url") {
        all.extend(["--from", from.to_str().unwrap()]);
    }
    all.extend(arguments);
    yard.run(&all)
}

fn done(yard: &Yard, arguments: &[&str]) -> String {
    let output = upgrade(yard, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(yard: &Yard, arguments: &[&str]) -> String {
    let output = upgrade(yard, arguments);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn current(yard: &Yard) -> String {
    yard.link("current")
}

/// An archive of a secret.
fn secrets(yard: &Yard, text: &str) -> String {
    let directory = yard.at("secrets").join(text);
    fs::create_dir_all(directory.join(Path::new(SECRET).parent().unwrap())).unwrap();
    fs::write(directory.join(SECRET), text).unwrap();
    let archive = yard.at("secrets").join(format!("{text}.tar"));
    let tar = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&directory).arg("etc").status();
    assert!(tar.unwrap().success());
    archive.display().to_string()
}

#[test]
fn a_host_gets_what_it_lacks_keeps_its_roles_and_goes_back() {
    let yard = yard(hello("2"));
    let said = done(&yard, &[]);
    assert!(said.contains("added hello--2") && !said.contains("added same--1"), "{said}");
    assert!(said.contains(&format!("active: {NEXT}, generation 2")), "{said}");
    assert_eq!(current(&yard), "generations/2");
    assert_eq!(yard.record(2)["roles"], serde_json::json!(["master"]));
    assert_eq!(
        fs::read_to_string(yard.root().join("etc/mesosphere/setup-flags/repository-url")).unwrap(),
        NEXT
    );
    let said = done(&yard, &[]);
    assert!(said.contains("active already: generation 2"), "{said}");
    assert_eq!(current(&yard), "generations/2");
    yard.done(&["rollback"]);
    assert_eq!(current(&yard), "generations/1");
    assert_eq!(
        fs::read_to_string(yard.root().join("etc/mesosphere/setup-flags/repository-url")).unwrap(),
        CONFIG
    );
}

#[test]
fn the_bootstrap_tarball_does_for_the_packages_in_it() {
    let yard = yard(hello("2"));
    fs::remove_dir_all(yard.from().join("packages/hello")).unwrap();
    let said = done(&yard, &[]);
    assert!(said.contains("added hello--2"), "{said}");
    assert_eq!(fs::read(yard.home("packages/hello--2/bin/hello")).unwrap(), b"#!/bin/sh\necho 2\n");
    let mut other = Yard::installed(&[hello("1"), same()], &["master"]);
    other.serve(NEXT, &[hello("2"), same()]);
    fs::remove_dir_all(other.from().join("packages/hello")).unwrap();
    fs::copy(
        other.from().join(format!("bootstrap/{CONFIG}.bootstrap.tar.xz")),
        other.from().join(format!("bootstrap/{NEXT}.bootstrap.tar.xz")),
    )
    .unwrap();
    let said = refused(&other, &[]);
    assert!(said.contains("expected"), "{said}");
    assert_eq!(current(&other), "generations/1");
}

#[test]
fn packages_come_from_a_serve_directory_too_and_have_to_be_what_the_product_says() {
    let yard = yard(hello("2"));
    let url = format!("file://{}", yard.from().display());
    let archive = yard.from().join("packages/hello/hello--2.tar.xz");
    let good = fs::read(&archive).unwrap();
    fs::copy(yard.from().join("packages/same/same--1.tar.xz"), &archive).unwrap();
    for source in [&["--url", url.as_str()][..], &[]] {
        let said = refused(&yard, source);
        assert!(said.contains("hello--2.tar.xz") && said.contains("expected"), "{said}");
        assert!(!yard.home("packages/hello--2").exists());
    }
    fs::write(&archive, good).unwrap();
    let said = done(&yard, &["--url", &url]);
    assert!(said.contains("fetched hello--2") && !said.contains("fetched same--1"), "{said}");
}

#[test]
fn a_host_that_is_not_well_goes_back_by_itself() {
    let bad = hello("2").program("check/alive", "#!/bin/sh\necho not alive\nexit 7\n");
    let yard = yard(bad);
    let output = upgrade(&yard, &["--timeout", "2"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(
        said.contains("generation 2 is current") && said.contains("going back to generation 1"),
        "{said}"
    );
    assert!(complained.contains("check hello--2 alive failed: exit status: 7"), "{complained}");
    assert!(complained.contains("not alive"), "{complained}");
    assert_eq!(current(&yard), "generations/1");

    let output = upgrade(&yard, &["--timeout", "1", "--no-rollback", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let upgraded: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&upgraded["outcome"], &upgraded["before"]), (&"unwell".into(), &1.into()));
    assert_eq!(current(&yard), format!("generations/{}", upgraded["generation"]));
    assert_ne!(current(&yard), "generations/1");

    // The same again says so again, unless nobody asks.
    let output = upgrade(&yard, &["--timeout", "1", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let again: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&again["outcome"], &again["generation"]), (&"unwell".into(), &upgraded["generation"]));
    done(&yard, &["--skip-checks"]);
}

#[test]
fn a_host_that_takes_a_while_to_be_well_stays() {
    let mut yard = yard(hello("2"));
    let mark = yard.at("mark");
    let slow = format!("#!/bin/sh\n[ -e {0} ] && exit 0\n: >{0}\nexit 1\n", mark.display());
    yard.serve(NEXT, &[hello("3").program("check/slow", &slow), same()]);
    let said = done(&yard, &["--timeout", "30"]);
    assert!(
        said.contains("not yet: check hello--3 slow failed") && said.contains("the host is well"),
        "{said}"
    );
}

#[test]
fn a_host_that_is_not_well_before_is_left_alone_unless_nobody_asks() {
    let ill = hello("1").program("check/alive", "#!/bin/sh\nexit 1\n");
    let mut yard = Yard::installed(&[ill], &["master"]);
    yard.serve(NEXT, &[hello("2")]);
    let said = refused(&yard, &[]);
    assert!(said.contains("check hello--1 alive failed") && said.contains("--skip-checks"), "{said}");
    assert_eq!(current(&yard), "generations/1");
    done(&yard, &["--skip-checks"]);
    assert_eq!(current(&yard), "generations/2");
}

#[test]
fn a_plan_tells_packages_and_dropped_changes_and_changes_nothing() {
    let yard = yard(hello("2"));
    let changed = yard.at("changed");
    fs::write(&changed, "#!/bin/sh\necho changed\n").unwrap();
    let path = "/opt/mesosphere/packages/hello--1/bin/hello";
    yard.done(&["edit", path, "--from", changed.to_str().unwrap()]);
    let before = current(&yard);
    let said = done(&yard, &["--plan"]);
    for expected in ["hello--2", "hello--1", "bin/hello"] {
        assert!(said.contains(expected), "{said}");
    }
    let plan = upgrade(&yard, &["--plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert!(plan["added"].as_array().unwrap().contains(&"hello--2".into()), "{plan}");
    assert_eq!(current(&yard), before);
}

#[test]
fn secrets_go_with_their_generation_there_and_back_and_there_again() {
    let mut yard = Yard::new(&[hello("1"), same()]);
    yard.product.secrets = vec![format!("/{SECRET}")];
    yard.write();
    let (one, two) = (secrets(&yard, "one"), secrets(&yard, "two"));
    let (product, from) = (yard.from().join("product.json"), yard.from());
    let (product, from) = (product.to_str().unwrap(), from.to_str().unwrap());
    yard.done(&["install", "--product", product, "--from", from, "--role=master", "--secrets", &one]);
    let secret = || fs::read_to_string(yard.root().join(SECRET)).unwrap();
    assert_eq!(secret(), "one");
    let mut next = Yard::new(&[hello("2"), same()]);
    next.product.secrets = vec![format!("/{SECRET}")];
    next.product.config_id = NEXT.to_owned();
    next.write();
    let document = next.from().join("product.json");
    let arguments = |secrets: &[&str]| {
        let mut all = vec!["upgrade", "--product", document.to_str().unwrap(), "--from"];
        let from = next.from();
        all.push(from.to_str().unwrap());
        all.extend(secrets);
        yard.run(&all)
    };
    let output = arguments(&["--secrets", &two]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(secret(), "two");
    for (number, expected) in [(1, "one"), (2, "two")] {
        let kept = yard.home(&format!("generations/{number}/secrets"));
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o700);
        let kept = kept.join(SECRET);
        assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_to_string(kept).unwrap(), expected);
    }
    // Through a generation that has no secrets of its own.
    yard.done(&["role", "remove", "master"]);
    for (number, expected) in [("1", "one"), ("3", "two"), ("2", "two"), ("1", "one"), ("2", "two")] {
        yard.done(&["rollback", number]);
        assert_eq!(secret(), expected, "generation {number}");
    }
}

#[test]
fn a_missing_secret_is_told_before_anything_comes() {
    let mut yard = yard(hello("2"));
    yard.product.secrets = vec![format!("/{SECRET}")];
    yard.write();
    let said = refused(&yard, &[]);
    assert!(said.contains(&format!("the secret `/{SECRET}` is not on this host: give --secrets")), "{said}");
    assert!(!yard.home("packages/hello--2").exists());
    let archive = secrets(&yard, "new");
    done(&yard, &["--secrets", &archive]);
    assert_eq!(fs::read_to_string(yard.root().join(SECRET)).unwrap(), "new");
}

#[test]
fn wrong_documents_and_wrong_usage_change_nothing() {
    let yard = yard(hello("2"));
    assert!(refused(&yard, &["--sha256", &"0".repeat(64)]).contains("expected 0000"));
    let product = yard.from().join("product.json");
    let output = yard.run(&["upgrade", "--product", product.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(current(&yard), "generations/1");
}
