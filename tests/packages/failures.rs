//! How failures are told, and what stays of them.

use std::fs;
use std::time::Instant;

use serde_json::json;

use crate::ground::{Ground, as_everybody};

#[test]
fn a_failed_build_tells_its_status_the_end_of_its_log_and_where_the_log_is() {
    as_everybody(|ground| {
        let script = "for number in $(seq 100); do echo line $number; done; echo the reason >&2; exit 7";
        ground.recipe("failing", &json!({}), script);
        let said = ground.package_refused(&["failing"]);
        let id = &ground.plan(&["failing"])[0];
        assert!(said.contains(&format!("package `{id}`: its build ended with status 7")), "{said}");
        assert!(said.contains("| line 100\n  | the reason\n"), "{said}");
        assert!(!said.contains("line 1\n"), "only its end: {said}");
        let path = said.rsplit('`').nth(1).unwrap();
        let log = fs::read_to_string(ground.at(path)).unwrap();
        assert!(log.contains("line 1\n") && log.ends_with("the reason\n"), "{log}");

        let left = ground.cached("packages/failing");
        assert_eq!(left, [".lock".to_owned(), format!("{id}.log")]);
        assert_eq!(ground.cached("build"), Vec::<String>::new());
    });
}

#[test]
fn a_build_that_a_signal_ends_and_one_without_a_program_say_so() {
    let ground = Ground::new();
    ground.recipe("killed", &json!({}), "kill -9 $$");
    let said = ground.package_refused(&["killed"]);
    assert!(said.contains("ended by signal 9"), "{said}");
    ground.recipe("absent", &json!({}), "no-such-compiler --version");
    let said = ground.package_refused(&["absent"]);
    assert!(said.contains("status 127") && said.contains("no-such-compiler"), "{said}");
}

#[test]
fn a_build_that_takes_too_long_is_ended_with_all_that_it_started() {
    as_everybody(|ground| {
        ground.recipe("slow", &json!({}), "echo begun; sleep 98765 & sleep 98765");
        let began = Instant::now();
        let said = ground.package_refused(&["--timeout=3", "slow"]);
        assert!(said.contains("longer than 3 seconds") && said.contains("| begun"), "{said}");
        assert!(began.elapsed().as_secs() < 30);
        let mut processes =
            fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("cmdline"));
        assert!(!processes.any(|path| fs::read(path).is_ok_and(|line| line == b"sleep\x0098765\0")));
        assert_eq!(ground.cached("build"), Vec::<String>::new());
    });
}

#[test]
fn all_failures_of_one_run_are_told_and_what_was_made_stays() {
    let ground = Ground::new();
    ground.recipe("base", &json!({}), ":");
    // Each waits a moment, so that both have begun before one fails.
    ground.recipe("one", &json!({ "requires": ["base"] }), "sleep 3; exit 1");
    ground.recipe("two", &json!({ "requires": ["base"] }), "sleep 3; exit 2");
    ground.recipe("last", &json!({ "requires": ["one"] }), ":");
    let said = ground.package_refused(&["--jobs=2"]);
    assert!(said.contains("package `one--") && said.contains("package `two--"), "{said}");
    assert!(!said.contains("last--"), "{said}");
    assert!(ground.package(&["--plan", "base"]).trim_end().ends_with("built"));
}

#[test]
fn directories_of_builds_stay_when_asked_for() {
    as_everybody(|ground| {
        ground.recipe(
            "failing",
            &json!({}),
            "echo half >$PKG_PATH/half; echo scratch >/pkg/src/scratch; exit 1",
        );
        ground.package_refused(&["--keep", "failing"]);
        let id = &ground.plan(&["failing"])[0];
        let kept = ground.cached(&format!("build/{id}"));
        for name in ["result/half", "src/scratch", "build/build"] {
            assert!(kept.iter().any(|path| path == name), "no {name}: {kept:?}");
        }
        // The next build begins anew.
        ground.package_refused(&["failing"]);
        assert_eq!(ground.cached("build"), Vec::<String>::new());
    });
}

#[test]
fn a_package_that_was_changed_in_the_cache_is_told_and_made_again_when_it_is_deleted() {
    let ground = Ground::new();
    ground.recipe("zlib", &json!({}), "echo z >$PKG_PATH/z");
    let package = ground.built("zlib");
    let digest = package.digest();
    fs::write(&package.0, "something else").unwrap();
    let said = ground.package_refused(&["zlib"]);
    assert!(said.contains("is damaged") && said.contains(&digest) && said.contains("delete it"), "{said}");
    fs::remove_file(&package.0).unwrap();
    assert_eq!(ground.built("zlib").digest(), digest);
}

#[test]
fn wrong_recipes_are_told_all_at_once() {
    let ground = Ground::new();
    ground.file("one/buildinfo.json", r#"{"require": []}"#);
    ground.file("two/buildinfo.json", r#"{"requires": ["thre"], "username": "root"}"#);
    ground.recipe("three", &json!({}), ":");
    let said = ground.package_refused(&[]);
    for part in ["one/buildinfo.json", "`require", "two/buildinfo.json", "three", "username"] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    let said = ground.package_refused(&["thre"]);
    assert!(said.contains("three"), "{said}");
}
