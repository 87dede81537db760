use std::collections::BTreeMap;

use bake_archive::{Limits, read_cpio};
use bake_tree::Node;

use super::elf::tests::{Sketch, program};
use super::*;
use crate::depmod::tests::module;
use crate::kernel::tests::debian;

const MODULES: &str = "usr/lib/modules/6.1.0-56-cloud-amd64";

fn put(tree: &mut Tree, name: &str, bytes: impl Into<Vec<u8>>) {
    tree.put(&path(name), Metadata::root(0o755), Node::File(Content::bytes(bytes.into()))).unwrap();
}

fn link(tree: &mut Tree, name: &str, target: &str) {
    tree.put(&path(name), Metadata::root(0o777), Node::Symlink(target.as_bytes().into())).unwrap();
}

/// A tree with busybox, kmod and a few modules.
fn small() -> Tree {
    let mut tree = debian();
    for name in ["bin", "sbin", "lib"] {
        link(&mut tree, name, &format!("usr/{name}"));
    }
    let applets = "cat\0find\0mount\0sh\0sleep\0sort\0switch_root\0tr\0xargs";
    let busybox =
        Sketch { interpreter: "/lib/ld.so", needed: &["libc.so.6"], text: applets, ..Sketch::default() };
    put(&mut tree, "usr/bin/busybox", program(&busybox));
    put(
        &mut tree,
        "usr/bin/kmod",
        program(&Sketch { needed: &["libz.so.1"], runpath: "$ORIGIN/../private", ..Sketch::default() }),
    );
    link(&mut tree, "usr/sbin/modprobe", "../bin/kmod");
    put(
        &mut tree,
        "usr/private/libz.so.1",
        program(&Sketch { needed: &["libdeep.so"], ..Sketch::default() }),
    );
    put(&mut tree, "opt/lib/libdeep.so", program(&Sketch { text: "libkmod.so.2", ..Sketch::default() }));
    put(&mut tree, "usr/lib/ld-2.so", program(&Sketch::default()));
    link(&mut tree, "usr/lib/ld.so", "ld-2.so");
    put(&mut tree, "usr/lib/x86_64-linux-gnu/libc.so.6", program(&Sketch::default()));
    put(&mut tree, "usr/lib/x86_64-linux-gnu/libkmod.so.2", program(&Sketch::default()));
    put(&mut tree, "etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
    put(&mut tree, "etc/ld.so.conf.d/x.conf", "/opt/lib # ours\n");
    put(&mut tree, "etc/ld.so.conf.d/x.other", "/nowhere\n");
    put(
        &mut tree,
        &format!("{MODULES}/kernel/ext4.ko"),
        module(&["alias=fs-ext4", "softdep=pre: crc32c"], &[], &[("jbd2", 1)]),
    );
    put(&mut tree, &format!("{MODULES}/kernel/jbd2.ko"), module(&[], &["jbd2"], &[]));
    put(&mut tree, &format!("{MODULES}/kernel/crc32c-generic.ko"), module(&["alias=crc32c"], &[], &[]));
    put(
        &mut tree,
        &format!("{MODULES}/kernel/nic.ko"),
        module(&["alias=pci:v1", "firmware=nic/fw-*.bin", "firmware=none.bin"], &[], &[]),
    );
    put(&mut tree, &format!("{MODULES}/kernel/quiet.ko"), module(&[], &[], &[]));
    put(&mut tree, &format!("{MODULES}/kernel/unused.ko"), module(&[], &[], &[]));
    put(&mut tree, &format!("{MODULES}/modules.order"), "kernel/unused.ko\nkernel/ext4.ko\nkernel/jbd2.ko\n");
    put(&mut tree, &format!("{MODULES}/modules.builtin"), "kernel/built-in.ko\n");
    put(&mut tree, "usr/lib/firmware/nic/fw-1.bin.xz", "firmware");
    put(&mut tree, "etc/modprobe.d/x.conf", "softdep jbd2 pre: quiet\n");
    tree
}

fn options<'a>(drivers: &'a [&'a str]) -> Options<'a> {
    Options { drivers, optional: &[], epoch: Epoch::from_seconds(1_000), init: None, threads: 1 }
}

fn composed(tree: &Tree, drivers: &[&str]) -> Result<Composed, ComposeError> {
    compose(tree, &Kernel::find(tree, None).unwrap(), &options(drivers))
}

/// Names and contents, with the archive that they are in.
fn listed(composed: &Composed) -> BTreeMap<(usize, String), Vec<u8>> {
    let bytes = composed.content.read_all(1 << 30).unwrap();
    let mut found = BTreeMap::new();
    read_cpio("initrd", &bytes[..], Limits::default(), &mut |entry, content| {
        assert_eq!((entry.uid, entry.gid), (0, 0), "{}", entry.path);
        assert!(entry.mtime <= 1_000, "{}", entry.path);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(content, &mut bytes)?;
        found.insert((entry.archive, entry.path.to_string()), bytes);
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn what_is_needed_goes_in_and_nothing_else() {
    let composed = composed(&small(), &["ext4", "nic", "quiet", "built_in"]).unwrap();
    assert_eq!(composed.init, Init::Minimal);
    assert_eq!(composed.modules, ["crc32c_generic", "ext4", "jbd2", "nic", "quiet"]);
    let found = listed(&composed);
    let text = |name: &str| {
        let bytes = found.get(&(0, name.to_owned())).unwrap_or_else(|| panic!("{name} is missing"));
        String::from_utf8_lossy(bytes).into_owned()
    };
    for (name, target) in [
        ("/bin", "usr/bin"),
        ("/usr/sbin/modprobe", "../bin/kmod"),
        ("/usr/lib/ld.so", "ld-2.so"),
        ("/etc/initrd-release", "../usr/lib/initrd-release"),
        // Nothing but its configuration leads the loader there.
        ("/usr/lib/x86_64-linux-gnu/libdeep.so", "/opt/lib/libdeep.so"),
    ] {
        assert_eq!(text(name), target);
    }
    for name in [
        "/usr/private/libz.so.1",
        "/usr/lib/x86_64-linux-gnu/libkmod.so.2",
        "/usr/lib/firmware/nic/fw-1.bin.xz",
    ] {
        assert!(!text(name).is_empty());
    }
    assert!(text("/init").starts_with("#!/usr/bin/busybox sh\n"));
    assert!(!["@BUSYBOX@", "@FINDFS@", "@MODPROBE@"].iter().any(|name| text("/init").contains(name)));
    assert_eq!(text("/etc/modules"), "ext4\nquiet\n");
    assert_eq!(text(&format!("/{MODULES}/modules.dep")).lines().count(), 5);
    assert_eq!(text(&format!("/{MODULES}/modules.order")), "kernel/ext4.ko\nkernel/jbd2.ko\n");
    assert!(text(&format!("/{MODULES}/modules.dep")).contains("kernel/ext4.ko: kernel/jbd2.ko\n"));
    assert!(!found.keys().any(|(_, name)| name.contains("unused") || name.contains("boot")));
    assert!(composed.notes.iter().any(|note| note.contains("`none.bin` (nic)")), "{:?}", composed.notes);
    assert!(composed.notes.iter().any(|note| note.contains("PARTUUID")), "{:?}", composed.notes);
}

#[test]
fn twice_composed_is_the_same_whatever_the_threads() {
    let tree = small();
    let kernel = Kernel::find(&tree, None).unwrap();
    let bytes = |threads| {
        let options = Options { threads, ..options(&["ext4", "nic"]) };
        compose(&tree, &kernel, &options).unwrap().content.read_all(1 << 30).unwrap()
    };
    assert!(bytes(1) == bytes(3));
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let mut tree = small();
    tree.remove(&path("opt/lib/libdeep.so"));
    put(
        &mut tree,
        "usr/bin/busybox",
        program(&Sketch { text: "cat\0find\0mount\0sh\0sleep\0sort\0tr\0xargs", ..Sketch::default() }),
    );
    let error = composed(&tree, &["ext4", "none", "also-none"]).unwrap_err().to_string();
    for part in [
        "no initrd for the kernel `6.1.0-56-cloud-amd64` that will do (`update-initramfs",
        "\n  the driver `none`, neither",
        "\n  the driver `also_none`, neither",
        "\n  the file `/usr/lib/systemd/systemd`: install systemd\n",
        "\n  the program `udevadm`: install udev",
        "or, in the place of systemd, a busybox with `switch_root`: install busybox-static",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let only = Options { init: Some(Init::Minimal), ..options(&["ext4"]) };
    let error = compose(&tree, &Kernel::find(&tree, None).unwrap(), &only).unwrap_err().to_string();
    assert!(error.contains("`libdeep.so`, which `/usr/private/libz.so.1` needs"), "{error}");
    assert!(!error.contains("systemd"), "{error}");
}

#[test]
fn microcode_comes_first_and_where_processors_take_it() {
    let mut tree = small();
    put(&mut tree, "usr/lib/firmware/intel-ucode/06-8f-08", vec![2; 48]);
    put(&mut tree, "usr/lib/firmware/intel-ucode/06-05-01", vec![1; 48]);
    put(&mut tree, "usr/lib/firmware/intel-ucode/06-8f-08.initramfs", vec![3; 48]);
    put(&mut tree, "usr/lib/firmware/amd-ucode/microcode_amd.bin", vec![4; 30]);
    put(&mut tree, "usr/lib/firmware/amd-ucode/README", "text");
    let composed = composed(&tree, &["ext4"]).unwrap();
    let found = listed(&composed);
    let get = |name: &str| found[&(0, format!("/kernel/x86/microcode/{name}.bin"))].clone();
    assert_eq!(get("GenuineIntel"), [[1; 48], [2; 48]].concat());
    assert_eq!(get("AuthenticAMD"), [4; 30]);
    assert!(found.contains_key(&(0, "/early_cpio".into())) && found.contains_key(&(1, "/init".into())));
    let bytes = composed.content.read_all(1 << 30).unwrap();
    let at = bytes.windows(48).position(|window| window == [1; 48]).unwrap();
    assert_eq!(at % 16, 0);

    // A kernel that takes none gets none.
    put(&mut tree, "boot/config-6.1.0-56-cloud-amd64", "CONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_ZSTD=y\n");
    let composed = super::tests::composed(&tree, &["ext4"]).unwrap();
    let bytes = composed.content.read_all(1 << 30).unwrap();
    assert_eq!(Compression::recognise(&bytes), Compression::Zstd);
}

#[test]
fn the_configuration_decides_about_the_compression() {
    let with = |text: &str| Config(Some(text.to_owned())).compression();
    assert_eq!(with("CONFIG_RD_ZSTD=y\nCONFIG_RD_GZIP=y"), Compression::Zstd);
    assert_eq!(with("# CONFIG_RD_ZSTD is not set\nCONFIG_RD_GZIP=y"), Compression::Gzip);
    assert_eq!(with("CONFIG_X=y"), Compression::None);
    assert_eq!(Config(None).compression(), Compression::Gzip);
    let mut tree = small();
    put(&mut tree, "boot/config-6.1.0-56-cloud-amd64", "CONFIG_RD_ZSTD=y\n");
    let error = composed(&tree, &[]).unwrap_err().to_string();
    assert!(error.contains("CONFIG_BLK_DEV_INITRD"), "{error}");
}
