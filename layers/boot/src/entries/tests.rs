use super::*;
use crate::kernel::tests::debian;

fn installed(tree: &Tree, options: &Options<'_>) -> Result<BootFiles, EntryError> {
    let kernel = Kernel::find(tree, None).unwrap();
    let initrd = kernel.initrd(tree).unwrap();
    install(tree, &kernel, &[initrd], options)
}

const OPTIONS: Options<'_> = Options { command_line: " root=auto   quiet\n", timeout: Some(3), token: None };

fn text(files: &[(TreePath, Content)], name: &str) -> String {
    let (_, content) = files.iter().find(|(path, _)| path.to_string() == name).expect(name);
    String::from_utf8(content.read_all(1 << 20).unwrap()).unwrap()
}

#[test]
fn an_entry_is_what_kernel_install_writes() {
    // Recorded from Debian 12: `KERNEL_INSTALL_… kernel-install add 6.1.0-56-cloud-amd64 /boot/vmlinuz-…` in a
    // chroot with `/etc/kernel/cmdline` and `/etc/kernel/entry-token` as below.
    let recorded = "\
title      Debian GNU/Linux 12 (bookworm)
version    6.1.0-56-cloud-amd64
sort-key   debian
options    root=auto quiet
linux      /debian/6.1.0-56-cloud-amd64/linux
initrd     /debian/6.1.0-56-cloud-amd64/initrd.img-6.1.0-56-cloud-amd64
";
    let files = installed(&debian(), &OPTIONS).unwrap();
    assert_eq!(text(&files.esp, "/loader/entries/debian-6.1.0-56-cloud-amd64.conf"), recorded);
    let paths: Vec<_> = files.esp.iter().map(|(path, _)| path.to_string()).collect();
    assert_eq!(
        paths,
        [
            "/EFI/BOOT/BOOTX64.EFI",
            "/EFI/systemd/systemd-bootx64.efi",
            "/debian/6.1.0-56-cloud-amd64/initrd.img-6.1.0-56-cloud-amd64",
            "/debian/6.1.0-56-cloud-amd64/linux",
            "/loader/entries/debian-6.1.0-56-cloud-amd64.conf",
            "/loader/entries.srel",
            "/loader/loader.conf",
        ]
    );
    assert_eq!(text(&files.esp, "/loader/loader.conf"), "timeout 3\n#console-mode keep\n");
    assert_eq!(text(&files.esp, "/loader/entries.srel"), "type1\n");
    assert_eq!(text(&files.edits, "/etc/kernel/entry-token"), "debian\n");
    assert_eq!(text(&files.edits, "/etc/kernel/cmdline"), "root=auto quiet\n");
    assert_eq!((files.mount_point.to_string(), &*files.token), ("/boot/efi".to_owned(), "debian"));

    let mut tree = debian();
    files.edit(&mut tree).unwrap();
    // A second bake of the result changes nothing.
    let again = installed(&tree, &OPTIONS).unwrap();
    assert_eq!(text(&again.edits, "/etc/kernel/entry-token"), "debian\n");
}

#[test]
fn what_the_administrator_chose_is_kept() {
    let mut tree = debian();
    let mut put = |name: &str, text: &str| {
        tree.write(&path(name), Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
    };
    put("etc/kernel/entry-token", "fleet\nignored\n");
    put("etc/kernel/tries", "3\n");
    put("etc/kernel/install.conf", "layout=bls\n");
    put("usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed", "signed");
    put("efi/.keep", "");
    let files = installed(&tree, &OPTIONS).unwrap();
    assert!(text(&files.esp, "/loader/entries/fleet-6.1.0-56-cloud-amd64+3.conf").contains("/fleet/"));
    assert_eq!(text(&files.esp, "/EFI/systemd/systemd-bootx64.efi"), "signed");
    assert_eq!(files.mount_point.to_string(), "/efi");
    let files = installed(&tree, &Options { token: Some("mine"), timeout: None, ..OPTIONS }).unwrap();
    assert_eq!((&*files.token, files.esp.len()), ("mine", 7));
    assert_eq!(text(&files.esp, "/loader/loader.conf"), "#timeout 3\n#console-mode keep\n");
}

#[test]
fn what_would_stop_later_kernels_is_refused() {
    for (name, content, expected) in [
        ("etc/kernel/install.conf", "layout=uki\n", "`layout=uki`"),
        ("etc/kernel/install.conf", "BOOT_ROOT=/boot\n", "`BOOT_ROOT=/boot`"),
        ("boot/loader/entries/x.conf", "", "`/boot/loader/entries` exists"),
        ("boot/debian/file", "", "`/boot/debian` exists"),
        ("etc/kernel/tries", "many", "no number"),
        ("etc/kernel/entry-token", "a/b", "cannot name boot entries"),
    ] {
        let mut tree = debian();
        tree.write(&path(name), Metadata::root(0o644), Content::bytes(content.as_bytes())).unwrap();
        let error = installed(&tree, &OPTIONS).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut tree = debian();
    tree.remove(&path("usr/lib/systemd/boot/efi"));
    assert!(installed(&tree, &OPTIONS).unwrap_err().to_string().contains("install `systemd-boot`"));
    let command_line = "quiet\u{7}";
    let error = installed(&debian(), &Options { command_line, ..OPTIONS }).unwrap_err().to_string();
    assert!(error.contains("\\u{7}"), "{error}");
}
