use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::text::Key;
use super::*;

const OLD: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const NEW: &str = "bbbbbbbb-0000-8000-8000-000000000002";

fn renames() -> Vec<Rename> {
    vec![Rename::Name((Key::Partition, OLD.to_owned()), (Key::FileSystem, NEW.to_owned()))]
}

fn write(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(root: &Path, name: &str) -> Option<String> {
    fs::read_to_string(root.join(name)).ok()
}

fn old() -> String {
    format!("root=PARTUUID={OLD}\n")
}

fn new() -> String {
    format!("root=UUID={NEW}\n")
}

fn run(root: &Path) {
    let root = Root::open(root).unwrap();
    recover(&root, &renames()).unwrap();
    rename(&root, &renames(), &mut |_| ()).unwrap();
}

#[test]
fn every_file_that_may_name_ids_is_rewritten_and_keeps_its_mode() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let files = [
        "etc/fstab",
        "etc/kernel/cmdline",
        "etc/default/grub",
        "etc/default/grub.d/50-cloud.cfg",
        "boot/grub/grub.cfg",
        "boot/grub2/grub.cfg",
        "boot/loader/entries/a.conf",
        "boot/efi/loader/entries/b.conf",
        "efi/loader/entries/c+3.conf",
        "boot/efi/EFI/debian/grub.cfg",
    ];
    for file in files {
        write(root, file, &old());
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o640)).unwrap();
    }
    write(root, "boot/loader/entries/readme.txt", &old());
    write(root, "etc/other", &old());
    run(root);
    for file in files {
        assert_eq!(read(root, file), Some(new()), "{file}");
        assert_eq!(fs::metadata(root.join(file)).unwrap().permissions().mode() & 0o7777, 0o640, "{file}");
    }
    assert_eq!(read(root, "etc/other"), Some(old()));
    assert_eq!(fs::read_dir(root.join("boot/efi/loader/entries")).unwrap().count(), 1);
}

#[test]
fn a_link_stays_one_and_what_it_leads_to_is_rewritten() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path();
    let mut variables = format!("# GRUB Environment Block\nkernelopts={}", old()).into_bytes();
    variables.resize(1024, b'#');
    write(root, "boot/efi/EFI/redhat/grubenv", std::str::from_utf8(&variables).unwrap());
    fs::create_dir_all(root.join("boot/grub2")).unwrap();
    symlink("../efi/EFI/redhat/grubenv", root.join("boot/grub2/grubenv")).unwrap();
    symlink("/nowhere", root.join("boot/grub2/grub.cfg")).unwrap();
    run(root);
    assert!(root.join("boot/grub2/grubenv").is_symlink());
    let text = read(root, "boot/grub2/grubenv").unwrap();
    assert_eq!(text.len(), 1024);
    assert!(text.contains(&new()) && text.ends_with('#'), "{text}");
}

#[test]
fn attributes_are_kept() {
    let scratch = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let root = scratch.path();
    write(root, "etc/fstab", &old());
    let at = root.join("etc/fstab");
    if rustix::fs::setxattr(&at, "user.note", b"kept", XattrFlags::empty()) == Err(Errno::OPNOTSUPP) {
        return;
    }
    run(root);
    let mut value = Vec::with_capacity(16);
    rustix::fs::getxattr(&at, "user.note", spare_capacity(&mut value)).unwrap();
    assert_eq!((value, read(root, "etc/fstab")), (b"kept".to_vec(), Some(new())));
}

/// Whatever a cut leaves of an entry and its copy, the next run ends with the entry alone, rewritten.
#[test]
fn entries_come_through_every_cut() {
    let half = new()[..9].to_owned();
    for (entry, copy) in [
        (Some(old()), None),
        (Some(old()), Some(String::new())),
        (Some(old()), Some(half.clone())),
        (Some(old()), Some(new())),
        (None, Some(new())),
        (Some(String::new()), Some(new())),
        (Some(half), Some(new())),
        (Some(new()), Some(new())),
        (Some(new()), None),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path();
        let name = "boot/efi/loader/entries/debian-6.1.conf";
        let copy_name = "boot/efi/loader/entries/pkgpanda-own-debian-6.1.conf";
        for (name, text) in [(name, &entry), (copy_name, &copy)] {
            if let Some(text) = text {
                write(root, name, text);
            }
        }
        run(root);
        assert_eq!(read(root, name), Some(new()), "{entry:?} {copy:?}");
        assert_eq!(read(root, copy_name), None, "{entry:?} {copy:?}");
    }
}
