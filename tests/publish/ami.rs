//! An image becomes an AMI: what is sent, what is not, and what the service has in the end.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{REGION, Stage, same_bytes, support, tiny_image};

fn blocks_in_use(manifest: &Value) -> usize {
    let runs = manifest["disk"]["blocks"]["runs"].as_array().unwrap();
    runs.iter().map(|run| run["sha256"].as_array().unwrap().len()).sum()
}

#[test]
fn an_image_becomes_an_ami_and_the_second_run_does_nothing() {
    let stage = Stage::new();
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
    assert_eq!(published["blocks-put"], blocks_in_use(&stage.image.manifest));
    let digest = stage.image.digest().to_owned();
    {
        let world = stage.endpoint.world();
        let image = &world.images[published["regions"][0]["image"].as_str().unwrap()];
        assert_eq!(image.name, format!("tiny-{}", &digest[..12]));
        assert_eq!((&image.tags["bake:disk"], &image.tags["Name"]), (&digest, &image.name));
        for (name, value) in [
            ("Architecture", "x86_64"),
            ("BootMode", "uefi"),
            ("RootDeviceName", "/dev/xvda"),
            ("BlockDeviceMapping.1.Ebs.VolumeType", "gp3"),
            ("EnaSupport", "true"),
            ("SriovNetSupport", "simple"),
            ("ImdsSupport", "v2.0"),
        ] {
            assert_eq!(image.parameters[name], value, "{name}");
        }
        assert!(!image.parameters.contains_key("TpmSupport"));
        let snapshot = &world.snapshots[&image.snapshot];
        assert_eq!(
            (snapshot.gib << 30, &snapshot.tags["bake:disk"]),
            (stage.image.manifest["disk"]["size"].as_u64().unwrap(), &digest)
        );
        assert!(snapshot.tags.contains_key("bake:blocks-00") && snapshot.tags.len() <= 50);
    }
    stage.endpoint.calm();
    let again = stage.publish(&[]);
    assert_eq!((&again["regions"], &again["done"]), (&published["regions"], &Value::Array(Vec::new())));
    assert_eq!(stage.endpoint.world().changes(), Vec::<&_>::new());
}

#[test]
fn every_container_becomes_the_same_ami() {
    let stage = Stage::new();
    let published = stage.publish(&[]);
    let qcow2 = stage.scratch.path().join("tiny.qcow2");
    support::run(
        std::process::Command::new("qemu-img")
            .args(["convert", "-O", "qcow2"])
            .arg(stage.image.raw())
            .arg(&qcow2),
    );
    stage.endpoint.calm();
    // Without a manifest, what it says has to be said.
    let name = published["name"].as_str().unwrap();
    let arguments = ["--name", name, "--architecture", "x86_64", "--boot-mode", "uefi"];
    let again: Value = serde_json::from_str(&support::run(&mut stage.command(&qcow2, &arguments))).unwrap();
    assert_eq!(again["regions"], published["regions"]);
    assert_eq!(stage.endpoint.world().changes(), Vec::<&_>::new());
}

#[test]
fn of_a_new_image_only_blocks_that_differ_are_put_whoever_made_the_parent() {
    let stage = Stage::new();
    let parent = stage.publish(&[]);
    let [image, snapshot] =
        ["image", "snapshot"].map(|kind| parent["regions"][0][kind].as_str().unwrap().to_owned());
    let manifest = stage.image.directory.join("manifest.json");
    // Another file in the place of the old one, and a large one that is gone: blocks that became zeros.
    let next = tiny_image(stage.scratch.path(), "two", b"two\n");
    let gone = stage.scratch.path().join("gone");
    std::fs::write(stage.scratch.path().join("gone.tar"), support::tiny::rootfs().finish()).unwrap();
    let gone = support::bake_image(
        &stage.scratch.path().join("gone.tar"),
        &gone,
        &["--name", "tiny", "--epoch", "1700000000"],
    );
    let known: [(&str, Vec<&str>); 3] = [
        ("tags", vec!["--parent", &image]),
        ("a manifest", vec!["--parent", &snapshot, "--parent-manifest", manifest.to_str().unwrap()]),
        ("reading it", vec!["--parent", &snapshot]),
    ];
    for (by, arguments) in known {
        if by == "reading it" {
            let mut world = stage.endpoint.world();
            let tags = &mut world.snapshots.get_mut(&snapshot).unwrap().tags;
            tags.retain(|key, _| !key.starts_with("bake:"));
        }
        for (what, child) in [("changed", &next), ("gone", &gone)] {
            let name = format!("{what} by {by}");
            let mut all = vec!["--name", &name];
            all.extend(&arguments);
            let published: Value =
                serde_json::from_str(&support::run(&mut stage.command(&child.raw(), &all))).unwrap();
            let put = published["blocks-put"].as_u64().unwrap();
            eprintln!("{what}, known by {by}: {put} blocks put");
            let id = published["regions"][0]["snapshot"].as_str().unwrap().to_owned();
            same_bytes(&stage.published_disk(&published), &child.raw());
            let mut world = stage.endpoint.world();
            assert_eq!(world.snapshots[&id].parent.as_ref(), Some(&snapshot));
            assert!((1..=40).contains(&put), "{name}: {put}");
            // The next one is not to find this snapshot of the same disk.
            world.snapshots.get_mut(&id).unwrap().tags.clear();
        }
    }
}

#[test]
fn a_manifest_that_no_tag_of_the_parent_confirms_is_not_believed() {
    let stage = Stage::new();
    let parent = stage.publish(&[])["regions"][0]["snapshot"].as_str().unwrap().to_owned();
    stage.endpoint.world().snapshots.get_mut(&parent).unwrap().tags.clear();
    // The manifest of the new image itself: as if nothing had changed.
    let next = tiny_image(stage.scratch.path(), "two", b"two\n");
    let manifest = next.directory.join("manifest.json");
    let arguments = ["--parent", &*parent, "--parent-manifest", manifest.to_str().unwrap()];
    let published: Value =
        serde_json::from_str(&support::run(&mut stage.command(&next.raw(), &arguments))).unwrap();
    same_bytes(&stage.published_disk(&published), &next.raw());
}

#[test]
fn an_ami_is_copied_shared_deprecated_and_encrypted_once() {
    let stage = Stage::new();
    stage.endpoint.world().pending_for = 2;
    let arguments = [
        "--region",
        "us-east-1",
        "--share",
        "123456789012",
        "--deprecate",
        "2030-01-31",
        "--tag",
        "team=platform",
        "--kms-key",
        "arn:aws:kms:eu-central-1:123456789012:key/1",
        "--kms-key",
        "us-east-1=alias/far",
        "--tpm",
        "--verify",
    ];
    let published = stage.publish(&arguments);
    stage.is_published_once(&published);
    {
        let world = stage.endpoint.world();
        let regions = published["regions"].as_array().unwrap();
        assert_eq!(regions.len(), 2);
        for (region, (name, key)) in regions
            .iter()
            .zip([(REGION, "arn:aws:kms:eu-central-1:123456789012:key/1"), ("us-east-1", "alias/far")])
        {
            let image = &world.images[region["image"].as_str().unwrap()];
            assert_eq!(
                (region["region"].as_str(), &*image.region, &region["verified"]),
                (Some(name), name, &Value::Bool(true))
            );
            assert_eq!(image.permissions, BTreeSet::from(["123456789012".to_owned()]));
            assert_eq!(image.deprecation.as_deref(), Some("2030-01-31T00:00:00.000Z"));
            assert_eq!(image.tags["team"], "platform");
            assert_eq!(image.parameters["TpmSupport"], "v2.0");
            let snapshot = &world.snapshots[&image.snapshot];
            assert!(snapshot.is_encrypted && snapshot.permissions == image.permissions);
            assert_eq!((snapshot.key.as_deref(), &*snapshot.tags["team"]), (Some(key), "platform"));
        }
    }
    stage.endpoint.calm();
    assert_eq!(stage.publish(&arguments)["done"], Value::Array(Vec::new()));
    assert_eq!(stage.endpoint.world().changes(), Vec::<&_>::new());
    // What is asked for later is all that is done later.
    stage.publish(&[&arguments[..], &["--share", "210987654321"]].concat());
    let world = stage.endpoint.world();
    let changed: BTreeSet<_> = world.changes().iter().map(|entry| entry.action.clone()).collect();
    assert_eq!(
        changed,
        BTreeSet::from(["ModifyImageAttribute".to_owned(), "ModifySnapshotAttribute".to_owned()])
    );
}

#[test]
fn a_snapshot_of_the_disk_that_lost_its_ami_is_registered_and_nothing_is_put() {
    let stage = Stage::new();
    let first = stage.publish(&[]);
    stage.endpoint.world().images.clear();
    stage.endpoint.calm();
    let second = stage.publish(&[]);
    assert_eq!(
        (&second["blocks-put"], &second["regions"][0]["snapshot"]),
        (&Value::from(0), &first["regions"][0]["snapshot"])
    );
    let changes: Vec<_> = stage.endpoint.world().changes().iter().map(|entry| entry.action.clone()).collect();
    assert_eq!(changes, ["RegisterImage"]);
}
