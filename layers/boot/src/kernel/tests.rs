use std::sync::Arc;

use bake_base::{Bytes, Timestamp};
use bake_tree::{Member, MemberKind, Metadata, Policy, Xattrs};

use super::*;

/// The least that is taken for a PE32+ executable: headers and one section of 512 bytes.
pub(crate) fn executable(machine: u16) -> Vec<u8> {
    let mut bytes = vec![0; 4096 + 512];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[60] = 64;
    let mut put = |at: usize, value: &[u8]| bytes[64 + at..64 + at + value.len()].copy_from_slice(value);
    put(0, b"PE\0\0");
    put(4, &machine.to_le_bytes());
    put(6, &1_u16.to_le_bytes());
    put(20, &160_u16.to_le_bytes());
    put(24, &0x20b_u16.to_le_bytes());
    put(24 + 32, &4096_u32.to_le_bytes());
    put(24 + 36, &512_u32.to_le_bytes());
    put(24 + 56, &0x4000_u32.to_le_bytes());
    put(24 + 60, &4096_u32.to_le_bytes());
    put(24 + 68, &10_u16.to_le_bytes());
    put(24 + 108, &6_u32.to_le_bytes());
    put(24 + 160, b".text");
    for (at, value) in [(8, 512_u32), (12, 4096), (16, 512), (20, 4096)] {
        put(24 + 160 + at, &value.to_le_bytes());
    }
    bytes
}

pub(crate) fn tree_of(files: &[(&str, &[u8])]) -> Tree {
    let member = |(name, bytes): &(&str, &[u8])| Member {
        path: path(name),
        metadata: Metadata {
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp::from_seconds(0),
            xattrs: Xattrs::new(),
        },
        kind: MemberKind::File(Content::whole(Arc::new(Bytes::from(*bytes)), 0, bytes.len() as u64).unwrap()),
    };
    let mut tree = Tree::new();
    tree.apply(files.iter().map(member).collect(), Policy::TAR).unwrap();
    tree
}

/// A tree with what Debian 12 has for booting.
pub(crate) fn debian() -> Tree {
    let kernel = executable(0x8664);
    tree_of(&[
        ("boot/vmlinuz-6.1.0-56-cloud-amd64", &kernel),
        ("boot/initrd.img-6.1.0-56-cloud-amd64", b"initrd"),
        ("boot/config-6.1.0-56-cloud-amd64", b""),
        ("usr/lib/modules/6.1.0-56-cloud-amd64/modules.dep", b""),
        ("usr/lib/os-release", b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"),
        ("usr/lib/kernel/install.conf", b"#layout=bls|other|...\n"),
        ("usr/lib/systemd/boot/efi/systemd-bootx64.efi", b"loader"),
        ("usr/lib/systemd/boot/efi/linuxx64.efi.stub", &kernel),
    ])
}

#[test]
fn the_newest_kernel_is_found_wherever_it_lies() {
    let (x86, arm) = (executable(0x8664), executable(0xaa64));
    let tree = tree_of(&[
        ("boot/vmlinuz-6.1.0-9-amd64", &x86),
        ("boot/vmlinuz-6.1.0-10-amd64", &x86),
        ("boot/vmlinuz-0-rescue-0123456789abcdef", &x86),
        ("boot/vmlinuz", b"a link usually"),
        ("boot/vmlinuz-6.9 .bad name", b""),
        ("usr/lib/modules/5.14.0/vmlinuz", &arm),
        ("boot/vmlinuz-5.14.0", b"shadowed by the one beside the modules"),
        ("usr/lib/modules/6.1.0-10-amd64/modules.dep", b""),
    ]);
    let kernels = Kernel::find_all(&tree).unwrap();
    let versions: Vec<_> = kernels.iter().map(|kernel| &*kernel.version).collect();
    assert_eq!(versions, ["6.1.0-10-amd64", "6.1.0-9-amd64", "5.14.0"]);
    assert_eq!(kernels[2].architecture, Architecture::Arm64);
    assert_eq!(kernels[2].path.to_string(), "/usr/lib/modules/5.14.0/vmlinuz");
    let kernel = Kernel::find(&tree, None).unwrap();
    assert_eq!((&*kernel.version, kernel.format), ("6.1.0-10-amd64", Format::Efi));
    assert_eq!(kernel.modules.unwrap().to_string(), "/usr/lib/modules/6.1.0-10-amd64");
    assert_eq!(Kernel::find(&tree, Some("5.14.0")).unwrap().version, "5.14.0");
    let error = Kernel::find(&tree, Some("6.2")).unwrap_err().to_string();
    assert!(error.contains("`6.1.0-10-amd64`, `6.1.0-9-amd64`, `5.14.0`"), "{error}");
    let error = Kernel::find(&tree, Some("6.1.0-9-amd64")).unwrap_err().to_string();
    assert!(error.contains("has no modules"), "{error}");
}

#[test]
fn what_is_missing_is_said_with_what_brings_it() {
    let error = Kernel::find(&tree_of(&[]), None).unwrap_err().to_string();
    assert!(error.contains("linux-image-amd64"), "{error}");
    let mut tree = debian();
    let kernel = Kernel::find(&tree, None).unwrap();
    assert_eq!(kernel.initrd(&tree).unwrap().0.to_string(), "/boot/initrd.img-6.1.0-56-cloud-amd64");
    tree.remove(&path("boot/initrd.img-6.1.0-56-cloud-amd64"));
    let error = kernel.initrd(&tree).unwrap_err().to_string();
    assert!(error.contains("initramfs-tools") && error.contains("/boot/initramfs-6.1.0"), "{error}");
}

#[test]
fn kernels_are_told_apart_by_their_headers() {
    let mut bzimage = vec![0; 1024];
    bzimage[0x202..0x206].copy_from_slice(b"HdrS");
    for (bytes, expected) in [
        (executable(0xaa64), Some((Architecture::Arm64, Format::Efi))),
        (bzimage, Some((Architecture::X86_64, Format::BzImage))),
        ([&[0x1f, 0x8b, 8][..], &[0; 1024]].concat(), Some((Architecture::Arm64, Format::Gzip))),
        (executable(0x14c), None),
        (vec![0; 2000], None),
        (Vec::new(), None),
    ] {
        assert_eq!(identify(&Content::bytes(bytes)).ok(), expected);
    }
}
