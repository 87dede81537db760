//! A run that is killed at any step leaves something that the next run goes on with.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ebs::State;
use crate::endpoint::Reaction;
use crate::support::{bake_image, output, run, tiny};
use crate::{Stage, failed, same_bytes, tiny_image};

/// Waits until all blocks that get through are acknowledged and written down: the kill must hit nobody in between.
fn settle(stage: &Stage, getting_through: usize) {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let acknowledged = stage.endpoint.world().acknowledged.len();
        let journal = std::fs::read_to_string(stage.journal()).unwrap_or_default();
        let written = journal.lines().filter(|line| line.parse::<u64>().is_ok()).count();
        if written == acknowledged && acknowledged >= getting_through {
            return;
        }
        assert!(Instant::now() < deadline, "{acknowledged} blocks are acknowledged, {written} written down");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Kills a run when this request of an action has come.
fn kill_at(stage: &Stage, action: &'static str, number: usize, reaction: Reaction, command: &mut Command) {
    stage.endpoint.react(action, number..usize::MAX, reaction);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.endpoint.wait_for_hold();
    settle(stage, if action == "PutSnapshotBlock" { number } else { 0 });
    child.kill().unwrap();
    child.wait().unwrap();
    stage.endpoint.calm();
}

/// Kills a run when this request of an action has come, and lets another run finish.
fn killed_at(stage: &Stage, action: &'static str, number: usize, reaction: Reaction, arguments: &[&str]) {
    let what = format!("{action} {number} {reaction:?}");
    kill_at(stage, action, number, reaction, &mut stage.command(&stage.image.raw(), arguments));
    let before = stage.endpoint.world().acknowledged.len();
    let published = stage.publish(arguments);
    stage.is_published_once(&published);
    let world = stage.endpoint.world();
    assert_eq!(world.images.len(), published["regions"].as_array().unwrap().len(), "{what}");
    let put = published["blocks-put"].as_u64().unwrap() as usize;
    assert_eq!(put, world.acknowledged.len() - before, "{what}");
    eprintln!("killed at {what}: {before} blocks were there, {put} put by the next run");
}

#[test]
fn a_killed_upload_goes_on_and_sends_no_block_twice() {
    for number in [0, 1, 9, 30] {
        killed_at(&Stage::new(), "PutSnapshotBlock", number, Reaction::HoldBefore, &[]);
    }
}

#[test]
fn a_run_killed_between_its_steps_goes_on_whether_or_not_the_service_has_done_the_step() {
    for action in ["StartSnapshot", "CompleteSnapshot", "RegisterImage"] {
        for reaction in [Reaction::HoldBefore, Reaction::HoldAfter] {
            killed_at(&Stage::new(), action, 0, reaction, &[]);
        }
    }
}

#[test]
fn a_run_killed_while_it_waits_copies_or_shares_goes_on() {
    let arguments = ["--region", "us-east-1", "--share", "123456789012", "--deprecate", "2030-01-31"];
    for action in ["CopyImage", "ModifyImageAttribute", "ModifySnapshotAttribute", "EnableImageDeprecation"] {
        killed_at(&Stage::new(), action, 0, Reaction::HoldAfter, &arguments);
    }
    let stage = Stage::new();
    stage.endpoint.world().pending_for = 3;
    killed_at(&stage, "DescribeImages", 1, Reaction::HoldAfter, &arguments);
}

#[test]
fn without_its_journal_a_run_finds_its_snapshot_and_puts_the_same_again() {
    let stage = Stage::new();
    stage.endpoint.react("PutSnapshotBlock", 9..usize::MAX, Reaction::HoldBefore);
    let mut command = stage.command(&stage.image.raw(), &[]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.endpoint.wait_for_hold();
    child.kill().unwrap();
    child.wait().unwrap();
    stage.endpoint.calm();
    std::fs::remove_file(stage.journal()).unwrap();
    let published = stage.publish(&[]);
    same_bytes(&stage.published_disk(&published), &stage.image.raw());
    assert_eq!(stage.endpoint.world().snapshots.len(), 1);
}

#[test]
fn a_signal_ends_a_run_that_the_next_one_goes_on_with() {
    let stage = Stage::new();
    stage.endpoint.react("PutSnapshotBlock", 9..usize::MAX, Reaction::Slow);
    let mut command = stage.command(&stage.image.raw(), &["--jobs", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while stage.endpoint.world().acknowledged.len() < 5 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
    run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]));
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    stage.endpoint.calm();
    let published = stage.publish(&[]);
    same_bytes(&stage.published_disk(&published), &stage.image.raw());
    assert!(stage.endpoint.world().acknowledged.values().all(|times| *times == 1));
}

/// The only snapshot that there is.
fn only_snapshot(stage: &Stage) -> String {
    let world = stage.endpoint.world();
    let mut ids = world.snapshots.keys();
    let id = ids.next().unwrap().clone();
    assert!(ids.next().is_none());
    id
}

#[test]
fn a_snapshot_that_failed_meanwhile_is_begun_anew() {
    let stage = Stage::new();
    let mut command = stage.command(&stage.image.raw(), &[]);
    kill_at(&stage, "PutSnapshotBlock", 9, Reaction::HoldBefore, &mut command);
    let dead = only_snapshot(&stage);
    stage.endpoint.world().snapshots.get_mut(&dead).unwrap().state = State::Failed;
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
    assert_ne!(published["regions"][0]["snapshot"], *dead);
}

#[test]
fn what_was_deleted_meanwhile_is_made_anew() {
    if !crate::support::full() {
        eprintln!(
            "SKIPPED without BAKE_TEST_FULL=1: a deleted snapshot and a deregistered copy, each looked for for minutes"
        );
        return;
    }
    let stage = Stage::new();
    let mut command = stage.command(&stage.image.raw(), &[]);
    kill_at(&stage, "PutSnapshotBlock", 9, Reaction::HoldBefore, &mut command);
    let gone = only_snapshot(&stage);
    stage.endpoint.world().snapshots.get_mut(&gone).unwrap().state = State::Deleted;
    let regions = ["--region", "us-east-1"];
    let published = stage.publish(&regions);
    stage.is_published_once(&published);
    assert_ne!(published["regions"][0]["snapshot"], *gone);
    let copy = published["regions"][1]["image"].as_str().unwrap();
    stage.endpoint.world().images.get_mut(copy).unwrap().is_deregistered = true;
    let again = stage.publish(&regions);
    assert_eq!(again["regions"][0], published["regions"][0]);
    assert_ne!(again["regions"][1]["image"], *copy);
}

#[test]
fn blocks_whose_acknowledgement_was_lost_are_counted_by_a_run_that_would_not_put_them() {
    let stage = Stage::new();
    let parent = stage.publish(&[])["regions"][0]["snapshot"].as_str().unwrap().to_owned();
    let manifest = stage.image.directory.join("manifest.json");
    let next = tiny_image(stage.scratch.path(), "two", b"two\n").raw();
    let narrow = ["--parent", &*parent, "--parent-manifest", manifest.to_str().unwrap()];
    // Tags that are another disk's: the first run takes most blocks for different.
    let rootfs = stage.scratch.path().join("small.tar");
    std::fs::write(&rootfs, tiny::rootfs().finish()).unwrap();
    let small = bake_image(&rootfs, &stage.scratch.path().join("small"), &["--name", "tiny"]);
    run(&mut stage.command(&small.raw(), &[]));
    {
        let mut world = stage.endpoint.world();
        let of_small = |tags: &BTreeMap<_, _>| tags.get("bake:disk").is_some_and(|tag| tag == small.digest());
        let other = world.snapshots.values().find(|snapshot| of_small(&snapshot.tags)).unwrap().tags.clone();
        let tags = &mut world.snapshots.get_mut(&parent).unwrap().tags;
        tags.retain(|key, _| !key.starts_with("bake:blocks-"));
        tags.extend(other.into_iter().filter(|(key, _)| key.starts_with("bake:blocks-")));
    }
    let wide = &narrow[..2];
    let planned = |arguments: &[&str]| {
        let plan = run(&mut stage.command(&next, &[arguments, &["--plan"]].concat()));
        serde_json::from_str::<Value>(&plan).unwrap()["blocks-to-put"].as_u64().unwrap()
    };
    let (more, fewer) = (planned(wide), planned(&narrow));
    assert!(fewer < more, "{fewer} {more}");
    stage.endpoint.calm();
    stage.endpoint.world().acknowledged.clear();
    kill_at(&stage, "PutSnapshotBlock", 0, Reaction::HoldAfter, &mut stage.command(&next, wide));
    let published: Value = serde_json::from_str(&run(&mut stage.command(&next, &narrow))).unwrap();
    same_bytes(&stage.published_disk(&published), &next);
}

#[test]
fn a_completion_that_is_refused_twice_is_no_success() {
    let stage = Stage::new();
    let mut command = stage.command(&stage.image.raw(), &[]);
    kill_at(&stage, "CompleteSnapshot", 0, Reaction::HoldBefore, &mut command);
    stage.endpoint.react("CompleteSnapshot", 0..9, Reaction::Refuse(400, "ValidationException"));
    let said = failed(&output(&mut stage.command(&stage.image.raw(), &["--wait", "0"])), 1);
    assert!(said.contains("ebs:CompleteSnapshot failed: ValidationException"), "{said}");
    stage.endpoint.calm();
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
}
