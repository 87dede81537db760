//! Trees that are large in one direction.

use std::fmt::Write as _;
use std::sync::Arc;

use bake_base::Bytes;
use bake_fs::ext4;
use bake_tree::{Content, Extent, Metadata, Node, Tree, ValidTree, Xattrs};

use super::support::{bake, e2fsck, judge, judge_image, link, options, path, valid};

fn file(text: &str) -> Node {
    Node::File(Content::bytes(text.as_bytes()))
}

/// For trees at which the independent reader gives up: paths of more than 1333 names, and collisions that go on
/// in the next leaf.
fn judge_without_reader(tree: &ValidTree) {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(tree, &options(), 0, &image);
    judge_image(&image, tree);
}

#[test]
fn ext4_two_thousand_directories_deep() {
    let mut tree = Tree::new();
    let deep = "d/".repeat(2000);
    tree.put(&path(format!("{deep}file")), Metadata::root(0o644), file("deep")).unwrap();
    judge_without_reader(&valid(tree));
}

#[test]
fn ext4_a_hundred_thousand_names_in_one_directory() {
    let mut tree = Tree::new();
    tree.put(&path("wide/first"), Metadata::root(0o644), file("x")).unwrap();
    let linked = (0..60_000).filter(|i| i % 10 != 0).map(|i| path(format!("wide/name number {i}")));
    link(&mut tree, &path("wide/first"), linked);
    for i in 0..100_000 {
        if i % 10 == 0 {
            let mut name = format!("{i}");
            let _ = write!(name, "{}", "-long".repeat(i / 10 % 48));
            tree.put(&path(format!("wide/{name}")), Metadata::root(0o600), Node::Fifo).unwrap();
        } else if i >= 60_000 {
            tree.put(
                &path(format!("wide/{i}")),
                Metadata::root(0o600),
                Node::Symlink(b"x".as_slice().into()),
            )
            .unwrap();
        }
    }
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_an_index_of_two_levels() {
    // More than 507 leaves, in fewer names than would do by their number alone.
    let mut tree = Tree::new();
    for i in 0..16_000 {
        tree.put(&path(format!("{i:0>255}")), Metadata::root(0o600), Node::Fifo).unwrap();
    }
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_names_that_collide_in_the_hash() {
    // Twenty names of 255 bytes with the hash 0x40000000 under `options().hash_seed`, found by trying: more than
    // one leaf holds.
    let differences = "ibighimbcaaa lmflhlnbcaaa confkfkfcaaa bimajngadaaa dbafkhghdaaa oflkmkpndaaa mnglnjabeaaa \
                       ppmlmlfheaaa fljceffcfaaa lgpmabcdfaaa gpohjhfggaaa ljceiemehaaa debgffllhaaa comkamdiiaaa \
                       feidimokiaaa aopepijliaaa aeiipckjjaaa dpjoaemdlaaa oamakldelaaa hoflmifflaaa";
    let mut tree = Tree::new();
    for difference in differences.split_whitespace() {
        let name = format!("{}{difference}{}", "x".repeat(224), "x".repeat(19));
        tree.put(&path(format!("collide/{name}")), Metadata::root(0o644), file(difference)).unwrap();
    }
    for i in 0..1000 {
        tree.put(&path(format!("collide/{i}")), Metadata::root(0o644), file("other")).unwrap();
    }
    judge_without_reader(&valid(tree));
}

#[test]
fn ext4_more_subdirectories_than_links_can_be_counted() {
    for count in [64_997, 64_998, 64_999, 65_100] {
        let mut tree = Tree::new();
        for i in 0..count {
            tree.make_directory(&path(format!("parent/{i}")), Metadata::root(0o755)).unwrap();
        }
        let tree = valid(tree);
        // Comparing each of them with the kernel's view is done for one count; `e2fsck` counts all links anyway.
        if count == 65_100 {
            judge(&tree, &options(), 0);
        } else {
            let scratch = tempfile::tempdir().unwrap();
            let image = scratch.path().join("image");
            bake(&tree, &options(), 0, &image);
            e2fsck(&image);
        }
    }
}

#[test]
fn ext4_huge_sparse_files() {
    let scattered = |length: u64, step: u64| {
        let source = Arc::new(Bytes::from(&b"byte"[..]));
        let starts = (0..length - 4).step_by(step as usize);
        let extents = starts.map(|start| Extent {
            start,
            len: 4,
            source: Arc::<Bytes>::clone(&source),
            source_offset: 0,
        });
        Node::File(Content::sparse(length, extents.collect()).unwrap())
    };
    let mut tree = Tree::new();
    let last = Extent {
        start: 0xffff_ffff * 4096 - 4,
        len: 4,
        source: Arc::new(Bytes::from(&b"last"[..])),
        source_offset: 0,
    };
    let longest = Content::sparse(0xffff_ffff * 4096, vec![last]).unwrap();
    tree.put(&path("longest"), Metadata::root(0o644), Node::File(longest)).unwrap();
    let hole = Content::sparse(7 << 40, Vec::new()).unwrap();
    tree.put(&path("hole"), Metadata::root(0o644), Node::File(hole)).unwrap();
    // Trees of depth 1, 2 and 3, the last with bytes across the ends of blocks.
    tree.put(&path("terabyte"), Metadata::root(0o644), scattered(1 << 40, 1 << 34)).unwrap();
    tree.put(&path("deeper"), Metadata::root(0o644), scattered(1 << 40, (1 << 29) - 1)).unwrap();
    tree.put(&path("deepest"), Metadata::root(0o644), scattered(500_000 * 8192, 8192)).unwrap();
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_a_file_of_many_groups() {
    // Dense, and longer than an extent, a group, and the way to the next copy of the superblock.
    let source = Arc::new(Bytes::from(vec![0x5a; 1 << 20]));
    let extent =
        |start| Extent { start, len: 1 << 20, source: Arc::<Bytes>::clone(&source), source_offset: 0 };
    let length = 700 << 20;
    let content = Content::sparse(length, (0..length).step_by(1 << 20).map(extent).collect()).unwrap();
    let mut tree = Tree::new();
    tree.put(&path("dense"), Metadata::root(0o644), Node::File(content)).unwrap();
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_attributes_up_to_their_limits() {
    let acl = |entries: &[(u16, u16, u32)]| {
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, access, id) in entries {
            bytes.extend([tag.to_le_bytes(), access.to_le_bytes()].concat());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    };
    let none = u32::MAX;
    let small = acl(&[(1, 7, none), (4, 5, none), (0x20, 5, none)]);
    let mut entries = vec![(1, 6, none)];
    entries.extend((0..400).map(|id| (2, 4, 70_000 + id)));
    entries.extend([(4, 4, none), (0x10, 4, none), (0x20, 4, none)]);
    let large = acl(&entries);
    let set = |pairs: &[(&str, Vec<u8>)]| -> Xattrs {
        pairs.iter().map(|(name, value)| (name.as_bytes().into(), value.as_slice().into())).collect()
    };
    let mut tree = Tree::new();
    let capability = vec![1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let label = b"system_u:object_r:bin_t:s0\0".to_vec();
    let mut cases = vec![
        set(&[("security.capability", capability.clone())]),
        set(&[("security.capability", capability), ("security.selinux", label.clone())]),
        set(&[("system.posix_acl_access", small.clone())]),
        set(&[("system.posix_acl_access", large.clone()), ("security.selinux", label)]),
        set(&[("system.posix_acl_access", large), ("user.x", vec![]), ("trusted.y", vec![0; 700])]),
        // What exactly fills the inode, and what exactly fills the block.
        set(&[("user.full", vec![3; 88 - 20])]),
        set(&[("user.more", vec![3; 88 - 20 + 1])]),
        set(&[("user.full", vec![3; 4096 - 32 - 4 - 20])]),
        set(&[("user.full", vec![3; 4096 - 32 - 4 - 20]), ("user.inode", vec![4; 88 - 24])]),
        set(&[("user.none", vec![])]),
        // Bytes beyond ASCII count as signed in the hash of a block's entry.
        set(&[("user.\u{e4}\u{ff}", vec![3; 200]), ("trusted.\u{100}", vec![4; 201])]),
        set(&[(&format!("trusted.{}", "n".repeat(247)), vec![1])]),
    ];
    let names: Vec<String> = (0..160).map(|i| format!("user.{i}")).collect();
    cases.push(names.iter().map(|name| (name.as_bytes().into(), [7].as_slice().into())).collect());
    for (i, xattrs) in cases.into_iter().enumerate() {
        let metadata = Metadata { xattrs, ..Metadata::root(0o644) };
        tree.put(&path(format!("file-{i}")), metadata.clone(), file("x")).unwrap();
        tree.make_directory(&path(format!("directory-{i}")), metadata).unwrap();
    }
    let default = set(&[("system.posix_acl_default", small.clone()), ("system.posix_acl_access", small)]);
    tree.make_directory(&path("default"), Metadata { xattrs: default, ..Metadata::root(0o755) }).unwrap();
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_attributes_that_are_shared() {
    // More of one kind than may share a block, in two layers, some of them replaced.
    let xattrs = Xattrs::from([(b"user.shared".as_slice().into(), vec![9; 500].into())]);
    let mut tree = Tree::new();
    for i in 0..2500 {
        let metadata = Metadata { xattrs: xattrs.clone(), ..Metadata::root(0o600) };
        tree.put(&path(format!("{i}")), metadata, file("")).unwrap();
    }
    tree.seal();
    for i in 0..1100 {
        let metadata = Metadata { xattrs: xattrs.clone(), ..Metadata::root(0o600) };
        tree.put(&path(format!("{}", i * 2)), metadata, file("new")).unwrap();
    }
    let tree = valid(tree);
    judge(&tree, &options(), 0);
    let layout = ext4::plan(&tree, &options()).unwrap().layout(1 << 30).unwrap();
    let blocks = layout.pieces().iter().filter(|piece| {
        let mut magic = [0; 4];
        piece.len > 32
            && piece.source.read_exact_at(piece.source_offset, &mut magic).is_ok()
            && magic == [0, 0, 2, 0xea]
    });
    assert_eq!(blocks.count(), 3 + 2);
}

#[test]
fn ext4_hard_link_farm() {
    let mut tree = Tree::new();
    for target in 0..50 {
        let first = path(format!("{target}/target"));
        tree.put(&first, Metadata::root(0o644), file(&format!("{target}"))).unwrap();
        link(&mut tree, &first, (0..20).map(|farm| path(format!("farm-{farm}/link-{target}"))));
    }
    judge(&valid(tree), &options(), 0);
}

#[test]
fn ext4_lost_and_found_of_its_own() {
    for count in [0, 3, 1000] {
        let mut tree = Tree::new();
        tree.make_directory(&path("lost+found"), Metadata::root(0o755)).unwrap();
        for i in 0..count {
            tree.put(&path(format!("lost+found/#{i}")), Metadata::root(0o644), file("found")).unwrap();
        }
        tree.seal();
        tree.put(&path("lost+found/later"), Metadata::root(0o644), file("later")).unwrap();
        judge(&valid(tree), &options(), 0);
    }
}

#[test]
fn ext4_more_inodes_than_blocks_would_ask_for() {
    let mut tree = Tree::new();
    for i in 0..30_000 {
        tree.put(&path(format!("{}/{i}", i % 100)), Metadata::root(0o600), Node::Fifo).unwrap();
    }
    let tree = valid(tree);
    assert!(ext4::plan(&tree, &options()).unwrap().minimum_size() > 3 * (128 << 20));
    judge(&tree, &options(), 0);
}

#[test]
fn ext4_sizes_around_the_ends_of_groups() {
    let mut tree = Tree::new();
    tree.put(&path("file"), Metadata::root(0o644), file("x")).unwrap();
    let tree = valid(tree);
    let group = 128_i64 << 20;
    for (groups, blocks) in [
        (1, &[0, 1, 1026, 1075, 1076, 1077, 32767][..]),
        (2, &[0, 1, 49, 50, 51]),
        (3, &[1, 1026, 1075, 1076]),
        (16, &[-1, 0, 1, 544, 593, 594, 595]),
        (32, &[543, 594]),
        (49, &[1076]),
        (64, &[-1, 0, 593, 594, 30_000]),
        (81, &[1076]),
    ] {
        for block in blocks {
            judge(&tree, &options(), (groups * group + block * 4096) as u64);
        }
    }
}
