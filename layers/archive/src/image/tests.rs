//! Layouts made by hand: every document can lie.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use bake_tree::Follow;
use serde_json::{Value, json};

use super::*;
use crate::{InputKind, Opened, open_rootfs};

/// A layout in the making: paths and contents.
#[derive(Clone, Default)]
struct Layout {
    files: BTreeMap<String, Vec<u8>>,
    manifests: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.files.insert(format!("blobs/sha256/{digest}"), bytes);
        descriptor
    }

    /// Adds an image of these layers; its manifest's descriptor.
    fn image(&mut self, architecture: &str, layers: &[(&str, Vec<u8>)]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| format!("sha256:{}", Digest::of(tar))).collect();
        let layers: Vec<_> = layers
            .iter()
            .map(|(kind, tar)| {
                let media_type = format!("application/vnd.oci.image.layer.v1.tar{kind}");
                self.blob(&media_type, compress(kind, tar))
            })
            .collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string())
    }

    fn list(mut self, manifest: Value) -> Self {
        self.manifests.push(manifest);
        self
    }

    /// All files, with the index.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.files.clone();
        let index = json!({"schemaVersion": 2, "manifests": self.manifests});
        files.entry("index.json".into()).or_insert_with(|| index.to_string().into());
        files.entry("oci-layout".into()).or_insert_with(|| br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        files
    }

    fn write(&self) -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let top = scratch.path().join("layout");
        for (path, bytes) in self.files() {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        (scratch, top)
    }

    fn open(&self) -> Result<Opened, ArchiveError> {
        let (scratch, top) = self.write();
        open_rootfs(&top, &options(scratch.path()))
    }

    fn error(&self) -> String {
        self.open().expect_err("this layout is no good").to_string()
    }

    /// Replaces text in every document, keeping digests as they were.
    fn lie(mut self, from: &str, to: &str) -> Self {
        for bytes in self.files.values_mut() {
            if let Ok(text) = std::str::from_utf8(bytes) {
                *bytes = text.replace(from, to).into();
            }
        }
        self
    }
}

fn options(scratch: &Path) -> OpenOptions<'static> {
    OpenOptions { scratch: scratch.to_owned(), threads: 2, ..OpenOptions::default() }
}

fn compress(kind: &str, bytes: &[u8]) -> Vec<u8> {
    match kind {
        "" => bytes.to_vec(),
        "+zstd" => zstd::encode_all(bytes, 3).unwrap(),
        "+gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        other => panic!("{other}"),
    }
}

/// A tar of files with these contents; directories end with a slash, links have `->` before their target.
fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some(target) = content.strip_prefix("->") {
            header.set_size(0);
            header.set_entry_type(tar::EntryType::Link);
            builder.append_link(&mut header, name, target).unwrap();
            continue;
        }
        header.set_size(content.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn merged(opened: Opened) -> Tree {
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        tree.apply(members, policy).unwrap();
        tree.seal();
    }
    tree
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    let path = TreePath::from_root(path.as_bytes()).unwrap();
    tree.read(&path, 1000).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Three layers that use every rule, in every compression.
fn layers() -> Vec<(&'static str, Vec<u8>)> {
    let lowest = tar_of(&[
        ("etc/", ""),
        ("etc/a", "a"),
        ("etc/gone", "gone"),
        ("lib/", ""),
        ("lib/old/", ""),
        ("lib/old/x", "x"),
        ("opt/", ""),
        ("opt/below", "below"),
        ("turns", "into a directory"),
    ]);
    let middle = tar_of(&[
        ("etc/.wh.gone", ""),
        ("lib/.wh.old", ""),
        ("opt/new", "new"),
        ("opt/.wh..wh..opq", ""),
        ("turns/", ""),
        ("turns/file", "inside"),
    ]);
    let upper = tar_of(&[("etc/b", "->etc/a"), ("opt/newer", "newer")]);
    vec![("", lowest), ("+gzip", middle), ("+zstd", upper)]
}

fn layout() -> Layout {
    let mut layout = Layout::default();
    let image = layout.image("amd64", &layers());
    layout.list(image)
}

/// Checks the tree and gives the image's digest.
fn check(mut opened: Opened) -> Digest {
    let digest = opened.inputs.remove(0).digest;
    let tree = &merged(opened);
    for (path, expected) in [
        ("etc/a", Some("a")),
        ("etc/b", Some("a")),
        ("etc/gone", None),
        ("lib/old/x", None),
        ("opt/below", None),
        ("opt/new", Some("new")),
        ("opt/newer", Some("newer")),
        ("turns/file", Some("inside")),
    ] {
        assert_eq!(text(tree, path).as_deref(), expected, "{path}");
    }
    let id = |path: &[u8]| tree.lookup(&TreePath::parse(path).unwrap(), Follow::Parents);
    assert_eq!(id(b"etc/a"), id(b"etc/b"));
    digest.wait().unwrap()
}

#[test]
fn layers_come_in_order_in_every_compression_and_packing() {
    let opened = layout().open().unwrap();
    assert_eq!(opened.layers.len(), 3);
    assert!(opened.layers.iter().all(|(_, policy)| *policy == Policy::OCI));
    assert_eq!(opened.inputs[0].kind, InputKind::OciLayout);
    let digest = check(opened);

    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in layout().files() {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("./{path}"), &bytes[..]).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    for kind in ["", "+gzip", "+zstd"] {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("archive");
        fs::write(&path, compress(kind, &archive)).unwrap();
        let opened = open_rootfs(&path, &options(scratch.path())).unwrap();
        assert_eq!(opened.inputs[0].kind, InputKind::OciArchive);
        assert_eq!(check(opened), digest);
        let error = crate::open_overlay(&path, &options(scratch.path())).unwrap_err().to_string();
        assert!(error.contains("is a container image: expected a tar or a directory"), "{error}");
    }
}

#[test]
fn docker_archives_are_read_with_and_without_links_between_layers() {
    let layers = layers();
    let tars: Vec<_> = layers.iter().map(|(kind, tar)| compress(kind, tar)).collect();
    let diff_ids: Vec<_> = layers.iter().map(|(_, tar)| format!("sha256:{}", Digest::of(tar))).collect();
    let config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": diff_ids}}).to_string();
    let id = Digest::of(config.as_bytes());
    let archive = |manifest: Value, config: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        add(&format!("{id}.json"), config.as_bytes());
        add("one/layer.tar", &tars[0]);
        add("two/layer.tar", &tars[1]);
        add("three.tar", &tars[2]);
        add("manifest.json", manifest.to_string().as_bytes());
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "three/layer.tar", "../three.tar").unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("saved.tar");
        fs::write(&path, builder.into_inner().unwrap()).unwrap();
        open_rootfs(&path, &options(scratch.path()))
    };
    let image =
        |layers: &[&str]| json!({"Config": format!("{id}.json"), "RepoTags": ["it:1"], "Layers": layers});
    let paths = ["one/layer.tar", "two/layer.tar", "three/layer.tar"];
    let opened = archive(json!([image(&paths)]), &config).unwrap();
    assert_eq!(opened.inputs[0].kind, InputKind::DockerArchive);
    assert_eq!(check(opened), id);

    let error = |manifest, config: &str| archive(manifest, config).unwrap_err().to_string();
    let other = config.replace("linux", "linux ");
    for (found, reason) in [
        (error(json!([image(&paths[..2])]), &config), "3 diff_ids: expected one for each of the 2 layers"),
        (error(json!([image(&["one/layer.tar", "three.tar", "two/layer.tar"])]), &config), "has the digest"),
        (error(json!([image(&["one/layer.tar", "two/layer.tar", "none"])]), &config), "`none` is missing"),
        (error(json!([image(&["one/layer.tar", "two/layer.tar", "../none"])]), &config), "`..`"),
        (error(json!([image(&["one/layer.tar", "two/layer.tar", "/etc/passwd"])]), &config), "is absolute"),
        (error(json!([image(&paths), image(&paths)]), &config), "2 images for linux/amd64"),
        (error(json!([]), &config), "no image for linux/amd64"),
        (error(json!({}), &config), "is not what it should be"),
        (error(json!([image(&paths)]), &other), "has the digest"),
    ] {
        assert!(found.contains("saved.tar`") && found.contains(reason), "{reason}: {found}");
    }
}

#[test]
fn the_platform_is_chosen_by_architecture() {
    let tar = |text| tar_of(&[("arch", text)]);
    let mut layout = Layout::default();
    let mut described = |architecture: &str, variant: Option<&str>, text| {
        let mut descriptor = layout.image(architecture, &[("", tar(text))]);
        let mut platform = json!({"architecture": architecture, "os": "linux"});
        if let Some(variant) = variant {
            platform["variant"] = variant.into();
        }
        descriptor["platform"] = platform;
        descriptor
    };
    let amd64 = described("amd64", None, "amd64");
    let modern = described("amd64", Some("v3"), "amd64 v3");
    let arm64 = described("arm64", Some("v8"), "arm64");
    let mut attestation = described("amd64", None, "attestation");
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let mut unknown = described("amd64", None, "unknown");
    unknown["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    let elsewhere = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7,
        "digest": format!("sha256:{}", "0".repeat(64)), "platform": {"architecture": "s390x", "os": "linux"}
    });
    let inner = json!({"schemaVersion": 2, "manifests": [modern, attestation, amd64, unknown, elsewhere]});
    let index = "application/vnd.oci.image.index.v1+json";
    let inner = layout.blob(index, inner.to_string());
    let outer = json!({"schemaVersion": 2, "manifests": [inner, {"mediaType": "text/x", "size": 1,
        "digest": format!("sha256:{}", "1".repeat(64))}]});
    let outer = layout.blob(index, outer.to_string());
    // The same image under two names is one image.
    let (mut once, mut twice) = (arm64.clone(), arm64);
    once["annotations"] = json!({"org.opencontainers.image.ref.name": "once"});
    twice["annotations"] = json!({"org.opencontainers.image.ref.name": "twice"});
    let layout = layout.list(outer.clone()).list(once).list(twice).list(outer);

    let (scratch, top) = layout.write();
    let open = |architecture| open_rootfs(&top, &OpenOptions { architecture, ..options(scratch.path()) });
    for (architecture, expected) in
        [("x86_64", "amd64"), ("amd64", "amd64"), ("aarch64", "arm64"), ("arm64", "arm64")]
    {
        assert_eq!(text(&merged(open(architecture).unwrap()), "arch").as_deref(), Some(expected));
    }
    let error = open("s390x").unwrap_err().to_string();
    assert!(error.contains(&format!("the blob `sha256:{}` is missing", "0".repeat(64))), "{error}");
    let error = open("riscv64").unwrap_err().to_string();
    for part in ["no image for linux/riscv64", "linux/amd64/v3", "linux/arm64/v8 as `once`", "linux/s390x"] {
        assert!(error.contains(part), "{error}");
    }

    // Without a platform in the index, the configuration tells; two that fit are one too many.
    let mut layout = Layout::default();
    let (one, two) = (layout.image("amd64", &[("", tar("1"))]), layout.image("amd64", &[("", tar("2"))]));
    let arm = layout.image("arm64", &[("", tar("arm"))]);
    let layout = layout.list(one).list(arm);
    assert_eq!(text(&merged(layout.open().unwrap()), "arch").as_deref(), Some("1"));
    let error = layout.list(two).error();
    assert!(error.contains("2 images for linux/amd64: expected exactly one"), "{error}");
}

#[test]
fn digests_and_sizes_are_verified() {
    let blobs: Vec<String> = layout().files.keys().cloned().collect();
    assert_eq!(blobs.len(), 5);
    for blob in &blobs {
        let name = blob.rsplit('/').next().unwrap();
        let mut damaged = layout();
        let bytes = damaged.files.get_mut(blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let found = Digest::of(bytes).to_string();
        let error = damaged.error();
        assert!(error.contains(name) && error.contains(&found), "{error}");
        assert!(error.contains("layout`: the ") && error.contains("has the digest"), "{error}");

        let mut short = layout();
        short.files.get_mut(blob).unwrap().pop();
        let error = short.error();
        assert!(error.contains(name) && error.contains("bytes: expected"), "{error}");

        let mut missing = layout();
        missing.files.remove(blob);
        let error = missing.error();
        assert!(error.contains(name) && error.contains("is missing"), "{error}");
    }
}

#[test]
fn a_layer_that_decodes_to_something_else_is_refused() {
    // The blob is what its descriptor says, and yet not what the configuration promises.
    for kind in ["", "+gzip", "+zstd"] {
        let mut layout = Layout::default();
        let tar = tar_of(&[("a", "a")]);
        let media_type = format!("application/vnd.oci.image.layer.v1.tar{kind}");
        let layer = layout.blob(&media_type, compress(kind, &tar));
        let promised = Digest::of(b"something else");
        let config = json!({"architecture": "amd64", "os": "linux",
            "rootfs": {"diff_ids": [format!("sha256:{promised}")]}});
        let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string());
        let error = layout.list(manifest).error();
        let (promised, found) = (promised.to_string(), Digest::of(&tar).to_string());
        assert!(error.contains(&promised) && error.contains(&found) && error.contains("decoded"), "{error}");
    }
}

#[test]
fn hostile_and_foreign_documents_are_refused() {
    let list = |digest: &str, media_type: &str| {
        let descriptor = json!({"mediaType": media_type, "digest": digest, "size": 1});
        layout().list(descriptor).error()
    };
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    for digest in ["sha256:../../../etc/passwd", "sha256:", "sha512:00", "../x", "", "SHA256:00"] {
        let error = list(digest, manifest);
        assert!(error.contains("a descriptor has") && error.contains("64"), "{error}");
    }
    let change = |from: &str, to: &str| {
        // Documents are rewritten from the layers up, so that all digests are right.
        let mut changed = Layout::default();
        let image = changed.image("amd64", &layers());
        let changed = changed.lie(from, to);
        let digest = image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = changed.files[&format!("blobs/sha256/{digest}")].clone();
        let mut again = changed.clone();
        let manifest = again.blob("application/vnd.oci.image.manifest.v1+json", bytes);
        again.list(manifest).error()
    };
    let layer = "layer.v1.tar+gzip";
    for (from, to, reason) in [
        (layer, "layer.nondistributable.v1.tar+gzip", "images do not carry"),
        (layer, "layer.v1.squashfs", "expected a tar, plain or compressed"),
        (layer, "layer.v1.tar+encrypted", "expected a tar, plain or compressed"),
        ("oci.image.config.v1+json", "cncf.helm.config.v1+json", "is no image: its configuration is"),
        ("\"schemaVersion\":2", "\"schemaVersion\":1", "schema version 1: expected 2"),
    ] {
        let error = change(from, to);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let mut odd = layout();
    odd.files.insert("oci-layout".into(), br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec());
    assert!(odd.error().contains("version `2.0.0`: expected 1.0.0"));
    odd.files.insert("oci-layout".into(), b"[".to_vec());
    assert!(odd.error().contains("`oci-layout` is not what it should be"));
}

#[test]
fn a_layer_that_changes_while_it_is_used_in_place_is_an_error() {
    let mut layout = Layout::default();
    let tar = tar_of(&[("a", "a")]);
    let path = format!("blobs/sha256/{}", Digest::of(&tar));
    let image = layout.image("amd64", &[("", tar.clone())]);
    let (scratch, top) = layout.list(image).write();
    let mut opened = open_rootfs(&top, &options(scratch.path())).unwrap();
    fs::OpenOptions::new().append(true).open(top.join(path)).unwrap().write_all(b"more").unwrap();
    let error = opened.inputs.remove(0).digest.wait().unwrap_err().to_string();
    assert!(error.contains("changed while it was read"), "{error}");
}

#[test]
fn indexes_that_never_end_are_refused() {
    let mut layout = Layout::default();
    let index = "application/vnd.oci.image.index.v1+json";
    let mut inner = layout.image("amd64", &layers());
    for _ in 0..12 {
        inner = layout.blob(index, json!({"schemaVersion": 2, "manifests": [inner]}).to_string());
    }
    assert!(layout.list(inner).error().contains("lies inside of more than 8 others"));
}

#[test]
fn decoded_layers_are_kept_and_checked() {
    let (scratch, top) = layout().write();
    let cache = scratch.path().join("cache");
    let options = OpenOptions { cache: Some(cache.clone()), ..options(scratch.path()) };
    check(open_rootfs(&top, &options).unwrap());
    let kept = || -> Vec<PathBuf> {
        let mut kept: Vec<_> =
            fs::read_dir(cache.join("layers/sha256")).unwrap().map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        kept
    };
    assert_eq!(kept().len(), 4, "a tar and a description for each of two compressed layers: {:?}", kept());
    let paranoid = OpenOptions { paranoid: true, ..options.clone() };
    check(open_rootfs(&top, &paranoid).unwrap());

    let tar = kept().into_iter().find(|path| path.extension().is_some_and(|end| end == "tar")).unwrap();
    let whole = fs::read(&tar).unwrap();
    let mut other = whole.clone();
    other[0] ^= 1;
    // Times of files may tick slower than this test runs.
    let later = || std::thread::sleep(std::time::Duration::from_millis(30));
    later();
    fs::write(&tar, &other).unwrap();
    for options in [&options, &paranoid] {
        let error = open_rootfs(&top, options).unwrap_err().to_string();
        assert!(
            error.contains("a cached layer") && error.contains("delete it") && error.contains("digest"),
            "{error}"
        );
    }
    // The same content in another file is hashed once and believed from then on.
    later();
    fs::write(&tar, &whole).unwrap();
    let description = fs::read(tar.with_extension("json")).unwrap();
    check(open_rootfs(&top, &options).unwrap());
    assert_ne!(fs::read(tar.with_extension("json")).unwrap(), description);
    // It has to stay as it is while it is used.
    let opened = open_rootfs(&top, &options).unwrap();
    later();
    fs::write(&tar, &whole).unwrap();
    let error = opened.inputs.into_iter().next().unwrap().digest.wait().unwrap_err().to_string();
    assert!(error.contains(".tar` changed while it was read"), "{error}");
    fs::write(&tar, &whole[1..]).unwrap();
    for options in [&options, &paranoid] {
        let error = open_rootfs(&top, options).unwrap_err().to_string();
        assert!(error.contains("a cached layer") && error.contains("bytes: expected"), "{error}");
    }
    fs::remove_file(&tar).unwrap();
    check(open_rootfs(&top, &options).unwrap());
    assert_eq!(kept().len(), 4);

    // A known layer does not excuse a damaged blob.
    later();
    for (path, _) in layout().files {
        let path = top.join(path);
        let mut bytes = fs::read(&path).unwrap();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let last = bytes.len() - 9;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    for options in [&options, &paranoid] {
        let error = open_rootfs(&top, options).unwrap_err().to_string();
        assert!(error.contains("the layer `sha256:") && error.contains("has the digest"), "{error}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let (scratch, top) = layout().write();
    fs::write(scratch.path().join("file"), "").unwrap();
    let cache = scratch.path().join("file/cache");
    let options = OpenOptions { cache: Some(cache), ..options(scratch.path()) };
    let tar = scratch.path().join("it.tar.gz");
    fs::write(&tar, compress("+gzip", &tar_of(&[("a", "b")]))).unwrap();
    for path in [&top, &tar] {
        let opened = open_rootfs(path, &options).unwrap();
        assert!(opened.notes.is_empty(), "an image must not depend on it: {:?}", opened.notes);
        let [warning] = &opened.warnings[..] else { panic!("{:?}", opened.warnings) };
        for part in ["file/cache` cannot be written (", "--no-cache"] {
            assert!(warning.contains(part), "{warning}");
        }
        for input in opened.inputs {
            input.digest.wait().unwrap();
        }
    }
}

#[test]
fn a_layer_says_in_which_file_and_layer_a_member_is_wrong() {
    let mut layout = Layout::default();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.as_old_mut().name[..5].copy_from_slice(b"../up");
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append(&header, &b""[..]).unwrap();
    let image = layout.image("amd64", &[("+gzip", builder.into_inner().unwrap())]);
    let error = layout.list(image).error();
    for part in ["layout: the layer sha256:", "member `../up` at byte 0", "contains `..`"] {
        assert!(error.contains(part), "{error}");
    }
}
