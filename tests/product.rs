//! A host that was installed and one that was baked have the same product, byte for byte.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::listing::{Entry, Kind, Listing, at, list, same_content, shown};
use support::mount::Mount;
use support::{bake, bake_image, is_root, made, output, project, rootfs, run, scratch, small_product, text};

/// What an installation makes on a host; directories with everything in them.
const MADE: [&str; 5] = [
    "opt/mesosphere",
    "etc/mesosphere",
    "etc/systemd/system/dcos-setup.service",
    "etc/systemd/system/dcos.target",
    "etc/systemd/system/multi-user.target.wants/dcos-setup.service",
];

/// The sample configuration over what `ci/product` delivered.
fn configure(artifacts: &str, serve: &Path, more: &[&str]) {
    run(bake()
        .args(["configure", "--quiet", "--config"])
        .arg(project("tests/genconf/config.yaml"))
        .arg("--artifacts")
        .arg(made(artifacts))
        .arg("--out")
        .arg(serve)
        .args(more));
}

/// The product on a root file system that may have nothing in it, which no preflight would let through.
fn install(serve: &Path, root: &Path, role: &str) {
    for directory in ["etc", "opt", "usr", "var"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    run(Command::new("bash")
        .arg(serve.join("dcos_install.sh"))
        .arg("--url")
        .arg(format!("file://{}", serve.display()))
        .arg("--disable-preflight")
        .arg("--root")
        .arg(root)
        .arg(role));
}

/// Everything in [`MADE`], by its path.
fn entries(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    let is_made = |path: &[u8]| {
        let path = text(path);
        MADE.iter().any(|made| path == *made || path.starts_with(&format!("{made}/")))
    };
    let mut entries = BTreeMap::new();
    for part in MADE {
        let part = PathBuf::from(part);
        let top = part.components().next().unwrap().as_os_str().to_str().unwrap().as_bytes().to_vec();
        for (path, entry) in list(&root.join(std::str::from_utf8(&top).unwrap())) {
            let path = if path.is_empty() { top.clone() } else { [&top[..], b"/", &path].concat() };
            if is_made(&path) {
                entries.insert(path, entry);
            }
        }
    }
    entries
}

/// What two hosts have that differs. Files beside the install root are dated by whoever wrote them.
fn differences(one: &Path, other: &Path) -> Vec<String> {
    let (ours, theirs) = (entries(one), entries(other));
    assert!(ours.len() > 100, "{} entries", ours.len());
    let mut found: Vec<_> =
        theirs.keys().filter(|path| !ours.contains_key(*path)).map(|path| shown(path)).collect();
    for (path, entry) in &ours {
        let Some(their) = theirs.get(path) else {
            found.push(shown(path));
            continue;
        };
        let seen = |entry: &Entry| {
            let time = if path.starts_with(b"opt/mesosphere") { entry.time } else { (0, 0) };
            // A directory's own size and number of links are the file system's.
            (entry.kind.clone(), entry.mode, entry.owner, time, entry.xattrs.clone())
        };
        let same = seen(entry) == seen(their)
            && (!matches!(entry.kind, Kind::File { .. }) || same_content(&at(one, path), &at(other, path)));
        if !same {
            found.push(format!("{}: {:?} and {:?}", shown(path), seen(entry), seen(their)));
        }
    }
    found
}

/// Compares a baked and an installed host.
fn same_product(artifacts: &str, role: &str) {
    if !is_root("what an installed and a baked host have") {
        return;
    }
    let out = scratch();
    let serve = out.path().join("serve");
    configure(artifacts, &serve, &[]);
    // An image without the product: what was there before is in the record of what was made.
    let bare = bake_image(&rootfs("debian-12"), &out.path().join("bare"), &[]);
    let host = Mount::part(&bare.raw(), bare.partition("root"));
    install(&serve, &host.path(), role);
    let arguments = ["--product", serve.to_str().unwrap(), "--role", role];
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &arguments);
    let id = fs::read_to_string(serve.join("product.json")).unwrap();
    let configuration = image.manifest["configuration"].as_str().unwrap();
    assert!(id.contains(configuration), "{configuration}");
    let mount = Mount::part(&image.raw(), image.partition("root"));
    assert_eq!(differences(&host.path(), &mount.path()), [""; 0]);
}

#[test]
fn as_root_a_baked_master_has_what_an_installed_one_has() {
    same_product("product/artifacts", "master");
}

#[test]
fn as_root_a_baked_slave_has_what_an_installed_one_has() {
    same_product("product/small-artifacts", "slave");
}

#[test]
fn as_root_a_baked_public_slave_has_what_an_installed_one_has() {
    same_product("product/small-artifacts", "slave_public");
}

#[test]
fn as_root_a_host_that_learns_its_role_at_boot_has_what_an_installed_one_has() {
    if !is_root("what a host has that learns its role at boot") {
        return;
    }
    let out = scratch();
    let (serve, host) = (out.path().join("serve"), out.path().join("host"));
    configure("product/artifacts", &serve, &[]);
    install(&serve, &host, "master");
    let arguments = ["--product", serve.to_str().unwrap()];
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &arguments);
    let mount = Mount::part(&image.raw(), image.partition("root"));
    let (neutral, installed) = (current(&mount.path()), current(&host));
    assert_ne!(neutral, installed, "the sample tree has nothing of a role");
    // As a boot would run it: the role is there, /run is empty, and systemd is asked for nothing that matters here.
    let roles = mount.path().join("etc/mesosphere/roles");
    fs::create_dir_all(&roles).unwrap();
    fs::write(roles.join("master"), "").unwrap();
    let boot = || {
        run(Command::new("unshare").args(["--mount", "sh", "-euc", BOOT, "sh"]).arg(mount.path()));
    };
    boot();
    assert_eq!(current(&mount.path()), installed);
    let after = list(&mount.path());
    boot();
    assert_eq!(changed(&after, &list(&mount.path())), [""; 0], "the second boot changes nothing");
}

/// The first part of a boot, in the root directory `$1`.
const BOOT: &str = r#"
mount -t tmpfs none "$1/run"
mount -t proc none "$1/proc"
mkdir -p "$1/run/systemd/system"
mount --bind /bin/true "$1/usr/bin/systemctl"
exec chroot "$1" /opt/mesosphere/bin/pkgpanda setup"#;

/// What a host shows of its current generation, by names that do not say which one it is: what links lead to, and
/// files but for the record.
fn current(root: &Path) -> BTreeMap<String, String> {
    let home = root.join("opt/mesosphere");
    let number = fs::read_link(home.join("current")).unwrap();
    let number = number.to_str().unwrap();
    let neutral = |text: String| text.replace(&format!("{number}/"), "CURRENT/");
    let entries = list(&home.join(number)).into_iter().filter(|(path, _)| path != b"generation.json");
    let told = entries.map(|(path, entry)| {
        let what = match entry.kind {
            Kind::Link { target } => neutral(text(&target)),
            Kind::File { .. } => neutral(text(&fs::read(at(&home.join(number), &path)).unwrap())),
            kind => format!("{kind:?}"),
        };
        (text(&path), what)
    });
    told.collect()
}

/// Paths that two listings of one root do not have alike.
fn changed(before: &Listing, after: &Listing) -> Vec<String> {
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).map(|path| shown(path)).collect()
}

/// `pkgpanda` on a root that is mounted.
fn pkgpanda(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(made("pkgpanda/pkgpanda"));
    command.arg("--root").arg(root).args(arguments);
    command
}

/// What an audit says of a host that is clean.
fn audit(root: &Path) -> serde_json::Value {
    let report = run(&mut pkgpanda(root, &["audit", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["clean"], report["differences"].as_array().unwrap().len()), (&true.into(), 0));
    report
}

#[test]
fn as_root_installed_and_baked_hosts_have_the_same_audit_digest() {
    if !is_root("audits of installed and baked hosts") {
        return;
    }
    let out = scratch();
    let at = |name: &str| out.path().join(name);
    configure("product/artifacts", &at("serve"), &[]);
    let serve = at("serve");
    let bake = |name: &str, more: &[&str]| {
        let arguments = [&["--product", serve.to_str().unwrap()], more].concat();
        let image = bake_image(&rootfs("debian-12"), &at(name), &arguments);
        Mount::part(&image.raw(), image.partition("root"))
    };
    install(&serve, &at("master"), "master");
    install(&serve, &at("slave"), "slave");
    let master = audit(&at("master"));
    let baked = bake("baked", &["--role", "master"]);
    let baked = audit(&baked.path());
    let neutral = bake("neutral", &[]);
    let without = audit(&neutral.path());
    // What is mounted learns its role as it would at boot.
    let roles = neutral.path().join("etc/mesosphere/roles");
    fs::create_dir_all(&roles).unwrap();
    fs::write(roles.join("master"), "").unwrap();
    run(&mut pkgpanda(&neutral.path(), &["setup"]));
    let learnt = audit(&neutral.path());
    let slave = audit(&at("slave"));
    for (what, other) in [("baked", &baked), ("neutral", &without), ("learnt", &learnt), ("slave", &slave)] {
        assert_eq!(other["state"], master["state"], "{what}");
        assert_eq!(other["config_id"], master["config_id"], "{what}");
    }
    assert_eq!(learnt["roles"], master["roles"]);
    assert_eq!(without["roles"], serde_json::json!([]));
    assert_ne!(slave["host"], master["host"], "roles are the host's");

    // And of another configuration, or with one bit changed, another.
    configure("product/artifacts", &at("other"), &["--set", "cluster_name=other"]);
    install(&at("other"), &at("renamed"), "master");
    assert_ne!(audit(&at("renamed"))["state"], master["state"]);
    let hello = glob(&at("slave").join("opt/mesosphere/packages"), "dcos-hello--").join("bin/dcos-hello");
    fs::write(&hello, [&fs::read(&hello).unwrap()[..], b"\n"].concat()).unwrap();
    let damaged = output(&mut pkgpanda(&at("slave"), &["audit", "--json"]));
    assert_eq!(damaged.status.code(), Some(1), "{}", text(&damaged.stderr));
    let damaged: serde_json::Value = serde_json::from_slice(&damaged.stdout).unwrap();
    assert_ne!(damaged["state"], master["state"]);
    assert!(damaged["differences"].to_string().contains("bin/dcos-hello"), "{damaged:#}");
}

/// The entry of a directory whose name begins like this.
fn glob(directory: &Path, beginning: &str) -> PathBuf {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(beginning);
    names.into_iter().find(is_it).unwrap()
}

#[test]
fn a_product_that_would_set_nothing_up_is_not_baked() {
    let out = scratch();
    // As bootstrap tarballs were before they had the program: without it and its links.
    let (root, old) = (out.path().join("root"), out.path().join("old.tar"));
    support::extract(&small_product(), &root);
    fs::remove_file(root.join("active/pkgpanda")).unwrap();
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&old).arg("."));
    let mut command = bake();
    command.args(["image", "--quiet", "--no-cache", "--rootfs"]).arg(rootfs("debian-12"));
    let refused = output(command.arg("--product").arg(&old).arg("--out").arg(out.path().join("image")));
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("no active package `pkgpanda`") && told.contains("bake tree"), "{told}");
}

#[test]
fn a_plan_names_the_configuration_and_writes_nothing() {
    let out = scratch();
    let (serve, image) = (out.path().join("serve"), out.path().join("image"));
    configure("product/small-artifacts", &serve, &[]);
    let mut command = bake();
    command.args(["image", "--no-cache", "--plan", "--json", "--rootfs"]).arg(rootfs("debian-12"));
    let plan = run(command.arg("--product").arg(&serve).arg("--out").arg(&image));
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let product: serde_json::Value =
        serde_json::from_slice(&fs::read(serve.join("product.json")).unwrap()).unwrap();
    assert_eq!(plan["configuration"], product["config_id"]);
    let packages = plan["packages"].as_array().unwrap();
    let mut active = product["active"].as_array().unwrap().clone();
    active.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    let mut packages = packages.clone();
    packages.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    assert_eq!(packages, active);
    assert!(!image.exists());
}

#[test]
fn secrets_are_not_baked_and_a_note_says_which_a_host_needs() {
    let out = scratch();
    let serve = out.path().join("serve");
    configure("product/small-artifacts", &serve, &["--set", "exhibitor_admin_password=hunter2hunter2"]);
    let image = bake()
        .args(["image", "--no-cache", "--rootfs"])
        .arg(rootfs("debian-12"))
        .arg("--product")
        .arg(&serve)
        .arg("--out")
        .arg(out.path().join("image"))
        .output()
        .unwrap();
    assert!(image.status.success(), "{}", text(&image.stderr));
    let told = text(&image.stderr);
    assert!(told.contains("secrets are not baked") && told.contains("/etc/mesosphere/secrets/"), "{told}");
    let raw = out.path().join("image/debian.raw");
    let found = output(Command::new("grep").args(["--quiet", "--text", "hunter2hunter2"]).arg(&raw));
    assert_eq!(found.status.code(), Some(1), "the image holds a secret");
    let bytes = fs::read(out.path().join("serve.secrets/dcos-secrets.tar")).unwrap();
    assert!(text(&bytes).contains("hunter2hunter2"), "grep would have found nothing anyway");
}

#[test]
fn a_damaged_serve_directory_is_not_baked() {
    let out = scratch();
    let (serve, image) = (out.path().join("serve"), out.path().join("image"));
    configure("product/small-artifacts", &serve, &[]);
    let id = fs::read_to_string(serve.join("bootstrap.latest")).unwrap();
    let tarball = serve.join(format!("bootstrap/{}.bootstrap.tar.xz", id.trim()));
    let mut bytes = fs::read(&tarball).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&tarball, bytes).unwrap();
    let refused = output(
        bake()
            .args(["image", "--quiet", "--no-cache", "--rootfs"])
            .arg(rootfs("debian-12"))
            .arg("--product")
            .arg(&serve)
            .arg("--out")
            .arg(&image),
    );
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("bootstrap.tar.xz") && told.contains("has the digest"), "{told}");
    assert!(!image.exists() || fs::read_dir(&image).unwrap().next().is_none(), "an output was left");
}

#[test]
fn pkgpanda_is_static() {
    let headers =
        run(Command::new("readelf").args(["--program-headers", "--wide"]).arg(made("pkgpanda/pkgpanda")));
    assert!(headers.contains("LOAD") && !headers.contains("INTERP"), "{headers}");
}
