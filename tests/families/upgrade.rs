//! A kernel that the distribution's package manager installs on a machine boots there. Under emulation such an
//! installation takes minutes.

use std::fs;

use crate::matrix::names_its_own_root;
use crate::support::machine::{boot_and_shut_down, boot_long};
use crate::support::{full, made, scratch};
use crate::{DEBIAN, Family, RHEL, UBUNTU, with};

#[test]
fn in_qemu_debian_boots_the_kernel_of_a_later_package() {
    later_kernel(&DEBIAN, "uefi");
}

#[test]
fn in_qemu_ubuntu_boots_the_kernel_of_a_later_package_from_bios_too() {
    later_kernel(&UBUNTU, "bios");
    later_kernel(&UBUNTU, "uefi-secure-boot");
}

/// Its stand-in's GRUB does not read the entries that `kernel-install` writes, so the menu is written again.
#[test]
fn in_qemu_rhel_boots_the_kernel_of_a_later_package() {
    later_kernel(&RHEL, "uefi-secure-boot");
}

fn later_kernel(family: &Family, firmware: &str) {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: a later kernel for {}, {firmware}", family.profile);
        return;
    }
    let scratch = scratch();
    let overlay = scratch.path().join("overlay");
    let packages = overlay.join("root/kernel");
    fs::create_dir_all(&packages).unwrap();
    fs::copy(made("kernel/later.deb"), packages.join("kernel.deb")).unwrap();
    let more = ["--overlay", overlay.to_str().unwrap(), "--free", "60"];
    let baked = family.bake(&scratch.path().join("out"), &more);
    let image = baked.raw();

    let machine = family.machine(firmware, &scratch.path().join("machine.qcow2"));
    let first = boot_long(&image, &with(&machine, &["--credential", "bake.test=upgrade,poweroff"]));
    family.is_up(&first, firmware, 1);
    assert_eq!(first.fact("upgrade"), "ok", "{}", first.0);
    assert_eq!(first.fact("kernel"), baked.manifest["boot"]["kernel"].as_str().unwrap());

    let second = boot_and_shut_down(&image, &with(&machine, &["--attach", image.to_str().unwrap()]));
    family.is_up(&second, firmware, 2);
    assert!(second.fact("kernel").starts_with("6.12."), "{}", second.fact("kernel"));
    assert_eq!(second.fact("root-partuuid"), first.fact("root-partuuid"));
    names_its_own_root(&baked, &second);
}
