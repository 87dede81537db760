//! Fedora CoreOS and what else is made of bootable container images: a layer on the base's own, as other tools see it,
//! and hosts that are deployed from it by ostree.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "installer/host.rs"]
#[allow(dead_code)] // the installer's own tests need more of it
mod host;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use host::{Product, runs_as};
use serde_json::Value;
use support::container::{Container, Root};
use support::listing::{Kind, list, same_content, shown};
use support::{bake, is_root, made, output, run, scratch, small_product, text};
use tempfile::TempDir;

/// What the layer has for every product: `/usr` alone.
const OURS: [&str; 6] = [
    "usr/lib/bake",
    "usr/libexec/bake",
    "usr/lib/systemd/system/bake-seed.service",
    "usr/lib/systemd/system/dcos",
    "usr/lib/systemd/system/multi-user.target.wants",
    "usr/lib/tmpfiles.d/bake-seed.conf",
];
const PKGPANDA: &str = "/opt/mesosphere/bin/pkgpanda";

/// The stand-in that `ci/oci-base` made.
fn base() -> PathBuf {
    made("oci/fedora-coreos")
}

/// `bake image --format oci` on the stand-in, with further arguments.
fn command(arguments: &[&str]) -> Command {
    let mut command = bake();
    command.args(["image", "--quiet", "--no-cache", "--format", "oci", "--rootfs"]).arg(base());
    command.args(arguments);
    command
}

/// A baked image.
struct Baked {
    directory: PathBuf,
    manifest: Value,
}

impl Baked {
    fn new(product: &Path, directory: &Path, arguments: &[&str]) -> Self {
        let mut command = command(arguments);
        run(command.arg("--product").arg(product).arg("--out").arg(directory));
        let manifest = fs::read(directory.join("manifest.json")).unwrap();
        Self { directory: directory.to_owned(), manifest: serde_json::from_slice(&manifest).unwrap() }
    }

    fn archive(&self) -> PathBuf {
        self.directory.join("fedora-coreos.oci.tar")
    }

    fn digest(&self, key: &str) -> String {
        format!("sha256:{}", self.manifest["image"][key].as_str().unwrap())
    }

    /// Its layout in a directory, as umoci wants it.
    fn layout(&self) -> PathBuf {
        let layout = self.directory.join("layout");
        if !layout.exists() {
            fs::create_dir(&layout).unwrap();
            run(Command::new("tar").arg("-xf").arg(self.archive()).arg("-C").arg(&layout));
        }
        layout
    }

    /// Its root file system, as umoci unpacks it.
    fn unpack(&self) -> PathBuf {
        let bundle = self.directory.join("bundle");
        let image = format!("{}:fedora-coreos", self.layout().display());
        run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
        bundle.join("rootfs")
    }
}

#[test]
fn the_base_s_blobs_stay_and_skopeo_takes_the_image_as_it_is() {
    let scratch = scratch();
    let baked = Baked::new(&small_product(), &scratch.path().join("one"), &["--role", "master"]);
    let inspected = |image: &str| -> Value {
        serde_json::from_str(&run(Command::new("skopeo").args(["inspect", image]))).unwrap()
    };
    let (archive, old) = (
        inspected(&format!("oci-archive:{}", baked.archive().display())),
        inspected(&format!("oci:{}:stable", base().display())),
    );
    assert_eq!(archive["Digest"], baked.digest("digest"));
    let layers = |image: &Value| image["Layers"].as_array().unwrap().clone();
    assert_eq!(layers(&archive)[..2], layers(&old)[..], "the base's own");
    assert_eq!(layers(&archive)[2..], [baked.digest("layer")]);
    assert_eq!(archive["Labels"], old["Labels"]);
    assert_eq!(archive["Created"], "2026-01-01T00:00:00Z");
    for layer in layers(&old) {
        let path = format!("blobs/sha256/{}", layer.as_str().unwrap().strip_prefix("sha256:").unwrap());
        assert!(same_content(&base().join(&path), &baked.layout().join(&path)), "{path}");
    }
    // Whoever copies it has nothing to change.
    let copy = format!("oci:{}:copy", scratch.path().join("copy").display());
    let from = format!("oci-archive:{}", baked.archive().display());
    run(Command::new("skopeo").args(["copy", "--quiet", &from, &copy]));
    assert_eq!(inspected(&copy)["Digest"], baked.digest("digest"));

    let again =
        Baked::new(&small_product(), &scratch.path().join("two"), &["--role", "master", "--threads", "1"]);
    for name in ["fedora-coreos.oci.tar", "manifest.json", "SHA256SUMS"] {
        assert!(same_content(&baked.directory.join(name), &again.directory.join(name)), "{name}");
    }
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&baked.directory));
}

#[test]
fn as_root_umoci_unpacks_the_base_and_what_is_ours_in_usr() {
    if !is_root("what an image unpacks to") {
        return;
    }
    let scratch = scratch();
    let baked = Baked::new(&small_product(), &scratch.path().join("baked"), &[]);
    let ours = baked.unpack();
    let bundle = scratch.path().join("base");
    let image = format!("{}:stable", base().display());
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let (before, after) = (list(&bundle.join("rootfs")), list(&ours));
    let is_ours = |path: &[u8]| OURS.iter().any(|ours| text(path).starts_with(ours));
    for (path, entry) in &before {
        let now = after.get(path).unwrap_or_else(|| panic!("{} is gone", shown(path)));
        let seen = |entry: &support::listing::Entry| {
            // Names are added to directories.
            let time = if entry.kind == Kind::Directory { (0, 0) } else { entry.time };
            (entry.kind.clone(), entry.mode, entry.owner, time, entry.xattrs.clone())
        };
        assert_eq!(seen(now), seen(entry), "{}", shown(path));
    }
    let added: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    assert!(added.len() > 30, "{} entries", added.len());
    let elsewhere: Vec<_> = added.iter().filter(|path| !is_ours(path)).map(|path| shown(path)).collect();
    // The parents of what is ours, which the base lacks.
    assert!(elsewhere.iter().all(|path| path.ends_with("/libexec")), "{elsewhere:?}");
    assert!(!before.keys().any(|path| path.ends_with(b"first-layer")), "the base's own whiteout");
}

#[test]
fn what_hosts_would_not_get_is_refused_before_anything_is_written() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let put = |name: &str, text: &str| {
        fs::create_dir_all(at(name).parent().unwrap()).unwrap();
        fs::write(at(name), text).unwrap();
    };
    put("var/var/lib/site/data", "x");
    put("opt/opt/site/data", "x");
    put("many/boot/grub2/grub.cfg", "x");
    put("many/usr/etc/site", "x");
    put("fine/usr/share/site", "x");
    put("local/usr/local/bin/site", "x");
    put("users.toml", "format-revision = 1\n[users.ops]\nuid = 1000\n");
    put("mounts.toml", "format-revision = 1\n[mounts.'/data']\nsource = 'LABEL=data'\ntype = 'xfs'\n");
    let path = |name: &str| at(name).display().to_string();
    let local = path("local");
    let (var, opt, many, fine) = (path("var"), path("opt"), path("many"), path("fine"));
    let (users, mounts, product) = (path("users.toml"), path("mounts.toml"), small_product());
    let product = product.to_str().unwrap();
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--overlay", &var], &["/var/lib/site/data", "systemd-tmpfiles"]),
        (&["--overlay", &opt], &["/opt, which leads to `var/opt`", "elsewhere below /usr"]),
        (&["--overlay", &local], &["/usr/local, which leads to `../var/usrlocal`"]),
        (&["--overlay", &many], &["/boot/grub2/grub.cfg", "/usr/etc/site", "put it into /etc"]),
        (&["--overlay", &fine, "--spec", &users], &["users.ops", "Ignition"]),
        (&["--overlay", &fine, "--spec", &mounts], &["mounts.\"/data\"", "mount unit"]),
        (&["--overlay", &fine, "--loader", "grub"], &["--loader"]),
        (&["--overlay", &fine, "--size", "4G"], &["--size"]),
        (&["--overlay", &fine, "--profile", "rhel"], &["is for disks", "fedora-coreos"]),
        (&["--role", "master"], &["--product"]),
        (&[], &["would be empty"]),
    ];
    for (arguments, expected) in cases {
        let mut command = command(arguments);
        let output = output(command.arg("--out").arg(at("out")));
        let said = text(&output.stderr);
        assert!(!output.status.success() && !at("out").exists(), "{arguments:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
    // The other way round, and both at once.
    for (format, expected) in [("raw", "--format oci"), ("oci,raw", "give it alone")] {
        let mut command = bake();
        command
            .args(["image", "--no-cache", "--format", format, "--product", product, "--rootfs"])
            .arg(base());
        let output = output(command.arg("--out").arg(at("out")));
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(expected) && !at("out").exists(), "{said}");
    }
    // A base that nobody makes hosts of: the same without labels.
    let plain = at("plain");
    run(Command::new("cp").arg("-a").arg(base()).arg(&plain));
    let image = format!("{}:stable", plain.display());
    run(Command::new("umoci").args(["config", "--clear", "config.labels", "--image", &image]));
    let mut command = bake();
    command.args(["image", "--no-cache", "--format", "oci", "--overlay", &fine, "--rootfs"]).arg(&plain);
    let said = text(&output(command.arg("--out").arg(at("out"))).stderr);
    assert!(said.contains("containers.bootc") && !at("out").exists(), "{said}");
}

/// A machine's file system as ostree keeps it: a repository, deployments, and one `/var` for all of them.
struct Sysroot {
    directory: TempDir,
}

impl Sysroot {
    fn new() -> Self {
        let sysroot = Self { directory: scratch() };
        sysroot.ostree(&["admin", "init-fs", "."]);
        sysroot.ostree(&["admin", "os-init", "--sysroot=.", "coreos"]);
        sysroot.ostree(&["config", "--repo=ostree/repo", "set", "sysroot.bootloader", "none"]);
        sysroot
    }

    fn ostree(&self, arguments: &[&str]) -> String {
        run(Command::new("ostree").args(arguments).current_dir(self.directory.path()))
    }

    fn deployments(&self) -> BTreeSet<PathBuf> {
        // The directory comes with the first of them.
        let all = fs::read_dir(self.directory.path().join("ostree/deploy/coreos/deploy"));
        all.into_iter().flatten().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
    }

    /// Commits and deploys an image, as hosts do: `/etc` becomes `/usr/etc` and is merged with the host's own.
    fn deploy(&self, image: &Baked) -> PathBuf {
        let rootfs = image.unpack();
        fs::rename(rootfs.join("etc"), rootfs.join("usr/etc")).unwrap();
        let before = self.deployments();
        let tree = format!("--tree=dir={}", rootfs.display());
        self.ostree(&["commit", "--repo=ostree/repo", "--branch=image", "--timestamp=@0", &tree]);
        self.ostree(&["admin", "deploy", "--sysroot=.", "--os=coreos", "--retain", "image"]);
        self.deployments().difference(&before).next().unwrap().clone()
    }

    /// The deployment as a booted host has it: `/usr` read-only, and the `/var` of all.
    fn mount(&self, deployment: &Path) -> Root {
        let directory = scratch();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        let mount = |arguments: &[&str], from: &Path, to: &Path| {
            run(Command::new("mount").args(arguments).arg(from).arg(to));
        };
        mount(&["--bind"], deployment, &root);
        mount(&["--bind"], &root.join("usr"), &root.join("usr"));
        run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(root.join("usr")));
        mount(&["--bind"], &self.directory.path().join("ostree/deploy/coreos/var"), &root.join("var"));
        Root::mounted(directory)
    }
}

impl Drop for Sysroot {
    fn drop(&mut self) {
        // Deployments cannot be changed, not even by root.
        let _ = Command::new("chattr").arg("-i").args(self.deployments()).status();
    }
}

/// What the unit said in this boot.
fn seed_said(host: &Container) -> String {
    let said = host.run("journalctl --boot --unit=bake-seed.service --no-pager --output=cat");
    assert_eq!(
        host.run("systemctl show --value --property=Result bake-seed.service").trim(),
        "success",
        "{said}"
    );
    said
}

fn configuration(host: &Container) -> String {
    host.run("basename $(readlink /opt/mesosphere/active/dcos-config)").trim().to_owned()
}

#[test]
fn as_root_a_deployment_gets_its_product_once_and_another_image_is_another_generation() {
    if !is_root("hosts that ostree deploys") {
        return;
    }
    let scratch = scratch();
    let (first, second) = (Product::small(), Product::configured(&["--set=cluster_name=Second"]));
    let bake = |name: &str, product: &Product| {
        Baked::new(&product.serve(), &scratch.path().join(name), &["--role", "master", "--skip", "tools"])
    };
    let sysroot = Sysroot::new();
    let image = bake("first", &first);
    let root = sysroot.mount(&sysroot.deploy(&image));

    let host = Container::boot(&root, &[]);
    runs_as(&host, "master");
    assert!(seed_said(&host).contains("installed /opt/mesosphere"));
    assert!(!host.output("touch /usr/lib/bake/x").status.success(), "/usr is read-only");
    assert_eq!(host.run("readlink -f /opt/mesosphere").trim(), "/var/opt/mesosphere");
    let taken: Value = serde_json::from_str(&host.run("cat /var/lib/bake/seed.json")).unwrap();
    assert_eq!(taken["seed"], image.manifest["seed"]);
    host.run(&format!("{PKGPANDA} audit"));
    let starts = |host: &Container| host.run("cat /var/lib/dcos/dcos-hello/starts").trim().to_owned();
    assert_eq!((starts(&host).as_str(), configuration(&host)), ("1", config(&first)));
    host.power_off();

    let host = Container::boot(&root, &[]);
    runs_as(&host, "master");
    let said = seed_said(&host);
    assert!(said.contains("taken before") && !said.contains("installed /opt"), "{said}");
    assert_eq!(
        (starts(&host).as_str(), host.run("readlink /opt/mesosphere/current").trim()),
        ("2", "generations/1")
    );
    host.run(&format!("{PKGPANDA} audit"));
    host.power_off();
    drop(root);

    let root = sysroot.mount(&sysroot.deploy(&bake("second", &second)));
    let host = Container::boot(&root, &[]);
    runs_as(&host, "master");
    assert!(seed_said(&host).contains("the seed is generation 2"));
    assert_eq!((configuration(&host), starts(&host).as_str()), (config(&second), "3"));
    host.run(&format!("{PKGPANDA} audit"));
    // The operator's word counts until the image brings another seed.
    host.run(&format!("{PKGPANDA} rollback"));
    runs_as(&host, "master");
    host.run("systemctl restart bake-seed.service dcos-setup.service");
    assert_eq!(configuration(&host), config(&first));
    host.power_off();
}

fn config(product: &Product) -> String {
    format!("dcos-config--setup_{}", product.config_id())
}
