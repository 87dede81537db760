//! A host with a product on it, and what it was installed from.
#![allow(dead_code)] // each test program needs some of it

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bake_archive::{OpenOptions, open_overlay};
use bake_base::{Digest, json};
use bake_host::audit::Report;
use bake_host::contents::{CONTENTS, Contents};
use bake_host::product::{Blob, Bootstrap, HostFile, Product, SCHEMA};
use bake_tree::Tree;

pub const ID: &str = "0123456789012345678901234567890123456789";
pub const HELLO: &str = "hello--1";
pub const OTHER: &str = "other--2";

/// A root with an installation, and the directory that it came from.
pub struct Ground {
    directory: tempfile::TempDir,
}

/// How a run ended: its status, stdout and stderr.
pub struct Ended {
    pub status: i32,
    pub out: String,
    pub err: String,
}

pub fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Adds the list of what a package holds.
fn list(package: &Path) {
    let options = OpenOptions { preserve: true, ..OpenOptions::default() };
    let mut tree = Tree::new();
    for (members, policy) in open_overlay(package, &options).unwrap().layers {
        tree.apply(members, policy).unwrap();
    }
    let contents = Contents::of(&tree, 1).unwrap();
    put(&package.join(CONTENTS), &String::from_utf8(contents.to_json()).unwrap(), 0o644);
}

fn pack(directory: &Path, from: &Path, path: &str) -> Blob {
    let archive = from.join(path);
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let status = Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--mtime=@1000000000", "-cJf"])
        .arg(&archive)
        .arg("-C")
        .arg(directory)
        .arg(".")
        .env("XZ_OPT", "-0")
        .status();
    assert!(status.unwrap().success());
    blob(&archive, path)
}

fn blob(file: &Path, path: &str) -> Blob {
    let bytes = fs::read(file).unwrap();
    Blob { path: path.to_owned(), sha256: Digest::of(&bytes), size: bytes.len() as u64 }
}

/// Every entry below a directory, for copies of trees that tests may change.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--no-target-directory"]).arg(from).arg(to).status();
    assert!(status.unwrap().success());
}

impl Ground {
    /// A host that was installed for a role.
    pub fn new() -> Self {
        let ground = Self { directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        ground.write();
        fs::create_dir(ground.root()).unwrap();
        ground.install(&ground.root(), &["--role", "master"]);
        ground
    }

    fn write(&self) {
        let (bootstrap, config) = (self.at("bootstrap"), self.at("config"));
        let (hello, other) = (bootstrap.join("packages").join(HELLO), bootstrap.join("packages").join(OTHER));
        put(&hello.join("pkginfo.json"), r#"{"username": "dcos_hello", "state_directory": true}"#, 0o644);
        put(&hello.join("bin/hello"), "#!/bin/sh\n", 0o755);
        put(&hello.join("etc/shared/settings"), "settings\n", 0o644);
        put(&hello.join("etc_master/hello"), "master\n", 0o644);
        put(&hello.join("dcos.target.wants/hello.service"), "[Unit]\n", 0o644);
        put(&hello.join("dcos.target.wants_master/chief.service"), "[Unit]\n# chief\n", 0o644);
        put(&hello.join("share/same"), "the same in two packages\n", 0o600);
        put(&hello.join("share/large"), &"0123456789abcde\n".repeat(100_000), 0o644);
        put(&hello.join("share/odd \u{fc}\nname"), "odd", 0o644);
        fs::create_dir(hello.join("share/empty")).unwrap();
        symlink("same", hello.join("share/link")).unwrap();
        for number in 0..20 {
            put(&hello.join(format!("lib/deep/{number}")), &number.to_string().repeat(300), 0o640);
        }
        put(&other.join("pkginfo.json"), r#"{"environment": {"OTHER": "x"}}"#, 0o644);
        put(&other.join("copy"), "the same in two packages\n", 0o644);
        put(&config.join("pkginfo.json"), "{}", 0o644);
        put(&config.join("etc/cluster"), "name\n", 0o644);
        for package in [&hello, &other, &config] {
            list(package);
        }
        fs::create_dir(bootstrap.join("lib")).unwrap();
        let package = format!("dcos-config--setup_{ID}");
        let from = self.from();
        let first = pack(&bootstrap, &from, "bootstrap/b.tar.xz");
        let second = pack(&config, &from, &format!("packages/dcos-config/{package}.tar.xz"));
        let one = |at: &Path, id: &str| {
            let name = id.split("--").next().unwrap();
            (id.parse().unwrap(), pack(at, &from, &format!("packages/{name}/{id}.tar.xz")))
        };
        let packages = BTreeMap::from([one(&hello, HELLO), one(&other, OTHER)]);
        put(&from.join("pkgpanda"), "the program", 0o755);
        let file =
            |mode: &str, content: &str| HostFile { mode: mode.to_owned(), content: content.to_owned() };
        let product = Product {
            schema: SCHEMA.to_owned(),
            config_id: ID.to_owned(),
            bootstrap: Bootstrap { id: "b".to_owned(), packages, blob: first },
            packages: BTreeMap::from([(package.parse().unwrap(), second)]),
            active: vec![package.parse().unwrap(), HELLO.parse().unwrap(), OTHER.parse().unwrap()],
            files: BTreeMap::from([
                ("/etc/mesosphere/setup-flags/repository-url".to_owned(), file("0644", "file:///nowhere")),
                ("/etc/hidden".to_owned(), file("0600", "hidden\n")),
            ]),
            secrets: vec!["/etc/secret".to_owned()],
            pkgpanda: blob(&from.join("pkgpanda"), "pkgpanda"),
        };
        fs::write(from.join("product.json"), json::to_canonical(&product).unwrap()).unwrap();
        put(&self.at("secrets/etc/secret"), "secret\n", 0o600);
        pack(&self.at("secrets"), &self.directory.path().join("."), "secrets.tar");
    }

    pub fn install(&self, root: &Path, arguments: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"))
            .arg("install")
            .arg("--product")
            .arg(self.from().join("product.json"))
            .arg("--from")
            .arg(self.from())
            .arg("--secrets")
            .arg(self.at("secrets.tar"))
            .arg("--root")
            .arg(root)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn from(&self) -> PathBuf {
        self.at("from")
    }

    pub fn root(&self) -> PathBuf {
        self.at("root")
    }

    /// A path in the install root of the host.
    pub fn home(&self, path: &str) -> PathBuf {
        self.root().join("opt/mesosphere").join(path)
    }

    /// A file of the package `hello`.
    pub fn hello(&self, path: &str) -> PathBuf {
        self.home(&format!("packages/{HELLO}/{path}"))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        command.args(arguments).arg("--root").arg(self.root());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { status: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// What an audit says, as a document.
    pub fn audit(&self, arguments: &[&str]) -> Report {
        let ended = self.run(&[&["audit", "--json"][..], arguments].concat());
        let report: Report = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
        assert_eq!(ended.status, i32::from(!report.clean), "{}", ended.out);
        report
    }

    /// The differences that an audit finds, as lines.
    pub fn differences(&self, arguments: &[&str]) -> Vec<String> {
        self.audit(arguments).differences.iter().map(ToString::to_string).collect()
    }
}
