//! Indexes that minisign signed with keys of its own making, and every way in which they can be wrong.

#![expect(clippy::disallowed_methods, reason = "minisign is run")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::fetch::{FetchOptions, Fetcher};

/// Keys, and a repository that lies in a directory.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scene.path("out")).unwrap();
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn minisign(&self, arguments: &[&str]) {
        let output = Command::new("minisign").current_dir(self.0.path()).args(arguments).output();
        let output = output.expect("minisign is installed (ci/install-tools)");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A key whose public half is in `NAME.pub`.
    fn key(&self, name: &str) -> TrustedKey {
        self.minisign(&["-G", "-W", "-p", &format!("{name}.pub"), "-s", name]);
        TrustedKey::find(&format!("{name}.pub"), self.0.path()).unwrap()
    }

    fn manifest(&self, text: &str) {
        fs::write(self.path("out/manifest.json"), text).unwrap();
    }

    /// Signs a file with the key of this name.
    fn sign(&self, key: &str, file: &str) {
        self.minisign(&["-S", "-W", "-s", key, "-m", file]);
    }

    fn digests(
        &self,
        locked: &BTreeMap<PackageId, Digest>,
        repositories: &[&str],
        keys: &[TrustedKey],
    ) -> Result<BTreeMap<PackageId, Digest>, String> {
        let urls: Vec<_> =
            repositories.iter().map(|name| format!("file://{}", self.path(name).display())).collect();
        let fetcher = Fetcher::new(FetchOptions::default()).unwrap();
        let digests = index::digests(locked, &urls, keys, &fetcher, &self.path("scratch"));
        digests.map_err(|error| error.to_string().replace(self.0.path().to_str().unwrap(), ""))
    }

    /// What is said of the repository in `out`.
    fn refused(&self, keys: &[TrustedKey]) -> String {
        self.digests(&BTreeMap::new(), &["out"], keys).unwrap_err()
    }
}

fn manifest(digest: Digest) -> String {
    format!(
        r#"{{"schema": "bake-tree-1", "tool": "bake", "bootstrap": {{}},
            "packages": {{"zlib--1": {{"path": "x", "sha256": "{digest}", "size": 1}}}}}}"#
    )
}

fn index_of(digest: Digest) -> BTreeMap<PackageId, Digest> {
    BTreeMap::from([("zlib--1".parse().unwrap(), digest)])
}

#[test]
fn a_signed_manifest_gives_the_digests_of_its_packages() {
    let (scene, digest) = (Scene::new(), Digest::of(b"zlib"));
    let (other, key) = (scene.key("other"), scene.key("key"));
    scene.manifest(&manifest(digest));
    scene.sign("key", "out/manifest.json");
    let keys = [other, key];
    assert_eq!(scene.digests(&BTreeMap::new(), &["out"], &keys).unwrap(), index_of(digest));
    assert_eq!(scene.digests(&index_of(digest), &["out", "out"], &keys).unwrap(), index_of(digest));
}

#[test]
fn a_manifest_without_a_signature_is_not_trusted() {
    let scene = Scene::new();
    let key = scene.key("key");
    assert_eq!(
        scene.refused(std::slice::from_ref(&key)),
        "`file:///out/manifest.json` is needed to trust what lies beside it: leave out the repository or the trusted \
         keys; `file:///out/manifest.json` cannot be read: No such file or directory (os error 2)"
    );
    scene.manifest(&manifest(Digest::of(b"zlib")));
    assert_eq!(
        scene.refused(&[key]),
        "`file:///out/manifest.json` is not signed: sign it with `minisign -Sm manifest.json`, or leave out the \
         repository or the trusted keys; `file:///out/manifest.json.minisig` cannot be read: No such file or \
         directory (os error 2)"
    );
}

#[test]
fn a_signature_by_another_key_is_not_trusted() {
    let scene = Scene::new();
    let (key, _) = (scene.key("key"), scene.key("other"));
    scene.manifest(&manifest(Digest::of(b"zlib")));
    scene.sign("other", "out/manifest.json");
    assert_eq!(
        scene.refused(&[key]),
        "`file:///out/manifest.json.minisig` is by another key than the trusted ones: `key.pub`"
    );
}

#[test]
fn a_signature_is_that_of_one_manifest_with_one_trusted_comment() {
    const MISFIT: &str = "`file:///out/manifest.json.minisig` does not fit: the manifest or the signature was changed, \
                          or the manifest was made anew and not signed again";
    let scene = Scene::new();
    let keys = [scene.key("key")];
    let signature = scene.path("out/manifest.json.minisig");
    scene.manifest(&manifest(Digest::of(b"zlib")));
    scene.sign("key", "out/manifest.json");
    let right = fs::read_to_string(&signature).unwrap();

    scene.manifest(&manifest(Digest::of(b"evil")));
    assert_eq!(scene.refused(&keys), MISFIT, "changed manifest");

    scene.manifest(&manifest(Digest::of(b"zlib")));
    fs::write(scene.path("other"), "another file").unwrap();
    scene.sign("key", "other");
    fs::copy(scene.path("other.minisig"), &signature).unwrap();
    assert_eq!(scene.refused(&keys), MISFIT, "signature of another file");

    let of_other = fs::read_to_string(scene.path("other.minisig")).unwrap();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (right, of_other) = (lines(&right), lines(&of_other));
    for taken in [vec![2], vec![3], vec![2, 3]] {
        let mut mixed = right.clone();
        for line in &taken {
            mixed[*line].clone_from(&of_other[*line]);
        }
        fs::write(&signature, mixed.join("\n")).unwrap();
        assert_eq!(scene.refused(&keys), MISFIT, "lines {taken:?} of another signature");
    }
    fs::write(&signature, right.join("\n")).unwrap();
    scene.digests(&BTreeMap::new(), &["out"], &keys).unwrap();
}

#[test]
fn a_signature_that_is_cut_anywhere_is_none() {
    let scene = Scene::new();
    let keys = [scene.key("key")];
    scene.manifest(&manifest(Digest::of(b"zlib")));
    scene.sign("key", "out/manifest.json");
    let signature = scene.path("out/manifest.json.minisig");
    let right = fs::read(&signature).unwrap();
    assert_eq!(right.last(), Some(&b'\n'));
    for length in 0..right.len() - 1 {
        fs::write(&signature, &right[..length]).unwrap();
        assert_eq!(
            scene.refused(&keys),
            "`file:///out/manifest.json.minisig` is no signature of minisign: expected the four lines that it writes",
            "{length} of {} bytes",
            right.len()
        );
    }
}

#[test]
fn a_signature_of_the_legacy_format_is_refused() {
    let scene = Scene::new();
    let keys = [scene.key("key")];
    scene.manifest(&manifest(Digest::of(b"zlib")));
    scene.minisign(&["-S", "-W", "-l", "-s", "key", "-m", "out/manifest.json"]);
    assert_eq!(
        scene.refused(&keys),
        "`file:///out/manifest.json.minisig` is of the legacy format: expected one that was made without `-l`"
    );
}

#[test]
fn what_is_signed_has_to_be_a_manifest_of_a_tree() {
    let scene = Scene::new();
    let keys = [scene.key("key")];
    for (text, reason) in [
        ("[]", "no manifest of a tree"),
        (
            r#"{"schema": "bake-disk-1", "packages": {}}"#,
            "its schema is `bake-disk-1`: expected `bake-tree-1`",
        ),
        (r#"{"schema": "bake-tree-1", "packages": {"../x": {"sha256": ""}}}"#, "is no package id"),
    ] {
        scene.manifest(text);
        scene.sign("key", "out/manifest.json");
        let said = scene.refused(&keys);
        assert!(said.starts_with("`file:///out/manifest.json` is signed") && said.contains(reason), "{said}");
    }
}

#[test]
fn a_manifest_larger_than_the_limit_is_not_read() {
    let scene = Scene::new();
    let keys = [scene.key("key")];
    fs::File::create(scene.path("out/manifest.json")).unwrap().set_len(index::LARGEST + 1).unwrap();
    scene.sign("key", "out/manifest.json");
    let said = scene.refused(&keys);
    assert!(said.ends_with("cannot be read: it is larger than the limit of 16777216 bytes"), "{said}");
}

#[test]
fn a_lock_and_indexes_have_to_agree() {
    let scene = Scene::new();
    let keys = [scene.key("key")];
    let (here, there) = (Digest::of(b"here"), Digest::of(b"there"));
    scene.manifest(&manifest(here));
    scene.sign("key", "out/manifest.json");
    assert_eq!(
        scene.digests(&index_of(there), &["out"], &keys).unwrap_err(),
        format!(
            "`file:///out/manifest.json` contradicts what else is trusted:\n  \
             `zlib--1` is {here} here and {there} in `bake.lock`"
        )
    );
    fs::rename(scene.path("out"), scene.path("first")).unwrap();
    fs::create_dir(scene.path("out")).unwrap();
    scene.manifest(&manifest(there));
    scene.sign("key", "out/manifest.json");
    let said = scene.digests(&BTreeMap::new(), &["first", "out"], &keys).unwrap_err();
    assert!(said.contains(&format!("{there} here and {here} in `file:///first/manifest.json`")), "{said}");
}

#[test]
fn a_key_is_given_by_itself_or_by_its_file() {
    let scene = Scene::new();
    scene.key("key");
    let lines = fs::read_to_string(scene.path("key.pub")).unwrap();
    let text = lines.lines().nth(1).unwrap();
    TrustedKey::find(text, Path::new("/nonexistent")).unwrap();
    let refused = |text: &str| TrustedKey::find(text, scene.0.path()).unwrap_err().to_string();
    assert_eq!(
        refused("key"),
        "`key` holds no public key of minisign: expected the two lines that `minisign -G` writes",
        "the secret half"
    );
    assert_eq!(
        refused(&text[1..]),
        format!(
            "`{}` is no public key of minisign (56 characters that begin with `RW`), and as a file it cannot be \
             read: No such file or directory (os error 2)",
            &text[1..]
        )
    );
}
