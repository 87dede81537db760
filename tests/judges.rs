//! Whoever can judge an image looks at it: the checkers of file systems, partition tables and containers,
//! readers that share no code with the writer, and the kernel.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

#[path = "judges/promise.rs"]
mod promise;
#[path = "judges/reader.rs"]
mod reader;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use ext4_view::Ext4;

use promise::{Promise, same_below};
use support::listing::{self, Entry, Kind, Listing};
use support::machine::boot_and_shut_down;
use support::mount::Mount;
use support::{
    Baked, bake_image, copy_part, extract, is_root, output, project, rootfs, run, scratch, small_product,
    text,
};

/// A second of 2022: older than much of what the distribution holds, newer than the product.
const EARLY: &str = "1650000000";

/// Host policy of every kind.
const POLICY: &str = r#"
format-revision = 1
[units]
enable = ["systemd-networkd.service"]
disable = ["rsyslog.service", "chrony.service"]
mask = ["apt-daily.timer"]
[kernel]
args = ["quiet"]
[users.ops]
uid = 1500
groups = ["sudo"]
home = "/home/ops"
authorized-keys = ["ssh-ed25519 AAAA ops"]
[users.www-data]
home = "/var/www"
[files."/etc/motd"]
content = "baked\n"
[files."/etc/localtime"]
link = "/usr/share/zoneinfo/UTC"
[mounts."/var/lib/data"]
source = "LABEL=data"
type = "ext4"
"#;

#[test]
fn a_plain_image_passes_every_judge() {
    let out = scratch();
    bake_image(&rootfs("debian-12"), out.path(), &["--format", "raw,qcow2"]).judge();
}

#[test]
fn an_image_with_product_overlay_and_role_passes_every_judge() {
    let out = scratch();
    let (product, overlay) = (small_product(), project("tests/overlay"));
    let arguments = ["--product", path(&product), "--overlay", path(&overlay), "--role", "master"];
    bake_image(&rootfs("debian-12"), out.path(), &arguments).judge();
}

#[test]
fn an_image_with_sectors_of_4096_bytes_passes_every_judge() {
    let out = scratch();
    bake_image(&rootfs("debian-12"), out.path(), &["--sector-size", "4096", "--format", "raw,qcow2"]).judge();
}

#[test]
fn an_image_with_a_unified_kernel_passes_every_judge() {
    let out = scratch();
    let image = bake_image(&rootfs("debian-12-dracut"), out.path(), &["--loader", "unified"]);
    image.judge();
    assert_eq!(esp_files(&image), ["EFI/BOOT/BOOTX64.EFI"]);
}

#[test]
fn an_image_for_another_architecture_passes_every_judge() {
    let out = scratch();
    let image = bake_image(&rootfs("debian-12-arm64"), out.path(), &[]);
    image.judge();
    assert_eq!(image.manifest["architecture"], "arm64");
    assert!(esp_files(&image).contains(&"EFI/BOOT/BOOTAA64.EFI".to_owned()));
}

#[test]
fn an_image_of_an_asked_size_passes_every_judge() {
    let out = scratch();
    let image = bake_image(&rootfs("debian-12"), out.path(), &["--size", "64G", "--format", "raw,qcow2"]);
    image.judge();
    assert_eq!(image.manifest["disk"]["size"], 64_u64 << 30);
}

#[test]
fn an_independent_reader_finds_every_file_with_every_byte() {
    let out = scratch();
    let inputs = out.path().join("inputs");
    extract(&rootfs("debian-12"), &inputs);
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    let root = out.path().join("root");
    image.extract("root", &root);

    let file_system = Ext4::load_from_path(&root).unwrap();
    let as_root = is_root("owners and device nodes, which tar could not extract");
    let is_device =
        |entry: &Entry| matches!(entry.kind, Kind::CharacterDevice { .. } | Kind::BlockDevice { .. });
    let mut found = reader::list(&file_system);
    found.retain(|path, entry| as_root || !(is_device(entry) || path.starts_with(b"dev/")));
    let promise = Promise::new(&listing::list(&inputs), &image.manifest);
    let comparable = |entry: &Entry| Entry {
        xattrs: BTreeMap::new(),
        owner: if as_root { entry.owner } else { (0, 0) },
        kind: match entry.kind {
            Kind::CharacterDevice { .. } => Kind::CharacterDevice { number: 0 },
            Kind::BlockDevice { .. } => Kind::BlockDevice { number: 0 },
            ref other => other.clone(),
        },
        ..entry.clone()
    };
    promise.check(&found, comparable, |path| reader::same_content(&file_system, &inputs, path));
}

#[test]
fn an_independent_reader_finds_attributes_of_every_kind() {
    let out = scratch();
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    let root = out.path().join("root");
    image.extract("root", &root);
    let value = |file: &str, name: &str| {
        let to = out.path().join("value");
        let request = format!("ea_get -f {} /srv/hard-cases/{file} {name}", to.display());
        run(Command::new("debugfs").args(["-R", &request]).arg(&root));
        fs::read(&to).unwrap_or_else(|error| panic!("{name} of {file}: {error}"))
    };
    // As ci/rootfs set them: in the inode, empty, and too large for the inode.
    assert_eq!(text(&value("xattr", "user.bake")), "some value");
    assert_eq!(text(&value("xattr", "user.empty")), "");
    assert_eq!(text(&value("xattr", "user.large")), "x".repeat(3000));
    // Revision 2, effective; CAP_NET_ADMIN (12) and CAP_NET_RAW (13) permitted (linux/capability.h).
    let capability = [0x0200_0001_u32, 1 << 12 | 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    assert_eq!(value("capability", "security.capability"), capability);
}

#[test]
fn mtools_finds_the_kernel_and_its_entry_on_the_esp() {
    let out = scratch();
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    let kernel = image.manifest["boot"]["kernel"].as_str().unwrap();
    let mut files = esp_files(&image);
    files.sort();
    let expected = [
        "EFI/BOOT/BOOTX64.EFI".to_owned(),
        "EFI/systemd/systemd-bootx64.efi".to_owned(),
        format!("debian/{kernel}/initrd.img-{kernel}"),
        format!("debian/{kernel}/linux"),
        "loader/entries.srel".to_owned(),
        format!("loader/entries/debian-{kernel}.conf"),
        "loader/loader.conf".to_owned(),
    ];
    assert_eq!(files, expected);
    let entry = text(&esp_file(&image, &format!("loader/entries/debian-{kernel}.conf")));
    let options = image.manifest["boot"]["command-line"].as_str().unwrap();
    assert!(entry.contains(&format!("options    {options}\n")), "{entry}");
    for (name, in_root) in [("linux", "vmlinuz"), (&*format!("initrd.img-{kernel}"), "initrd.img")] {
        let member = format!("./boot/{in_root}-{kernel}");
        let ours = output(Command::new("tar").arg("-xOf").arg(rootfs("debian-12")).arg(&member)).stdout;
        assert!(!ours.is_empty());
        assert!(esp_file(&image, &format!("debian/{kernel}/{name}")) == ours, "{name} has other bytes");
    }
}

#[test]
fn as_root_the_kernel_reads_exactly_what_tar_extracts() {
    if !is_root("the kernel's look at a plain image") {
        return;
    }
    let out = scratch();
    let inputs = out.path().join("inputs");
    extract(&rootfs("debian-12"), &inputs);
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    compare_with_kernel(&image, &inputs);
}

#[test]
fn as_root_the_kernel_reads_exactly_what_tar_extracts_of_every_layer() {
    if !is_root("the kernel's look at an image of many layers") {
        return;
    }
    let out = scratch();
    let (overlay, spec) = (out.path().join("overlay.tar"), out.path().join("bake.toml"));
    make_overlay(out.path(), &overlay);
    fs::write(&spec, POLICY).unwrap();
    let inputs = out.path().join("inputs");
    extract(&rootfs("debian-12"), &inputs);
    extract(&overlay, &inputs);
    extract(&small_product(), &inputs.join("opt/mesosphere"));
    let product = small_product();
    let arguments =
        ["--overlay", path(&overlay), "--product", path(&product), "--spec", path(&spec), "--role", "master"];
    let arguments = [&arguments[..], &["--epoch", EARLY]].concat();
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &arguments);
    assert!(image.manifest["normalised"]["clamped-times"].as_u64().unwrap() > 1000);
    compare_with_kernel(&image, &inputs);
}

#[test]
fn as_root_the_root_grows_a_hundredfold_while_it_is_mounted() {
    if !is_root("growing the mounted root") {
        return;
    }
    let out = scratch();
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    let root = out.path().join("root");
    image.extract("root", &root);
    let size = fs::metadata(&root).unwrap().len() * 100;
    let enlarge = || File::options().write(true).open(&root).unwrap().set_len(size).unwrap();
    let mut mount = Mount::whole(&root);
    let before = contents(&mount.path().join("usr/bin"));
    if may_grow() {
        enlarge();
        run(Command::new("losetup").args(["--set-capacity", mount.device()]));
        run(Command::new("resize2fs").arg(mount.device()));
    } else {
        eprintln!("NOT WHILE MOUNTED for want of CAP_SYS_RESOURCE, which root in a container may lack");
        mount.unmount();
        enlarge();
        run(Command::new("e2fsck").arg("-fp").arg(&root));
        run(Command::new("resize2fs").arg(&root));
        mount = Mount::whole(&root);
    }
    let grown = rustix::fs::statvfs(mount.path()).unwrap();
    assert!(grown.f_blocks * grown.f_frsize > size / 100 * 97, "{} blocks of {size} bytes", grown.f_blocks);
    work(&mount.path());
    assert!(contents(&mount.path().join("usr/bin")) == before, "files have changed");
    mount.unmount();
    run(Command::new("e2fsck").arg("-fn").arg(&root));
}

/// The kernel of the image itself grows it, as the first boot does: the tests' own kernel may not let them.
#[test]
fn in_qemu_the_root_grows_a_hundredfold_while_it_runs() {
    let out = scratch();
    let (product, overlay) = (small_product(), project("tests/overlay"));
    let arguments = ["--product", path(&product), "--overlay", path(&overlay)];
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &arguments);
    let (offset, size) = image.partition("root");
    let disk = (offset + size * 101).next_multiple_of(1 << 30) >> 30;
    let (kept, raw) = (out.path().join("kept.qcow2"), out.path().join("kept.raw"));
    let machine = ["--credential", "dcos.roles=master", "--keep", path(&kept), "--grow", &format!("{disk}G")];
    boot_and_shut_down(&image.raw(), &machine).runs_as("master", 1);

    run(Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&kept).arg(&raw));
    let columns = ["--noheadings", "--raw", "--nr=2", "--output=START,SECTORS"];
    let place = run(Command::new("partx").args(columns).arg(&raw));
    let sectors: Vec<u64> = place.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!(sectors[0] * 512, offset);
    let root = out.path().join("root");
    copy_part(&raw, (offset, sectors[1] * 512), &root);
    run(Command::new("e2fsck").arg("-fn").arg(&root));
    let superblock = run(Command::new("dumpe2fs").arg("-h").arg(&root));
    let blocks = superblock.lines().find_map(|line| line.strip_prefix("Block count:")).unwrap();
    assert!(blocks.trim().parse::<u64>().unwrap() * 4096 >= size * 100, "{superblock}");
}

#[test]
fn as_root_the_root_gets_an_id_of_its_own_while_it_is_mounted() {
    if !is_root("changing the id of the mounted root") {
        return;
    }
    let out = scratch();
    let image = bake_image(&rootfs("debian-12"), &out.path().join("image"), &[]);
    let root = out.path().join("root");
    image.extract("root", &root);
    let mount = Mount::whole(&root);
    run(Command::new("tune2fs").args(["-U", "random", mount.device()]));
    work(&mount.path());
    mount.unmount();
    run(Command::new("e2fsck").arg("-fn").arg(&root));
    let shared = image.manifest["disk"]["partitions"][1]["file-system-id"].as_str().unwrap();
    let superblock = run(Command::new("dumpe2fs").arg("-h").arg(&root));
    assert!(superblock.contains("metadata_csum_seed") && !superblock.contains(shared), "{superblock}");
}

/// Mounts the root read-write out of the disk, compares it with `inputs`, writes to it, and lets e2fsck judge.
fn compare_with_kernel(image: &Baked, inputs: &Path) {
    let mount = Mount::part(&image.raw(), image.partition("root"));
    let found = listing::list(&mount.path());
    let promise = Promise::new(&as_it_came(listing::list(inputs)), &image.manifest);
    promise.check(&as_it_came(found.clone()), Entry::clone, same_below(inputs, &mount.path()));
    promise.check_links(&found);
    work(&mount.path());
    mount.unmount();
    image.judge_root();
}

/// Without what the install root gets beside packages: a bootstrap tarball has it linked in another way, and
/// `tests/product.rs` compares it with that of an installed host.
fn as_it_came(mut listing: listing::Listing) -> listing::Listing {
    // The manifest lists the record of what is outside of it.
    let is_kept =
        |path: &[u8]| path == b"created.json" || path.split(|b| *b == b'/').next() == Some(b"packages");
    listing.retain(|path, _| path.strip_prefix(b"opt/mesosphere/").is_none_or(is_kept));
    listing
}

/// Whether the kernel lets the tests grow a mounted file system.
fn may_grow() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() & 1 << 24 != 0
}

/// What a host does to its root: writes, appends, renames and removes.
fn work(root: &Path) {
    fs::create_dir_all(root.join("var/busy/a/b/c")).unwrap();
    for i in 0..2000 {
        fs::write(root.join(format!("var/busy/file-{i}")), vec![b'x'; i * 7]).unwrap();
    }
    for i in (0..2000).step_by(3) {
        fs::remove_file(root.join(format!("var/busy/file-{i}"))).unwrap();
    }
    File::options().append(true).open(root.join("etc/passwd")).unwrap().write_all(b"# more\n").unwrap();
    fs::rename(root.join("usr/share"), root.join("usr/moved")).unwrap();
    fs::rename(root.join("usr/moved"), root.join("usr/share")).unwrap();
    fs::remove_dir_all(root.join("usr/lib/systemd")).unwrap();
}

/// An overlay as a tar: the tests' own, a file for the EFI system partition, changes of what the rootfs has.
fn make_overlay(work: &Path, tar: &Path) {
    let tree = work.join("overlay");
    run(Command::new("cp").arg("-r").arg(project("tests/overlay")).arg(&tree));
    for (name, content) in [
        ("boot/efi/EFI/vendor/tool.efi", "a program of the firmware's vendor"),
        ("etc/issue", "replaced\n"),
        ("lib/modprobe.d/site.conf", "blacklist none\n"),
        ("etc/kernel/cmdline", "replaced again by the loader\n"),
    ] {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let mut command = Command::new("tar");
    command.args(["--owner=0", "--group=0", "--numeric-owner", "--mtime=@1500000000"]);
    // By its members: an overlay has no say about the root directory, which extracting `.` would change.
    let mut names: Vec<_> = fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    run(command.arg("-C").arg(&tree).arg("-cf").arg(tar).args(names));
}

/// Content and metadata of everything below a directory.
fn contents(directory: &Path) -> (Listing, Vec<Vec<u8>>) {
    let listing = listing::list(directory);
    let files = listing.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File { .. }));
    let bytes = files.map(|(path, _)| fs::read(listing::at(directory, path)).unwrap()).collect();
    (listing, bytes)
}

/// All files of the EFI system partition.
fn esp_files(image: &Baked) -> Vec<String> {
    let listing = run(Command::new("mdir").args(["-/", "-b", "-i", &esp(image), "::"]));
    let files = listing.lines().filter(|line| !line.ends_with('/'));
    files.map(|line| line.trim_start_matches("::/").to_owned()).collect()
}

fn esp_file(image: &Baked, name: &str) -> Vec<u8> {
    let read = output(Command::new("mtype").args(["-i", &esp(image), &format!("::/{name}")]));
    assert!(read.status.success(), "{name}: {}", text(&read.stderr));
    read.stdout
}

fn esp(image: &Baked) -> String {
    format!("{}@@{}", image.raw().display(), image.partition("esp").0)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
