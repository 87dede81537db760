//! The same layers wrapped as the container world wraps them: OCI layouts and `docker save` archives.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::Digest;
use serde_json::{Value, json};

use super::run;

/// An OCI image layout of these layers, each a tar of any compression with its media type, in a new directory.
pub fn oci_layout(layers: &[(PathBuf, &str)], architecture: &str, directory: &Path) {
    fs::create_dir_all(directory.join("blobs/sha256")).unwrap();
    let descriptors: Vec<Value> = layers
        .iter()
        .map(|(layer, media_type)| descriptor(directory, &fs::read(layer).unwrap(), media_type))
        .collect();
    let plain = |path: &Path| Digest::of(&decompressed(path)).to_string();
    let diff_ids: Vec<String> = layers.iter().map(|(layer, _)| format!("sha256:{}", plain(layer))).collect();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config =
        descriptor(directory, config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": descriptors });
    let mut manifest = descriptor(directory, manifest.to_string().as_bytes(), manifest_type);
    manifest["platform"] = json!({ "architecture": architecture, "os": "linux" });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

/// What `docker save` would write for these layers, which are plain tars, into a new file; `work` is scratch.
pub fn docker_archive(layers: &[PathBuf], architecture: &str, work: &Path, archive: &Path) {
    fs::create_dir_all(work).unwrap();
    let mut names = Vec::new();
    let mut diff_ids = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let bytes = fs::read(layer).unwrap();
        diff_ids.push(format!("sha256:{}", Digest::of(&bytes)));
        let name = format!("layer-{index}/layer.tar");
        fs::create_dir_all(work.join(&name).parent().unwrap()).unwrap();
        fs::write(work.join(&name), bytes).unwrap();
        names.push(name);
    }
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let config_name = format!("{}.json", Digest::of(config.as_bytes()));
    fs::write(work.join(&config_name), config).unwrap();
    let manifest = json!([{ "Config": config_name, "RepoTags": ["bake:test"], "Layers": names }]);
    fs::write(work.join("manifest.json"), manifest.to_string()).unwrap();
    pack(work, archive);
}

/// Everything in `directory` as a plain tar.
pub fn pack(directory: &Path, archive: &Path) {
    run(Command::new("tar").arg("-C").arg(directory).arg("-cf").arg(archive).arg("."));
}

fn descriptor(directory: &Path, blob: &[u8], media_type: &str) -> Value {
    let digest = Digest::of(blob);
    fs::write(directory.join("blobs/sha256").join(digest.to_string()), blob).unwrap();
    json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": blob.len() })
}

/// What the standard tools decompress a file to.
fn decompressed(path: &Path) -> Vec<u8> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => "gzip",
        Some("zst") => "zstd",
        _ => return fs::read(path).unwrap(),
    };
    let output = super::output(Command::new(program).arg("-dcq").arg(path));
    assert!(output.status.success(), "{}", super::text(&output.stderr));
    output.stdout
}
