//! OCI layouts whose documents and blobs do not fit together.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::Digest;

use crate::support::ground::Ground;
use crate::support::wrappings::{docker_archive, oci_layout, pack};
use crate::support::{Baked, run, tiny};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A ground with the tiny root file system as an OCI layout.
fn layout() -> Ground {
    let ground = Ground::new(&[("layer.tar", &tiny::rootfs().finish())]);
    oci_layout(&[(ground.path("layer.tar"), LAYER)], "amd64", &ground.path("layout"));
    ground
}

fn blobs(ground: &Ground) -> Vec<PathBuf> {
    let entries = fs::read_dir(ground.path("layout/blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The blob that holds `text`.
fn blob_with(ground: &Ground, text: &str) -> PathBuf {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    blobs(ground).into_iter().find(holds).unwrap()
}

/// Refused as a directory and as an archive.
fn refused(what: &str, mut ground: Ground, expected: &[&str]) {
    pack(&ground.path("layout"), &ground.path("layout.tar"));
    ground.settle();
    for input in ["layout", "layout.tar"] {
        let said = ground.refused(&["--rootfs", input]);
        for text in [input].iter().chain(expected) {
            assert!(said.contains(text), "{what}, {input}: `{text}` is not in: {said}");
        }
    }
}

fn replace(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "`{from}` is not in {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Changes a document and gives it its right digest and place again, up to the index.
fn edit(ground: &Ground, mark: &str, from: &str, to: &str) {
    let path = blob_with(ground, mark);
    let (old, old_len) = (name(&path), fs::metadata(&path).unwrap().len());
    replace(&path, from, to);
    let bytes = fs::read(&path).unwrap();
    let new = Digest::of(&bytes).to_string();
    fs::rename(&path, path.with_file_name(&new)).unwrap();
    let sizes = (format!("\"size\":{old_len}"), format!("\"size\":{}", bytes.len()));
    let index = ground.path("layout/index.json");
    if fs::read_to_string(&index).unwrap().contains(&old) {
        replace(&index, &old, &new);
        replace(&index, &sizes.0, &sizes.1);
    } else {
        // The size of another blob could be the same; no test makes it so.
        edit(ground, &old.clone(), &old, &new);
        if sizes.0 != sizes.1 {
            edit(ground, &new, &sizes.0, &sizes.1);
        }
    }
}

#[test]
fn a_layout_that_fits_together_is_baked_as_its_tar() {
    let ground = layout();
    docker_archive(&[ground.path("layer.tar")], "amd64", &ground.path("work"), &ground.path("docker.tar"));
    pack(&ground.path("layout"), &ground.path("layout.tar"));
    let digest = |input: &str| {
        run(&mut ground.command(&["--quiet", "--rootfs", input]));
        let digest = Baked::read(&ground.path("out")).digest().to_owned();
        ground.clear();
        digest
    };
    let expected = digest("layer.tar");
    for input in ["layout", "layout.tar", "docker.tar"] {
        assert_eq!(digest(input), expected, "{input}");
    }
}

#[test]
fn every_blob_is_checked_against_its_digest_and_size() {
    for (what, mark) in
        [("layer", "a tiny root file system"), ("configuration", "diff_ids"), ("manifest", "mediaType")]
    {
        let ground = layout();
        let path = blob_with(&ground, mark);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 3;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        refused(what, ground, &["digest", &name(&path)]);

        let ground = layout();
        let path = blob_with(&ground, mark);
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend([0; 512]);
        fs::write(&path, bytes).unwrap();
        refused(what, ground, &["bytes", "expected"]);

        let ground = layout();
        let path = blob_with(&ground, mark);
        fs::remove_file(&path).unwrap();
        refused(what, ground, &[&name(&path)]);
    }
}

#[test]
fn a_layer_that_decodes_to_something_else_than_the_configuration_says_is_refused() {
    let ground = layout();
    let diff = Digest::of(&fs::read(ground.path("layer.tar")).unwrap()).to_string();
    let other = Digest::of(b"other").to_string();
    edit(&ground, "diff_ids", &diff, &other);
    refused("diff id", ground, &[&other]);
}

#[test]
fn digests_that_are_paths_or_of_unknown_kinds_are_refused() {
    let manifest = |ground: &Ground| name(&blob_with(ground, "mediaType"));
    for digest in ["sha256:../../../../etc/passwd", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:ab", ""] {
        let ground = layout();
        let old = format!("sha256:{}", manifest(&ground));
        replace(&ground.path("layout/index.json"), &old, digest);
        refused(digest, ground, &[digest.trim_start_matches("sha256:"), "digest"]);
    }
}

#[test]
fn documents_that_are_none_are_refused() {
    let index = "layout/index.json";
    for (what, text) in [
        ("no JSON", "{\"schemaVersion\": 2, "),
        ("another type", "[]"),
        ("no manifests", r#"{"schemaVersion": 2, "manifests": []}"#),
        ("another version", r#"{"schemaVersion": 7, "manifests": []}"#),
    ] {
        let ground = layout();
        fs::write(ground.path(index), text).unwrap();
        refused(what, ground, &[]);
    }
    let ground = layout();
    let deep = "[".repeat(100_000);
    fs::write(ground.path(index), deep).unwrap();
    refused("deep nesting", ground, &["index.json"]);
}

#[test]
fn an_architecture_that_the_layout_has_not_is_refused_with_those_it_has() {
    let ground = layout();
    let said = {
        let mut ground = ground;
        ground.settle();
        ground.refused(&["--rootfs", "layout", "--arch", "arm64"])
    };
    assert!(said.contains("arm64") && said.contains("amd64"), "{said}");
}

/// A layout is a directory that somebody else wrote: what is read of it is a file, or nothing waits for it.
#[test]
fn blobs_that_are_no_files_are_refused() {
    for (what, make) in
        [("mkfifo", &["mkfifo"][..]), ("endless", &["ln", "-s", "/dev/zero"]), ("directory", &["mkdir"])]
    {
        let mut ground = layout();
        let path = blob_with(&ground, "a tiny root file system");
        fs::remove_file(&path).unwrap();
        run(Command::new(make[0]).args(&make[1..]).arg(&path));
        ground.settle();
        let said = ground.refused(&["--rootfs", "layout"]);
        assert!(said.contains(&name(&path)), "{what}: {said}");
    }
}
