//! A run that is killed at any step leaves something that the next run goes on with.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::Stage;
use crate::endpoint::Reaction;

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

/// Kills a run when this request of an action has come, and lets another run finish.
fn killed_at(stage: &Stage, action: &'static str, number: usize, reaction: Reaction, arguments: &[&str]) {
    let what = format!("{action} {number} {reaction:?}");
    stage.endpoint.react(action, number..usize::MAX, reaction);
    let mut command = stage.command(&stage.image.raw(), arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    stage.endpoint.wait_for_hold();
    settle(stage, if action == "PutSnapshotBlock" { number } else { 0 });
    child.kill().unwrap();
    child.wait().unwrap();
    stage.endpoint.calm();
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
    crate::same_bytes(&stage.published_disk(&published), &stage.image.raw());
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
    crate::support::run(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]));
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2));
    stage.endpoint.calm();
    let published = stage.publish(&[]);
    crate::same_bytes(&stage.published_disk(&published), &stage.image.raw());
    assert!(stage.endpoint.world().acknowledged.values().all(|times| *times == 1));
}
