//! Anyone can prove that an AMI, or an artifact, is the disk that was reviewed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::Value;

use crate::support::{bake, bake_image, output, run, scratch, text, tiny};
use crate::{REGION, Stage, failed, tiny_image};

fn flip(file: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn an_ami_is_proved_by_its_blocks_with_the_manifest_or_the_tags() {
    let stage = Stage::new();
    let published = stage.publish(&[]);
    let ami = format!("ami:{REGION}/{}", published["regions"][0]["image"].as_str().unwrap());
    let manifest = stage.image.directory.join("manifest.json");
    let verify = |arguments: &[&str]| {
        let mut command = stage.endpoint.bake();
        command.args(["verify", &ami]).args(arguments);
        command
    };
    let with = ["--manifest", manifest.to_str().unwrap()];
    for arguments in [&with[..], &[]] {
        let said = run(&mut verify(arguments));
        assert!(said.contains(stage.image.digest()), "{said}");
    }
    let other = tiny_image(stage.scratch.path(), "two", b"two\n").directory.join("manifest.json");
    let said = failed(&output(&mut verify(&["--manifest", other.to_str().unwrap()])), 1);
    assert!(said.contains("blocks differ, the first at byte"), "{said}");
    // The service's own copy is damaged.
    let (offset, _) = stage.image.partition("root");
    flip(&stage.published_disk(&published), offset + 1100);
    let said = failed(&output(&mut verify(&with)), 1);
    assert!(
        said.contains(&format!("1 of 2048 blocks differ, the first at byte {offset}"))
            || said.contains("1 of "),
        "{said}"
    );
    let said = failed(&output(&mut verify(&[])), 1);
    assert!(said.contains("its blocks give the disk digest"), "{said}");
    // So is what is published with --verify.
    let said = stage.refused(&["--verify"]);
    assert!(said.contains("blocks differ"), "{said}");
    // Whoever sees no tags is told what is missing.
    {
        let mut world = stage.endpoint.world();
        world.images.values_mut().for_each(|image| image.tags.clear());
        world.snapshots.values_mut().for_each(|snapshot| snapshot.tags.clear());
    }
    assert!(failed(&output(&mut verify(&[])), 1).contains("give the --manifest"));
}

#[test]
fn an_artifact_is_proved_with_its_manifest_and_its_sums() {
    let stage = Stage::new();
    let directory = &stage.image.directory;
    for what in [directory.clone(), stage.image.raw(), directory.join("manifest.json")] {
        let said = run(bake().arg("verify").arg(&what));
        assert!(said.contains(stage.image.digest()) && said.contains("SHA256SUMS"), "{said}");
    }
    let (offset, _) = stage.image.partition("root");
    flip(&stage.image.raw(), offset + 1100);
    let said = failed(&output(bake().arg("verify").arg(directory)), 1);
    assert!(said.contains("(`root`) differs; 1 of") && said.contains(&format!("byte {offset}")), "{said}");
    let manifest = directory.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"tiny\"", "\"tidy\"")).unwrap();
    let said = failed(&output(bake().arg("verify").arg(directory)), 1);
    assert!(said.contains("SHA256SUMS says"), "{said}");
    std::fs::remove_file(&manifest).unwrap();
    failed(&output(bake().arg("verify").arg(directory)), 1);
}

#[test]
fn what_is_no_disk_is_proved_by_its_sum_and_strangers_are_named() {
    let scratch = scratch();
    let rootfs = scratch.path().join("rootfs.tar");
    std::fs::write(&rootfs, tiny::rootfs().finish()).unwrap();
    let out = scratch.path().join("out");
    let formats = ["--format", "bmap", "--format", "tar", "--format", "qcow2", "--format", "raw.zst"];
    let baked =
        bake_image(&rootfs, &out, &[&["--name", "tiny", "--epoch", "1700000000"], &formats[..]].concat());
    let verify = |what: &Path| output(bake().args(["verify", "--json"]).arg(what));
    let proof: Value = serde_json::from_slice(&verify(&out).stdout).unwrap();
    assert_eq!((&proof["disk"], &proof["strangers"]), (&baked.digest().into(), &serde_json::json!([])));
    // Alone as well.
    for file in ["tiny.bmap", "tiny.tar", "tiny.qcow2"] {
        assert!(verify(&out.join(file)).status.success(), "{file}");
    }
    std::fs::copy(out.join("tiny.qcow2"), out.join("older.qcow2")).unwrap();
    let said = output(bake().arg("verify").arg(&out));
    assert!(said.status.success() && text(&said.stderr).contains("`older.qcow2` is not in the manifest"));
    // The same where nothing but the manifest says what is right.
    std::fs::remove_file(out.join("SHA256SUMS")).unwrap();
    flip(&out.join("tiny.tar"), 700);
    let said = failed(&output(bake().arg("verify").arg(&out)), 1);
    assert!(said.contains("tiny.tar` is not what was expected: its SHA-256"), "{said}");
    let said = failed(&output(bake().arg("verify").arg(scratch.path().join("rootfs.tar"))), 1);
    assert!(said.contains("--manifest"), "{said}");
}
