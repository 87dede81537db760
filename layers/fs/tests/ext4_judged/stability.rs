//! Small changes stay small.

use std::collections::BTreeSet;

use bake_base::{Layout, ReadAt};
use bake_fs::ext4;
use bake_tree::{Content, Metadata, Node, Tree, ValidTree};

use super::support::{digest, judge, options, path, valid};

/// A first layer with indexed and plain directories, and a second one on top that `change` may alter.
fn tree(change: impl Fn(&mut Tree)) -> ValidTree {
    let mut tree = Tree::new();
    for i in 0..3000 {
        let content = Content::bytes(format!("content {i} ").repeat(i % 500).into_bytes());
        let name = format!("{}/file-{i}", ["etc", "usr/bin", "var/lib/deep/down"][i % 3]);
        tree.put(&path(name), Metadata::root(0o644), Node::File(content)).unwrap();
    }
    tree.seal();
    for i in 0..200 {
        let content = Content::bytes(format!("second {i} ").repeat(i * 3).into_bytes());
        tree.put(&path(format!("opt/{}/{i}", i % 7)), Metadata::root(0o644), Node::File(content)).unwrap();
        tree.put(&path(format!("etc/second-{i}")), Metadata::root(0o644), Node::Fifo).unwrap();
    }
    tree.seal();
    change(&mut tree);
    valid(tree)
}

fn layout(tree: &ValidTree, size: u64) -> Layout {
    ext4::plan(tree, &options()).unwrap().layout(size).unwrap()
}

/// The blocks in which two images differ.
fn differences(ours: &Layout, theirs: &Layout) -> BTreeSet<u64> {
    let touched = |layout: &Layout| -> BTreeSet<u64> {
        layout.pieces().iter().flat_map(|piece| piece.offset / 4096..piece.end().div_ceil(4096)).collect()
    };
    let read = |layout: &Layout, block: u64| {
        let mut bytes = [0; 4096];
        if block * 4096 < layout.len() {
            layout.read_exact_at(block * 4096, &mut bytes).unwrap();
        }
        bytes
    };
    let all: BTreeSet<u64> = touched(ours).union(&touched(theirs)).copied().collect();
    all.into_iter().filter(|block| read(ours, *block) != read(theirs, *block)).collect()
}

const SIZE: u64 = 1 << 30;
/// Superblock, descriptors, bitmaps and inode tables of one flexible group, and copies of the first two.
const DATA: u64 = 1058 + 16 * 512;

#[test]
fn ext4_a_later_layer_moves_nothing_of_an_earlier_one() {
    let before = layout(&tree(|_| ()), SIZE);
    let after_tree = tree(|tree| {
        let content = Content::bytes(vec![3; 100_000]);
        tree.put(&path("opt/third"), Metadata::root(0o644), Node::File(content)).unwrap();
        // Replaces a file of the first layer, and one of the second with a longer one.
        tree.put(&path("usr/bin/file-1"), Metadata::root(0o755), Node::File(Content::bytes(vec![4; 9])))
            .unwrap();
        tree.put(&path("opt/1/1"), Metadata::root(0o644), Node::File(Content::bytes(vec![5; 50_000])))
            .unwrap();
        // Removes, and adds so many names that directories of both layers grow.
        assert!(tree.remove(&path("var/lib/deep/down/file-2")));
        for i in 0..1000 {
            tree.put(&path(format!("etc/new-{i}")), Metadata::root(0o644), Node::Fifo).unwrap();
            tree.put(&path(format!("opt/2/new-{i}")), Metadata::root(0o644), Node::Fifo).unwrap();
            tree.put(&path(format!("{i}")), Metadata::root(0o644), Node::Fifo).unwrap();
        }
    });
    judge(&after_tree, &options(), SIZE);
    let after = layout(&after_tree, SIZE);
    // Every run of content of the first two layers that is still there lies where it lay.
    let sources = |layout: &Layout| -> BTreeSet<(u64, u64, Vec<u8>)> {
        let data =
            layout.pieces().iter().filter(|piece| piece.source_offset == 0 && piece.offset / 4096 >= DATA);
        data.map(|piece| {
            let mut bytes = vec![0; piece.len.min(64) as usize];
            piece.source.read_exact_at(0, &mut bytes).unwrap();
            (piece.offset, piece.len, bytes)
        })
        .collect()
    };
    let (old, new) = (sources(&before), sources(&after));
    let gone: Vec<_> = old
        .difference(&new)
        .filter(|(_, _, bytes)| bytes.starts_with(b"content") || bytes.starts_with(b"second"))
        .collect();
    // The first layer's `usr/bin/file-1` and `var/lib/deep/down/file-2`, and the second's `opt/1/1`.
    assert_eq!(gone.len(), 3, "{gone:?}");
}

#[test]
fn ext4_one_changed_byte_changes_its_block_alone() {
    let write = |text: &'static str| {
        move |tree: &mut Tree| {
            let content = Content::bytes(text.as_bytes());
            tree.put(&path("etc/config"), Metadata::root(0o644), Node::File(content)).unwrap();
        }
    };
    let (ours, theirs) = (tree(write("same length: a")), tree(write("same length: b")));
    let changed = differences(&layout(&ours, SIZE), &layout(&theirs, SIZE));
    assert_eq!(changed.len(), 1, "{changed:?}");
}

#[test]
fn ext4_one_more_name_changes_a_few_blocks() {
    let ours = tree(|_| ());
    let theirs = tree(|tree| {
        tree.put(&path("etc/one-more"), Metadata::root(0o644), Node::File(Content::bytes(&b"x"[..])))
            .unwrap();
    });
    let changed = differences(&layout(&ours, SIZE), &layout(&theirs, SIZE));
    // Superblock and descriptors with their copies, two bitmaps, the table, the directory's leaf, and the file.
    assert!(changed.len() <= 5 * 2 + 2 + 2 + 4, "{changed:?}");
}

#[test]
fn ext4_another_size_moves_nothing() {
    let tree = tree(|_| ());
    let (small, large) = (layout(&tree, SIZE), layout(&tree, 30 << 30));
    let changed: Vec<_> = differences(&small, &large)
        .into_iter()
        // Copies of superblock and descriptors begin at the starts of groups, and new bitmaps and tables too.
        .filter(|block| (DATA..32768).contains(block))
        .collect();
    // The resize inode's map is the first block after the structures.
    assert_eq!(changed, [DATA]);
}

#[test]
fn ext4_the_format_is_what_it_was() {
    // Another digest means another format: declare a new format revision, and keep writing the old one.
    let tree = tree(|_| ());
    judge(&tree, &options(), SIZE);
    assert_eq!(
        digest(&layout(&tree, SIZE)),
        "18a315e5bba5a73d4db4b7994ec1b8b9a417d87648469f6ed9f3735500878cf7"
    );
}
