//! Tars that are written here, judged by GNU tar, Python and our own reader; and directories, judged by the standard
//! library.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/trees.rs"]
mod trees;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use bake_archive::{ExtractOptions, extract, read_tar, remove_tree, write_tar};
use bake_base::{Bytes, Digest, ReadAt};
use bake_tree::{Node, Tree, ValidTree};
use common::{Compare, assert_same, is_root, lines_of_directory, lines_of_tree, merge, run};
use proptest::prelude::*;
use trees::any_tree;

fn written(tree: &ValidTree) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tar(tree, &mut bytes).unwrap();
    bytes
}

/// What Python's tarfile sees: name, type, mode, owner, size, seconds, target and digest of each member.
const PYTHON: &str = "
import hashlib, math, sys, tarfile
b = lambda name: name.encode('utf-8', 'surrogateescape').hex()
with tarfile.open(sys.argv[1], 'r:', encoding='utf-8', errors='surrogateescape') as tar:
    for m in tar:
        body = hashlib.sha256(tar.extractfile(m).read()).hexdigest() if m.isreg() else '-'
        print(b(m.name), m.type.decode(), m.mode, m.uid, m.gid, m.size, m.devmajor, m.devminor, b(m.linkname), body)
";

#[allow(clippy::disallowed_methods)]
fn python(tar: &Path) -> String {
    let output = Command::new("python3").arg("-c").arg(PYTHON).arg(tar).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same, of the tree.
fn expected(tree: &ValidTree) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut first = BTreeMap::new();
    let mut lines = String::new();
    for (path, id) in tree.tree().walk() {
        let inode = tree.inode(id);
        let dotted = |path: &[u8]| if path.is_empty() { b".".to_vec() } else { [b"./", path].concat() };
        let (mut size, mut device, mut target, mut body) = (0, (0, 0), String::new(), "-".to_owned());
        let is_directory = inode.as_directory().is_some();
        let before = first.insert(id, path.clone()).filter(|_| !is_directory);
        if let Some(before) = &before {
            first.insert(id, before.clone());
        }
        let typeflag = match (&before, &inode.node) {
            (Some(before), _) => {
                target = hex(&dotted(before.as_bytes()));
                1
            }
            (_, Node::File(content)) => {
                size = content.len();
                body = Digest::of(&content.read_all(u64::MAX).unwrap()).to_string();
                0
            }
            (_, Node::Symlink(to)) => {
                target = hex(to);
                2
            }
            (_, Node::CharDevice(number)) => {
                device = (number.major, number.minor);
                3
            }
            (_, Node::BlockDevice(number)) => {
                device = (number.major, number.minor);
                4
            }
            (_, Node::Directory(_)) => 5,
            (_, Node::Fifo) => 6,
        };
        let metadata = &inode.metadata;
        lines += &format!(
            "{} {typeflag} {} {} {} {size} {} {} {target} {body}\n",
            hex(&dotted(path.as_bytes())),
            metadata.mode,
            metadata.uid,
            metadata.gid,
            device.0,
            device.1,
        );
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn our_reader_finds_the_tree_that_was_written(tree in any_tree()) {
        let bytes = written(&tree);
        prop_assert_eq!(bytes.len() % 512, 0);
        let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(bytes.clone()));
        let read = read_tar("it.tar", &source).unwrap();
        prop_assert!(read.notes.is_empty(), "{:?}", read.notes);
        let again = merge(read.members);
        assert_same(&lines_of_tree(&again, Compare::ALL), &lines_of_tree(tree.tree(), Compare::ALL));
        prop_assert!(bytes == written(&ValidTree::new(again).unwrap()), "written twice, the bytes differ");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gnu_tar_and_python_find_the_tree_that_was_written(tree in any_tree()) {
        let scratch = tempfile::tempdir().unwrap();
        let tar = scratch.path().join("it.tar");
        fs::write(&tar, written(&tree)).unwrap();
        let extracted = scratch.path().join("extracted");
        fs::create_dir(&extracted).unwrap();
        run(&extracted, &["tar", "-tf", "../it.tar"]);
        // Without privileges there are no devices and no owners; only the lists are compared then.
        if is_root() {
            run(&extracted, &["tar", "-xpf", "../it.tar", "--xattrs", "--xattrs-include=*", "--numeric-owner"]);
            let ours = lines_of_tree(tree.tree(), Compare::ALL);
            assert_same(&ours, &lines_of_directory(&extracted, Compare::ALL));
        }
        prop_assert_eq!(python(&tar), expected(&tree));
    }
}

/// What is to be on disk.
fn expected_on_disk(tree: &ValidTree, readable: bool) -> (Tree, u64) {
    let mut on_disk = tree.tree().clone();
    let mut devices = 0;
    for (path, id) in tree.tree().walk() {
        let inode = tree.inode(id);
        let needed = match inode.node {
            Node::CharDevice(_) | Node::BlockDevice(_) => {
                devices += 1;
                on_disk.remove(&path);
                continue;
            }
            Node::Symlink(_) => 0,
            Node::Directory(_) => 0o500,
            _ => 0o400,
        };
        on_disk.metadata_mut(id).mode = inode.metadata.mode & 0o1777 | if readable { needed } else { 0 };
    }
    (on_disk, devices)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_on_disk_as_it_is_but_for_owners_attributes_devices_and_set_id_bits(
        tree in any_tree(),
        readable in any::<bool>(),
    ) {
        // Whoever has no privileges could not look at the result otherwise.
        let readable = readable || !is_root();
        let scratch = tempfile::tempdir().unwrap();
        let into = scratch.path().join("into");
        let extracted = extract(&tree, &into, ExtractOptions { readable }).unwrap();
        let (on_disk, devices) = expected_on_disk(&tree, readable);
        prop_assert_eq!(extracted.devices, devices);
        let compare = Compare { owners: false, nanoseconds: true, xattrs: false };
        assert_same(&lines_of_tree(&on_disk, compare), &lines_of_directory(&into, compare));
        remove_tree(&into).unwrap();
        prop_assert!(!into.exists());
    }
}
