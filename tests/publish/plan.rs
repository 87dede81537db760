//! What a run would do, and what it has to be allowed, is told without an account.

use std::process::Command;

use crate::Stage;
use crate::support::{bake, output, run, text};

#[test]
fn a_plan_counts_everything_and_asks_nobody() {
    let stage = Stage::new();
    let plan = |arguments: &[&str]| {
        let mut command = bake();
        command
            .args(["publish", "ami", "--plan", "--region", "eu-central-1", "--image"])
            .arg(stage.image.raw());
        run(command.args(arguments))
    };
    let digest = stage.image.digest();
    let in_use: usize = stage.image.manifest["disk"]["blocks"]["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["sha256"].as_array().unwrap().len())
        .sum();
    let gib = stage.image.manifest["disk"]["size"].as_u64().unwrap() >> 30;
    let (blocks, mib, requests) = (gib * 2048, in_use / 2, in_use + 7);
    let short = &digest[..12];
    let expected = format!(
        "tiny-{short}: disk {digest}, {gib} GiB\n  {blocks} blocks of 512 KiB, {in_use} in use\n  {in_use} to put ({mib} MiB), {requests} requests in all\n  \
         1 s at the quota of 1000 blocks per second, if the network has 500 MiB/s\n  \
         eu-central-1: start a snapshot\n  eu-central-1: put {in_use} blocks\n  eu-central-1: complete the snapshot, and wait\n  \
         eu-central-1: register `tiny-{short}`: x86_64, uefi, gp3 on /dev/xvda, IMDSv2\n  \
         IAM actions: ebs:CompleteSnapshot, ebs:PutSnapshotBlock, ebs:StartSnapshot, ec2:CreateTags, ec2:DescribeImages, \
         ec2:DescribeSnapshots, ec2:RegisterImage\n"
    );
    assert_eq!(plan(&[]), expected);
    let more = plan(&["--region", "us-east-1", "--verify", "--share", "all", "--deprecate", "2030-01-01"]);
    for expected in [
        "us-east-1: copy it, and wait",
        "us-east-1: share it with all",
        "eu-central-1: read all blocks back",
        "us-east-1: deprecate it on 2030-01-01",
        "ebs:GetSnapshotBlock",
        "ec2:CopyImage",
    ] {
        assert!(more.contains(expected), "{expected}: {more}");
    }
}

#[test]
fn a_plan_with_a_parent_counts_what_differs() {
    let stage = Stage::new();
    let published = stage.publish(&[]);
    stage.endpoint.calm();
    let other = crate::tiny_image(stage.scratch.path(), "two", b"two\n");
    let parent = published["regions"][0]["image"].as_str().unwrap();
    let mut command = stage.command(&other.raw(), &["--plan", "--parent", parent]);
    let plan: serde_json::Value = serde_json::from_str(&run(&mut command)).unwrap();
    assert_eq!(plan["parent"], published["regions"][0]["snapshot"]);
    assert!((1..=40).contains(&plan["blocks-to-put"].as_u64().unwrap()), "{plan}");
    assert!(stage.endpoint.world().changes().is_empty());
}

#[test]
fn the_policy_is_what_the_options_need_and_no_more() {
    let mut command = bake();
    command.args(["publish", "ami", "--iam-policy", "--region", "eu-central-1", "--verify"]);
    let said = text(&command.output().unwrap().stdout);
    let policy: serde_json::Value = serde_json::from_str(&said).unwrap();
    let expected = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Blocks", "Effect": "Allow", "Resource": "arn:*:ec2:*::snapshot/*", "Action": [
                "ebs:CompleteSnapshot", "ebs:GetSnapshotBlock", "ebs:ListSnapshotBlocks", "ebs:PutSnapshotBlock",
                "ebs:StartSnapshot"]},
            {"Sid": "Look", "Effect": "Allow", "Resource": "*", "Action": ["ec2:DescribeImages", "ec2:DescribeSnapshots"]},
            {"Sid": "Images", "Effect": "Allow", "Action": ["ec2:CreateTags", "ec2:RegisterImage"],
             "Resource": ["arn:*:ec2:*::image/*", "arn:*:ec2:*::snapshot/*"]},
        ],
    });
    assert_eq!(policy, expected);
}

#[test]
fn scripts_for_other_ways_pass_the_shells_checker() {
    let stage = Stage::new();
    let digest = &stage.image.digest()[..12];
    let raw = stage.image.raw();
    let other = |name: &str| {
        let file = stage.scratch.path().join(name);
        std::fs::write(&file, "an image").unwrap();
        file
    };
    for (kind, file) in [("vm-import", raw), ("azure", other("it's.vhd")), ("gce", other("disk.tar.gz"))] {
        let mut command = bake();
        command.args(["publish", "script", "--kind", kind, "--image"]).arg(&file);
        if kind != "vm-import" {
            command.args(["--name", "it's", "--architecture", "x86_64"]);
        }
        let text = run(&mut command);
        let script = stage.scratch.path().join(format!("{kind}.sh"));
        std::fs::write(&script, &text).unwrap();
        run(Command::new("shellcheck").arg(&script));
        let usage = output(Command::new("bash").arg(&script));
        assert_eq!(usage.status.code(), Some(2), "{kind}");
        let name =
            if kind == "vm-import" { format!("name='tiny-{digest}'") } else { r"name='it'\''s'".to_owned() };
        assert!(text.contains(&name), "{text}");
    }
}
