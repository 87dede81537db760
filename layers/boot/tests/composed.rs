//! Initrds that were composed of real root file systems, judged by the loader, `depmod`, the distributions' own tools,
//! and the kernel: a machine has to reach the multi-user target of the real root.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

mod support;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_archive::{Limits, read_cpio};
use bake_base::Epoch;
use bake_boot::Architecture;
use bake_boot::initrd::compose::{Composed, Init, Options, compose};
use bake_boot::initrd::{self, Facts};
use bake_boot::kernel::Kernel;
use bake_tree::{Tree, TreePath};
use tempfile::TempDir;

const DRIVERS: [&str; 5] = ["ext4", "nvme", "virtio_blk", "virtio_pci", "virtio_scsi"];
/// In the real root: says that everything came up, and switches off.
const UNIT: &str =
    "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/sh /usr/lib/judge\n";
const JUDGE: &str = r#"failed=$(systemctl --failed --plain --no-legend | cut -d' ' -f1)
echo "judge: up failed=$failed root=$(findmnt -no SOURCE /) type=$(findmnt -no FSTYPE /)" >/dev/console
systemctl poweroff --force
"#;

fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target").join(name)
}

fn scratch() -> TempDir {
    fs::create_dir_all(target("tests")).unwrap();
    tempfile::tempdir_in(target("tests")).unwrap()
}

fn run(command: &mut Command) -> String {
    let output =
        command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: see ci/install-tools"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn is_root(what: &str) -> bool {
    let root = run(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        eprintln!("SKIPPED for want of root: {what}");
    }
    root
}

/// The tree of a real root file system without its initrd, if `ci/rootfs` has made it.
fn bare(name: &str) -> Option<(Tree, Kernel)> {
    let mut tree = support::real(name)?;
    let kernel = Kernel::find(&tree, None).unwrap();
    if let Ok((at, _)) = kernel.initrd(&tree) {
        tree.remove(&at);
    }
    assert!(kernel.initrd(&tree).is_err());
    Some((tree, kernel))
}

fn composed(tree: &Tree, kernel: &Kernel, init: Option<Init>) -> Composed {
    let epoch = Epoch::from_seconds(1_700_000_000);
    let options = |threads| Options { drivers: &DRIVERS, optional: &[], epoch, init, threads };
    let composed = compose(tree, kernel, &options(2)).unwrap();
    let again = compose(tree, kernel, &options(1)).unwrap();
    assert!(composed.content.same_bytes(&again.content).unwrap(), "twice composed differs");
    for note in &composed.notes {
        eprintln!("note: {note}");
    }
    eprintln!("{} bytes, {} modules", composed.content.len(), composed.modules.len());
    composed
}

/// Unpacks an initrd by the real `cpio`.
fn unpack(initrd: &[u8], directory: &Path) {
    let file = directory.with_extension("initrd");
    fs::write(&file, initrd).unwrap();
    fs::create_dir(directory).unwrap();
    let unpack =
        "(zstd -dc \"$0\" 2>/dev/null || gzip -dc \"$0\") | cpio -id --quiet --no-absolute-filenames";
    run(Command::new("sh").args(["-c", unpack]).arg(&file).current_dir(directory));
}

/// Every file below a directory.
fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), found);
        } else if entry.file_type().unwrap().is_file() {
            found.push(entry.path());
        }
    }
}

/// Asks the initrd's own loader whether it finds every library, and the tree's `depmod` for its indexes.
fn judge(initrd: &Path, kernel: &Kernel) {
    if !is_root("asking the loader and the depmod of the initrd") {
        return;
    }
    let mut all = Vec::new();
    files(initrd, &mut all);
    let mut programs = 0;
    for file in all {
        let mut head = [0; 18];
        let n = File::open(&file).unwrap().read(&mut head).unwrap();
        let is_program = n == 18 && head.starts_with(b"\x7fELF") && matches!(head[16], 2 | 3);
        // A library may rely on what its program has loaded.
        if is_program && !file.to_string_lossy().contains(".so") {
            let inside = Path::new("/").join(file.strip_prefix(initrd).unwrap());
            let mut loader = Command::new("chroot");
            loader.arg(initrd).arg("/lib64/ld-linux-x86-64.so.2").arg("--list").arg(&inside);
            let output = loader.output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let is_static = text.contains("not a dynamic executable") || text.contains("statically linked");
            assert!(output.status.success() || is_static, "{}: {text}", inside.display());
            assert!(!text.contains("not found"), "{}: {text}", inside.display());
            programs += 1;
        }
    }
    eprintln!("{programs} programs have what they need");
    assert!(programs > 1);

    let modules = initrd.join("usr/lib/modules").join(&kernel.version);
    let names = [
        "dep",
        "dep.bin",
        "alias",
        "alias.bin",
        "softdep",
        "symbols",
        "symbols.bin",
        "builtin.bin",
        "devname",
    ];
    let read = |name: &str| fs::read(modules.join(format!("modules.{name}"))).unwrap();
    let ours = names.map(read);
    let depmod = initrd.join("usr/sbin/depmod");
    if !depmod.exists() {
        std::os::unix::fs::symlink("../bin/kmod", depmod).unwrap();
    }
    run(Command::new("chroot").arg(initrd).args(["/usr/sbin/depmod", &kernel.version]));
    for (name, ours) in names.iter().zip(ours) {
        assert!(read(name) == ours, "modules.{name} differs");
    }
}

fn checked(tree: &Tree, kernel: &Kernel, composed: &Composed) {
    let at = TreePath::parse(b"boot/initrd").unwrap();
    let facts = initrd::check(tree, kernel, &at, &composed.content, &DRIVERS).unwrap();
    assert_eq!(facts, composed.facts);
    let bytes = composed.content.read_all(1 << 30).unwrap();
    let mut last: Option<TreePath> = None;
    let mut entries = 0;
    read_cpio("initrd", &bytes[..], Limits::default(), &mut |entry, _| {
        entries += 1;
        assert_eq!((entry.uid, entry.gid, entry.inode), (0, 0, entries));
        assert!(entry.mtime <= 1_700_000_000);
        assert!(last.as_ref().is_none_or(|last| *last < entry.path), "{} is out of order", entry.path);
        last = Some(entry.path.clone());
        Ok(())
    })
    .unwrap();
}

const UUID: &str = "0b5e0f6e-6d35-4f5c-8e3b-0d1f5a1c7a11";
const PARTUUID: &str = "5f3c9a0e-7d1b-4c52-9a7e-1b2c3d4e5f60";
const DISK_SIZE: u64 = 1 << 30;

/// The root file system with the judge's unit in it, extracted.
fn root(tar: &str, directory: &Path) -> PathBuf {
    let root = directory.join("root");
    fs::create_dir(&root).unwrap();
    run(Command::new("tar").arg("-C").arg(&root).arg("-xpf").arg(target("rootfs").join(tar)).args([
        "--exclude=./usr/share/doc",
        "--exclude=./usr/share/man",
        "--exclude=./var/cache",
        "--exclude=./boot/*",
        "--exclude=./dev/*",
    ]));
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(units.join("multi-user.target.wants")).unwrap();
    fs::write(units.join("judge.service"), UNIT).unwrap();
    fs::write(root.join("usr/lib/judge"), JUDGE).unwrap();
    std::os::unix::fs::symlink("../judge.service", units.join("multi-user.target.wants/judge.service"))
        .unwrap();
    root
}

/// Makes an ext4 of `root` at an offset in `disk`.
fn mke2fs(root: &Path, disk: &Path, offset: u64, size: u64) {
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-t", "ext4", "-L", "real-root", "-U", UUID, "-E", &format!("offset={offset}"), "-d"]);
    run(mke2fs.arg(root).arg(disk).arg(format!("{}k", size / 1024)));
}

/// A disk with one partition that holds the root file system, whose own `tool` lists the initrd before.
fn disk(tar: &str, directory: &Path, tool: &str, composed: &Composed) -> PathBuf {
    let root = root(tar, directory);
    if !tool.is_empty() && is_root("listing the initrd by the distribution's own tool") {
        // The trees have no `zstd` for it, but `gzip`.
        let packed = directory.join("packed");
        fs::write(&packed, composed.content.read_all(1 << 30).unwrap()).unwrap();
        let repack = "zstd -dc \"$0\" | gzip -1 >\"$1\"";
        run(Command::new("sh").args(["-c", repack]).arg(&packed).arg(root.join("boot/initrd")));
        run(Command::new("mknod").arg(root.join("dev/null")).args(["c", "1", "3"]));
        let listed = run(Command::new("chroot").arg(&root).args([tool, "/boot/initrd"]));
        for name in ["init", "usr/lib/initrd-release", "virtio_blk.ko"] {
            assert!(
                listed.lines().any(|line| line.split(" -> ").next().unwrap().ends_with(name)),
                "{listed}"
            );
        }
        fs::remove_file(root.join("boot/initrd")).unwrap();
        fs::remove_file(root.join("dev/null")).unwrap();
    }
    let disk = directory.join("disk");
    File::create(&disk).unwrap().set_len(DISK_SIZE).unwrap();
    let kind = "1:4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
    run(Command::new("sgdisk")
        .args(["-n", "1:2048:0", "-u", &format!("1:{PARTUUID}"), "-t", kind])
        .arg(&disk));
    mke2fs(&root, &disk, 1 << 20, DISK_SIZE - (2 << 20));
    fs::remove_dir_all(&root).unwrap();
    disk
}

/// A disk with the root file system alone, one that verifies it, and the root hash.
fn verity(tar: &str, directory: &Path) -> (PathBuf, PathBuf, String) {
    let root = root(tar, directory);
    let (disk, hashes) = (directory.join("disk"), directory.join("hashes"));
    File::create(&disk).unwrap().set_len(DISK_SIZE).unwrap();
    mke2fs(&root, &disk, 0, DISK_SIZE);
    // The tree's own program, in the tree.
    for (name, minor) in [("random", "8"), ("urandom", "9")] {
        run(Command::new("mknod").arg(root.join("dev").join(name)).args(["c", "1", minor]));
    }
    fs::rename(&disk, root.join("disk")).unwrap();
    let salt = "--salt=0123456789abcdef";
    let said =
        run(Command::new("chroot").arg(&root).args(["veritysetup", "format", "/disk", "/hashes", salt]));
    let hash = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned();
    fs::rename(root.join("disk"), &disk).unwrap();
    fs::rename(root.join("hashes"), &hashes).unwrap();
    fs::remove_dir_all(&root).unwrap();
    (disk, hashes, hash)
}

/// Boots the kernel with an initrd until the machine switches itself off, and gives what the judge said, and the whole
/// console.
fn boot(
    kernel: &Kernel,
    composed: &Composed,
    disk: &Path,
    devices: &str,
    arguments: &str,
) -> (String, String) {
    // The other tests' lock: two machines at once would each take twice as long.
    let lock = File::create(target("tests/machine.lock")).unwrap();
    lock.lock().unwrap();
    let directory = disk.parent().unwrap();
    let (linux, initrd) = (directory.join("linux"), directory.join("boot.initrd"));
    let console = directory.join("console");
    fs::write(&linux, kernel.content.read_all(1 << 30).unwrap()).unwrap();
    fs::write(&initrd, composed.content.read_all(1 << 30).unwrap()).unwrap();
    let (program, kind, tty) = match kernel.architecture {
        Architecture::X86_64 => ("qemu-system-x86_64", "q35", "ttyS0"),
        Architecture::Arm64 => ("qemu-system-aarch64", "virt", "ttyAMA0"),
    };
    let mut machine = Command::new("timeout");
    machine.args(["600", "nice", program, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]);
    machine.args([
        "-machine",
        kind,
        "-m",
        "1024",
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-snapshot",
    ]);
    machine.arg("-serial").arg(format!("file:{}", console.display()));
    machine.arg("-kernel").arg(&linux).arg("-initrd").arg(&initrd);
    machine.arg("-drive").arg(format!("file={},if=none,id=disk,format=raw", disk.display()));
    machine.args(devices.split(' '));
    machine.arg("-append").arg(format!("{arguments} console={tty} panic=-1"));
    let output = machine.output().unwrap();
    let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stderr));
    let up = said.lines().find_map(|line| Some(line.trim_end().split_once("judge: up ")?.1));
    let up = up.unwrap_or_else(|| panic!("the machine did not come up:\n{said}")).to_owned();
    eprintln!("{arguments}: {up}");
    (up, said)
}

/// Boots from a partition that is found by `root`.
fn boot_from(kernel: &Kernel, composed: &Composed, disk: &Path, devices: &str, root: &str) -> String {
    let (up, said) = boot(kernel, composed, disk, devices, &format!("root={root} rw"));
    assert!(up.starts_with("failed= root=/dev/") && up.ends_with("1 type=ext4"), "{up}\n{said}");
    said
}

#[test]
fn systemd_of_the_tree_boots_the_tree() {
    let Some((tree, kernel)) = bare("debian-12-dracut.tar") else { return };
    let composed = composed(&tree, &kernel, None);
    assert_eq!(composed.init, Init::Systemd);
    assert!(composed.facts.finds_root_by_type);
    checked(&tree, &kernel, &composed);
    let scratch = scratch();
    unpack(&composed.content.read_all(1 << 30).unwrap(), &scratch.path().join("unpacked"));
    judge(&scratch.path().join("unpacked"), &kernel);
    let disk = disk("debian-12-dracut.tar", scratch.path(), "lsinitrd", &composed);
    let said =
        boot_from(&kernel, &composed, &disk, "-device virtio-blk-pci,drive=disk", &format!("UUID={UUID}"));
    assert!(
        said.contains("Running in initrd") && said.contains("Finished \u{1b}[0;1;39msystemd-fsck-root"),
        "{said}"
    );
    let scsi = "-device virtio-scsi-pci -device scsi-hd,drive=disk";
    boot_from(&kernel, &composed, &disk, scsi, &format!("PARTUUID={PARTUUID}"));
}

#[test]
fn todays_systemd_loads_its_libraries_and_compressed_modules() {
    let Some((tree, kernel)) = bare("debian-13-kernel.tar") else { return };
    let composed = composed(&tree, &kernel, None);
    assert_eq!(composed.init, Init::Systemd);
    assert!(composed.facts.finds_root_by_type);
    checked(&tree, &kernel, &composed);
    let scratch = scratch();
    let unpacked = scratch.path().join("unpacked");
    unpack(&composed.content.read_all(1 << 30).unwrap(), &unpacked);
    judge(&unpacked, &kernel);
    // No program says that it needs these before it runs.
    for library in ["libkmod.so.2", "libcryptsetup.so.12"] {
        assert!(unpacked.join("usr/lib/x86_64-linux-gnu").join(library).exists(), "{library}");
    }
    if is_root("verifying a root") {
        let (disk, hashes, hash) = verity("debian-13-kernel.tar", scratch.path());
        let devices = format!(
            "-device virtio-blk-pci,drive=disk,serial=data -drive file={},if=none,id=hashes,format=raw -device \
             virtio-blk-pci,drive=hashes,serial=hashes",
            hashes.display()
        );
        // Read-only as it is, the root gets a layer in memory.
        let arguments = format!(
            "roothash={hash} systemd.verity_root_data=/dev/disk/by-id/virtio-data \
             systemd.verity_root_hash=/dev/disk/by-id/virtio-hashes systemd.volatile=overlay"
        );
        let (up, said) = boot(&kernel, &composed, &disk, &devices, &arguments);
        assert_eq!(up, "failed= root=overlay type=overlay", "{said}");
        assert!(said.contains("device-mapper: verity: sha256"), "{said}");
    } else {
        let disk = disk("debian-13-kernel.tar", scratch.path(), "", &composed);
        boot_from(&kernel, &composed, &disk, "-device virtio-blk-pci,drive=disk", "LABEL=real-root");
    }
}

#[test]
fn an_initrd_for_arm64_is_made_and_boots_as_well() {
    let Some((tree, kernel)) = bare("debian-12-arm64.tar") else { return };
    let composed = composed(&tree, &kernel, None);
    assert_eq!((composed.init, kernel.architecture), (Init::Systemd, Architecture::Arm64));
    checked(&tree, &kernel, &composed);
    let scratch = scratch();
    let disk = disk("debian-12-arm64.tar", scratch.path(), "", &composed);
    boot_from(
        &kernel,
        &composed,
        &disk,
        "-device virtio-blk-pci,drive=disk",
        &format!("PARTUUID={PARTUUID}"),
    );
}

#[test]
fn busybox_of_the_tree_boots_the_tree() {
    let Some((tree, kernel)) = bare("debian-12.tar") else { return };
    let composed = composed(&tree, &kernel, Some(Init::Minimal));
    assert_eq!((composed.init, &composed.facts), (Init::Minimal, &Facts::default()));
    checked(&tree, &kernel, &composed);
    let scratch = scratch();
    unpack(&composed.content.read_all(1 << 30).unwrap(), &scratch.path().join("unpacked"));
    judge(&scratch.path().join("unpacked"), &kernel);
    let disk = disk("debian-12.tar", scratch.path(), "lsinitramfs", &composed);
    boot_from(&kernel, &composed, &disk, "-device nvme,drive=disk,serial=1", &format!("PARTUUID={PARTUUID}"));
    boot_from(&kernel, &composed, &disk, "-device virtio-blk-pci,drive=disk", "LABEL=real-root");
}
