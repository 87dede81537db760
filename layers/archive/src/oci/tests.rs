use std::fs;
use std::path::PathBuf;

use bake_tree::Follow;

use super::*;
use crate::open_rootfs;

/// A base in a directory: one layer with Docker's or OCI's name.
struct Base {
    scratch: tempfile::TempDir,
}

fn tree(files: &[(&str, &str)]) -> ValidTree {
    let mut tree = Tree::new();
    for (path, text) in files {
        let path = TreePath::parse(path.as_bytes()).unwrap();
        tree.put(&path, Metadata::root(0o644), Node::File(Content::bytes(text.as_bytes()))).unwrap();
    }
    tree.clamp_times(Epoch::from_seconds(1000));
    ValidTree::new(tree).unwrap()
}

impl Base {
    fn new(layer_type: &str, more: &Value) -> Self {
        let base = Self { scratch: tempfile::tempdir().unwrap() };
        let mut tar = Vec::new();
        write_tar(&tree(&[("usr/a", "old"), ("usr/b", "gone")]), &mut tar).unwrap();
        let diff_id = format!("sha256:{}", Digest::of(&tar));
        let layer = base.blob(layer_type, &tar);
        let mut config = json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "config": {"Labels": {"containers.bootc": "1"}}, "unknown": [{"field": 1}],
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config = base.blob(CONFIG, config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer],
            "annotations": {"ostree.kept": "yes"}});
        let manifest = base.blob(MANIFEST, manifest.to_string().as_bytes());
        base.file("index.json", json!({"schemaVersion": 2, "manifests": [manifest]}).to_string().as_bytes());
        base.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        base
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("base")
    }

    fn file(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        self.file(&format!("blobs/sha256/{}", Digest::of(bytes)), bytes);
        descriptor(media_type, bytes)
    }

    fn options(&self) -> OpenOptions<'_> {
        OpenOptions { scratch: self.scratch.path().to_owned(), ..OpenOptions::default() }
    }

    /// The archive of the image with one more layer.
    fn extended(&self) -> (Layout, Vec<u8>) {
        let (_, image) = open_image(&self.path(), &self.options()).unwrap();
        let mut blob = Vec::new();
        let layer = write_layer(&tree(&[("usr/a", "new"), ("usr/.wh.b", ""), ("usr/c", "c")]), &mut blob);
        let layer = layer.unwrap();
        assert_eq!((layer.digest, layer.size), (Digest::of(&blob), blob.len() as u64));
        let step = Step { name: "site", created: Epoch::from_seconds(951_782_400), created_by: "a test" };
        let layout = image.with_layer(&layer, Content::bytes(blob), &step).unwrap();
        let mut archive = Vec::new();
        write_tar(&layout.tree, &mut archive).unwrap();
        (layout, archive)
    }
}

fn document(layout: &Layout, name: &str) -> Value {
    let path = TreePath::parse(name.as_bytes()).unwrap();
    serde_json::from_slice(&layout.tree.tree().read(&path, 1 << 20).unwrap().unwrap()).unwrap()
}

#[test]
fn an_image_gets_a_layer_and_its_own_blobs_stay() {
    let base = Base::new(LAYER, &json!({"history": [{"created_by": "the vendor"}]}));
    let (layout, archive) = base.extended();
    let out = base.scratch.path().join("site.oci.tar");
    fs::write(&out, &archive).unwrap();
    let opened = open_rootfs(&out, &base.options()).unwrap();
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        tree.apply(members, policy).unwrap();
    }
    let read = |name: &str| tree.read(&TreePath::parse(name.as_bytes()).unwrap(), 99).unwrap();
    assert_eq!(
        (read("usr/a").unwrap(), read("usr/b"), read("usr/c").unwrap()),
        (b"new".to_vec(), None, b"c".to_vec())
    );
    for blob in fs::read_dir(base.path().join("blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let path = format!("blobs/sha256/{}", blob.file_name().into_string().unwrap());
        let there = layout.tree.tree().lookup(&TreePath::parse(path.as_bytes()).unwrap(), Follow::Last);
        let text = fs::read_to_string(blob.path()).unwrap_or_default();
        let is_document = text.starts_with('{');
        assert_eq!(there.is_some(), !is_document, "{path}: layers stay and documents are written anew");
    }
    let manifest = document(&layout, &format!("blobs/sha256/{}", layout.manifest));
    let config = document(&layout, &format!("blobs/sha256/{}", layout.config));
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(manifest["annotations"]["ostree.kept"], "yes");
    assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    assert_eq!(config["config"]["Labels"]["containers.bootc"], "1");
    assert_eq!(config["unknown"], json!([{"field": 1}]));
    assert_eq!(config["created"], "2000-02-29T00:00:00Z");
    assert_eq!(config["history"][1], json!({"created": "2000-02-29T00:00:00Z", "created_by": "a test"}));
    let index = document(&layout, "index.json");
    assert_eq!(index["manifests"][0]["annotations"][REF_NAME], "site");
    assert_eq!(index["manifests"][0]["platform"], json!({"architecture": "amd64", "os": "linux"}));
    assert_eq!(base.extended().1, archive, "the same bytes again");
}

#[test]
fn docker_s_names_become_oci_s_and_no_history_is_made_up() {
    let base = Base::new(DOCKER_LAYER, &json!({}));
    let (layout, _) = base.extended();
    let manifest = document(&layout, &format!("blobs/sha256/{}", layout.manifest));
    assert_eq!(manifest["layers"][0]["mediaType"], LAYER);
    let config = document(&layout, &format!("blobs/sha256/{}", layout.config));
    assert_eq!(config.get("history"), None);
    assert_eq!(oci_layer(&format!("{DOCKER_LAYER}.gzip")).unwrap(), format!("{LAYER}+gzip"));
    assert_eq!(oci_layer(LAYER), None);
}

#[test]
fn what_is_no_layout_is_refused_with_the_way_to_one() {
    let scratch = tempfile::tempdir().unwrap();
    let options = OpenOptions { scratch: scratch.path().to_owned(), ..OpenOptions::default() };
    let mut tar = Vec::new();
    write_tar(&tree(&[("etc/os-release", "ID=x")]), &mut tar).unwrap();
    fs::write(scratch.path().join("rootfs.tar"), tar).unwrap();
    for path in [scratch.path().join("rootfs.tar"), scratch.path().to_owned()] {
        let error = open_image(&path, &options).map(drop).unwrap_err().to_string();
        assert!(error.contains("skopeo copy"), "{error}");
    }
}

#[test]
fn a_damaged_blob_of_the_base_is_found() {
    let base = Base::new(LAYER, &json!({}));
    let blobs = base.path().join("blobs/sha256");
    let largest = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    bytes[600] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let error = open_image(&base.path(), &base.options()).map(drop).unwrap_err().to_string();
    assert!(error.contains("expected"), "{error}");
}

#[test]
fn instants_are_dates_of_the_calendar() {
    for (seconds, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_868_799, "2000-02-29T23:59:59Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_767_225_600, "2026-01-01T00:00:00Z"),
        (15_032_385_535, "2446-05-10T22:38:55Z"),
    ] {
        assert_eq!(rfc3339(Epoch::from_seconds(seconds)), expected);
    }
}
