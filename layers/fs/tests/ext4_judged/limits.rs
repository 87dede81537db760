//! What ext4 cannot hold is refused: everything at once, with path, limit and remedy.

use std::io;
use std::sync::Arc;

use bake_base::{ReadAt, Timestamp};
use bake_fs::ext4::{self, Error, Options};
use bake_tree::{Content, Device, Metadata, Node, Tree};

use super::support::{judge, link, options, path, valid};

fn problems(tree: Tree) -> Vec<String> {
    match ext4::plan(&valid(tree), &options()) {
        Err(Error::Unwritable(problems)) => problems.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ext4_refuses_every_entry_that_it_cannot_hold() {
    let mut tree = Tree::new();
    let mut put = |name: &str, node: Node, change: &dyn Fn(&mut Metadata)| {
        let mut metadata = Metadata::root(0o644);
        change(&mut metadata);
        tree.put(&path(name), metadata, node).unwrap()
    };
    put("old", Node::Fifo, &|metadata| metadata.mtime = Timestamp::from_seconds(-0x8000_0001));
    put("long", Node::File(Content::sparse(0xffff_ffff * 4096 + 1, Vec::new()).unwrap()), &|_| ());
    put("longest", Node::File(Content::sparse(0xffff_ffff * 4096, Vec::new()).unwrap()), &|_| ());
    let attribute = |name: &'static str, length: usize| {
        move |metadata: &mut Metadata| {
            metadata.xattrs.insert(name.as_bytes().into(), vec![1; length].into());
        }
    };
    put("attribute", Node::Fifo, &attribute("security.x", 4097));
    put("strange", Node::Fifo, &attribute("btrfs.compression", 1));
    put("empty", Node::Fifo, &attribute("trusted.", 1));
    put("inline", Node::Fifo, &attribute("system.data", 1));
    put("acl", Node::Fifo, &attribute("system.posix_acl_access", 5));
    put("lost+found", Node::Fifo, &|_| ());
    let found = problems(tree);
    let expected = [
        ("`/acl` ", "version 2"),
        ("`/attribute` ", "at most 4060"),
        ("`/empty` ", "`trusted.`"),
        ("`/inline` ", "`system.data`"),
        ("`/long` ", "at most 17592186040320"),
        ("`/lost+found` ", "expected a directory"),
        ("`/old` ", "1901 to 2446"),
        ("`/strange` ", "`btrfs.compression`"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (problem, (start, part)) in found.iter().zip(expected) {
        assert!(problem.starts_with(start) && problem.contains(part), "{problem}");
    }
}

#[test]
fn ext4_refuses_the_65001st_name_of_a_file() {
    for names in [65_000, 65_001] {
        let mut tree = Tree::new();
        tree.put(&path("first"), Metadata::root(0o644), Node::Fifo).unwrap();
        link(&mut tree, &path("first"), (1..names).map(|i| path(format!("names/{i}"))));
        if names == 65_000 {
            judge(&valid(tree), &options(), 0);
        } else {
            assert!(problems(tree)[0].contains("65001 names: expected at most 65000"));
        }
    }
}

#[test]
fn ext4_refuses_sizes_that_do_not_fit() {
    let mut tree = Tree::new();
    tree.put(&path("device"), Metadata::root(0o644), Node::CharDevice(Device { major: 1, minor: 3 }))
        .unwrap();
    let tree = valid(tree);
    let plan = ext4::plan(&tree, &options()).unwrap();
    let minimum = plan.minimum_size();
    assert!(matches!(plan.layout(minimum + 1), Err(Error::PartialBlock(_))));
    assert!(matches!(plan.layout(minimum - 4096), Err(Error::TooSmall { .. })));
    let largest = 1025 * (8 << 30);
    assert!(matches!(plan.layout(largest + 4096), Err(Error::TooLarge { .. })));
    assert_eq!(plan.layout(largest).unwrap().len(), largest);
}

/// Bytes that cannot be read.
#[derive(Debug)]
struct Broken;

impl ReadAt for Broken {
    fn len(&self) -> u64 {
        1 << 20
    }

    fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("broken"))
    }
}

#[test]
fn ext4_names_what_cannot_be_read() {
    let mut tree = Tree::new();
    let content = Content::whole(Arc::new(Broken), 0, 1 << 20).unwrap();
    tree.put(&path("some/file"), Metadata::root(0o644), Node::File(content)).unwrap();
    let error = ext4::plan(&valid(tree), &options()).unwrap_err();
    assert_eq!(error.to_string(), "reading `/some/file` failed");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "broken");
}

#[test]
fn ext4_refuses_options_out_of_bounds() {
    let tree = valid(Tree::new());
    for wrong in [
        Options { label: "x".repeat(17), ..options() },
        Options { label: "a\0b".to_owned(), ..options() },
        Options { journal_bytes: (64 << 20) - 4096, ..options() },
        Options { journal_bytes: (64 << 20) + 1, ..options() },
        Options { inodes_per_group: 0, ..options() },
        Options { inodes_per_group: 8200, ..options() },
        Options { inodes_per_group: 32768, ..options() },
        Options { flex_bg: 12, ..options() },
        Options { flex_bg: 0, ..options() },
        Options { reserved_gdt_blocks: 1025, ..options() },
    ] {
        assert!(matches!(ext4::plan(&tree, &wrong), Err(Error::Options(_))), "{wrong:?}");
    }
}

#[test]
fn ext4_takes_other_options() {
    let tree = valid(Tree::new());
    for other in [
        Options { label: "sixteen bytes :)".to_owned(), ..options() },
        Options { journal_bytes: 1 << 30, ..options() },
        Options { inodes_per_group: 16, ..options() },
        Options { inodes_per_group: 32768, flex_bg: 8, ..options() },
        Options { flex_bg: 1, ..options() },
        Options { flex_bg: 32, ..options() },
        Options { reserved_gdt_blocks: 0, ..options() },
        Options { reserved_gdt_blocks: 7, metadata_csum_seed: true, ..options() },
    ] {
        judge(&tree, &other, 0);
        judge(&tree, &other, 5 << 30);
    }
}
