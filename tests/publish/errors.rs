//! What cannot be mended by asking again is told at once, with what to do.

use std::os::unix::fs::FileExt;

use crate::endpoint::Reaction;
use crate::support::{bake, bake_image, output};
use crate::{REGION, Stage, failed, tiny_image};

#[test]
fn a_refusal_is_not_repeated_and_says_what_is_missing() {
    for (action, code, expected) in [
        (
            "StartSnapshot",
            "AccessDeniedException",
            "may not do ebs:StartSnapshot: `bake publish ami --iam-policy` prints",
        ),
        ("PutSnapshotBlock", "AccessDeniedException", "may not do ebs:PutSnapshotBlock"),
        ("DescribeImages", "UnauthorizedOperation", "may not do ec2:DescribeImages"),
        ("DescribeImages", "AuthFailure", "this machine's clock"),
        ("StartSnapshot", "ServiceQuotaExceededException", "Service Quotas"),
        ("StartSnapshot", "ConcurrentLimitExceededException", "pending snapshots"),
        ("StartSnapshot", "ConflictException", "other parameters"),
    ] {
        let stage = Stage::new();
        stage.endpoint.react(action, 0..usize::MAX, Reaction::Refuse(403, code));
        let said = stage.refused(&["--jobs", "1"]);
        assert!(said.contains(expected) && said.contains(code), "{said}");
        assert_eq!(stage.endpoint.world().count(action), 1, "{action} was repeated");
    }
}

#[test]
fn expired_credentials_end_a_run_that_goes_on_with_new_ones() {
    let stage = Stage::new();
    stage.endpoint.react("PutSnapshotBlock", 12..usize::MAX, Reaction::Refuse(403, "ExpiredTokenException"));
    let said = stage.refused(&["--jobs", "1"]);
    assert!(said.contains("credentials have expired") && said.contains("goes on where it stopped"), "{said}");
    assert_eq!(stage.endpoint.world().acknowledged.len(), 12);
    stage.endpoint.calm();
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
}

#[test]
fn wrong_and_missing_credentials_are_told_before_any_work() {
    let stage = Stage::new();
    let mut command = stage.command(&stage.image.raw(), &[]);
    let said = failed(&output(command.env("AWS_SECRET_ACCESS_KEY", "wrong")), 1);
    assert!(said.contains("does not accept the credentials"), "{said}");
    let mut command = stage.command(&stage.image.raw(), &[]);
    let said =
        failed(&output(command.env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_ACCESS_KEY_ID")), 1);
    assert!(said.contains("credentials of AWS: ") && said.contains("aws sso login"), "{said}");
    assert!(stage.endpoint.world().log.is_empty());
}

#[test]
fn a_name_that_another_disk_has_is_refused() {
    let stage = Stage::new();
    stage.publish(&["--name", "golden"]);
    let other = tiny_image(stage.scratch.path(), "two", b"two\n");
    let said = failed(&output(&mut stage.command(&other.raw(), &["--name", "golden"])), 1);
    assert!(
        said.contains("--name") && said.contains(stage.image.digest()) && said.contains("`{digest}`"),
        "{said}"
    );
}

#[test]
fn an_image_that_was_changed_after_it_was_baked_is_not_published() {
    let stage = Stage::new();
    let (offset, _) = stage.image.partition("root");
    let file = std::fs::File::options().write(true).open(stage.image.raw()).unwrap();
    file.write_all_at(b"x", offset + 2000).unwrap();
    let said = stage.refused(&[]);
    assert!(said.contains("are not what its manifest says") && said.contains("bake it again"), "{said}");
    assert!(stage.endpoint.world().images.is_empty());
}

#[test]
fn a_parent_that_does_not_fit_is_refused_before_anything_is_begun() {
    let stage = Stage::new();
    let parent = stage.publish(&[]);
    let snapshot = parent["regions"][0]["snapshot"].as_str().unwrap().to_owned();
    let other = tiny_image(stage.scratch.path(), "two", b"two\n");
    let manifest = other.directory.join("manifest.json");
    let refused = |arguments: &[&str]| failed(&output(&mut stage.command(&other.raw(), arguments)), 1);
    let said = refused(&["--parent", &snapshot, "--parent-manifest", manifest.to_str().unwrap()]);
    assert!(
        said.contains("--parent-manifest is of the disk") && said.contains(stage.image.digest()),
        "{said}"
    );
    let said = refused(&["--parent", "snap-0nothere"]);
    assert!(said.contains("InvalidSnapshot.NotFound"), "{said}");
    stage.endpoint.world().snapshots.get_mut(&snapshot).unwrap().gib = 50;
    let said = refused(&["--parent", &snapshot]);
    assert!(said.contains("its volume has 50 GiB") && said.contains("--size 50G"), "{said}");
    assert_eq!(stage.endpoint.world().count("StartSnapshot"), 1);
}

#[test]
fn options_that_make_no_sense_are_all_told_and_nothing_is_asked() {
    let stage = Stage::new();
    let arguments = [
        "--region",
        "nowhere",
        "--tag",
        "aws:x=y",
        "--share",
        "12",
        "--deprecate",
        "soon",
        "--encrypt",
        "--parent",
        "snap-1",
    ];
    let said = failed(&output(&mut stage.command(&stage.image.raw(), &arguments)), 2);
    for expected in
        ["--region `nowhere`", "--tag `aws:x`", "--share `12`", "--deprecate", "--parent and --encrypt"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(stage.endpoint.world().log.is_empty());
    let size = stage.scratch.path().join("odd.raw");
    std::fs::write(&size, [1; 4096]).unwrap();
    let said = failed(&output(&mut stage.command(&size, &[])), 1);
    assert!(said.contains("expected a whole number of GiB"), "{said}");
}

#[test]
fn a_service_that_never_finishes_is_left_with_word_of_how_to_go_on() {
    let stage = Stage::new();
    stage.endpoint.world().pending_for = 1000;
    let said = stage.refused(&["--wait", "0"]);
    assert!(said.contains("still pending") && said.contains("run the same command again"), "{said}");
    {
        let mut world = stage.endpoint.world();
        world.pending_for = 0;
        world.snapshots.values_mut().for_each(|snapshot| snapshot.state = crate::ebs::State::Completed);
    }
    let published = stage.publish(&[]);
    stage.is_published_once(&published);
    assert_eq!(published["regions"][0]["region"], REGION);
}

#[test]
fn a_disk_with_large_sectors_is_refused_by_clouds_and_by_their_formats() {
    let stage = Stage::new();
    let rootfs = stage.scratch.path().join("one.tar");
    let large = ["--name", "large", "--sector-size", "4096"];
    for format in ["gce", "vhd", "vhd-dynamic", "vmdk", "vmdk-stream", "ova"] {
        let out = stage.scratch.path().join(format);
        let mut command = bake();
        command
            .args(["image", "--format", format, "--out"])
            .arg(&out)
            .arg("--rootfs")
            .arg(&rootfs)
            .args(large);
        let said = failed(&output(&mut command), 1);
        assert!(said.contains(&format!("{format} cannot hold this disk")), "{said}");
        assert!(said.contains("--sector-size 512") && !out.join("manifest.json").exists(), "{said}");
    }
    let image = bake_image(&rootfs, &stage.scratch.path().join("raw"), &large).raw();
    let said = failed(&output(&mut stage.command(&image, &[])), 1);
    assert!(said.contains("--sector-size 512"), "{said}");
    let mut script = bake();
    script.args(["publish", "script", "--kind", "vm-import", "--image"]).arg(&image);
    assert!(failed(&output(&mut script), 1).contains("--sector-size 512"));
    assert!(stage.endpoint.world().log.is_empty());
}
