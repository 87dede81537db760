//! Whatever passes is waited out, and what is published is right.

use crate::Stage;
use crate::endpoint::Reaction;
use crate::support::{output, text};

#[test]
fn a_new_snapshot_and_a_new_ami_that_nobody_knows_yet_are_waited_for() {
    let stage = Stage::new();
    stage.endpoint.world().unknown_for = 20;
    stage.endpoint.world().pending_for = 2;
    stage.endpoint.react("DescribeImages", 1..3, Reaction::Refuse(400, "InvalidAMIID.NotFound"));
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
}

#[test]
fn a_service_that_throttles_gets_fewer_requests_at_once_and_all_blocks() {
    let stage = Stage::new();
    stage.endpoint.world().most_at_once = Some(3);
    stage.endpoint.react("StartSnapshot", 0..2, Reaction::Refuse(400, "RequestThrottledException"));
    stage.endpoint.react("RegisterImage", 0..2, Reaction::Refuse(503, "RequestLimitExceeded"));
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
    let world = stage.endpoint.world();
    let refused =
        world.log.iter().filter(|entry| entry.action == "PutSnapshotBlock" && entry.status == 400).count();
    let put = world.acknowledged.len();
    eprintln!("{refused} blocks were refused, {put} taken");
    // A client that goes on as before is refused most of the time.
    assert!(refused < 2 * put, "{refused} refusals for {put} blocks");
}

#[test]
fn failures_of_the_service_and_of_the_network_pass() {
    let reactions = [
        Reaction::Refuse(500, "InternalServerException"),
        Reaction::Refuse(503, "ServiceUnavailable"),
        Reaction::Refuse(502, ""),
        Reaction::Reset,
        Reaction::Slow,
    ];
    for reaction in reactions {
        let stage = Stage::new();
        for action in
            ["StartSnapshot", "CompleteSnapshot", "RegisterImage", "DescribeImages", "DescribeSnapshots"]
        {
            stage.endpoint.react(action, 0..1, reaction.clone());
        }
        stage.endpoint.react("PutSnapshotBlock", 2..6, reaction.clone());
        stage.endpoint.react("GetSnapshotBlock", 2..6, reaction.clone());
        let published = stage.publish(&["--verify"]);
        stage.is_published_once(&published);
    }
}

#[test]
fn answers_that_are_lost_or_break_off_change_nothing() {
    for reaction in [Reaction::Lose, Reaction::Cut] {
        let stage = Stage::new();
        for action in ["StartSnapshot", "CompleteSnapshot", "RegisterImage", "CopyImage"] {
            stage.endpoint.react(action, 0..1, reaction.clone());
        }
        stage.endpoint.react("PutSnapshotBlock", 2..4, reaction.clone());
        stage.endpoint.react("GetSnapshotBlock", 2..4, reaction.clone());
        let published = stage.publish(&["--verify", "--region", "us-east-1"]);
        stage.is_published_once(&published);
        let world = stage.endpoint.world();
        assert_eq!((world.images.len(), world.snapshots.len()), (2, 2));
    }
}

#[test]
fn a_service_that_fails_for_long_is_told_of_while_it_is_asked_again() {
    let stage = Stage::new();
    stage.endpoint.react("DescribeImages", 0..5, Reaction::Refuse(500, "InternalError"));
    let done = output(&mut stage.command(&stage.image.raw(), &[]));
    let said = text(&done.stderr);
    assert!(done.status.success(), "{said}");
    assert!(said.contains("note: ec2:DescribeImages failed 4 times: InternalError"), "{said}");
    assert!(said.contains("; trying again"), "{said}");
}
