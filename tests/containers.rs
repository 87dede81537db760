//! Every container format of one bake, on a real root file system: others read the same disk from each.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::machine::shows;
use support::mount::Mount;
use support::{bake, bake_image, is_root, output, rootfs, run, scratch, text};

/// Formats with the ends of their files' names.
const FORMATS: [(&str, &str); 14] = [
    ("raw", "raw"),
    ("raw.gz", "raw.gz"),
    ("raw.xz", "raw.xz"),
    ("raw.zst", "raw.zst"),
    ("bmap", "bmap"),
    ("qcow2", "qcow2"),
    ("qcow2-compressed", "compressed.qcow2"),
    ("vmdk", "vmdk"),
    ("vmdk-stream", "stream.vmdk"),
    ("ova", "ova"),
    ("vhd", "vhd"),
    ("vhd-dynamic", "dynamic.vhd"),
    ("vhdx", "vhdx"),
    ("gce", "gce.tar.gz"),
];

/// A bake in all formats at once.
fn baked(directory: &Path) {
    let formats: Vec<_> = FORMATS.iter().map(|(format, _)| *format).collect();
    run(bake()
        .args(["image", "--quiet", "--no-cache", "--format", &formats.join(","), "--rootfs"])
        .arg(rootfs("debian-12"))
        .arg("--out")
        .arg(directory));
}

fn file(directory: &Path, format: &str) -> PathBuf {
    let (_, extension) = FORMATS.iter().find(|(name, _)| *name == format).unwrap();
    directory.join(format!("debian.{extension}"))
}

/// Runs a shell script in a directory.
fn shell(directory: &Path, script: &str) {
    run(Command::new("bash").args(["-euo", "pipefail", "-c", script]).current_dir(directory));
}

#[test]
fn every_format_holds_the_same_disk_for_other_peoples_tools_and_for_our_own() {
    let scratch = scratch();
    let at = scratch.path();
    baked(at);
    // QEMU's own comparison, table checks where it has them, and conversion of what it cannot compare.
    shell(
        at,
        "qemu-img check -q debian.qcow2; qemu-img check -q debian.compressed.qcow2; qemu-img check -q debian.vhdx
         for pair in qcow2:qcow2 compressed.qcow2:qcow2 vmdk:vmdk stream.vmdk:vmdk vhd:vpc dynamic.vhd:vpc vhdx:vhdx; do
             qemu-img compare -f raw -F ${pair#*:} debian.raw debian.${pair%:*}
         done",
    );
    // Each kind of archive by the tool that people have for it.
    shell(
        at,
        "for unpack in 'gzip -dc debian.raw.gz' 'xz -dc debian.raw.xz' 'zstd -qdc debian.raw.zst' \
             'tar -xzOf debian.gce.tar.gz disk.raw'; do
             $unpack | cmp - debian.raw
         done
         test \"$(tar -tzf debian.gce.tar.gz)\" = disk.raw",
    );
    shell(
        at,
        "mkdir ova && tar -C ova -xf debian.ova && test \"$(tar -tf debian.ova | xargs)\" = 'disk.ovf disk.mf disk.vmdk'
         cd ova && sed -E 's/^SHA256\\((.*)\\)= (.*)$/\\2  \\1/' disk.mf | sha256sum --check --quiet
         xmllint --noout disk.ovf
         cmp disk.vmdk ../debian.stream.vmdk
         grep -q \"ovf:size=\\\"$(stat -c %s disk.vmdk)\\\"\" disk.ovf",
    );
    shell(at, "bmaptool -q copy --bmap debian.bmap debian.raw copied && cmp copied debian.raw");
    shell(at, "sha256sum --check --quiet SHA256SUMS");

    let facts = |image: &Path| -> serde_json::Value {
        serde_json::from_slice(&run(bake().args(["inspect", "--json"]).arg(image)).into_bytes()).unwrap()
    };
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(at.join("manifest.json")).unwrap()).unwrap();
    for (format, _) in FORMATS.iter().filter(|(format, _)| *format != "bmap") {
        let facts = facts(&file(at, format));
        assert_eq!(facts["format"], *format);
        assert_eq!(facts["digest"], manifest["disk"]["digest"], "{format}");
        let partitions = facts["table"]["partitions"].as_array().unwrap();
        let holds: Vec<_> =
            partitions.iter().map(|partition| partition["file-system"].as_str().unwrap()).collect();
        assert_eq!(holds, ["vfat", "ext4"], "{format}");
    }
    // Files as long as the disk are covered by its digests, all others by their own.
    let sums = fs::read_to_string(at.join("SHA256SUMS")).unwrap();
    for artifact in manifest["artifacts"].as_array().unwrap() {
        let (name, is_long) =
            (artifact["name"].as_str().unwrap(), artifact["format"] == "raw" || artifact["format"] == "vhd");
        let line = artifact["sha256"].as_str().map(|digest| format!("{digest}  {name}\n"));
        assert_eq!(line.is_none(), is_long, "{name}");
        assert!(line.is_none_or(|line| sums.contains(&line)), "{name}");
    }
    let same = run(bake().arg("diff").arg(file(at, "raw")).arg(file(at, "ova")));
    assert_eq!(same, "the same disk\n");
}

#[test]
fn a_difference_is_told_by_its_place_whatever_the_formats() {
    let scratch = scratch();
    let at = scratch.path();
    run(bake()
        .args(["image", "--quiet", "--no-cache", "--format", "raw,vmdk", "--rootfs"])
        .arg(rootfs("debian-12"))
        .arg("--out")
        .arg(at));
    shell(at, "printf x | dd of=debian.raw bs=1 seek=1048700 conv=notrunc status=none");
    let compared = output(bake().args(["diff"]).arg(at.join("debian.raw")).arg(at.join("debian.vmdk")));
    assert_eq!(compared.status.code(), Some(1));
    assert_eq!(text(&compared.stdout), "4096 bytes at 1048576 differ in partition \"esp\"\n");
    assert!(compared.stderr.is_empty());
    let missing = output(bake().args(["diff"]).arg(at.join("debian.raw")).arg(at.join("absent")));
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("absent"), "{}", text(&missing.stderr));
}

#[test]
fn as_root_the_tar_of_the_tree_is_what_the_root_file_system_holds() {
    if !is_root("mounting the root file system") {
        return;
    }
    let scratch = scratch();
    let baked = bake_image(&rootfs("debian-12"), scratch.path(), &["--format", "raw,tar"]);
    let tar = scratch.path().join("debian.tar");
    let mount = Mount::part(&baked.raw(), baked.partition("root"));
    // Content, kind, mode, owner and time of every member.
    let mut compare = Command::new("tar");
    run(compare
        .args(["--compare", "--numeric-owner", "--file"])
        .arg(&tar)
        .arg("--directory")
        .arg(mount.path()));
    let count = |script: &str, path: &Path| run(Command::new("sh").args(["-euc", script, "sh"]).arg(path));
    let members = count("tar --quoting-style=escape -tf \"$1\" | wc -l", &tar);
    let files =
        count("cd \"$1\" && find . -path ./lost+found -prune -o -printf 'x\\n' | wc -l", &mount.path());
    assert_eq!(members, files);
}

/// Nothing but the tree: no disk is written, and its digest is told all the same.
#[test]
fn a_tar_alone_is_a_file_beside_its_manifest() {
    let scratch = scratch();
    let baked = bake_image(&rootfs("debian-12"), scratch.path(), &["--format", "tar"]);
    let mut names: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["SHA256SUMS", "debian.tar", "manifest.json"]);
    shell(
        scratch.path(),
        "sha256sum --check --quiet SHA256SUMS && tar -xOf debian.tar ./etc/os-release >/dev/null",
    );
    assert!(baked.digest().len() == 64);
}

#[test]
fn a_block_map_is_no_disk() {
    let scratch = scratch();
    let map = scratch.path().join("debian.bmap");
    fs::write(&map, "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n").unwrap();
    let said = text(&output(bake().arg("inspect").arg(&map)).stderr);
    assert!(said.contains("it describes the raw disk beside it"), "{said}");
}

/// Directly where QEMU knows the format; where it does not, `bake boot` unpacks it, the first always and the others
/// under `ci/test --full`. A kernel that starts has come from the file system in the image.
#[test]
fn in_qemu_every_format_starts_its_kernel() {
    const UNPACKED: [&str; 4] = ["raw.gz", "raw.xz", "ova", "gce"];
    let scratch = scratch();
    baked(scratch.path());
    let is_full = std::env::var_os("BAKE_TEST_FULL").is_some();
    let booted = |format: &str| format != "bmap" && (is_full || !UNPACKED.contains(&format));
    for (format, _) in FORMATS.iter().filter(|(format, _)| booted(format)) {
        shows(&file(scratch.path(), format), &[], "Linux version");
    }
}

#[test]
fn what_is_no_image_or_not_whole_is_not_taken_for_one_without_a_word() {
    let scratch = scratch();
    let file = |name: &str, bytes: &[u8]| {
        let path = scratch.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let inspect = |path: &Path| output(bake().arg("inspect").arg(path));
    let told = |path: &Path| {
        let done = inspect(path);
        assert!(done.status.success(), "{}", text(&done.stderr));
        text(&done.stderr)
    };
    assert!(told(&file("cut.vhd", &[0; 4096])).contains("is no vhd image, though named like one"));
    assert!(told(&file("manifest.json", b"{}")).contains("is it a disk?"));
    assert!(told(&file("empty", b"")).contains("is empty"));
    let failure = text(&inspect(scratch.path()).stderr);
    assert!(failure.contains("is a directory"), "{failure}");
    let whole = scratch.path().join("whole.vhdx");
    run(Command::new("qemu-img").args(["create", "-q", "-f", "vhdx"]).arg(&whole).arg("64M"));
    // In the middle of a region table, and of the table of blocks.
    let content = fs::read(&whole).unwrap();
    for len in [200 << 10, 3 << 20] {
        let cut = text(&inspect(&file("cut.vhdx", &content[..len])).stderr);
        assert!(cut.contains("damaged vhdx image") || cut.contains("cut short"), "{len}: {cut}");
    }
}

#[test]
fn disks_of_different_sizes_are_compared_to_the_end_of_the_longer_one() {
    let scratch = scratch();
    let [short, long] = [("short", 1 << 20), ("long", 3 << 20)].map(|(name, size)| {
        let path = scratch.path().join(name);
        std::fs::write(&path, vec![7; size]).unwrap();
        path
    });
    for (left, right, sizes) in
        [(&short, &long, "1048576 and 3145728"), (&long, &short, "3145728 and 1048576")]
    {
        let done = output(bake().arg("diff").arg(left).arg(right));
        let expected = format!("sizes differ: {sizes} bytes\n2097152 bytes at 1048576 differ\n");
        assert_eq!((done.status.code(), text(&done.stdout)), (Some(1), expected), "{}", text(&done.stderr));
    }
}
