//! SquashFS.

use std::path::Path;
use std::sync::Arc;

use bake_base::{ReadAt, Timestamp};
use bake_fs::squashfs::{self, AccessLists, Error, Options, Plan};
use bake_tree::{Content, Metadata, Node, Tree, ValidTree};
use proptest::prelude::*;

use super::hard_cases;
use super::support::{Manners, Mount, compare};
use crate::common::generated::{step, tree};
use crate::common::{EPOCH, digest, must, path, rootfs, run, tree_of_tar, valid, write};

const MANNERS: Manners = Manners {
    time: |time| Timestamp::from_seconds(time.seconds.clamp(0, i64::from(u32::MAX))),
    xattr: |name| !name.starts_with(b"system.posix_acl_"),
    directory_links: true,
};

fn options() -> Options {
    Options { block_size: 128 << 10, level: 3, epoch: EPOCH, access_lists: AccessLists::Refuse, threads: 2 }
}

fn plan(tree: &ValidTree, options: &Options) -> Result<Plan, Error> {
    squashfs::plan(tree, options, Arc::new(tempfile::tempfile().unwrap()), &|_| ())
}

/// `attributes` says whether the file system of the scratch directory can hold those of the tree.
fn judge_with(tree: &ValidTree, options: &Options, attributes: bool) {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    write(&plan(tree, options).unwrap().layout(), &image);
    judge_by_tool(&image, tree, attributes);
    judge_by_kernel(&image, tree);
}

fn judge(tree: &ValidTree) {
    judge_with(tree, &options(), true);
}

fn judge_by_kernel(image: &Path, tree: &ValidTree) {
    if let Some(mount) = Mount::new(image, "squashfs") {
        compare(mount.path(), tree, MANNERS);
    }
}

/// Not one remark, and, as root, everything as it was.
fn judge_by_tool(image: &Path, tree: &ValidTree, attributes: bool) {
    let scratch = tempfile::tempdir().unwrap();
    let (image, out) = (image.to_str().unwrap(), scratch.path().join("out"));
    let listed = must("unsquashfs", &["-lls", image]);
    assert!(listed.lines().count() >= tree.tree().walk().count(), "{listed}");
    if rustix::process::geteuid().is_root() {
        let (option, xattr): (_, fn(&[u8]) -> bool) =
            if attributes { ("-xattrs", MANNERS.xattr) } else { ("-no-xattrs", |_| false) };
        let output =
            run("unsquashfs", &["-quiet", "-no-progress", option, "-dest", out.to_str().unwrap(), image]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        compare(&out, tree, Manners { xattr, ..MANNERS });
    }
}

#[test]
fn squashfs_lengths_around_every_boundary() {
    let tree = hard_cases::lengths();
    for (block_size, level) in [(128 << 10, 3), (4096, 1), (1 << 20, 19)] {
        judge_with(&tree, &Options { block_size, level, ..options() }, false);
    }
}

#[test]
fn squashfs_holes() {
    // The tool writes every block of what it extracts, which takes its time with holes.
    judge(&hard_cases::holes(1 << 32));
    let tree = hard_cases::holes(1 << 41);
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    write(&plan(&tree, &options()).unwrap().layout(), &image);
    judge_by_kernel(&image, &tree);
}

#[test]
fn squashfs_kinds() {
    judge(&hard_cases::kinds());
}

#[test]
fn squashfs_attributes() {
    let tree = hard_cases::attributed(true);
    let Err(Error::Unwritable(problems)) = plan(&tree, &options()) else { panic!() };
    assert!(
        problems[0].to_string().starts_with("`/lists` has an extended attribute `system.posix_acl_access`")
    );
    judge_with(&tree, &Options { access_lists: AccessLists::Drop, ..options() }, false);
}

#[test]
fn squashfs_directories() {
    judge(&hard_cases::directories(400));
    let tree = hard_cases::directories(2000);
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    write(&plan(&tree, &options()).unwrap().layout(), &image);
    judge_by_kernel(&image, &tree);
}

#[test]
fn squashfs_nothing_at_all() {
    judge(&valid(Tree::new()));
}

#[test]
fn squashfs_superblock_says_what_was_given() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    write(&plan(&hard_cases::kinds(), &options()).unwrap().layout(), &image);
    let text = must("unsquashfs", &["-s", image.to_str().unwrap()]);
    for expected in [
        "SQUASHFS 4:0",
        "Tue Nov 14 22:13:20 2023",
        "Compression zstd",
        "compression-level 3",
        "Block size 131072",
        "Filesystem is exportable via NFS",
        "Xattrs are not stored",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn squashfs_refuses_what_it_cannot_hold() {
    let mut tree = Tree::new();
    let mut put = |name: &str, node: Node, xattr: &str| {
        let xattrs = [(xattr.as_bytes().into(), [1].as_slice().into())].into();
        tree.put(&path(name), Metadata { xattrs, ..Metadata::root(0o644) }, node).unwrap();
    };
    put("strange", Node::Fifo, "btrfs.compression");
    put("long", Node::File(Content::sparse((1 << 41) + 1, Vec::new()).unwrap()), "user.x");
    put("longest", Node::File(Content::sparse(u64::MAX, Vec::new()).unwrap()), "user.x");
    let Err(Error::Unwritable(problems)) = plan(&valid(tree), &options()) else { panic!() };
    let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = ["at most 2199023255552", "at most 2199023255552", "`btrfs.compression`"];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, part) in found.iter().zip(expected) {
        assert!(problem.contains(part), "{problem}");
    }

    for wrong in [
        Options { block_size: 0, ..options() },
        Options { block_size: 2048, ..options() },
        Options { block_size: 5000, ..options() },
        Options { block_size: 2 << 20, ..options() },
        Options { level: 0, ..options() },
        Options { level: 23, ..options() },
    ] {
        assert!(matches!(plan(&valid(Tree::new()), &wrong), Err(Error::Options(_))), "{wrong:?}");
    }

    let mut tree = Tree::new();
    for i in 0..65_536 {
        let metadata = Metadata { uid: i, ..Metadata::root(0o644) };
        tree.put(&path(format!("{i}")), metadata, Node::Fifo).unwrap();
    }
    let error = plan(&valid(tree), &options()).unwrap_err();
    assert!(error.to_string().contains("more different owners and groups"), "{error}");
}

/// Bytes that nobody can read.
#[derive(Debug)]
struct Unreadable;

impl ReadAt for Unreadable {
    fn len(&self) -> u64 {
        u64::MAX
    }

    fn read_exact_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
        Err(std::io::Error::other("broken"))
    }
}

#[test]
fn squashfs_says_what_cannot_be_read_or_written() {
    for len in [1, 1 << 20] {
        let mut tree = Tree::new();
        tree.put(&path("good"), Metadata::root(0o644), Node::File(Content::bytes(vec![1; 300_000]))).unwrap();
        let content = Content::whole(Arc::new(Unreadable), 0, len).unwrap();
        tree.put(&path("bad"), Metadata::root(0o644), Node::File(content)).unwrap();
        let error = plan(&valid(tree), &options()).unwrap_err();
        assert_eq!(error.to_string(), "reading `/bad` failed");
    }
    let read_only = Arc::new(std::fs::File::open("/dev/null").unwrap());
    let result = squashfs::plan(&hard_cases::kinds(), &options(), read_only, &|_| ());
    assert!(matches!(result, Err(Error::Spool(_))));
}

/// The real input: Debian with its hard cases.
#[test]
fn squashfs_debian() {
    let Some(tar) = rootfs("debian-12.tar") else {
        eprintln!("skipped: ci/rootfs has not made debian-12.tar");
        return;
    };
    let mut tree = tree_of_tar(&tar);
    tree.clamp_times(EPOCH);
    let tree = ValidTree::new(tree).unwrap();
    let options = Options { access_lists: AccessLists::Drop, ..options() };
    let mut digests = Vec::new();
    for threads in [1, 2, 7] {
        let start = std::time::Instant::now();
        let plan = plan(&tree, &Options { threads, ..options.clone() }).unwrap();
        eprintln!("{threads} threads: {:?} for {} bytes", start.elapsed(), plan.size());
        digests.push(digest(&plan.layout()));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "the number of threads shows");
    judge_with(&tree, &options, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn squashfs_generated_trees(steps in prop::collection::vec(step(), 0..150), old in prop::bool::weighted(0.2)) {
        let tree = tree(&steps, old);
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        match plan(&tree, &options()) {
            // Its holes are longer than those of any file here.
            Err(Error::Unwritable(problems)) => {
                prop_assert!(problems.iter().all(|problem| problem.reason.contains("at most 2199023255552")));
            }
            plan => {
                write(&plan.unwrap().layout(), &image);
                judge_by_kernel(&image, &tree);
            }
        }
    }
}
