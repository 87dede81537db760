//! Runs that are killed.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

use crate::calls::{self, Call};
use crate::runs;
use crate::scene::{Kind, Run, Scene, State, full};
use crate::wares;

/// How many kills of a run there are if not all are asked for.
const SOME: usize = 60;
/// Calls on each side of the commit that are killed always.
const AROUND: usize = 3;

/// Whether a tracer ended as its tracee did, by `SIGKILL`.
fn was_killed(output: &Output) -> bool {
    output.status.signal() == Some(9) || output.status.code() == Some(128 + 9)
}

fn kill_everywhere(run: Run) {
    let scene = Scene::new(run);
    let name = scene.run.name;
    scene.fresh();
    let all = calls::of(&scene.command(), &scene.log());
    let changes: Vec<Call> = all.iter().filter(|call| call.changes()).cloned().collect();
    let mut points: Vec<(usize, &Call)> = changes.iter().enumerate().collect();
    if !full() {
        let commit = changes.iter().position(is_commit).unwrap_or(changes.len() / 2);
        let around = commit.saturating_sub(AROUND)..=commit + AROUND;
        let chosen = calls::some(&points, SOME, 0);
        points.retain(|(place, _)| around.contains(place) || chosen.iter().any(|(other, _)| other == place));
    }
    let mut counts = [0, 0];
    let mut before = State::Old;
    for (place, call) in points {
        let what = format!(
            "{name} killed at {place} of {}: {} {}: {}",
            changes.len(),
            call.name,
            call.number,
            call.text
        );
        scene.fresh();
        let output = wares::ends(&mut call.inject("signal=KILL", &scene.command()));
        assert!(was_killed(&output), "{what}: {output:?}");
        let state = scene.judge(&what);
        assert!(state >= before, "{what}: is old, after it was new");
        if state > before && scene.run.kind != Kind::Steps {
            let last = &changes[place - 1];
            assert!(is_commit(last), "{what}: is new after {}", last.text);
        }
        before = state;
        counts[state as usize] += 1;
        scene.again(&what);
    }
    // As many calls as were counted, and not one more.
    for name in changes.iter().map(|call| &call.name).collect::<BTreeSet<_>>() {
        let last = all.iter().filter(|call| call.name == *name).map(|call| call.number).max().unwrap();
        let next = Call { name: name.clone(), number: last + 1, text: String::new() };
        scene.fresh();
        let output = wares::ends(&mut next.inject("signal=KILL", &scene.command()));
        assert!(output.status.success(), "call {} of {} was not counted: {output:?}", next.number, next.name);
    }
    eprintln!(
        "{name}: {} changing calls, {} kills, {} old and {} new",
        changes.len(),
        counts[0] + counts[1],
        counts[0],
        counts[1]
    );
    assert!(counts[0] > 0 && (counts[1] > 0 || scene.run.kind == Kind::Steps), "{counts:?}");
}

/// The one step that changes which generation is current.
fn is_commit(call: &Call) -> bool {
    let to = |name: &str| call.text.contains(&format!(", \"{name}\")"));
    call.name.starts_with("rename") && (to("current") || to("mesosphere"))
}

#[test]
fn an_installation() {
    kill_everywhere(runs::INSTALLATION);
}

#[test]
fn an_activation() {
    kill_everywhere(runs::ACTIVATION);
}

#[test]
fn an_upgrade() {
    kill_everywhere(runs::UPGRADING);
}

#[test]
fn a_rollback() {
    kill_everywhere(runs::ROLLBACK);
}

#[test]
fn a_rollback_to_other_roles() {
    kill_everywhere(runs::ROLLBACK_OF_ROLES);
}

#[test]
fn a_role_that_is_added() {
    kill_everywhere(runs::ROLE_ADDED);
}

#[test]
fn a_role_that_is_removed() {
    kill_everywhere(runs::ROLE_REMOVED);
}

#[test]
fn a_role_that_is_learnt() {
    kill_everywhere(runs::ROLE_LEARNT);
}

#[test]
fn a_seed_that_is_taken() {
    kill_everywhere(runs::SEED_TAKEN);
}

#[test]
fn another_seed_that_is_taken() {
    kill_everywhere(runs::SEED_UPGRADING);
}

#[test]
fn an_edit() {
    kill_everywhere(runs::EDIT);
}

#[test]
fn a_package_that_is_added() {
    kill_everywhere(runs::ADDITION);
}

#[test]
fn packages_that_are_removed() {
    kill_everywhere(runs::REMOVAL);
}

#[test]
fn a_collection_of_garbage() {
    kill_everywhere(runs::COLLECTION);
}

#[test]
fn a_repair() {
    kill_everywhere(runs::REPAIR);
}

#[test]
fn a_removal_of_everything() {
    kill_everywhere(runs::REMOVAL_OF_ALL);
}
