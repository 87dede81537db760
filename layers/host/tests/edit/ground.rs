//! The host that is edited.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::yard::{Package, Yard};

pub const APP: &str = "app--1";

pub fn app(id: &str) -> Package {
    Package::new(id)
        .program("bin/app", "#!/bin/sh\necho built\n")
        .link("bin/alias", "app")
        .link("bin/out", "/etc/outside")
        .file("etc/app.conf", "built = true\n")
        .file("share/deep/more/data", "built data\n")
        .file("share/deep/other", "other\n")
        .file("lib_slave/app/agent", "agent\n")
        .file(
            "dcos.target.wants/app.service",
            &format!("[Service]\nExecStart=/opt/mesosphere/packages/{id}/bin/app\n"),
        )
        .unit("dcos.target.wants/more.service", "more")
}

pub fn host() -> Yard {
    let other =
        Package::new("other--1").program("bin/other", "other\n").unit("dcos.target.wants/b.service", "b");
    let yard = Yard::installed(&[app(APP), other], &["slave"]);
    yard.done(&["setup"]);
    yard
}

/// A file with new content, to be taken by `--from`.
pub fn from(yard: &Yard, text: &str) -> String {
    let path = yard.at("new");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Where a path of the host leads, each link resolved below its root.
fn resolved(root: &Path, path: &str) -> PathBuf {
    let (mut ahead, mut at): (Vec<String>, PathBuf) =
        (path.split('/').rev().map(str::to_owned).collect(), PathBuf::new());
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
        } else if let Ok(target) = fs::read_link(root.join(&at).join(&name)) {
            let target = target.to_str().unwrap();
            if target.starts_with('/') {
                at = PathBuf::new();
            }
            ahead.extend(target.split('/').filter(|step| !step.is_empty()).rev().map(str::to_owned));
        } else if !name.is_empty() {
            at.push(name);
        }
    }
    root.join(at)
}

/// What processes of the host read at a path of the install root.
pub fn read(yard: &Yard, path: &str) -> String {
    fs::read_to_string(resolved(&yard.root(), &format!("opt/mesosphere/{path}"))).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Everything below the overrides, but directories.
pub fn copies(yard: &Yard) -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let (top, mut found) = (yard.home("overrides"), Vec::new());
    walk(&top, &mut found);
    let mut names: Vec<_> =
        found.iter().map(|path| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// The bytes of the store, to be compared.
pub fn store(yard: &Yard) -> Vec<(PathBuf, Vec<u8>)> {
    fn walk(directory: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_symlink() {
                let target = fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes();
                found.push((path, target));
            } else if path.is_dir() {
                walk(&path, found);
            } else if path.is_file() {
                let bytes = fs::read(&path).unwrap();
                found.push((path, bytes));
            }
        }
    }
    let mut found = Vec::new();
    walk(&yard.home("packages"), &mut found);
    found.sort();
    found
}
