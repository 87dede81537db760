//! Images boot, as what they are told to be. These tests need QEMU, without KVM a minute for each boot.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_base::Digest;
use support::listing::{Kind, at, list, same_content, shown};
use support::machine::{boot, boot_and_shut_down};
use support::mount::Mount;
use support::{
    Baked, bake, bake_image, copy_part, full, is_root, made, output, project, rootfs, run, scratch,
    small_product, text,
};

const GIB: u64 = 1 << 30;

/// The root file system `name` with a small product and the witness that reports on the console.
fn baked(name: &str, directory: &Path, more: &[&str]) -> Baked {
    baked_with(&small_product(), name, directory, more)
}

fn baked_with(product: &Path, name: &str, directory: &Path, more: &[&str]) -> Baked {
    let overlay = project("tests/overlay");
    let arguments = ["--product", product.to_str().unwrap(), "--overlay", overlay.to_str().unwrap()];
    bake_image(&rootfs(name), directory, &[&arguments, more].concat())
}

fn sha256(path: &Path) -> Digest {
    bake_base::DigestReader::new(std::fs::File::open(path).unwrap()).drain().unwrap().0
}

fn skip(what: &str) -> bool {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: {what}");
    }
    !full()
}

/// The sample tree, configured for a cluster of one master that is found at the machine's own address.
fn configured(directory: &Path) -> PathBuf {
    let serve = directory.join("serve");
    run(bake()
        .args([
            "configure",
            "--set",
            "master_list=[127.0.0.1]",
            "--set",
            "ip_detect_filename=ready:interface/lo",
        ])
        .arg("--config")
        .arg(project("tests/genconf/config.yaml"))
        .arg("--artifacts")
        .arg(made("product/artifacts"))
        .arg("--out")
        .arg(&serve));
    serve
}

#[test]
fn in_qemu_one_file_boots_as_master_and_as_slave_by_credential_and_stays_the_same() {
    let scratch = scratch();
    let image = baked_with(&configured(scratch.path()), "debian-12", scratch.path(), &[]).raw();
    let before = sha256(&image);
    for role in ["master", "slave"] {
        let console = boot(&image, &["--credential", &format!("dcos.roles={role}")]);
        console.runs_as(role, 1);
        let is_master = role == "master";
        // Of this cluster no agent is seen while its master is another role of the same machine.
        let failed = if is_master { "" } else { "dcos-join/check/dcos-join.sh" };
        assert_eq!(console.fact("checks-failed"), failed, "{}", console.0);
        assert_eq!(console.0.contains("zookeeper: imok"), is_master, "{}", console.0);
        let joined = console.0.contains("dcos-join: joined as master at 127.0.0.1");
        assert_eq!(joined, is_master, "{}", console.0);
        assert_eq!(console.fact("roles"), role, "what it has learnt it stays");
        assert_eq!(console.fact("first-boot"), "no", "presets would undo the choice of units");
    }
    assert_eq!(sha256(&image), before);
}

/// What the second boot of a machine may change, with all below: logs, and the state of what runs there.
const CHANGES: [&str; 7] = [
    // Cleared at every boot, and where units get private directories.
    "/tmp",
    "/var/tmp",
    "/var/log",
    // The clock's drift.
    "/var/lib/chrony",
    "/var/lib/systemd/random-seed",
    // State of the product's packages and of the tests' own witness.
    "/var/lib/dcos",
    "/var/lib/bake-test.boots",
];

#[test]
fn in_qemu_the_first_boot_makes_a_machine_and_the_second_changes_nothing_but_logs_and_state() {
    let scratch = scratch();
    let baked = baked("debian-12", scratch.path(), &[]);
    let disk = scratch.path().join("machine.qcow2");
    let machine = ["--credential", "dcos.roles=master", "--keep", disk.to_str().unwrap(), "--grow", "20G"];

    let first = boot_and_shut_down(&baked.raw(), &machine);
    first.runs_as("master", 1);
    assert_eq!(first.fact("boot"), "1");
    let id = first.fact("machine-id");
    assert!(id.len() == 32 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(first.fact("machine-id-mount"), "", "the machine id is kept, not laid over");
    assert_eq!(first.fact("host-key-count"), "3");
    assert_eq!(first.fact("disk-bytes"), (20 * GIB).to_string());
    let root: u64 = first.fact("root-bytes").parse().unwrap();
    assert!(root > 18 * GIB, "the root file system has {root} bytes of a disk of 20 GiB");
    let after_first = raw(&disk, &scratch.path().join("first.raw"));

    let second = boot_and_shut_down(&baked.raw(), &machine);
    second.runs_as("master", 2);
    assert_eq!(second.fact("boot"), "2");
    for fact in
        ["machine-id", "host-keys", "host-key-count", "root-bytes", "root-uuid", "root-partuuid", "mounts"]
    {
        assert_eq!(second.fact(fact), first.fact(fact), "{fact}");
    }
    let after_second = raw(&disk, &scratch.path().join("second.raw"));
    if is_root("mounting what two boots left") {
        let changed = changes(&after_first, &after_second);
        let unexpected: Vec<_> = changed.iter().filter(|path| !is_allowed(path)).collect();
        assert!(unexpected.is_empty(), "a second boot changed {unexpected:#?}");
    }
}

/// A raw copy of a machine's disk.
fn raw(disk: &Path, to: &Path) -> PathBuf {
    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(disk).arg(to));
    let problems =
        Command::new("e2fsck").arg("-fn").arg(root_of(to, &to.with_extension("root"))).output().unwrap();
    assert!(problems.status.success(), "{}", support::text(&problems.stdout));
    to.to_owned()
}

/// Where the second partition lies, in bytes.
fn root_place(disk: &Path) -> (u64, u64) {
    let mut partx = Command::new("partx");
    let line = run(partx.args(["--noheadings", "--raw", "--nr=2", "--output=START,SECTORS"]).arg(disk));
    let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap() * 512);
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn root_of(disk: &Path, to: &Path) -> PathBuf {
    copy_part(disk, root_place(disk), to);
    to.to_owned()
}

/// Paths that two disks do not have alike, in metadata or content.
fn changes(one: &Path, other: &Path) -> BTreeSet<String> {
    let (one, other) = (Mount::part(one, root_place(one)), Mount::part(other, root_place(other)));
    let (ours, theirs) = (list(&one.path()), list(&other.path()));
    let paths: BTreeSet<&Vec<u8>> = ours.keys().chain(theirs.keys()).collect();
    let differs = |path: &Vec<u8>| match (ours.get(path), theirs.get(path)) {
        (Some(a), Some(b)) if a == b => {
            matches!(a.kind, Kind::File { .. })
                && !same_content(&at(&one.path(), path), &at(&other.path(), path))
        }
        _ => true,
    };
    paths.into_iter().filter(|path| differs(path)).map(|path| shown(path)).collect()
}

fn is_allowed(path: &str) -> bool {
    CHANGES.iter().any(|allowed| path == *allowed || path.starts_with(&format!("{allowed}/")))
}

#[test]
fn in_qemu_a_unified_kernel_image_finds_root_by_the_type_of_its_partition() {
    let scratch = scratch();
    let baked = baked("debian-12-dracut", scratch.path(), &["--loader", "unified", "--format", "raw,qcow2"]);
    let command_line = baked.manifest["boot"]["command-line"].as_str().unwrap();
    assert!(!command_line.contains("root="), "{command_line}");
    let console = boot(&baked.directory.join("debian.qcow2"), &["--credential", "dcos.roles=slave_public"]);
    console.runs_as("slave_public", 1);
    assert_eq!(console.fact("cmdline"), command_line);
    let mounts: BTreeMap<_, _> =
        console.fact("mounts").split(' ').filter_map(|mount| mount.split_once(':')).collect();
    assert_eq!(mounts["/"], "ext4");
    // Found as it was baked, and its machine's own from then on.
    let guid = baked.manifest["disk"]["partitions"][1]["guid"].as_str().unwrap();
    assert_ne!(console.fact("root-partuuid"), guid);
}

/// A machine that never ends: its image has nothing to boot.
fn endless(scratch: &Path) -> Command {
    let rootfs = scratch.join("rootfs.tar");
    std::fs::write(&rootfs, support::tiny::rootfs().finish()).unwrap();
    let image = bake_image(&rootfs, &scratch.join("out"), &[]).raw();
    std::fs::create_dir(scratch.join("tmp")).unwrap();
    let mut command = support::bake();
    command.arg("boot").arg(image).env("TMPDIR", scratch.join("tmp"));
    command
}

fn names_in(directory: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn in_qemu_a_machine_that_shows_nothing_of_what_is_expected_runs_out_of_time() {
    let scratch = scratch();
    let output =
        support::output(endless(scratch.path()).args(["--timeout", "3", "--expect", "never (said|shown)"]));
    assert_eq!(output.status.code(), Some(1));
    let said = support::text(&output.stderr);
    assert!(said.contains("after 3 seconds") && said.contains("`never (said|shown)`"), "{said}");
    assert!(names_in(&scratch.path().join("tmp")).is_empty());
}

#[test]
fn in_qemu_a_machine_is_switched_off_and_cleared_away_by_an_interrupt() {
    let scratch = scratch();
    let mut child = endless(scratch.path()).arg("--quiet").spawn().unwrap();
    let tmp = scratch.path().join("tmp");
    let runs = || {
        let machines = support::output(Command::new("pgrep").arg("-f").arg(&tmp)).stdout;
        !machines.is_empty()
    };
    while !runs() {
        std::thread::yield_now();
    }
    run(Command::new("kill").arg("-INT").arg(child.id().to_string()));
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(2), "{status}");
    assert!(names_in(&tmp).is_empty() && !runs());
}

/// What `bake boot` needs to start the kernel of an image itself, with more on its command line.
fn kernel_with(more: &str, baked: &Baked, scratch: &Path) -> [String; 4] {
    let taken = |pattern: &str, name: &str| {
        let to = scratch.join(name);
        let mut tar = Command::new("tar");
        tar.arg("--extract").arg("--to-stdout").arg("--file").arg(rootfs("debian-12"));
        let output = support::output(tar.args(["--wildcards", pattern]));
        std::fs::write(&to, output.stdout).unwrap();
        to.to_str().unwrap().to_owned()
    };
    let (kernel, initrd) = (taken("./boot/vmlinuz-*", "kernel"), taken("./boot/initrd.img-*", "initrd"));
    let command_line = baked.manifest["boot"]["command-line"].as_str().unwrap();
    ["--kernel".to_owned(), kernel, initrd, format!("{command_line} {more}")]
}

#[test]
fn in_qemu_an_image_takes_its_role_from_the_kernel_command_line() {
    if skip("a role by kernel argument") {
        return;
    }
    let scratch = scratch();
    let baked = baked("debian-12", scratch.path(), &[]);
    let kernel = kernel_with("dcos.roles=slave_public", &baked, scratch.path());
    let console = boot(&baked.raw(), &kernel.each_ref().map(String::as_str));
    console.runs_as("slave_public", 1);
    // The firmware adds where it got the initrd from.
    assert!(console.fact("cmdline").starts_with(&kernel[3]), "{}", console.fact("cmdline"));
}

#[test]
fn in_qemu_an_image_takes_its_role_from_smbios_strings_that_systemd_does_not_import() {
    if skip("a role by SMBIOS strings alone") {
        return;
    }
    let scratch = scratch();
    let baked = baked("debian-12", scratch.path(), &[]);
    // With this, systemd does as those before version 252 do (kernel-command-line(7)).
    let kernel = kernel_with("systemd.import_credentials=no", &baked, scratch.path());
    let strings = ["--credential", "dcos.roles=slave"];
    let console = boot(&baked.raw(), &[&kernel.each_ref().map(String::as_str)[..], &strings].concat());
    assert_eq!(console.fact("credentials"), "", "systemd imported some, and may have brought the role");
    console.runs_as("slave", 1);
    assert!(console.0.contains("the SMBIOS strings of the machine names the roles slave"), "{}", console.0);
}

#[test]
fn in_qemu_an_image_with_a_role_of_its_own_listens_to_no_other_source() {
    if skip("a role by file") {
        return;
    }
    let scratch = scratch();
    let overlay = scratch.path().join("overlay/etc/mesosphere/roles");
    std::fs::create_dir_all(&overlay).unwrap();
    std::fs::write(overlay.join("slave"), "").unwrap();
    let overlay = scratch.path().join("overlay");
    for (out, more, role) in [
        ("flag", ["--role", "master"], "master"),
        ("file", ["--overlay", overlay.to_str().unwrap()], "slave"),
    ] {
        let baked = baked("debian-12", &scratch.path().join(out), &more);
        let console = boot(&baked.raw(), &["--credential", "dcos.roles=slave_public"]);
        console.runs_as(role, 1);
        assert_eq!(console.fact("roles"), role);
    }
}

#[test]
fn in_qemu_an_image_without_any_role_waits_for_one() {
    if skip("no role") {
        return;
    }
    let scratch = scratch();
    let console = boot(&baked("debian-12", scratch.path(), &[]).raw(), &[]);
    assert_eq!((console.fact("state"), console.fact("failed")), ("running", ""));
    assert!(console.0.contains("waiting for a role") && !console.0.contains("bake-demo: "), "{}", console.0);
}

#[test]
fn in_qemu_an_image_boots_from_nvme() {
    if skip("NVMe") {
        return;
    }
    let scratch = scratch();
    let baked = baked("debian-12", scratch.path(), &[]);
    let console = boot(&baked.raw(), &["--disk", "nvme", "--credential", "dcos.roles=master"]);
    console.runs_as("master", 1);
    assert_eq!(console.fact("root-source"), "/dev/nvme0n1p2");
}

#[test]
fn a_product_for_other_processors_is_refused() {
    let scratch = scratch();
    let mut command = bake();
    command.args(["image", "--quiet", "--no-cache", "--rootfs"]).arg(rootfs("debian-12-arm64"));
    command.arg("--product").arg(small_product()).arg("--out").arg(scratch.path().join("out"));
    let refused = output(&mut command);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("is for x86-64, and the kernel of the image for arm64"), "{said}");
    assert!(!scratch.path().join("out/manifest.json").exists());
}
