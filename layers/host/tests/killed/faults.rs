//! Calls that fail.

use crate::calls::{self, Call};
use crate::runs;
use crate::scene::{Run, Scene, State, full};
use crate::wares;

/// How many calls fail with each error if not all are asked for.
const SOME: usize = 12;
/// Status of a program that the dynamic loader could not start.
const NOT_STARTED: i32 = 127;

/// Which calls fail with which error.
struct Fault {
    error: &'static str,
    fails: fn(&Call) -> bool,
}

const FAULTS: [Fault; 5] = [
    Fault { error: "ENOSPC", fails: |call| takes_room(call) },
    Fault { error: "EIO", fails: Call::changes },
    Fault { error: "EIO", fails: |call| call.is(&["read", "pread64", "getdents64", "readlinkat"]) },
    Fault {
        error: "EROFS",
        fails: |call| call.changes() && !call.is(&["write", "pwrite64", "fsync", "syncfs"]),
    },
    Fault {
        error: "EMFILE",
        fails: |call| call.is(&["open", "openat", "openat2"]) || call.text.contains("F_DUPFD"),
    },
];

fn takes_room(call: &Call) -> bool {
    let gives_back = ["unlink", "unlinkat", "rmdir", "fchmod", "fchown", "fchownat", "utimensat"];
    call.changes() && !call.is(&gives_back)
}

fn fail_everywhere(run: Run) {
    let scene = Scene::new(run);
    let name = scene.run.name;
    scene.fresh();
    let calls = calls::of(&scene.command(), &scene.log());
    let mut any = 0;
    for (number, fault) in FAULTS.iter().enumerate() {
        let mut points: Vec<Call> = calls.iter().filter(|call| (fault.fails)(call)).cloned().collect();
        let all = points.len();
        assert!(all > 0, "{name}: nothing fails with {}", fault.error);
        if !full() {
            points = calls::some(&points, SOME, number);
        }
        let (mut failed, mut counts) = (0, [0, 0]);
        for call in &points {
            let what = format!("{name} with {} at {} {}: {}", fault.error, call.name, call.number, call.text);
            scene.fresh();
            let output = wares::ends(&mut call.inject(&format!("error={}", fault.error), &scene.command()));
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{what}: {said}");
            if output.status.success() {
                // It did not matter.
                scene.is_new(&what);
                continue;
            }
            failed += 1;
            if output.status.code() == Some(NOT_STARTED) {
                assert!(said.contains("shared libraries"), "{what}: {said}");
            } else {
                assert_eq!(output.status.code(), Some(1), "{what}: {said}");
                // What a repair could not put back, it tells as an audit does.
                let told = scene.run.name == "repair" && !output.stdout.is_empty();
                let is_told = said.starts_with("pkgpanda: ") && said.lines().all(|line| line.len() > 20);
                assert!(is_told || told, "{what}: {said}");
            }
            let state: State = scene.judge(&what);
            counts[state as usize] += 1;
            scene.again(&what);
        }
        let error = fault.error;
        let tried = points.len();
        eprintln!(
            "{name}: {error} at {tried} of {all} calls, {failed} failed, {} old and {} new",
            counts[0], counts[1]
        );
        any += failed;
    }
    assert!(any > 0, "{name}: nothing fails");
}

#[test]
fn an_installation() {
    fail_everywhere(runs::INSTALLATION);
}

#[test]
fn an_activation() {
    fail_everywhere(runs::ACTIVATION);
}

#[test]
fn an_upgrade() {
    fail_everywhere(runs::UPGRADING);
}

#[test]
fn a_rollback() {
    fail_everywhere(runs::ROLLBACK);
}

#[test]
fn a_rollback_to_other_roles() {
    fail_everywhere(runs::ROLLBACK_OF_ROLES);
}

#[test]
fn a_role_that_is_added() {
    fail_everywhere(runs::ROLE_ADDED);
}

#[test]
fn a_role_that_is_removed() {
    fail_everywhere(runs::ROLE_REMOVED);
}

#[test]
fn a_role_that_is_learnt() {
    fail_everywhere(runs::ROLE_LEARNT);
}

#[test]
fn a_seed_that_is_taken() {
    fail_everywhere(runs::SEED_TAKEN);
}

#[test]
fn another_seed_that_is_taken() {
    fail_everywhere(runs::SEED_UPGRADING);
}

#[test]
fn an_edit() {
    fail_everywhere(runs::EDIT);
}

#[test]
fn a_package_that_is_added() {
    fail_everywhere(runs::ADDITION);
}

#[test]
fn packages_that_are_removed() {
    fail_everywhere(runs::REMOVAL);
}

#[test]
fn a_collection_of_garbage() {
    fail_everywhere(runs::COLLECTION);
}

#[test]
fn a_repair() {
    fail_everywhere(runs::REPAIR);
}

#[test]
fn a_removal_of_everything() {
    fail_everywhere(runs::REMOVAL_OF_ALL);
}
