//! Family by firmware: a machine that grows, gets ids of its own, and stays what it is beside a clone.

use serde_json::Value;

use crate::support::machine::{Console, boot_and_shut_down};
use crate::support::{Baked, full, scratch};
use crate::{ARM64, DEBIAN, Family, RHEL, UBUNTU, UNIFIED, with};

const GIB: u64 = 1 << 30;

/// What no later boot of a machine changes.
const LASTING: [&str; 8] = [
    "machine-id",
    "host-keys",
    "root-bytes",
    "root-source",
    "root-uuid",
    "root-partuuid",
    "mounts",
    "settings",
];

#[test]
fn in_qemu_debian_s_machines_are_their_own() {
    cells(&DEBIAN);
}

/// By default with keys of its owner (`keys`).
#[test]
fn in_qemu_machines_of_a_unified_kernel_image_are_their_own() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: a unified kernel image without signatures");
        return;
    }
    cells(&UNIFIED);
}

#[test]
fn in_qemu_ubuntu_s_machines_are_their_own() {
    cells(&UBUNTU);
}

#[test]
fn in_qemu_rhel_s_machines_are_their_own_and_selinux_refuses_nothing() {
    cells(&RHEL);
}

#[test]
fn in_qemu_arm64_s_machines_are_their_own() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: arm64");
        return;
    }
    cells(&ARM64);
}

/// One image, and a machine of it for each firmware.
fn cells(family: &Family) {
    let scratch = scratch();
    let baked = family.bake(scratch.path(), &[]);
    let wanted = if full() { family.firmware } else { &family.firmware[..1] };
    for firmware in wanted {
        let disk = scratch.path().join(format!("{firmware}.qcow2"));
        is_its_own(family, &baked, firmware, &family.machine(firmware, &disk));
    }
}

/// What the image says of its root partition.
fn shipped(baked: &Baked) -> &Value {
    let partitions = baked.manifest["disk"]["partitions"].as_array().unwrap();
    partitions.iter().find(|partition| partition["name"] == "root").unwrap()
}

/// The kernel was told of no root that clones of the machine have as well.
pub fn names_its_own_root(baked: &Baked, console: &Console) {
    for id in ["guid", "file-system-id"] {
        let id = shipped(baked)[id].as_str().unwrap();
        assert!(!console.fact("cmdline").contains(id), "{id} is the image's:\n{}", console.0);
    }
}

/// A new machine of the image grows, takes ids of its own, and is what it was when it starts again beside a clone.
pub fn is_its_own(family: &Family, baked: &Baked, firmware: &str, machine: &[String]) {
    let image = baked.raw();
    let first = boot_and_shut_down(&image, &with(machine, &["--grow", "8G"]));
    family.is_up(&first, firmware, 1);
    assert!(first.fact("root-bytes").parse::<u64>().unwrap() > 6 * GIB, "{}", first.0);
    assert_ne!(first.fact("root-partuuid"), shipped(baked)["guid"].as_str().unwrap(), "{firmware}");

    if !family.again && !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: a second boot of {} from {firmware}", family.profile);
        return;
    }
    // Another machine's disk, as it was baked.
    let second = boot_and_shut_down(&image, &with(machine, &["--attach", image.to_str().unwrap()]));
    family.is_up(&second, firmware, 2);
    names_its_own_root(baked, &second);
    for fact in LASTING {
        assert_eq!(second.fact(fact), first.fact(fact), "{firmware}: {fact}");
    }
}
