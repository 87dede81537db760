use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use bake_base::Digest;
use bake_host::product::{Blob, Bootstrap, Product, SCHEMA};
use tempfile::TempDir;

use super::{Item, Release, publish, write_secrets};
use crate::{Body, ConfigFile, Target};

/// A release whose files are called after `id`, which is a digit.
fn release(id: char) -> Release {
    let config_id: String = std::iter::repeat_n(id, 40).collect();
    let blob = |path: String| Blob { sha256: Digest::of(path.as_bytes()), size: path.len() as u64, path };
    let package = format!("packages/dcos-config/dcos-config--setup_{config_id}.tar.xz");
    let tarball = format!("bootstrap/{config_id}.bootstrap.tar.xz");
    let program = "bin/".to_owned() + &"0".repeat(64) + "/pkgpanda";
    let product = Product {
        schema: SCHEMA.to_owned(),
        config_id: config_id.clone(),
        bootstrap: Bootstrap {
            id: config_id.clone(),
            packages: BTreeMap::new(),
            blob: blob(tarball.clone()),
        },
        packages: BTreeMap::new(),
        active: vec![format!("dcos-config--setup_{config_id}").parse().unwrap()],
        files: BTreeMap::new(),
        secrets: vec![],
        pkgpanda: blob(program.clone()),
    };
    let item = |path: String| Item::bytes(path.clone(), path);
    let document = serde_json::to_vec(&product).unwrap();
    Release {
        blobs: vec![
            item(package),
            item(tarball),
            item(program).executable(),
            Item::bytes(format!("products/{config_id}.json"), document),
        ],
        pointers: vec![Item::bytes("bootstrap.latest", config_id.clone())],
        installer: Item::bytes("dcos_install.sh", format!("# {config_id}")).executable(),
        product,
    }
}

fn quietly(release: &Release, out: &Path, prune: bool) -> Result<Vec<String>, crate::Error> {
    publish(release, out, prune, &|_| {})
}

fn place() -> (TempDir, std::path::PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let out = scratch.path().join("serve");
    (scratch, out)
}

#[test]
fn a_second_run_changes_nothing() {
    let (_scratch, out) = place();
    let changed = quietly(&release('1'), &out, false).unwrap();
    assert_eq!(changed.len(), 7, "{changed:?}");
    let inode = |name: &str| {
        let metadata = fs::metadata(out.join(name)).unwrap();
        (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.mode() & 0o7777)
    };
    let before = [inode("dcos_install.sh"), inode("SHA256SUMS"), inode("bootstrap")];
    assert_eq!((before[0].3, before[1].3, before[2].3), (0o755, 0o644, 0o755));
    assert_eq!(quietly(&release('1'), &out, true).unwrap(), Vec::<String>::new());
    assert_eq!([inode("dcos_install.sh"), inode("SHA256SUMS"), inode("bootstrap")], before);
}

#[test]
fn modes_are_mended_and_what_killed_runs_left_is_swept() {
    let (_scratch, out) = place();
    quietly(&release('1'), &out, false).unwrap();
    fs::set_permissions(out.join("bootstrap.latest"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(out.join("packages"), Permissions::from_mode(0o700)).unwrap();
    fs::write(out.join("products/.unfinished-1-2"), "half").unwrap();
    assert_eq!(quietly(&release('1'), &out, false).unwrap(), Vec::<String>::new());
    let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("bootstrap.latest"), mode("packages")), (0o644, 0o755));
    assert!(!out.join("products/.unfinished-1-2").exists());
}

#[test]
fn damage_is_told_where_names_promise_content_and_mended_elsewhere() {
    let (_scratch, out) = place();
    let release = release('1');
    quietly(&release, &out, false).unwrap();
    for item in &release.blobs {
        let path = out.join(&item.path);
        let right = fs::read(&path).unwrap();
        fs::write(&path, "other").unwrap();
        let error = quietly(&release, &out, false).unwrap_err().to_string();
        assert!(error.contains(&item.path) && error.contains("remove it and run again"), "{error}");
        fs::write(&path, right).unwrap();
    }
    fs::write(out.join("bootstrap.latest"), "other").unwrap();
    fs::remove_file(out.join("dcos_install.sh")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", out.join("dcos_install.sh")).unwrap();
    let changed = quietly(&release, &out, false).unwrap();
    assert_eq!(changed, ["bootstrap.latest", "dcos_install.sh"]);
    assert!(fs::symlink_metadata(out.join("dcos_install.sh")).unwrap().is_file());
}

#[test]
fn older_releases_stay_until_they_are_pruned_and_foreign_files_for_ever() {
    let (_scratch, out) = place();
    quietly(&release('1'), &out, false).unwrap();
    let foreign =
        ["note.txt", "packages/dcos-config/README", "bootstrap/mine.bootstrap.tar.xz", "products/x.json"];
    for name in foreign {
        fs::write(out.join(name), "mine").unwrap();
    }
    quietly(&release('2'), &out, false).unwrap();
    let sums = || fs::read_to_string(out.join("SHA256SUMS")).unwrap();
    let ones = "1".repeat(40);
    assert!(sums().contains(&format!("bootstrap/{ones}")) && sums().contains(&"2".repeat(40)), "{}", sums());
    let removed: Vec<_> = quietly(&release('2'), &out, true).unwrap();
    assert!(removed.contains(&format!("products/{ones}.json")), "{removed:?}");
    assert!(!sums().contains(&ones));
    for item in release('2').blobs {
        assert!(out.join(&item.path).exists(), "{}", item.path);
    }
    // They share the program.
    for item in release('1').blobs.iter().filter(|item| !item.path.starts_with("bin/")) {
        assert!(!out.join(&item.path).exists(), "{}", item.path);
    }
    for name in foreign {
        assert_eq!(fs::read_to_string(out.join(name)).unwrap(), "mine");
    }
}

#[test]
fn one_writes_at_a_time() {
    let (_scratch, out) = place();
    quietly(&release('1'), &out, false).unwrap();
    let lock = fs::File::open(out.join(".lock")).unwrap();
    lock.lock().unwrap();
    let error = quietly(&release('1'), &out, false).unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
}

#[test]
fn secrets_are_for_their_owner_and_go_when_there_are_none() {
    let (scratch, _) = place();
    let directory = scratch.path().join("serve.secrets");
    let secret = ConfigFile {
        target: Target::Secret,
        path: "/etc/mesosphere/secrets/token".to_owned(),
        body: Body::File { mode: 0o600, content: b"s3cret".to_vec() },
    };
    assert!(!write_secrets(&[], &directory).unwrap());
    assert!(!directory.exists());
    assert!(write_secrets(std::slice::from_ref(&secret), &directory).unwrap());
    assert!(!write_secrets(std::slice::from_ref(&secret), &directory).unwrap());
    let tar = directory.join("dcos-secrets.tar");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&directory), mode(&tar)), (0o700, 0o600));
    fs::set_permissions(&tar, Permissions::from_mode(0o644)).unwrap();
    assert!(write_secrets(std::slice::from_ref(&secret), &directory).unwrap());
    assert_eq!(mode(&tar), 0o600);
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    let error = write_secrets(&[secret], &directory).unwrap_err().to_string();
    assert!(error.contains("chmod 700"), "{error}");
    assert!(write_secrets(&[], &directory).unwrap());
    assert!(!directory.exists());
}
