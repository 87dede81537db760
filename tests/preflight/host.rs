//! Root file systems that are whole, and the same with something taken away or put on top.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::members::{self, Member};
use crate::support::tar::{Header, Tar};
use crate::support::{bake, made, output, rootfs, run, scratch, text};

/// What no rule looks at and no image without its users needs, by how its path begins: most of the bytes.
const BALLAST: [&str; 7] = [
    "usr/lib/firmware/",
    "usr/lib/python3",
    "usr/lib/x86_64-linux-gnu/",
    "usr/share/",
    "srv/",
    "var/cache/",
    "var/lib/dpkg/",
];

/// Something on top of a root file system.
#[derive(Clone)]
pub enum Entry {
    File(u32, Vec<u8>),
    Link(&'static str),
}

/// What the hosts of a family are made of.
pub struct Base {
    pub profile: &'static str,
    source: Source,
    /// Every path of the root file system.
    paths: BTreeSet<String>,
    scratch: TempDir,
}

enum Source {
    Tar(Vec<Member>),
    Container { layout: PathBuf, layer: PathBuf },
    Disk(PathBuf),
}

impl Base {
    /// A real root file system, without its ballast.
    pub fn tar(profile: &'static str, name: &str) -> Self {
        let is_kept = |path: &[u8]| {
            let path = plain(&text(path));
            let is_module = path.starts_with("usr/lib/modules/") && path.rsplit('.').next() == Some("ko");
            let is_ballast = is_module || BALLAST.iter().any(|ballast| path.starts_with(ballast));
            !is_ballast || path.contains("/systemd/")
        };
        let members = members::read(&rootfs(name), is_kept);
        let paths = members.iter().map(|member| plain(&text(&member.path))).collect();
        Self { profile, source: Source::Tar(members), paths, scratch: scratch() }
    }

    /// The container image that `ci/oci-base` makes.
    pub fn container(profile: &'static str) -> Self {
        let layout = made("oci/fedora-coreos");
        let document = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let digest = |value: &Value| value["digest"].as_str().unwrap().to_owned();
        let index = document(layout.join("index.json"));
        let manifest = document(blob(&layout, &digest(&index["manifests"][0])));
        // All but /usr/share is in the first.
        let layer = blob(&layout, &digest(&manifest["layers"][0]));
        let listed = run(Command::new("tar").arg("-tzf").arg(&layer));
        let paths = listed.lines().map(plain).collect();
        Self { profile, source: Source::Container { layout, layer }, paths, scratch: scratch() }
    }

    /// The disk that `ci/vendor-disk` makes.
    pub fn disk(profile: &'static str) -> Self {
        let source = Source::Disk(made("vendor/flatcar-short.raw"));
        Self { profile, source, paths: BTreeSet::new(), scratch: scratch() }
    }

    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// The only path that begins and ends like this.
    pub fn find(&self, start: &str, end: &str) -> String {
        let found: Vec<_> =
            self.paths.iter().filter(|path| path.starts_with(start) && path.ends_with(end)).collect();
        assert_eq!(found.len(), 1, "{start}*{end}: {found:?}");
        found[0].clone()
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> String {
        match &self.source {
            Source::Tar(members) => {
                let member = members.iter().find(|member| plain(&text(&member.path)) == path).unwrap();
                text(member.content())
            }
            Source::Container { layer, .. } => {
                run(Command::new("tar").arg("-xzOf").arg(layer).arg(format!("./{path}")))
            }
            Source::Disk(_) => panic!("nothing is read of disks"),
        }
    }

    /// Where what is written by a test may lie.
    pub fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The root file system without some of its files; the ones of a disk stay.
    fn without(&self, removed: &BTreeSet<String>) -> PathBuf {
        match &self.source {
            Source::Tar(members) => {
                let is_removed = |path: &[u8]| removed.contains(&plain(&text(path)));
                // With a file go its other names.
                let kept = members.iter().filter(|member| {
                    !is_removed(&member.path) && !member.hard_link().is_some_and(is_removed)
                });
                let tar = self.at(if removed.is_empty() { "whole.tar" } else { "rootfs.tar" });
                if !removed.is_empty() || !tar.exists() {
                    members::write(kept, &tar);
                }
                tar
            }
            Source::Container { layout, .. } if removed.is_empty() => layout.clone(),
            Source::Container { layout, .. } => {
                let copy = self.at("layout");
                let _ = fs::remove_dir_all(&copy);
                run(Command::new("cp").args(["--archive", "--link"]).arg(layout).arg(&copy));
                // What is a link is not written to.
                let index = fs::read(layout.join("index.json")).unwrap();
                fs::remove_file(copy.join("index.json")).unwrap();
                fs::write(copy.join("index.json"), index).unwrap();
                let image = format!("{}:stable", copy.display());
                let whiteouts = removed.iter().fold(Tar::default(), |tar, path| {
                    let (directory, name) = path.rsplit_once('/').unwrap();
                    tar.file(&format!("{directory}/.wh.{name}"), b"")
                });
                let layer = self.at("whiteouts.tar");
                fs::write(&layer, whiteouts.finish()).unwrap();
                run(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(layer));
                copy
            }
            Source::Disk(disk) => {
                assert!(removed.is_empty(), "{removed:?}");
                disk.clone()
            }
        }
    }
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// A path of a tar without what it begins and ends with.
fn plain(path: &str) -> String {
    path.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// A host that is to be.
#[derive(Clone, Default)]
pub struct Host {
    removed: BTreeSet<String>,
    added: BTreeMap<String, Entry>,
}

impl Host {
    pub fn remove(&mut self, base: &Base, path: &str) {
        self.added.remove(path);
        if base.has(path) {
            self.removed.insert(path.to_owned());
        }
    }

    pub fn file(&mut self, path: &str, content: &str) {
        self.added.insert(path.to_owned(), Entry::File(0o644, content.as_bytes().to_vec()));
    }

    pub fn program(&mut self, path: &str) {
        self.added.insert(path.to_owned(), Entry::File(0o755, b"#!/bin/sh\n".to_vec()));
    }

    pub fn link(&mut self, path: &str, target: &'static str) {
        self.added.insert(path.to_owned(), Entry::Link(target));
    }

    /// The text of a file on top.
    pub fn added_text(&self, path: &str) -> Option<String> {
        match self.added.get(path)? {
            Entry::File(_, content) => Some(text(content)),
            Entry::Link(_) => None,
        }
    }

    /// A unit that starts at boot.
    pub fn starts(&mut self, unit: &str) {
        self.file(&format!("usr/lib/systemd/system/{unit}"), "[Install]\nWantedBy=multi-user.target\n");
        let target = format!("/usr/lib/systemd/system/{unit}");
        self.link(&format!("etc/systemd/system/multi-user.target.wants/{unit}"), target.leak());
    }

    /// The root file system and what is on top.
    pub fn write(&self, base: &Base) -> (PathBuf, PathBuf) {
        let mut tar = Tar::default();
        for (path, entry) in &self.added {
            tar = match entry {
                Entry::File(mode, content) => {
                    tar.member(Header::new(path, b'0', content.len() as u64).mode(*mode), content)
                }
                Entry::Link(target) => tar.symlink(path, target),
            };
        }
        let overlay = base.at("overlay.tar");
        fs::write(&overlay, tar.finish()).unwrap();
        (base.without(&self.removed), overlay)
    }

    /// What `bake image` has to say about it.
    pub fn bake(&self, base: &Base, product: &Path, arguments: &[&str]) -> Output {
        let (rootfs, overlay) = self.write(base);
        let mut command = bake();
        command
            .args(["image", "--profile", base.profile, "--rootfs"])
            .arg(rootfs)
            .arg("--overlay")
            .arg(overlay);
        command.arg("--product").arg(product).arg("--out").arg(base.at("out"));
        if let Source::Container { .. } = base.source {
            // Its layers are compressed, and the same for all.
            command.args(["--format", "oci", "--cache"]).arg(base.at("cache"));
        } else {
            command.arg("--no-cache");
        }
        output(command.args(arguments))
    }
}

/// A product of nothing but packages with these names, and the one that sets hosts up.
pub fn product(names: &BTreeSet<String>, to: &Path) {
    let mut tar = Tar::default();
    for directory in ["./", "active", "bin", "packages"] {
        tar = tar.directory(directory);
    }
    for name in names.iter().map(String::as_str).chain(["pkgpanda"]) {
        let package = format!("packages/{name}--1");
        tar = tar.directory(&package).file(&format!("{package}/pkginfo.json"), b"{}");
        tar = tar.symlink(&format!("active/{name}"), &format!("/opt/mesosphere/{package}"));
        if name == "pkgpanda" {
            tar = tar.directory(&format!("{package}/bin"));
            let program = Header::new(&format!("{package}/bin/pkgpanda"), b'0', 10).mode(0o755);
            tar = tar.member(program, b"#!/bin/sh\n");
        }
    }
    fs::write(to, tar.finish()).unwrap();
}
