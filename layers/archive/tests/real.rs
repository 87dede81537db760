//! The real root file system, where `ci/rootfs` has made one: as GNU tar extracts it, and its initrd.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use bake_archive::{Limits, OpenOptions, open_rootfs, read_cpio};
use bake_tree::{Follow, Node, TreePath};
use common::{Compare, assert_same, is_root, lines_of_directory, lines_of_tree, merge, run};

fn rootfs() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rootfs/debian-12.tar");
    path.is_file().then_some(path)
}

#[test]
fn it_is_what_gnu_tar_extracts() {
    let Some(path) = rootfs().filter(|_| is_root()) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let options = ["-xpf", path.to_str().unwrap(), "--acls", "--xattrs", "--xattrs-include=*"];
    run(scratch.path(), &[&["tar", "--numeric-owner"], &options[..]].concat());
    let opened = open_rootfs(&path, &OpenOptions::default()).unwrap();
    assert!(opened.notes.is_empty(), "{:?}", opened.notes);
    let tree = merge(opened.layers.into_iter().next().unwrap().0);
    let theirs = lines_of_directory(scratch.path(), Compare::ALL);
    assert_same(&lines_of_tree(&tree, Compare::ALL), &theirs);
    let walked = open_rootfs(scratch.path(), &OpenOptions::default()).unwrap();
    let walked = merge(walked.layers.into_iter().next().unwrap().0);
    assert_same(&lines_of_tree(&walked, Compare::ALL), &theirs);
}

#[test]
fn its_initrd_lists_as_cpio_does() {
    let Some(path) = rootfs() else { return };
    let opened = open_rootfs(&path, &OpenOptions::default()).unwrap();
    let tree = merge(opened.layers.into_iter().next().unwrap().0);
    let boot = tree.lookup(&TreePath::parse(b"boot").unwrap(), Follow::Last).unwrap();
    let mut initrds =
        tree.inode(boot).as_directory().unwrap().iter().filter_map(|(name, id)| match &tree.inode(id).node {
            Node::File(content) if name.starts_with(b"initrd") => Some(content),
            _ => None,
        });
    let content = initrds.next().unwrap();
    let mut names = Vec::new();
    let mut last = 0;
    read_cpio("initrd", content.reader(), Limits::default(), &mut |entry, _| {
        names.push(entry.path.as_bytes().to_vec());
        last = entry.archive;
        Ok(())
    })
    .unwrap();
    assert!(names.len() > 100, "{}", names.len());
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("initrd"), content.read_all(1 << 30).unwrap()).unwrap();
    if last == 0 {
        let list =
            "(zstd -dc initrd || xz -dc initrd || gzip -dc initrd) 2>/dev/null | cpio -t --quiet >names";
        run(scratch.path(), &["sh", "-c", list]);
        let theirs = fs::read(scratch.path().join("names")).unwrap();
        let theirs: Vec<_> = theirs.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).collect();
        assert_eq!(names.len(), theirs.len());
    }
}
