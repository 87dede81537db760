use bake_tree::Metadata;
use proptest::prelude::*;

use super::*;
use crate::kernel::tests::debian;

/// A cpio archive in the new format.
pub(crate) fn cpio(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in entries.iter().chain(&[("TRAILER!!!", &b""[..])]) {
        let fields = [1, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        bytes.extend_from_slice(b"070701");
        for field in fields {
            bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn main_archive() -> Vec<u8> {
    cpio(&[
        ("./usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz", &[7; 1001]),
        ("usr/lib/modules/6.1/kernel/drivers/virtio/virtio-pci.ko", &[8; 5]),
        ("usr/lib/systemd/system-generators/systemd-gpt-auto-generator", b"elf"),
        ("usr/lib/modules/6.1/kernel/fs/ext4/ext4.ko.zst", b""),
    ])
}

/// Decoded by `gzip`, made without an encoder: one stored block (RFC 1951, section 3.2.4).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 65_536);
    let len = bytes.len() as u16;
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&(!len).to_le_bytes());
    out.extend_from_slice(bytes);
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(sum & 1));
        }
    }
    out.extend_from_slice(&(!sum).to_le_bytes());
    out.extend_from_slice(&u32::from(len).to_le_bytes());
    out
}

fn missing(initrd: Vec<u8>, drivers: &[&str]) -> (Vec<String>, Facts) {
    let mut wanted: BTreeSet<String> = drivers.iter().map(|driver| canonical(driver)).collect();
    let facts = look(&Content::bytes(initrd), &mut wanted).unwrap();
    (wanted.into_iter().collect(), facts)
}

#[test]
fn drivers_are_found_in_every_part() {
    let early = cpio(&[("kernel/x86/microcode/AuthenticAMD.bin", &[1; 777])]);
    let padding = vec![0; 500];
    let drivers = ["virtio_blk", "virtio-pci", "ext4", "nvme"];
    for initrd in [
        main_archive(),
        gzip(&main_archive()),
        [early.clone(), padding.clone(), gzip(&main_archive())].concat(),
        [early.clone(), main_archive(), padding.clone()].concat(),
        // Padding after the compressed part, and two archives in one stream.
        [early.clone(), gzip(&[early.clone(), padding.clone(), main_archive()].concat()), padding].concat(),
    ] {
        let (missing, facts) = missing(initrd, &drivers);
        assert_eq!(missing, ["nvme"]);
        assert_eq!(facts, Facts { finds_root_by_type: true, host_only: false });
    }
}

#[test]
fn reading_stops_when_everything_was_seen() {
    let mut cut = main_archive();
    let end = cut.windows(4).position(|part| part == b"ext4").unwrap();
    cut.truncate(end);
    let (missing, facts) = missing(cut.clone(), &["virtio_pci"]);
    assert!(missing.is_empty() && facts.finds_root_by_type);
    let mut wanted = BTreeSet::from(["ext4".to_owned()]);
    assert!(look(&Content::bytes(cut), &mut wanted).is_err());
}

#[test]
fn an_initrd_for_one_host_is_recognised() {
    let (_, facts) = missing(cpio(&[("usr/lib/dracut/hostonly-files", b"")]), &[]);
    assert_eq!(facts, Facts { finds_root_by_type: false, host_only: true });
}

#[test]
fn what_is_missing_is_named_with_what_adds_it() {
    let mut tree = debian();
    let path = |text: &str| TreePath::from_root(text.as_bytes()).unwrap();
    let kernel = Kernel::find(&tree, None).unwrap();
    let modules = kernel.modules.clone().unwrap();
    let mut put = |name: &str, text: &str| {
        tree.write(&modules.join(name.as_bytes()), Metadata::root(0o644), Content::bytes(text.as_bytes()))
            .unwrap();
    };
    put("modules.builtin", "kernel/drivers/nvme/host/nvme-core.ko\nkernel/drivers/nvme/host/nvme.ko\n");
    put("updates", "");
    put("special-driver.ko.xz", "");
    let at = path("boot/initrd.img");
    let content = Content::bytes(main_archive());
    let check =
        |drivers: &[&str]| check(&tree, &kernel, &at, &content, drivers).map_err(|error| error.to_string());
    assert!(check(&["nvme", "nvme_core", "ext4"]).unwrap().finds_root_by_type);
    let error = check(&["ext4", "special_driver"]).unwrap_err();
    assert!(error.contains("`/boot/initrd.img` lacks the driver `special_driver`"), "{error}");
    assert!(error.contains("update-initramfs -u -k 6.1.0-56-cloud-amd64"), "{error}");
    let error = check(&["xen_blkfront", "special_driver"]).unwrap_err();
    assert!(error.contains("has the driver `xen_blkfront` neither built in nor as module"), "{error}");
    let garbage = Content::bytes(&b"no initrd at all, but long enough to be looked at"[..]);
    let error = super::check(&tree, &kernel, &at, &garbage, &["ext4"]).unwrap_err().to_string();
    assert!(error.contains("neither a cpio archive nor compressed"), "{error}");
}

proptest! {
    #[test]
    fn damaged_initrds_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        compressed in any::<bool>(),
    ) {
        let mut bytes = if compressed { gzip(&main_archive()) } else { main_archive() };
        for (at, value) in flips {
            let len = bytes.len();
            bytes[at.index(len)] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = look(&Content::bytes(bytes), &mut BTreeSet::from(["nvme".to_owned()]));
    }
}
