use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

#[test]
fn directories_without_rights_are_removed_and_links_are_not_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let outside = scratch.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    fs::write(tree.join("a/b/file"), "").unwrap();
    symlink(&outside, tree.join("a/b/link")).unwrap();
    symlink("nowhere", tree.join("a/dangling")).unwrap();
    for closed in ["a/b/file", "a/b/c", "a/b", "a"] {
        fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    assert!(outside.join("file").exists());
    remove_tree(&tree).unwrap();
    remove_tree(&tree.join("neither/there")).unwrap();
}

#[test]
fn only_a_directory_is_removed() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("directory")).unwrap();
    fs::write(scratch.path().join("file"), "").unwrap();
    symlink("directory", scratch.path().join("link")).unwrap();
    for name in ["file", "link", "directory/.."] {
        remove_tree(&scratch.path().join(name)).unwrap_err();
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 3);
}

#[test]
fn a_tree_may_be_deeper_than_any_path_is_long() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().join("top");
    fs::create_dir(&top).unwrap();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::openat(CWD, &top, flags, Mode::empty()).unwrap();
    let name = "a-directory-whose-name-is-not-short";
    for _ in 0..300 {
        for name in [name, "beside", ".deep-1"] {
            rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o700)).unwrap();
        }
        directory = rustix::fs::openat(&directory, name, flags, Mode::empty()).unwrap();
    }
    remove_tree(&top).unwrap();
    assert!(!top.exists());
}
