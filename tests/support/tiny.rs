//! A root file system of a few kilobytes that `bake image` takes for bootable: its kernel, initrd and loader
//! have the right headers and nothing behind them.

use super::tar::{Header, Tar};

/// Release of its kernel.
pub const KERNEL: &str = "6.1.0-tiny";
/// The drivers that the Debian profile wants to find.
const DRIVERS: [&str; 5] = ["ext4", "nvme", "virtio_blk", "virtio_pci", "virtio_scsi"];

/// Every part that an image cannot do without, by its name in [`without`].
pub const PARTS: [&str; 5] = ["os-release", "kernel", "modules", "initrd", "loader"];

/// The whole root file system, ready for more members.
pub fn rootfs() -> Tar {
    without("")
}

/// The root file system without one of its [`PARTS`].
pub fn without(part: &str) -> Tar {
    with_initrd(part, &initrd(&DRIVERS))
}

/// The root file system with an initrd that lacks a driver, which the kernel has as a module.
pub fn without_driver(driver: &str) -> Tar {
    let drivers: Vec<_> = DRIVERS.into_iter().filter(|other| *other != driver).collect();
    let module = format!("usr/lib/modules/{KERNEL}/kernel/{driver}.ko");
    with_initrd("", &initrd(&drivers)).file(&module, b"module")
}

fn with_initrd(without: &str, initrd: &[u8]) -> Tar {
    let mut tar = Tar::default();
    for directory in ["./", "boot", "etc", "usr", "usr/lib", "usr/lib/modules", "var", "var/tmp"] {
        tar = tar.directory(directory);
    }
    tar = tar.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n").file("etc/group", b"root:x:0:\n");
    tar = tar.file("etc/shadow", b"root:*:19000::::::\n").file("etc/motd", b"a tiny root file system\n");
    for grower in ["usr/bin/systemd-repart", "usr/lib/systemd/systemd-growfs"] {
        tar = tar.file(grower, b"");
    }
    tar = tar.member(Header::new("usr/program", b'0', 3).mode(0o4755), b"run");
    let mut part = |name, path: &str, bytes: &[u8]| {
        if name != without {
            tar = std::mem::take(&mut tar).file(path, bytes);
        }
    };
    part("os-release", "etc/os-release", b"ID=debian\nPRETTY_NAME=Tiny\n");
    part("kernel", &format!("boot/vmlinuz-{KERNEL}"), &program());
    part("modules", &format!("usr/lib/modules/{KERNEL}/modules.builtin"), b"");
    part("initrd", &format!("boot/initrd.img-{KERNEL}"), initrd);
    part("loader", "usr/lib/systemd/boot/efi/systemd-bootx64.efi", &program());
    tar
}

/// What may stand for the program that hosts get, where nothing runs it: a static one for x86-64 of nothing but
/// headers (elf(5)).
pub fn pkgpanda() -> Vec<u8> {
    let mut bytes = vec![0; 120];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    // Machine, place, size and number of program headers, and the type of the only one.
    (bytes[18], bytes[32], bytes[54], bytes[56], bytes[64]) = (62, 64, 56, 1, 1);
    bytes
}

/// The package that [`pkgpanda`] becomes.
pub fn pkgpanda_id() -> String {
    format!("pkgpanda--{}", &bake_base::Digest::of(&pkgpanda()).to_string()[..40])
}

/// An EFI program for x86-64 without sections (PE format specification, "Optional Header").
fn program() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(60, &128_u32.to_le_bytes());
    let coff = 128;
    put(coff, b"PE\0\0");
    put(coff + 4, &0x8664_u16.to_le_bytes());
    put(coff + 20, &240_u16.to_le_bytes()); // size of the optional header
    let optional = coff + 24;
    put(optional, &0x20b_u16.to_le_bytes());
    put(optional + 32, &4096_u32.to_le_bytes());
    put(optional + 36, &512_u32.to_le_bytes());
    put(optional + 56, &8192_u32.to_le_bytes()); // size in memory
    put(optional + 60, &512_u32.to_le_bytes()); // size of headers
    put(optional + 68, &10_u16.to_le_bytes()); // EFI application
    put(optional + 108, &16_u32.to_le_bytes()); // directories
    bytes
}

/// An initrd with empty modules (Linux, early-userspace/buffer-format.rst: `newc`).
fn initrd(drivers: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let modules = drivers.iter().map(|driver| format!("usr/lib/modules/{KERNEL}/kernel/{driver}.ko"));
    for name in modules.chain(["TRAILER!!!".to_owned()]) {
        let fields = [0, 0o100_644, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() + 1, 0];
        bytes.extend(b"070701");
        for field in fields {
            bytes.extend(format!("{field:08X}").bytes());
        }
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
