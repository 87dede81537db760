//! EROFS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bake_base::{ReadAt, Uuid};
use bake_fs::erofs::{self, Error, Options};
use bake_tree::{Content, Metadata, Node, Tree, ValidTree};
use proptest::prelude::*;

use super::hard_cases;
use super::support::{Manners, Mount, compare};
use crate::common::generated::{step, tree};
use crate::common::{EPOCH, digest, must, path, rootfs, run, tree_of_tar, valid, write};

const MANNERS: Manners = Manners { time: |time| time, xattr: |_| true, directory_links: true };

fn options() -> Options {
    Options {
        uuid: Uuid::from_u128(0x0123_4567_89ab_4def_8123_4567_89ab_cdef),
        label: "read-only root".to_owned(),
        epoch: EPOCH,
        threads: 2,
    }
}

fn bake(tree: &ValidTree, image: &Path) -> u64 {
    let plan = erofs::plan(tree, &options()).unwrap();
    write(&plan.layout(), image);
    plan.size()
}

fn judge(tree: &ValidTree) {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(tree, &image);
    judge_by_tool(&image);
    judge_by_kernel(&image, tree);
}

/// Not one remark.
fn judge_by_tool(image: &Path) {
    let output = run("fsck.erofs", &["--extract", image.to_str().unwrap()]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn judge_by_kernel(image: &Path, tree: &ValidTree) {
    if let Some(mount) = Mount::new(image, "erofs") {
        compare(mount.path(), tree, MANNERS);
    }
}

#[test]
fn erofs_lengths_around_every_boundary() {
    judge(&hard_cases::lengths());
}

#[test]
fn erofs_holes() {
    judge(&hard_cases::holes(1 << 45));
}

#[test]
fn erofs_kinds() {
    judge(&hard_cases::kinds());
}

#[test]
fn erofs_attributes() {
    judge(&hard_cases::attributed(true));
}

#[test]
fn erofs_directories() {
    judge(&hard_cases::directories(400));
    // The tool's own stack ends before that.
    let tree = hard_cases::directories(2000);
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(&tree, &image);
    judge_by_kernel(&image, &tree);
}

#[test]
fn erofs_nothing_at_all() {
    judge(&valid(Tree::new()));
}

#[test]
fn erofs_inodes_up_to_the_last_byte_of_a_block() {
    for count in 0..130 {
        let mut tree = Tree::new();
        for i in 0..count {
            tree.put(&path(format!("{i}")), Metadata::root(0o644), Node::Fifo).unwrap();
        }
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        bake(&valid(tree), &image);
        judge_by_tool(&image);
    }
}

#[test]
fn erofs_superblock_says_what_was_given() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(&hard_cases::kinds(), &image);
    let text = must("dump.erofs", &["-s", image.to_str().unwrap()]);
    for expected in ["01234567-89ab-4def-8123-456789abcdef", "sb_csum mtime", "Tue Nov 14 22:13:20 2023"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let found = must("blkid", &["-p", "-o", "export", image.to_str().unwrap()]);
    assert!(found.contains("UUID=01234567-89ab-4def-8123-456789abcdef"), "{found}");
}

#[test]
fn erofs_damage_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(&hard_cases::kinds(), &image);
    let mut bytes = std::fs::read(&image).unwrap();
    bytes[1024 + 48] ^= 1;
    std::fs::write(&image, bytes).unwrap();
    let output = run("fsck.erofs", &[image.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("chksum doesn't match"), "{output:?}");
    if rustix::process::geteuid().is_root() {
        let directory = scratch.path().to_str().unwrap();
        let output = run("mount", &["-t", "erofs", "-o", "ro,loop", image.to_str().unwrap(), directory]);
        assert!(!output.status.success(), "the kernel mounts it");
    }
}

#[test]
fn erofs_refuses_what_it_cannot_hold() {
    let mut tree = Tree::new();
    let mut put = |name: &str, node: Node, xattr: (&str, usize)| {
        let xattrs = [(xattr.0.as_bytes().into(), vec![1; xattr.1].into())].into();
        tree.put(&path(name), Metadata { xattrs, ..Metadata::root(0o644) }, node).unwrap();
    };
    put("attribute", Node::Fifo, ("security.x", 65_536));
    put("acl", Node::Fifo, ("system.posix_acl_access", 5));
    put("strange", Node::Fifo, ("btrfs.compression", 1));
    put("long", Node::File(Content::sparse(1 << 63, Vec::new()).unwrap()), ("user.x", 1));
    let Err(Error::Unwritable(problems)) = erofs::plan(&valid(tree), &options()) else { panic!() };
    let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected =
        ["access control list", "at most 65535", "at most 9223372036854775807", "`btrfs.compression`"];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, part) in found.iter().zip(expected) {
        assert!(problem.contains(part), "{problem}");
    }
    for label in ["x".repeat(16), "nul\0".to_owned()] {
        let options = Options { label, ..options() };
        assert!(matches!(erofs::plan(&valid(Tree::new()), &options), Err(Error::Label(_))));
    }
}

/// Bytes that nobody can read, as many as there can be.
#[derive(Debug)]
struct Unreadable;

impl ReadAt for Unreadable {
    fn len(&self) -> u64 {
        u64::MAX
    }

    fn read_exact_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(1);
        if buffer.len().is_multiple_of(4096) { Ok(()) } else { Err(io::Error::other("broken")) }
    }
}

#[test]
fn erofs_says_what_cannot_be_read_and_what_is_too_large() {
    let with = |files: &[(&str, u64)]| {
        let mut tree = Tree::new();
        for (name, len) in files {
            let content = Content::whole(Arc::new(Unreadable), 0, *len).unwrap();
            tree.put(&path(name), Metadata::root(0o644), Node::File(content)).unwrap();
        }
        erofs::plan(&valid(tree), &options()).map(|plan| plan.size()).unwrap_err()
    };
    let Error::Read { path: Some(found), source } = with(&[("a", 4096), ("b", 4097)]) else { panic!() };
    assert_eq!((found.to_string(), source.to_string()), ("/b".to_owned(), "broken".to_owned()));
    // Maps of that many chunks do not fit, whatever the files hold.
    let mut tree = Tree::new();
    for i in 0..40_000 {
        let extent = bake_tree::Extent {
            start: i64::MAX as u64 - 8192,
            len: 4096,
            source: Arc::new(Unreadable),
            source_offset: 0,
        };
        let content = Content::sparse(i64::MAX as u64, vec![extent]).unwrap();
        tree.put(&path(format!("{i}")), Metadata::root(0o644), Node::File(content)).unwrap();
    }
    assert!(matches!(erofs::plan(&valid(tree), &options()), Err(Error::TooLarge)));
}

#[test]
fn erofs_content_stays_where_it_is_when_a_layer_comes() {
    let build = |layers: usize| {
        let mut tree = Tree::new();
        for layer in 0..layers {
            for i in 0..50 {
                let content = Content::bytes(vec![(layer * 50 + i + 1) as u8; 4096 * (i % 5) + 100]);
                let name = path(format!("{i}/{layer}"));
                tree.put(&name, Metadata::root(0o644), Node::File(content)).unwrap();
            }
            tree.seal();
        }
        let layout = erofs::plan(&valid(tree), &options()).unwrap().layout();
        let mut bytes = vec![0; layout.len() as usize];
        layout.read_exact_at(0, &mut bytes).unwrap();
        bytes
    };
    let (one, two) = (build(1), build(2));
    // 50 files of 2 whole blocks each on average, after the superblock.
    assert!(one[4096..4096 * 101] == two[4096..4096 * 101]);
}

/// The real input: Debian with its hard cases.
#[test]
fn erofs_debian() {
    let Some(tar) = rootfs("debian-12.tar") else {
        eprintln!("skipped: ci/rootfs has not made debian-12.tar");
        return;
    };
    let mut tree = tree_of_tar(&tar);
    tree.clamp_times(EPOCH);
    let tree = ValidTree::new(tree).unwrap();
    let mut digests = Vec::new();
    for threads in [1, 2, 7] {
        let start = std::time::Instant::now();
        let plan = erofs::plan(&tree, &Options { threads, ..options() }).unwrap();
        let layout = plan.layout();
        eprintln!(
            "{threads} threads: {:?} for {} bytes, {} pieces",
            start.elapsed(),
            plan.size(),
            layout.pieces().len()
        );
        digests.push(digest(&layout));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "the number of threads shows");
    judge(&tree);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn erofs_generated_trees(steps in prop::collection::vec(step(), 0..150), old in prop::bool::weighted(0.2)) {
        judge(&tree(&steps, old));
    }
}
