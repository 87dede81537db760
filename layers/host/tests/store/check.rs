use std::fs;
use std::time::Instant;

use super::{Package, Yard};

#[test]
fn programs_are_listed_and_run_in_order_and_in_the_environment_of_the_generation() {
    let yard = Yard::installed(
        &[
            Package::new("b--1").program("check/z", "#!/bin/sh\necho z\n").file("check/notes", "no program"),
            Package::new("a--1")
                .info(r#"{"environment": {"GREETING": "good \"day\" $x"}}"#)
                .program("check/late", "#!/bin/sh\necho \"$GREETING\"; echo \"${LD_LIBRARY_PATH}\"\n")
                .program("check/early", "#!/bin/sh\necho early\n"),
        ],
        &["master"],
    );
    for command in ["check", "upgrade"] {
        let help = yard.done(&[command, "--help"]);
        assert!(help.contains("on\nthis machine") || help.contains("on this machine"), "{help}");
        // What only this command has comes first.
        assert!(help.find("--timeout") < help.find("\nGlobal options:\n"), "{help}");
        assert!(help.find("\nGlobal options:\n") < help.find("--root"), "{help}");
    }
    assert!(yard.run(&["check", "--list"]).stderr.is_empty(), "nothing runs");
    assert_eq!(yard.done(&["check", "--list"]), "a--1\n - early\n - late\nb--1\n - notes\n - z\n");
    let output = yard.run(&["check"]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "early\ngood \"day\" $x\n/opt/mesosphere/generations/1/lib\nz\n");
    let complained = String::from_utf8(output.stderr).unwrap();
    assert!(
        complained.contains("note: the programs in packages' check/ are those of --root, but run on this")
    );
    assert!(complained.contains("b--1: check/notes is not executable"), "{complained}");
}

#[test]
fn a_failure_is_told_and_a_program_that_hangs_is_ended_with_all_that_it_started() {
    let hangs = "#!/bin/sh\necho waiting\nsleep 1000 &\nsleep 1000\n";
    let yard = Yard::installed(
        &[
            Package::new("a--1").program("check/fails", "#!/bin/sh\necho broken >&2\nexit 3\n"),
            Package::new("b--1").program("check/hangs", hangs),
            Package::new("c--1").program("check/none", "#!/no/such/shell\n"),
        ],
        &["master"],
    );
    let begun = Instant::now();
    let output = yard.run(&["check", "--timeout", "1"]);
    assert!(begun.elapsed().as_secs() < 60, "it did not wait");
    assert_eq!(output.status.code(), Some(1));
    let (said, complained) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(said, "broken\nwaiting\n");
    for expected in [
        "Check failed: a--1 fails: exit status: 3",
        "Check failed: b--1 hangs: not done after 1 s",
        "Check failed: c--1 none: it does not run: ",
    ] {
        assert!(complained.contains(expected), "{complained}");
    }
    let output = yard.run(&["check", "--json", "--timeout=1"]);
    let outcomes: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&outcomes[0]["passed"], &outcomes[0]["output"]), (&false.into(), &"broken\n".into()));
}

#[test]
fn a_changed_program_is_the_one_that_runs() {
    let package = Package::new("a--1").program("check/one", "#!/bin/sh\nexit 1\n");
    let yard = Yard::installed(&[package], &["master"]);
    let better = yard.at("better");
    fs::write(&better, "#!/bin/sh\necho better\n").unwrap();
    let path = "/opt/mesosphere/packages/a--1/check/one";
    yard.done(&["edit", path, "--from", better.to_str().unwrap()]);
    assert_eq!(yard.done(&["check"]), "better\n");
}
