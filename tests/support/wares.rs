//! A small product, what it is upgraded to, and what a host that runs either of them looks like: for tests that
//! disturb `pkgpanda` on hosts. Needs nothing but `tar` and this folder's `listing.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bake_base::{Digest, json};
use bake_host::product::{Blob, Bootstrap, HostFile, Product, SCHEMA};
use serde_json::{Value, json};

use super::listing::{self, Kind};

/// Each configuration by the directory of its product: `next` is an upgrade of `serve`.
const PRODUCTS: [(&str, &str, &[&str]); 2] = [
    ("serve", "0123456789012345678901234567890123456789", &["hello--1", "tool--1"]),
    ("next", "9876543210987654321098765432109876543210", &["extra--1", "hello--2", "tool--1"]),
];
/// All packages but those of a configuration.
const PACKAGES: [&str; 4] = ["extra--1", "hello--1", "hello--2", "tool--1"];

/// The product and the further packages, in a directory.
pub struct Wares {
    directory: PathBuf,
}

/// Installs the product.
pub const INSTALL: &str = "install --product WARES/serve/product.json --from WARES/serve --role master";
/// Installs it on a host that learns its role later.
pub const INSTALL_NEUTRAL: &str = "install --product WARES/serve/product.json --from WARES/serve";
/// Bring packages to a host.
pub const ADD: [&str; 2] = ["add WARES/hello--2.tar.xz", "add WARES/extra--1.tar.xz"];
/// Makes these packages and others the active ones.
pub const ACTIVATE: &str =
    "activate hello--2 tool--1 extra--1 dcos-config--setup_0123456789012345678901234567890123456789";
/// Makes the next product the active one.
pub const UPGRADE: &str = "upgrade --product WARES/next/product.json --from WARES/next";

/// Everything that a host consists of: by its path, what is there. The current generation has no number, and what
/// neither it nor the host outside of the install root needs is left out.
pub type View = BTreeMap<String, String>;

impl Wares {
    /// Makes everything in `directory`.
    pub fn new(directory: &Path) -> Self {
        for id in PACKAGES {
            package(id, &directory.join("packages").join(id));
            pack(&directory.join("packages").join(id), &directory.join(format!("{id}.tar.xz")));
        }
        for (name, configuration, packages) in PRODUCTS {
            product(directory, &directory.join(name), configuration, packages);
        }
        Self { directory: directory.to_owned() }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `pkgpanda` with the words of `command` for the host in `root`.
    pub fn command(&self, program: &Path, root: &Path, command: &str) -> Command {
        let here = self.directory.to_str().unwrap();
        let mut pkgpanda = Command::new(program);
        pkgpanda.args(words(command, here)).arg("--no-systemd").arg("--root").arg(root);
        pkgpanda
    }
}

/// The words of a command, where the wares are in the directory `here`.
pub fn words(command: &str, here: &str) -> Vec<String> {
    command.split(' ').map(|word| word.replace("WARES", here)).collect()
}

/// Runs a command that must succeed, and gives what it printed.
pub fn succeeds(command: &mut Command) -> String {
    let output = ends(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command.
pub fn ends(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Makes a product in the directory `serve`.
fn product(wares: &Path, serve: &Path, configuration: &str, packages: &[&str]) {
    let top = serve.with_extension("bootstrap");
    for id in packages {
        fs::create_dir_all(top.join("packages")).unwrap();
        succeeds(Command::new("cp").arg("-a").arg(wares.join("packages").join(id)).arg(top.join("packages")));
    }
    pack(&top, &serve.join("bootstrap/b.tar.xz"));
    fs::write(serve.join("pkgpanda"), "the program").unwrap();
    let place = |id: &str| format!("packages/{}/{id}.tar.xz", id.split("--").next().unwrap());
    let config = format!("dcos-config--setup_{configuration}");
    package(&config, &wares.join("packages").join(&config));
    let mut blobs = BTreeMap::new();
    for id in packages.iter().copied().chain([&*config]) {
        pack(&wares.join("packages").join(id), &serve.join(place(id)));
        blobs.insert(id.parse().unwrap(), blob(serve, &place(id)));
    }
    let active = blobs.keys().cloned().collect();
    let config = config.parse().unwrap();
    let beside = BTreeMap::from([(blobs.remove_entry(&config).unwrap())]);
    let content = format!("http://repository/{configuration}");
    let file = HostFile { mode: "0600".to_owned(), content };
    let product = Product {
        schema: SCHEMA.to_owned(),
        config_id: configuration.to_owned(),
        bootstrap: Bootstrap { id: "b".to_owned(), packages: blobs, blob: blob(serve, "bootstrap/b.tar.xz") },
        packages: beside,
        active,
        files: BTreeMap::from([("/etc/mesosphere/setup-flags/repository-url".to_owned(), file)]),
        secrets: Vec::new(),
        pkgpanda: blob(serve, "pkgpanda"),
    };
    fs::write(serve.join("product.json"), json::to_canonical(&product).unwrap()).unwrap();
}

/// Makes the directory of a package: a bit of everything that packages have, different in each version.
fn package(id: &str, directory: &Path) {
    let (name, version) = id.split_once("--").unwrap();
    let info = match name {
        "hello" => json!({"username": "dcos_hello", "state_directory": true,
            "environment": {"HELLO_VERSION": version},
            "sysctl": {"dcos-hello": {"vm.max_map_count": "262144"}}}),
        "extra" => json!({"requires": ["hello"], "username": "dcos_extra"}),
        _ => json!({}),
    };
    put(&directory.join("pkginfo.json"), &info.to_string(), 0o644);
    if name == "dcos-config" {
        put(&directory.join("etc/cluster"), "name\n", 0o644);
        put(&directory.join("etc_slave/only-slaves"), "slave\n", 0o644);
    } else {
        put(&directory.join(format!("bin/{name}")), &format!("#!/bin/sh\necho {version}\n"), 0o755);
        put(&directory.join(format!("lib/lib{name}.so.{version}")), &version.repeat(30_000), 0o644);
        symlink(format!("lib{name}.so.{version}"), directory.join(format!("lib/lib{name}.so"))).unwrap();
        put(&directory.join(format!("include/{name}/{name}.h")), version, 0o644);
        put(&directory.join(format!("etc_master/{name}")), version, 0o640);
        let unit = format!("[Unit]\nDescription={name} {version}\n[Service]\nExecStart=/bin/true\n");
        put(&directory.join(format!("dcos.target.wants/dcos-{name}.service")), &unit, 0o644);
        put(&directory.join(format!("dcos.target.wants_slave/dcos-{name}-slave.service")), &unit, 0o644);
        // Only in one of two versions.
        put(&directory.join(format!("bin/{name}-{version}")), "", 0o4755);
        put(&directory.join("share/empty"), "", 0o600);
        for number in 0..6 {
            let text = format!("{name} {version} {number}\n").repeat(40 << (2 * number));
            put(&directory.join(format!("share/{number}")), &text, 0o644);
        }
    }
    let contents = json!({"schema": "bake-contents-1", "entries": contents(directory)});
    put(&directory.join("contents.json"), &contents.to_string(), 0o644);
}

fn contents(directory: &Path) -> Value {
    let entries = listing::list(directory).into_iter().filter(|(path, _)| !path.is_empty());
    let entries = entries.map(|(path, entry)| {
        let mode = format!("{:04o}", entry.mode);
        let value = match entry.kind {
            Kind::Directory => json!({"type": "directory", "mode": mode}),
            Kind::Link { target } => {
                json!({"type": "symlink", "target": String::from_utf8(target).unwrap()})
            }
            Kind::File { size } => {
                let sha256 = Digest::of(&fs::read(listing::at(directory, &path)).unwrap());
                json!({"type": "file", "mode": mode, "size": size, "sha256": sha256.to_string()})
            }
            other => panic!("{other:?}"),
        };
        (String::from_utf8(path).unwrap(), value)
    });
    Value::Object(entries.collect())
}

/// Writes a file and the directories above it.
pub fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn pack(directory: &Path, archive: &Path) {
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--mtime=@1000000000", "-cJf"]).arg(archive);
    succeeds(tar.arg("-C").arg(directory).arg("."));
}

fn blob(serve: &Path, path: &str) -> Blob {
    let bytes = fs::read(serve.join(path)).unwrap();
    Blob { path: path.to_owned(), sha256: Digest::of(&bytes), size: bytes.len() as u64 }
}

const HOME: &str = "opt/mesosphere";

/// The number of the current generation; none where nothing is installed.
pub fn current(root: &Path) -> Option<String> {
    let target = fs::read_link(root.join(HOME).join("current")).ok()?;
    Some(target.to_str().unwrap().strip_prefix("generations/").unwrap().to_owned())
}

/// The packages of the current generation.
pub fn active(root: &Path) -> BTreeSet<String> {
    record(root)["active"].as_object().unwrap().keys().cloned().collect()
}

/// The changed files of the current generation, by their paths in the root.
fn copies(root: &Path) -> BTreeSet<String> {
    let record = record(root);
    let mut copies = BTreeSet::new();
    for (name, packages) in record["overrides"].as_object().into_iter().flatten() {
        for (id, paths) in packages.as_object().unwrap() {
            let path = |path: &Value| format!("{HOME}/overrides/{name}/{id}/{}", path.as_str().unwrap());
            copies.extend(paths.as_array().unwrap().iter().map(path));
        }
    }
    copies
}

fn record(root: &Path) -> Value {
    let record = root.join(HOME).join("current/generation.json");
    let bytes = fs::read(&record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// Everything that a host has, also what nobody needs, but for what is unfinished.
pub fn everything(root: &Path) -> View {
    let entries = listing::list(root).into_iter().map(|(path, entry)| {
        let name = String::from_utf8(path.clone()).unwrap();
        let content = matches!(entry.kind, Kind::File { .. })
            .then(|| Digest::of(&fs::read(listing::at(root, &path)).unwrap()).to_string());
        (name, format!("{:?} {content:?} {:o} {:?}", entry.kind, entry.mode, entry.owner))
    });
    let is_done = |path: &String| !is_unfinished(path);
    let is_ours = |path: &String| !path.is_empty() && path != "lost+found" && !path.ends_with("/audit.cache");
    entries.filter(|(path, _)| is_done(path) && is_ours(path)).collect()
}

/// What a host is. Everything below the root counts but what was there before anything else was, what only
/// another generation needs, and the times at which things were made.
pub fn view(root: &Path) -> View {
    let number = current(root);
    let active = if number.is_some() { active(root) } else { BTreeSet::new() };
    let copies = if number.is_some() { copies(root) } else { BTreeSet::new() };
    let mine = number.as_ref().map(|number| format!("generations/{number}"));
    let any = "generations/CURRENT";
    let plain = |text: &str| {
        let Some(mine) = &mine else { return text.to_owned() };
        let whole = |text: &str| text.replace(&format!("{mine}/"), &format!("{any}/"));
        // At the end of a text no slash follows.
        let text = whole(&format!("{text}/"));
        text[..text.len() - 1].to_owned()
    };
    let mut view = View::new();
    for (path, entry) in listing::list(root) {
        let name = String::from_utf8(path.clone()).unwrap();
        let below =
            |top: &str| name.strip_prefix(&format!("{HOME}/{top}/")).map(|rest| rest.split('/').next());
        let stays = match (below("generations"), below("packages")) {
            (Some(found), _) => found == number.as_deref(),
            (_, Some(id)) => id.is_some_and(|id| active.contains(id)),
            _ => true,
        };
        let is_copy = name.starts_with(&format!("{HOME}/overrides")) && !copies.contains(&name);
        let of_host = name.is_empty() || name == "lost+found" || name == format!("{HOME}/audit.cache");
        if !stays || is_copy || is_unfinished(&name) || of_host {
            continue;
        }
        let what = match entry.kind {
            Kind::Directory => "directory".to_owned(),
            Kind::Link { target } => format!("link to {}", plain(&String::from_utf8(target).unwrap())),
            Kind::File { .. } => {
                let bytes = fs::read(listing::at(root, &path)).unwrap();
                match String::from_utf8(bytes) {
                    Ok(text) if text.len() < 4000 => format!("file of {:?}", plain(&text)),
                    Ok(text) => format!("file of {}", Digest::of(plain(&text).as_bytes())),
                    Err(error) => format!("file of {}", Digest::of(error.as_bytes())),
                }
            }
            other => panic!("{name}: {other:?}"),
        };
        let owner = entry.owner;
        view.insert(plain(&name), format!("{what} {:o} {owner:?} {:?}", entry.mode, entry.xattrs));
    }
    view
}

/// What differs between two views, for messages; nothing if they are the same.
pub fn difference(found: &View, expected: &View) -> String {
    let paths: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let paths = paths.into_iter().filter(|path| found.get(*path) != expected.get(*path));
    let line = |path: &String| match (found.get(path), expected.get(path)) {
        (Some(found), Some(expected)) => {
            // From a little before where they begin to differ.
            let same = found.bytes().zip(expected.bytes()).take_while(|(one, other)| one == other).count();
            let rest = |text: &String| {
                let text: String = text.chars().skip(same.saturating_sub(40)).collect();
                text.chars().take(120).collect::<String>()
            };
            format!("{path}: found ..{}\n   expected ..{}\n", rest(found), rest(expected))
        }
        (Some(_), None) => format!("{path}: there\n"),
        _ => format!("{path}: missing\n"),
    };
    paths.take(12).map(line).collect()
}

/// Every link of the current generation leads to something in `root`.
pub fn links_lead_somewhere(root: &Path) {
    let generation = root.join(HOME).join("current").canonicalize().unwrap();
    let mut links = 0;
    for (path, entry) in listing::list(&generation) {
        let Kind::Link { target } = entry.kind else { continue };
        let target = String::from_utf8(target).unwrap();
        let place = target.strip_prefix('/').map_or_else(
            || listing::at(&generation, &path).parent().unwrap().join(&target),
            |absolute| root.join(absolute),
        );
        assert!(place.symlink_metadata().is_ok(), "{} leads nowhere", listing::shown(&path));
        links += 1;
    }
    assert!(links > 10, "{links} links");
}

/// Every file of every package that is there is what `contents.json` says, and there is nothing else.
pub fn packages_are_whole(root: &Path) {
    let mut there = active(root);
    let is_package = |name: &String| !name.starts_with('.');
    there.extend(names(root, "packages").into_iter().filter(is_package));
    for id in there {
        let directory = root.join(HOME).join("packages").join(&id);
        let stated: Value =
            serde_json::from_slice(&fs::read(directory.join("contents.json")).unwrap()).unwrap();
        let mut found = contents(&directory);
        found.as_object_mut().unwrap().remove("contents.json");
        assert_eq!(stated["entries"], found, "{id}");
        let owner =
            |path: &Path| fs::metadata(path).map(|metadata| (metadata.uid(), metadata.gid())).unwrap();
        assert_eq!(owner(&directory), owner(root), "{id}");
    }
}

/// The names in a directory of the install root.
pub fn names(root: &Path, directory: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root.join(HOME).join(directory)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// What runs that were cut short leave, until the next change: names of unfinished things.
pub fn unfinished(root: &Path) -> Vec<String> {
    let all = listing::list(root).into_keys().map(|path| String::from_utf8(path).unwrap());
    all.filter(|path| is_unfinished(path)).collect()
}

/// Whether a path is that of something unfinished, or below it.
fn is_unfinished(path: &str) -> bool {
    path.split('/').any(|name| name.starts_with('.') && name.ends_with(".unfinished"))
}
