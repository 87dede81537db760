//! The product as a system extension: before the tools of its file systems, before Ignition, and on a host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::server::Server;
use crate::host::runs_as;
use crate::support::container::{Container, Root};
use crate::support::listing::{list, same_content};
use crate::support::mount::Mount;
use crate::support::{bake, is_root, output, rootfs, run, scratch, small_product, text};

/// What an extension for Flatcar says of its hosts.
const RELEASE: &str = "ID=flatcar\nSYSEXT_LEVEL=1.0\nARCHITECTURE=x86-64\n";
const FORMATS: [(&str, &str); 2] = [("sysext", "squashfs"), ("sysext-erofs", "erofs")];

/// `bake image --format FORMAT` of the small product.
fn command(format: &str, out: &Path, arguments: &[&str]) -> Command {
    let mut command = bake();
    command.args(["image", "--no-cache", "--format", format, "--product"]).arg(small_product());
    command.arg("--out").arg(out).args(arguments);
    command
}

/// A made extension for Flatcar.
pub fn make(format: &str, out: &Path, url: &str) -> PathBuf {
    let arguments = ["--profile", "flatcar", "--role", "slave", "--url", url];
    run(&mut command(format, out, &arguments));
    out.join("dcos.raw")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_tools_of_both_file_systems_read_the_same_extension() {
    let scratch = scratch();
    let mut trees = Vec::new();
    for (format, kind) in FORMATS {
        let out = scratch.path().join(format);
        let raw = make(format, &out, "https://example.org/");
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["SHA256SUMS", "dcos.ign", "dcos.raw", "manifest.json"]);
        run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));
        let (manifest, snippet) = (json(&out.join("manifest.json")), json(&out.join("dcos.ign")));
        let artifact = &manifest["artifacts"][0];
        assert_eq!(artifact["format"], kind);
        assert_eq!(artifact["size"], fs::metadata(&raw).unwrap().len());
        let sum = run(Command::new("sha256sum").arg(&raw));
        assert_eq!(artifact["sha256"].as_str().unwrap(), &sum[..64]);
        let contents = &snippet["storage"]["files"][0]["contents"];
        assert_eq!(contents["source"], "https://example.org/dcos.raw");
        assert_eq!(contents["verification"]["hash"], format!("sha256-{}", &sum[..64]));

        if kind == "squashfs" {
            let said = run(Command::new("unsquashfs").arg("-stat").arg(&raw));
            assert!(said.contains("Compression zstd"), "{said}");
            let mut unsquashfs = Command::new("unsquashfs");
            unsquashfs.args(["-no-xattrs", "-quiet", "-no-progress", "-dest"]);
            run(unsquashfs.arg(scratch.path().join("unpacked")).arg(&raw));
            let release = "unpacked/usr/lib/extension-release.d/extension-release.dcos";
            assert_eq!(fs::read_to_string(scratch.path().join(release)).unwrap(), RELEASE);
        } else {
            run(Command::new("fsck.erofs").arg("--extract").arg(&raw));
        }
        // Another place, another number of threads.
        let mut again = command(format, &scratch.path().join("again").join(format), &["--threads", "1"]);
        again.args(["--profile", "flatcar", "--arch", "x86-64", "--role", "slave"]);
        run(again.args(["--url", "https://example.org/dcos.raw"]).env("TZ", "Asia/Kathmandu"));
        for name in ["dcos.raw", "dcos.ign", "manifest.json", "SHA256SUMS"] {
            let again = scratch.path().join("again").join(format).join(name);
            assert!(same_content(&out.join(name), &again), "{format}: {name}");
        }

        if is_root("what the kernel and systemd see of an extension") {
            let mount = Mount::whole(&raw);
            trees.push(list(&mount.path()));
            mount.unmount();
            let said = run(Command::new("systemd-dissect").arg(&raw));
            for part in ["SYSEXT_LEVEL=1.0", "ARCHITECTURE=x86-64", kind] {
                assert!(said.contains(part), "{said}");
            }
        }
    }
    if let [squashfs, erofs] = trees.as_slice() {
        assert_eq!(squashfs, erofs);
        let is_inside = |path: &[u8]| path.is_empty() || path.starts_with(b"usr") || path.starts_with(b"opt");
        assert!(squashfs.keys().all(|path| is_inside(path)) && squashfs.len() > 50);
    }
}

#[test]
fn a_plan_of_an_extension_writes_nothing() {
    let scratch = scratch();
    let out = scratch.path().join("out");
    let arguments = ["--role", "slave", "--url", "https://example.org/x.raw", "--plan"];
    let said = run(&mut command("sysext", &out, &arguments));
    for part in [
        "for any operating system, x86-64",
        "dcos.ign",
        "https://example.org/x.raw",
        "etc/mesosphere/roles/slave",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let plan = run(command("sysext", &out, &arguments).arg("--json"));
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["name"], &plan["file-system"]), (&"dcos".into(), &"squashfs".into()));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn what_an_extension_cannot_be_is_refused_with_a_way_out() {
    let scratch = scratch();
    let out = scratch.path().join("out");
    let url = ["--url", "https://example.org/"];
    let good = [&["--role", "slave"], &url[..]].concat();
    let bare = text(&output(bake().args(["image", "--format", "sysext"]).current_dir(scratch.path())).stderr);
    assert!(bare.contains("give --product"), "{bare}");
    let cases: [(&str, &[&str], &[&str]); 12] = [
        ("sysext", &["--role", "slave"], &["--url"]),
        ("sysext", &url, &["--role"]),
        ("sysext,raw", &good, &["alone"]),
        ("sysext,sysext-erofs", &good, &["alone"]),
        ("sysext", &[&good[..], &["--profile", "debian"]].concat(), &["--profile debian", "flatcar"]),
        ("sysext", &[&good[..], &["--loader", "grub", "--size", "2G"]].concat(), &["--size", "--loader"]),
        ("sysext", &[&good[..], &["--read-only", "usr"]].concat(), &["--read-only"]),
        ("sysext", &[&good[..], &["--arch", "arm64"]].concat(), &["pkgpanda", "x86-64", "arm64"]),
        ("sysext", &[&good[..], &["--name", "a/b"]].concat(), &["a/b"]),
        ("sysext", &["--role", "slave", "--url", "dcos.raw"], &["https://"]),
        ("sysext", &["--role", "slave", "--url", "file:///dcos.raw"], &["https://"]),
        ("sysext", &["--role", "masters", "--url", "https://example.org/"], &["masters", "slave_public"]),
    ];
    for (format, arguments, expected) in cases {
        let output = output(&mut command(format, &out, arguments));
        let said = text(&output.stderr);
        assert!(!output.status.success() && !out.exists(), "{arguments:?}: {said}");
        for part in expected {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
}

#[test]
fn a_spec_file_can_ask_for_an_extension() {
    let scratch = scratch();
    let spec = scratch.path().join("bake.toml");
    let image = format!(
        "format-revision = 1\n[[image]]\nname = 'site'\nprofile = 'flatcar'\nproduct = '{}'\nroles = ['slave']\n\
         formats = ['sysext-erofs']\nurl = 'https://example.org/'\n",
        small_product().display()
    );
    fs::write(&spec, &image).unwrap();
    let mut command = bake();
    command.args(["image", "--quiet", "--no-cache", "--out", "out"]).current_dir(scratch.path());
    run(&mut command);
    assert_eq!(json(&scratch.path().join("out/site/manifest.json"))["url"], "https://example.org/site.raw");
    // What is said of disks has no place there.
    fs::write(&spec, format!("{image}size = '4G'\nloader = 'grub'\n")).unwrap();
    let said = text(&output(&mut command).stderr);
    assert!(said.contains("`size`, `loader`"), "{said}");
}

/// Ignition with its validator, unpacked from the root file system that has it.
fn ignition(directory: &Path) -> [PathBuf; 2] {
    let programs = ["usr/lib/dracut/modules.d/30ignition/ignition", "usr/bin/ignition-validate"];
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(directory).arg("-xf").arg(rootfs("debian-12-cloud"));
    run(tar.args(programs.map(|program| format!("./{program}"))));
    programs.map(|program| directory.join(program))
}

/// A host before its first boot: Debian that says to be Flatcar.
fn host() -> Root {
    let root = Root::of("debian-12");
    let put = |path: &str, content: &str| {
        fs::create_dir_all(root.at(path).parent().unwrap()).unwrap();
        fs::write(root.at(path), content).unwrap();
    };
    put("usr/lib/os-release", "NAME=Flatcar\nID=flatcar\nVERSION_ID=0.0.0\nSYSEXT_LEVEL=1.0\n");
    put("etc/machine-id", "");
    put("usr/lib/systemd/system-preset/99-default.preset", "disable *\n");
    // A container has no loop devices of its own, and nodes of the machine's come and go.
    put(
        "etc/systemd/system/systemd-sysext.service.d/loop.conf",
        "[Service]\nExecStartPre=/bin/sh -c 'mknod /dev/loop-control c 10 237; for i in $(seq 0 63); do mknod /dev/loop$i b 7 $i; done'\n",
    );
    root
}

#[test]
fn as_root_ignition_fetches_the_extension_and_the_host_s_own_systemd_merges_it() {
    if !is_root("a host that takes an extension, which is a container") {
        return;
    }
    let scratch = scratch();
    let [ignition, validate] = ignition(scratch.path());
    let server = Server::new(scratch.path());
    for (format, kind) in FORMATS {
        let out = scratch.path().join(format);
        make(format, &out, &format!("{}{format}/", server.url("127.0.0.1")));
        let said = output(Command::new(&validate).arg(out.join("dcos.ign")));
        assert!(said.status.success() && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");

        let root = host();
        // As in an initrd: before the host's system starts. It labels what it writes, and here are no labels to give.
        fs::create_dir_all(root.at("etc/selinux")).unwrap();
        fs::write(root.at("etc/selinux/config"), "SELINUX=disabled\nSELINUXTYPE=none\n").unwrap();
        let bin = scratch.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let _ = std::os::unix::fs::symlink("/bin/true", bin.join("setfiles"));
        for stage in ["fetch", "files"] {
            let mut command = Command::new(&ignition);
            command.args(["--platform=file", "--log-to-stdout", &format!("--stage={stage}"), "--root"]);
            command
                .arg(root.path())
                .arg("--config-cache")
                .arg(scratch.path().join(format!("{format}.cache")));
            command.arg("--state-file").arg(scratch.path().join(format!("{format}.state")));
            command.env("IGNITION_CONFIG_FILE", out.join("dcos.ign"));
            let path = std::env::var("PATH").unwrap();
            run(command.env("PATH", format!("{}:{path}", bin.display())));
        }
        assert!(same_content(&root.at("etc/extensions/dcos.raw"), &out.join("dcos.raw")));
        // Systemd does it in the first boot of a machine; one without an id of its own is not in its first boot.
        run(Command::new("systemctl").arg("--root").arg(root.path()).args(["preset", "dcos-setup.service"]));

        let host = Container::boot(&root, &[]);
        runs_as(&host, "slave");
        assert!(host.run("systemd-sysext status --no-pager").contains("dcos"));
        assert_eq!(host.run("findmnt --noheadings --output FSTYPE /opt").trim(), "overlay");
        assert!(!host.output("touch /opt/mesosphere/x").status.success(), "an extension is read-only");
        host.run("/opt/mesosphere/bin/pkgpanda audit");
        host.power_off();
        // And again at the next boot.
        let host = Container::boot(&root, &[]);
        runs_as(&host, "slave");
        assert_eq!(host.run("cat /var/lib/dcos/dcos-hello/starts").trim(), "2", "{kind}");
    }
}
