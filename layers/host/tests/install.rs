//! `pkgpanda install`: whole or not at all, again without a change, and never outside of its root.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[allow(dead_code)]
#[path = "../../../tests/support/listing.rs"]
mod listing;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use bake_base::{Digest, json};
use bake_host::product::{Blob, Bootstrap, HostFile, Product, SCHEMA};

const ID: &str = "0123456789012345678901234567890123456789";

/// A product in a directory of its own, and a root to install it into.
struct Yard {
    directory: tempfile::TempDir,
    product: Product,
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Packs a directory as packages are packed.
fn pack(directory: &Path, archive: &Path) -> Blob {
    fs::create_dir_all(archive.parent().unwrap()).unwrap();
    let status = Command::new("tar")
        .args(["--sort=name", "--owner=0", "--group=0", "--mtime=@1000000000", "-cJf"])
        .arg(archive)
        .arg("-C")
        .arg(directory)
        .arg(".")
        .status();
    assert!(status.unwrap().success());
    blob(archive, "")
}

fn blob(file: &Path, path: &str) -> Blob {
    let bytes = fs::read(file).unwrap();
    Blob { path: path.to_owned(), sha256: Digest::of(&bytes), size: bytes.len() as u64 }
}

impl Yard {
    fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// A yard whose packages have been changed before they are packed.
    fn with(change: impl FnOnce(&Path, &Path)) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = directory.path();
        let (bootstrap, config) = (at.join("bootstrap"), at.join("config"));
        let hello = bootstrap.join("packages/hello--1");
        put(&hello.join("pkginfo.json"), r#"{"username": "dcos_hello", "state_directory": true}"#, 0o644);
        put(&hello.join("bin/hello"), "#!/bin/sh\n", 0o755);
        put(&hello.join("bin/privileged"), "#!/bin/sh\n", 0o4755);
        put(&hello.join("etc_master/hello"), "master\n", 0o644);
        put(&hello.join("dcos.target.wants/hello.service"), "[Unit]\n", 0o644);
        for number in 0..200 {
            put(&hello.join(format!("share/{number}")), &number.to_string().repeat(3000), 0o640);
        }
        put(&bootstrap.join("environment"), "of the bootstrap tarball\n", 0o644);
        put(&bootstrap.join("bootstrap"), "", 0o644);
        fs::create_dir_all(bootstrap.join("lib")).unwrap();
        symlink("/opt/mesosphere/packages/gone--1/lib/gone", bootstrap.join("lib/gone")).unwrap();
        put(&config.join("pkginfo.json"), "{}", 0o644);
        put(&config.join("etc/cluster"), "name\n", 0o644);
        change(&bootstrap, &config);
        let from = at.join("from");
        let package = format!("dcos-config--setup_{ID}");
        let paths = ("bootstrap/b.tar.xz".to_owned(), format!("packages/dcos-config/{package}.tar.xz"));
        let first = Blob { path: paths.0.clone(), ..pack(&bootstrap, &from.join(&paths.0)) };
        let second = Blob { path: paths.1.clone(), ..pack(&config, &from.join(&paths.1)) };
        // Whoever has the tarball needs no file of a package in it.
        let inside = Blob { path: "packages/hello/hello--1.tar.xz".to_owned(), ..first.clone() };
        put(&from.join("pkgpanda"), "the program", 0o755);
        let file = |content: &str| HostFile { mode: "0600".to_owned(), content: content.to_owned() };
        let product = Product {
            schema: SCHEMA.to_owned(),
            config_id: ID.to_owned(),
            bootstrap: Bootstrap {
                id: "b".to_owned(),
                packages: BTreeMap::from([("hello--1".parse().unwrap(), inside)]),
                blob: first,
            },
            packages: BTreeMap::from([(package.parse().unwrap(), second)]),
            active: vec![package.parse().unwrap(), "hello--1".parse().unwrap()],
            files: BTreeMap::from([("/etc/mesosphere/setup-flags/repository-url".to_owned(), file("url"))]),
            secrets: Vec::new(),
            pkgpanda: blob(&from.join("pkgpanda"), "pkgpanda"),
        };
        let yard = Self { directory, product };
        fs::create_dir(yard.root()).unwrap();
        yard.write();
        yard
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.at("root")
    }

    fn write(&self) {
        fs::write(self.at("from/product.json"), json::to_canonical(&self.product).unwrap()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        command.arg("install").arg("--product").arg(self.at("from/product.json"));
        command.arg("--from").arg(self.at("from")).arg("--root").arg(self.root()).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Every entry of the root with its content; times only in the install root, where they are promised.
    fn listing(&self) -> BTreeMap<String, String> {
        let list = listing::list(&self.root());
        let entries = list.into_iter().map(|(path, entry)| {
            let content = matches!(entry.kind, listing::Kind::File { .. })
                .then(|| Digest::of(&fs::read(listing::at(&self.root(), &path)).unwrap()).to_string());
            let shown = listing::shown(&path);
            let time = shown.starts_with("/opt/mesosphere").then_some(entry.time);
            let text = format!("{:?} {:o} {:?} {content:?} {time:?}", entry.kind, entry.mode, entry.owner);
            (shown, text)
        });
        entries.collect()
    }
}

#[test]
fn a_product_is_installed_once_and_again_changes_nothing() {
    let yard = Yard::new();
    let said = yard.done(&["--role", "master"]);
    assert!(said.contains("verified 2 files\nunpacked /opt/mesosphere\n"), "{said}");
    let installed = format!("installed {ID}\nwrote /etc/mesosphere/setup-flags/repository-url\n");
    assert!(said.contains(&installed), "files of the host come after the install root: {said}");
    assert!(said.ends_with("\nenabled dcos-setup.service\n"), "what starts it comes last: {said}");
    let root = yard.root();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let link = |path: &str| fs::read_link(root.join(path)).unwrap().display().to_string();
    assert_eq!(link("opt/mesosphere/current"), "generations/1");
    for name in ["active", "active.buildinfo.full.json", "bin", "dcos.target.wants", "environment"] {
        assert_eq!(link(&format!("opt/mesosphere/{name}")), format!("current/{name}"));
    }
    assert_eq!(link("opt/mesosphere/bin/hello"), "/opt/mesosphere/packages/hello--1/bin/hello");
    assert_eq!(link("opt/mesosphere/etc/hello"), "/opt/mesosphere/packages/hello--1/etc_master/hello");
    assert_eq!(
        link("opt/mesosphere/active/dcos-config"),
        format!("/opt/mesosphere/packages/dcos-config--setup_{ID}")
    );
    assert!(read("opt/mesosphere/environment").contains("PATH=/opt/mesosphere/generations/1/bin"));
    let record: serde_json::Value =
        serde_json::from_str(&read("opt/mesosphere/generations/1/generation.json")).unwrap();
    assert_eq!(record["roles"], serde_json::json!(["master"]));
    for gone in ["bootstrap", "lib/gone"] {
        assert!(fs::symlink_metadata(root.join("opt/mesosphere").join(gone)).is_err(), "{gone}");
    }
    assert_eq!(
        fs::read(root.join("opt/mesosphere/product.json")).unwrap(),
        fs::read(yard.at("from/product.json")).unwrap()
    );
    let mode = |path: &str| fs::symlink_metadata(root.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("opt/mesosphere/packages/hello--1/bin/privileged"), 0o4755);
    assert_eq!(mode("etc/mesosphere/setup-flags/repository-url"), 0o600);
    assert!(!root.join("usr").exists(), "what starts a host at boot is in the install root");
    assert_eq!(read("etc/mesosphere/roles/master"), "");
    assert_eq!(
        link("etc/systemd/system/multi-user.target.wants/dcos-setup.service"),
        "/etc/systemd/system/dcos-setup.service"
    );
    let before = listing::list(&root);
    for roles in [&["--role", "master"][..], &[]] {
        assert_eq!(yard.done(roles), format!("installed already: {ID}\n"));
    }
    assert!(listing::list(&root) == before, "not even a time has changed");
    let json: serde_json::Value = serde_json::from_str(&yard.done(&["--json"])).unwrap();
    assert_eq!((&json["already"], &json["config_id"]), (&true.into(), &ID.into()));

    assert!(yard.refused(&["--role", "slave"]).contains("the roles of this host are master"));
    let mut other = yard.product.clone();
    other.config_id = ID.replace('0', "f");
    fs::write(yard.at("from/product.json"), json::to_canonical(&other).unwrap()).unwrap();
    let said = yard.refused(&[]);
    assert!(said.contains(&format!("has the configuration {ID}: expected {}", other.config_id)), "{said}");
    assert!(listing::list(&root) == before, "refusals change nothing");
}

#[test]
fn neither_umask_nor_what_directories_hand_down_shows() {
    let (plain, odd) = (Yard::new(), Yard::new());
    fs::create_dir(plain.root().join("opt")).unwrap();
    plain.done(&[]);
    fs::create_dir(odd.root().join("opt")).unwrap();
    fs::set_permissions(odd.root().join("opt"), fs::Permissions::from_mode(0o2755)).unwrap();
    let command = odd.command(&[]);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let status = Command::new("sh").args(["-c", r#"umask 077; exec "$@""#, "sh"]).args(words).status();
    assert!(status.unwrap().success());
    fs::set_permissions(odd.root().join("opt"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(plain.listing(), odd.listing());
}

#[test]
fn what_is_damaged_is_refused_and_nothing_is_left() {
    type Damage = fn(&Path);
    let change: [(&str, Damage); 4] = [
        ("has the digest", |file| {
            // Reads as a tar, so that only its digest tells.
            let bytes = fs::read(file.with_file_name("same-size")).unwrap();
            fs::write(file, bytes).unwrap();
        }),
        ("expected the file with sha256", |file| {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("bytes: expected", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("No such file", |file| fs::remove_file(file).unwrap()),
    ];
    for (number, (reason, change)) in change.into_iter().enumerate() {
        let yard = Yard::new();
        let file = yard.at("from").join(&yard.product.bootstrap.blob.path);
        // A tar of the same size as the archive and something else in it.
        let mut other = vec![0; fs::metadata(&file).unwrap().len() as usize];
        let tar =
            Command::new("tar").args(["-cf", "-", "-C", "/", "--no-recursion", "etc"]).output().unwrap();
        other[..512].copy_from_slice(&tar.stdout[..512]);
        fs::write(file.with_file_name("same-size"), other).unwrap();
        change(&file);
        let said = yard.refused(&["--role", "master"]);
        assert!(said.contains(reason) && said.contains("b.tar.xz"), "{number}: {said}");
        assert_eq!(yard.listing().keys().collect::<Vec<_>>(), ["/"], "{number}");
        let verify = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"))
            .args(["verify", "--product"])
            .arg(yard.at("from/product.json"))
            .arg("--from")
            .arg(yard.at("from"))
            .output();
        assert_eq!(verify.unwrap().status.code(), Some(1), "{number}");
    }
    let yard = Yard::new();
    let wrong = Digest::of(b"").to_string();
    assert!(yard.refused(&["--sha256", &wrong]).contains(&format!("expected {wrong}")));
}

#[test]
fn links_in_the_root_lead_nowhere_else() {
    let yard = Yard::new();
    let (root, outside) = (yard.root(), yard.at("outside"));
    fs::create_dir(&outside).unwrap();
    put(&outside.join("precious"), "precious", 0o644);
    fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
    symlink(&outside, root.join("opt")).unwrap();
    symlink("../../../../../../../..", root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
    symlink(outside.join("precious"), root.join("etc/systemd/system/dcos.target")).unwrap();
    symlink("/../../outside", root.join("etc/mesosphere")).unwrap();
    let before = listing::list(&outside);
    yard.done(&["--role", "master"]);
    assert!(listing::list(&outside) == before);
    assert!(root.join(outside.strip_prefix("/").unwrap()).join("mesosphere/active/hello").is_symlink());
    assert!(root.join("dcos-setup.service").is_symlink(), "the directory leads to the root itself");
    assert!(root.join("outside/roles/master").is_file());
    assert!(root.join("etc/systemd/system/dcos.target").symlink_metadata().unwrap().is_file());
}

#[test]
fn a_link_in_a_package_is_no_way_into_another() {
    let escapes = Yard::with(|bootstrap, _| {
        fs::remove_file(bootstrap.join("environment")).unwrap();
        symlink("../../../etc", bootstrap.join("share")).unwrap();
    });
    escapes.done(&[]);
    let below = Yard::new();
    let crafted = below.at("crafted.tar");
    fs::create_dir(below.at("one")).unwrap();
    symlink("/etc", below.at("one/share")).unwrap();
    put(&below.at("two/share/file"), "x", 0o644);
    for (operation, directory, name) in [("-cf", "one", "share"), ("-rf", "two", "share/file")] {
        let mut tar = Command::new("tar");
        tar.arg(operation).arg(&crafted).arg("-C").arg(below.at(directory)).arg(name);
        assert!(tar.status().unwrap().success());
    }
    let mut yard = below;
    let path = yard.product.bootstrap.blob.path.clone();
    fs::copy(&crafted, yard.at("from").join(&path)).unwrap();
    yard.product.bootstrap.blob = blob(&crafted, &path);
    yard.write();
    let said = yard.refused(&[]);
    assert!(said.contains("`/share/file` lies below `/share`, which is a symbolic link"), "{said}");
}

#[test]
fn a_run_that_was_killed_at_any_point_is_finished_by_the_next() {
    let clean = Yard::new();
    clean.done(&["--role", "master"]);
    let expected = clean.listing();
    let full = std::env::var_os("BAKE_TEST_FULL").is_some();
    let (mut kills, mut delay) = (0, 500);
    loop {
        let yard = Yard::new();
        let mut child =
            yard.command(&["--role", "master"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(delay));
        child.kill().unwrap();
        let killed = !child.wait().unwrap().success();
        let enabled = yard.root().join("etc/systemd/system/multi-user.target.wants/dcos-setup.service");
        if enabled.is_symlink() {
            assert!(yard.root().join("opt/mesosphere/active/hello").is_symlink());
        }
        yard.done(&["--role", "master"]);
        let found = yard.listing();
        let differs = |path: &&String| found.get(*path) != expected.get(*path);
        let differing: Vec<_> = found.keys().chain(expected.keys()).filter(differs).collect();
        assert_eq!(differing, [""; 0], "after {delay} microseconds");
        kills += u32::from(killed);
        if !killed {
            break;
        }
        // Each kill is two installations: a handful tells, unless all tests are asked for.
        delay += if full { 500 + delay / 8 } else { 2_000 + delay / 4 };
    }
    assert!(kills >= 3, "only {kills} runs were killed");
}

#[test]
fn blobs_that_changed_places_are_refused() {
    let yard = Yard::new();
    let package = yard.product.packages.values().next().unwrap();
    let (one, other) =
        (yard.at("from").join(&yard.product.bootstrap.blob.path), yard.at("from").join(&package.path));
    fs::rename(&one, yard.at("aside")).unwrap();
    fs::rename(&other, &one).unwrap();
    fs::rename(yard.at("aside"), &other).unwrap();
    let said = yard.refused(&[]);
    assert!(said.contains(".tar.xz") && said.contains("expected"), "{said}");
    assert_eq!(yard.listing().keys().collect::<Vec<_>>(), ["/"]);
}

#[test]
fn runs_at_once_install_one_product() {
    let clean = Yard::new();
    clean.done(&["--role", "master"]);
    let yard = Yard::new();
    let piped = || {
        let mut command = yard.command(&["--role", "master"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let children = [piped(), piped(), piped()];
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    let done = outputs.iter().filter(|output| output.status.success()).count();
    assert!(done >= 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("another"), "{said}");
    }
    assert_eq!(yard.listing(), clean.listing());
}

/// Runs an installation as somebody who may write nothing but what is theirs.
fn as_nobody(yard: &Yard) -> Output {
    let command = yard.command(&["--role", "master"]);
    // The scratch directory lies where only root may look.
    let program = yard.at("pkgpanda");
    fs::copy(command.get_program(), &program).unwrap();
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(command.get_args())
        .output()
        .unwrap()
}

#[test]
fn anybody_installs_into_a_directory_of_their_own_and_into_no_other_needs_root() {
    let yard = Yard::new();
    for directory in [yard.at(""), yard.root()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let refused = as_nobody(&yard);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(said.contains("Permission denied"), "{said}");
    assert_eq!(yard.listing().keys().collect::<Vec<_>>(), ["/"]);

    std::os::unix::fs::chown(yard.root(), Some(65534), Some(65534)).unwrap();
    let done = as_nobody(&yard);
    assert!(done.status.success(), "{done:?}");
    assert!(yard.root().join("opt/mesosphere/active/hello").is_symlink());
}

#[test]
fn secrets_come_in_an_archive_of_exactly_the_files_that_are_named() {
    let mut yard = Yard::new();
    yard.product.secrets = vec!["/etc/mesosphere/secrets/key".to_owned()];
    yard.write();
    let said = yard.done(&[]);
    assert!(said.contains("note: secret /etc/mesosphere/secrets/key is missing"), "{said}");
    let archive = yard.at("secrets.tar");
    let secrets = |names: &[&str]| {
        let _ = fs::remove_dir_all(yard.at("secret"));
        fs::create_dir(yard.at("secret")).unwrap();
        for name in names {
            put(&yard.at("secret").join(name), "hunter2", 0o644);
        }
        let tar =
            Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(yard.at("secret")).arg(".").status();
        assert!(tar.unwrap().success());
        archive.display().to_string()
    };
    let (key, other) = ("etc/mesosphere/secrets/key", "etc/shadow");
    assert!(yard.refused(&["--secrets", &secrets(&[])]).contains("lacks the secret"));
    assert!(yard.refused(&["--secrets", &secrets(&[key, other])]).contains("etc/shadow"));
    assert!(!yard.root().join(other).exists() && !yard.root().join(key).exists());
    let said = yard.done(&["--secrets", &secrets(&[key])]);
    assert_eq!(said, "wrote /etc/mesosphere/secrets/key\n");
    assert_eq!(fs::metadata(yard.root().join(key)).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_in_the_way_is_left_alone() {
    let yard = Yard::new();
    put(&yard.root().join("opt/mesosphere/mine"), "mine", 0o644);
    assert!(yard.refused(&[]).contains("holds `mine` and no installation: move it away"));
    assert!(yard.root().join("opt/mesosphere/mine").is_file());
    let mut yard = Yard::new();
    for path in ["/opt/mesosphere/bin/x", "/etc/../x", "/etc/systemd/system/dcos.target", "etc/x", "/"] {
        let file = HostFile { mode: "0644".to_owned(), content: String::new() };
        yard.product.files = BTreeMap::from([(path.to_owned(), file)]);
        yard.write();
        let said = yard.refused(&[]);
        assert!(said.contains(&format!("`{path}`")), "{said}");
        assert!(!yard.root().join("opt").exists());
    }
}

#[test]
fn a_place_that_is_a_link_or_a_file_system_is_filled_and_finished_needs_root() {
    let mount =
        |at: &Path| Command::new("mount").args(["-t", "tmpfs", "none"]).arg(at).status().unwrap().success();
    let clean = Yard::new();
    fs::create_dir(clean.root().join("opt")).unwrap();
    clean.done(&[]);
    let inside = |yard: &Yard| {
        let entries = yard.listing().into_iter();
        let entries = entries.filter(|(path, _)| path.starts_with("/opt/mesosphere/"));
        entries.collect::<Vec<_>>()
    };
    let yard = Yard::new();
    let place = yard.root().join("opt/mesosphere");
    fs::create_dir_all(&place).unwrap();
    let mounted = mount(&place);
    if mounted {
        yard.done(&[]);
        let same = inside(&yard) == inside(&clean);
        let again = yard.done(&[]);
        assert!(Command::new("umount").arg(&place).status().unwrap().success());
        assert!(same && again.starts_with("installed already"));
    }
    let linked = Yard::new();
    fs::create_dir(linked.root().join("opt")).unwrap();
    symlink("/data/mesosphere", linked.root().join("opt/mesosphere")).unwrap();
    linked.done(&[]);
    assert!(linked.root().join("data/mesosphere/active/hello").is_symlink());
    assert!(linked.done(&[]).starts_with("installed already"));
    // As if the run had been killed while entries moved, the commit point last.
    let (place, whole) = (linked.root().join("data/mesosphere"), inside(&linked));
    for count in 0..4 {
        fs::create_dir(place.join(".mesosphere.moving")).unwrap();
        for name in ["current", "etc", "generations", "packages"].into_iter().take(count) {
            fs::rename(place.join(name), place.join(".mesosphere.moving").join(name)).unwrap();
        }
        linked.done(&[]);
        assert_eq!(fs::read_link(place.join("current")).unwrap(), Path::new("generations/1"));
        assert!(!place.join(".mesosphere.moving").exists() && inside(&linked) == whole, "{count}");
    }
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left_needs_root() {
    let yard = Yard::new();
    let size = ["-t", "tmpfs", "-o", "size=300k", "none"];
    if !Command::new("mount").args(size).arg(yard.root()).status().unwrap().success() {
        return;
    }
    let said = yard.refused(&[]);
    let left: Vec<_> = yard.listing().into_keys().collect();
    assert!(Command::new("umount").arg(yard.root()).status().unwrap().success());
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(left, ["/"]);
}

#[test]
fn an_archive_is_unpacked_whole_or_not_at_all() {
    let yard = Yard::new();
    let (archive, into) = (yard.at("from").join(&yard.product.bootstrap.blob.path), yard.at("into"));
    let run = |digest: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        command.arg("unpack").arg(&archive).arg(&into).args(["--sha256", digest]).output().unwrap()
    };
    assert_eq!(run(&Digest::of(b"").to_string()).status.code(), Some(1));
    assert!(!into.exists());
    assert!(run(&yard.product.bootstrap.blob.sha256.to_string()).status.success());
    assert!(into.join("packages/hello--1/pkginfo.json").is_file());
    let mut usage = Command::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
    assert_eq!(usage.arg("unpack").output().unwrap().status.code(), Some(2));
}
