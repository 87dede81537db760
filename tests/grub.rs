//! What GRUB itself says of images that it is to start: its file-system drivers, and the parser of its menus.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Baked, bake_image, output, rootfs, run, scratch};

#[test]
fn grub_reads_what_it_starts_on_ubuntu_s_disks() {
    judge("debian-12-grub", "ubuntu", "boot/grub");
}

#[test]
fn grub_reads_what_it_starts_on_rhel_s_disks() {
    judge("debian-12-selinux", "rhel", "boot/grub2");
}

/// Partitions of these disks are: BIOS boot, EFI system, root.
fn judge(rootfs_name: &str, profile: &str, directory: &str) {
    let (out, tree) = (scratch(), scratch());
    let tar = rootfs(rootfs_name);
    let baked = bake_image(&tar, out.path(), &["--profile", profile]);
    run(Command::new("tar").arg("-C").arg(tree.path()).arg("-xf").arg(&tar).args([
        "--wildcards",
        "./boot/*",
        "*.efi.signed",
    ]));

    // The kernel and its initrd are those of the root file system.
    let kernel = baked.manifest["boot"]["kernel"].as_str().unwrap();
    for path in [format!("boot/vmlinuz-{kernel}"), format!("boot/initrd.img-{kernel}")] {
        same(&baked, &format!("(loop0,gpt3)/{path}"), &tree.path().join(&path));
    }
    // Firmware finds the programs that vendors signed.
    for (path, origin) in [
        ("EFI/BOOT/BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
        ("EFI/BOOT/grubx64.efi", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
        ("EFI/BOOT/mmx64.efi", "usr/lib/shim/mmx64.efi.signed"),
    ] {
        same(&baked, &format!("(loop0,gpt2)/{path}"), &tree.path().join(origin));
    }
    // Menus that GRUB's own parser takes, and that name this kernel.
    let menu = cat(&baked, &format!("(loop0,gpt3)/{directory}/grub.cfg"), tree.path());
    assert!(menu.contains(kernel) || menu.contains("blscfg"), "{menu}");
    let names = run(fstest(&baked).args(["ls", "(loop0,gpt2)/EFI/"]));
    let vendor = names.split_whitespace().find(|name| *name != "BOOT/").unwrap();
    cat(&baked, &format!("(loop0,gpt2)/EFI/{vendor}grub.cfg"), tree.path());
}

fn fstest(baked: &Baked) -> Command {
    let mut command = Command::new("grub-fstest");
    command.arg(baked.raw());
    command
}

/// A file of the image, as GRUB reads it, is this file here.
fn same(baked: &Baked, path: &str, file: &Path) {
    let compared = output(fstest(baked).args(["cmp", path]).arg(file));
    let said = String::from_utf8_lossy(&[compared.stdout, compared.stderr].concat()).into_owned();
    assert!(compared.status.success() && said.trim().is_empty(), "{path}: {said}");
}

/// A menu of the image, as GRUB reads it.
fn cat(baked: &Baked, path: &str, directory: &Path) -> String {
    let menu = run(fstest(baked).args(["cat", path]));
    let file = directory.join("menu");
    fs::write(&file, &menu).unwrap();
    run(Command::new("grub-script-check").arg(file));
    menu
}
