//! Read-only images: what dm-verity guards is what a plain image has, as the tools of the file systems and of dm-verity
//! see it, and a machine that finds anything else does not start. Some of it needs QEMU.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::listing::{Listing, list};
use support::machine::{Console, boot_and_shut_down, shows};
use support::mount::Mount;
use support::{Baked, bake, bake_image, full, is_root, output, project, rootfs, run, scratch, small_product};

/// The parts, and the file systems that they may have. Compressing takes longest.
const KINDS: [(&str, &str); 4] =
    [("usr", "erofs"), ("root", "ext4"), ("usr", "squashfs"), ("root", "squashfs")];
/// How a machine's log names a block that is not what was baked.
const CORRUPTED: &str = "is corrupted";
/// A text that every boot reads, early, out of the real root.
const EARLY: &[u8] = b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"";
/// Tells how large what hosts write is.
const LARGE: &str = "#!/bin/sh\nprintf 'var-bytes=%s\\n' \"$(df --output=size --block-size=1 /var | tail -n 1 | tr -d ' ')\"\n";

fn bakes(directory: &Path, part: &str, format: &str, more: &[&str]) -> Baked {
    let arguments = ["--read-only", part, "--read-only-format", format, "--loader", "unified"];
    bake_image(&rootfs("debian-12-dracut"), directory, &[&arguments, more].concat())
}

fn kinds() -> &'static [(&'static str, &'static str)] {
    if full() { &KINDS } else { &KINDS[..2] }
}

/// The partition with the file system and that with its hashes.
fn partitions<'a>(baked: &'a Baked, part: &str) -> [&'a Value; 2] {
    let all = baked.manifest["disk"]["partitions"].as_array().unwrap();
    [part.to_owned(), format!("{part}-verity")]
        .map(|name| all.iter().find(|partition| partition["name"] == *name).unwrap())
}

#[test]
fn tools_of_dm_verity_and_of_the_file_system_agree_with_what_is_on_the_disk() {
    for (part, format) in kinds() {
        let scratch = scratch();
        let baked = bakes(&scratch.path().join("out"), part, format, &[]);
        let verdict = run(Command::new("sgdisk").arg("-v").arg(baked.raw()));
        assert!(verdict.contains("No problems found"), "{verdict}");
        let (data, hashes) = (scratch.path().join("data"), scratch.path().join("hashes"));
        baked.extract(part, &data);
        baked.extract(&format!("{part}-verity"), &hashes);

        let verified = &baked.manifest["verified"];
        let root_hash = verified["root-hash"].as_str().unwrap();
        let verify =
            |hash: &str| output(Command::new("veritysetup").arg("verify").arg(&data).arg(&hashes).arg(hash));
        assert!(verify(root_hash).status.success(), "{part} {format}: {:?}", verify(root_hash));
        assert!(!verify(&"0".repeat(64)).status.success());
        let dump = run(Command::new("veritysetup").arg("dump").arg(&hashes));
        let salt = dump.lines().find_map(|line| line.strip_prefix("Salt:")).unwrap().trim();
        assert_eq!(salt, verified["salt"].as_str().unwrap());
        match *format {
            "erofs" => run(Command::new("fsck.erofs").arg("--extract").arg(&data)),
            "squashfs" => run(Command::new("unsquashfs").args(["-quiet", "-lls"]).arg(&data)),
            _ => run(Command::new("e2fsck").arg("-fn").arg(&data)),
        };

        // The discoverable partitions specification: ids are the halves of the root hash.
        let ids =
            partitions(&baked, part).map(|partition| partition["guid"].as_str().unwrap().replace('-', ""));
        assert_eq!(ids.concat(), root_hash);
        let types = partitions(&baked, part).map(|partition| partition["type-guid"].as_str().unwrap());
        let expected = match *part {
            "usr" => ["8484680c-9521-48c6-9c11-b0720656f69e", "77ff5f63-e7b6-4633-acf4-1565b864c0e6"],
            _ => ["4f68bce3-e8cd-4db1-96e7-fbcaf984b709", "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"],
        };
        assert_eq!(types, expected);
        let command_line = baked.manifest["boot"]["command-line"].as_str().unwrap();
        let word = if *part == "usr" { "usrhash" } else { "roothash" };
        assert!(
            command_line.split(' ').any(|given| given == format!("{word}={root_hash}")),
            "{command_line}"
        );
    }
}

#[test]
fn what_is_guarded_is_what_a_plain_image_has_needs_root() {
    if !is_root("mounting images") {
        return;
    }
    let scratch = scratch();
    let plain =
        bake_image(&rootfs("debian-12-dracut"), &scratch.path().join("plain"), &["--loader", "unified"]);
    let mount = Mount::part(&plain.raw(), plain.partition("root"));
    let expected = list(&mount.path().join("usr"));
    for (part, format) in kinds() {
        let baked = bakes(&scratch.path().join(part).join(format), part, format, &[]);
        let data = scratch.path().join("data");
        baked.extract(part, &data);
        let guarded = Mount::whole(&data);
        let root = guarded.path().join(if *part == "usr" { "" } else { "usr" });
        same(&expected, &list(&root), format);
        for path in expected.keys().filter(|path| path.starts_with(b"lib/systemd/")) {
            let path = String::from_utf8(path.clone()).unwrap();
            let [one, other] = [mount.path().join("usr").join(&path), root.join(&path)];
            if fs::symlink_metadata(&one).unwrap().is_file() {
                assert!(support::listing::same_content(&one, &other), "{format}: {path}");
            }
        }
    }
}

/// SquashFS has whole seconds.
fn same(expected: &Listing, seen: &Listing, format: &str) {
    assert_eq!(expected.len(), seen.len(), "{format}");
    for ((path, one), (other_path, other)) in expected.iter().zip(seen) {
        let mut one = one.clone();
        if format == "squashfs" {
            one.time.1 = 0;
        }
        assert_eq!((path, &one), (other_path, other), "{format}: {}", support::listing::shown(path));
    }
}

#[test]
fn nothing_but_the_input_makes_a_difference() {
    for (part, format) in kinds() {
        let scratch = scratch();
        let one = bakes(&scratch.path().join("one"), part, format, &[]);
        let other = scratch.path().join("a/longer/directory");
        let mut command = bake();
        command.env("TZ", "Pacific/Chatham").env("LC_ALL", "C.UTF-8").current_dir(scratch.path());
        command.args(["image", "--quiet", "--no-cache", "--threads", "1", "--loader", "unified", "--rootfs"]);
        command.arg(rootfs("debian-12-dracut").canonicalize().unwrap()).arg("--out").arg(&other);
        run(command.args(["--read-only", part, "--read-only-format", format]));
        assert_eq!(one.digest(), Baked::read(&other).digest(), "{part} {format}");
    }
}

#[test]
fn what_no_read_only_image_can_be_is_refused_with_what_to_do() {
    let product = small_product();
    let product = product.to_str().unwrap();
    for (arguments, advice) in [
        (&["--read-only", "usr", "--loader", "grub"][..], "choose the loader `systemd-boot` or `unified`"),
        (&["--read-only", "root", "--product", product], "give --role, or have /usr alone read-only"),
        (&["--read-only-format", "ext4"], "say which by --read-only"),
    ] {
        let out = scratch();
        let out = out.path().join("out");
        let mut command = bake();
        command
            .args(["image", "--no-cache", "--rootfs"])
            .arg(rootfs("debian-12-dracut"))
            .arg("--out")
            .arg(&out);
        let refused = output(command.args(arguments));
        let said = String::from_utf8_lossy(&refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!refused.status.success() && said.contains(advice), "{said}");
        assert!(!out.exists(), "something was written");
    }
}

/// A machine's image with a small product and the witness.
fn machine(directory: &Path, rootfs_name: &str, more: &[&str]) -> Baked {
    let overlay = directory.join("overlay");
    let facts = overlay.join("usr/local/lib/bake-test/facts.d");
    fs::create_dir_all(&facts).unwrap();
    fs::write(facts.join("var"), LARGE).unwrap();
    run(Command::new("chmod").arg("755").arg(facts.join("var")));
    let (witness, product) = (project("tests/overlay"), small_product());
    let given = ["--overlay", witness.to_str().unwrap(), "--overlay", overlay.to_str().unwrap()];
    let product = ["--product", product.to_str().unwrap(), "--role", "slave"];
    bake_image(&rootfs(rootfs_name), &directory.join("out"), &[&given[..], &product, more].concat())
}

/// Two boots of one machine.
fn starts_twice(directory: &Path, baked: &Baked) -> [Console; 2] {
    let disk = directory.join("machine.qcow2");
    let words = ["--memory", "2048", "--keep", disk.to_str().unwrap()];
    let first = boot_and_shut_down(&baked.raw(), &[&words[..], &["--grow", "8G"]].concat());
    first.runs_as("slave", 1);
    let second = boot_and_shut_down(&baked.raw(), &words);
    second.runs_as("slave", 2);
    for fact in ["machine-id", "host-keys", "host-key-count", "root-bytes", "var-bytes", "mounts", "settings"]
    {
        assert_eq!(first.fact(fact), second.fact(fact), "{fact}");
    }
    assert!(first.fact("var-bytes").parse::<u64>().unwrap() > 6 << 30, "{}", first.fact("var-bytes"));
    [first, second]
}

/// The image with one bit of a file turned that every boot reads.
fn damage(baked: &Baked, part: &str) {
    let (offset, size) = baked.partition(part);
    let file = File::options().read(true).write(true).open(baked.raw()).unwrap();
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    file.read_exact_at(&mut bytes, offset).unwrap();
    let at = bytes.windows(EARLY.len()).position(|window| window == EARLY).unwrap();
    file.write_all_at(&[bytes[at] ^ 1], offset + at as u64).unwrap();
}

#[test]
fn in_qemu_a_read_only_root_runs_its_product_and_one_flipped_bit_stops_the_machine() {
    let scratch = scratch();
    let baked = machine(scratch.path(), "debian-12-dracut", &["--loader", "unified", "--read-only", "root"]);
    let [first, _] = starts_twice(scratch.path(), &baked);
    assert_eq!(first.fact("root-source"), "/dev/mapper/root");
    assert!(first.fact("root-options").starts_with("ro"), "{}", first.fact("root-options"));
    assert!(first.fact("mounts").starts_with("/:erofs /var:ext4"), "{}", first.fact("mounts"));

    damage(&baked, "root");
    // That it is told is not enough: the machine has to stop.
    let console = shows(&baked.raw(), &["--memory", "2048"], "Kernel panic");
    assert!(console.0.contains(CORRUPTED) && !console.0.contains("bake-test: "), "{}", console.0);
}

#[test]
fn in_qemu_a_read_only_usr_is_guarded_beside_a_root_that_hosts_write() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: /usr as SquashFS and ext4, with systemd-boot");
        return;
    }
    for (rootfs_name, format) in [("debian-12", "squashfs"), ("debian-12-dracut", "ext4")] {
        let scratch = scratch();
        let more = ["--loader", "systemd-boot", "--read-only", "usr", "--read-only-format", format];
        let baked = machine(scratch.path(), rootfs_name, &more);
        let [first, _] = starts_twice(scratch.path(), &baked);
        let mounts = first.fact("mounts");
        assert!(mounts.contains(&format!("/usr:{format}")) && mounts.starts_with("/:ext4"), "{mounts}");
    }
}

#[test]
fn in_qemu_a_wrong_hash_on_the_command_line_starts_nothing() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: a wrong hash, for which a machine waits in vain");
        return;
    }
    let scratch = scratch();
    let more = ["--loader", "systemd-boot", "--read-only", "usr"];
    let baked = machine(scratch.path(), "debian-12-dracut", &more);
    let root_hash = baked.manifest["verified"]["root-hash"].as_str().unwrap();
    let (offset, size) = baked.partition("esp");
    let file = File::options().read(true).write(true).open(baked.raw()).unwrap();
    let mut bytes = vec![0; usize::try_from(size).unwrap()];
    file.read_exact_at(&mut bytes, offset).unwrap();
    let at = bytes.windows(64).position(|window| window == root_hash.as_bytes()).unwrap();
    let other = if bytes[at] == b'0' { b'1' } else { b'0' };
    file.write_all_at(&[other], offset + at as u64).unwrap();
    let console = shows(&baked.raw(), &["--memory", "2048"], "Timed out waiting for device");
    assert!(!console.0.contains("bake-test: "), "{}", console.0);
}
