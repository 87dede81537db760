//! Trees that are large or odd in one direction, for every format.

use std::sync::Arc;

use bake_base::{Bytes, Timestamp};
use bake_tree::{Content, Device, Extent, Metadata, Node, Tree, ValidTree, Xattrs};

use crate::common::{link, path, valid};

fn file(bytes: Vec<u8>) -> Node {
    Node::File(Content::bytes(bytes))
}

/// Bytes that do not repeat soon.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..len).map(step).collect()
}

/// A sparse file of `len` bytes with `data` at the given places.
fn sparse(len: u64, places: &[u64], data: &[u8]) -> Node {
    let source: Arc<Bytes> = Arc::new(Bytes::from(data));
    let extent = |start: &u64| Extent {
        start: *start,
        len: data.len() as u64,
        source: source.clone(),
        source_offset: 0,
    };
    Node::File(Content::sparse(len, places.iter().map(extent).collect()).unwrap())
}

fn attributes(list: &[(&str, usize)]) -> Xattrs {
    list.iter().map(|(name, len)| (name.as_bytes().into(), noise(*len).into())).collect()
}

/// Lengths around every boundary, with attributes that leave less room beside the inode.
pub fn lengths() -> ValidTree {
    let mut tree = Tree::new();
    let lengths =
        [0, 1, 31, 3968, 4031, 4032, 4033, 4095, 4096, 4097, 8128, 8192, 131_071, 131_072, 131_073, 1 << 20];
    for len in lengths {
        for attribute in [0, 1, 100, 4000, 60_000] {
            let mut metadata = Metadata::root(0o644);
            if attribute > 0 {
                metadata.xattrs = attributes(&[("user.x", attribute), ("trusted.y", attribute / 7)]);
            }
            tree.put(&path(format!("{len}/{attribute}")), metadata, file(noise(len))).unwrap();
        }
    }
    for len in [1, 100, 3000, 4000, 4095] {
        for attribute in [0, 50, 5000] {
            let name = path(format!("links/{len}-{attribute}"));
            let mut metadata = Metadata::root(0o777);
            if attribute > 0 {
                metadata.xattrs = attributes(&[("trusted.t", attribute)]);
            }
            let target: Vec<u8> = (0..len).map(|i| if i % 200 == 199 { b'/' } else { b't' }).collect();
            tree.put(&name, metadata, Node::Symlink(target.into())).unwrap();
        }
    }
    valid(tree)
}

/// Holes of every kind.
pub fn holes(longest: u64) -> ValidTree {
    let mut tree = Tree::new();
    let mut put = |name: &str, node| tree.put(&path(name), Metadata::root(0o600), node).unwrap();
    put("empty", file(Vec::new()));
    put("short-zeros", file(vec![0; 100]));
    put("zeros", file(vec![0; 300_000]));
    put("all-hole", sparse(10 << 20, &[], b""));
    put("longest-hole", sparse(longest, &[], b""));
    put("one-byte-late", sparse(longest, &[longest - 1], b"x"));
    put("one-byte-early", sparse(longest - 5, &[0], b"x"));
    put("zeros-then-data", file([vec![0; 1 << 20], noise(10_000)].concat()));
    put("data-then-zeros", file([noise(10_000), vec![0; (1 << 20) + 5]].concat()));
    let comb: Vec<u64> = (0..5000).map(|i| i * 12_345).collect();
    put("comb", sparse(80_000_000, &comb, b"tooth"));
    let wide: Vec<u64> = (0..300).map(|i| i * (1 << 20)).collect();
    put("wide-comb", sparse(400 << 20, &wide, &noise(200_000)));
    valid(tree)
}

/// Every type, extreme owners and times, names of any byte, hard links across directories.
pub fn kinds() -> ValidTree {
    let mut tree = Tree::new();
    let mut put = |name: &[u8], mode: u16, owner: (u32, u32), seconds: i64, node: Node| {
        let mtime = Timestamp { seconds, nanoseconds: 999_999_999 };
        let xattrs = Xattrs::new();
        tree.put(&path(name), Metadata { mode, uid: owner.0, gid: owner.1, mtime, xattrs }, node).unwrap();
    };
    let device = |major, minor| Device { major, minor };
    put(b"dev/null", 0o666, (0, 0), 0, Node::CharDevice(device(1, 3)));
    put(b"dev/largest", 0o7777, (u32::MAX - 1, u32::MAX - 1), 1, Node::BlockDevice(device(4095, 1_048_575)));
    put(b"dev/minor", 0, (1, 2), 1_600_000_000, Node::BlockDevice(device(259, 70_000)));
    put(b"fifo", 0o1234, (70_000, 70_001), 1_699_999_999, Node::Fifo);
    put(b"set-id", 0o6755, (0, 0), 1_700_000_000, file(noise(5000)));
    put(b"future", 0o644, (0, 0), i64::MAX, file(b"later".to_vec()));
    put(b"link", 0o777, (3, 4), 5, Node::Symlink(b"../\xff\n".as_slice().into()));
    let every: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    put(&[b"names/", &every[..]].concat(), 0o644, (0, 0), 7, file(b"x".to_vec()));
    for byte in every.iter().filter(|byte| **byte != b'.') {
        put(&[b"names/", &[*byte][..]].concat(), 0o644, (0, 0), 7, Node::Fifo);
    }
    put(&[&b"names/"[..], &[b'n'; 255]].concat(), 0o644, (0, 0), 7, Node::Fifo);
    for (name, content) in [("a", noise(9)), ("b/c", noise(200_000))] {
        put(&[b"linked/", name.as_bytes()].concat(), 0o600, (9, 9), 7, file(content));
    }
    link(&mut tree, &path("linked/a"), (0..300).map(|i| path(format!("links/{i}"))));
    link(&mut tree, &path("linked/b/c"), [path("A"), path("z/z/z/z")].into_iter());
    link(&mut tree, &path("fifo"), [path("fifo2")].into_iter());
    link(&mut tree, &path("dev/null"), [path("null2")].into_iter());
    link(&mut tree, &path("link"), [path("link2")].into_iter());
    valid(tree)
}

/// Attributes that many inodes have, that one has many of, and lists of access.
pub fn attributed(lists: bool) -> ValidTree {
    let mut tree = Tree::new();
    for i in 0..2000_usize {
        let label = format!("system_u:object_r:type_{}_t:s0\0", i % 7);
        let mut xattrs = Xattrs::from([(b"security.selinux".as_slice().into(), label.into_bytes().into())]);
        if i % 3 == 0 {
            xattrs.extend(attributes(&[("user.shared", 50)]));
        }
        if i % 5 == 0 {
            xattrs.insert(b"user.own".as_slice().into(), format!("{i}").into_bytes().into());
        }
        let metadata = Metadata { xattrs, ..Metadata::root(0o644) };
        tree.put(&path(format!("{}/{i}", i % 11)), metadata, file(noise(i % 300))).unwrap();
    }
    let many: Vec<String> = (0..400).map(|i| format!("user.{i:0200}")).collect();
    for name in ["many", "many-too"] {
        let xattrs = many.iter().map(|name| (name.as_bytes().into(), noise(5).into())).collect();
        // The kernel lists names of up to 64 KiB in all.
        let xattrs: Xattrs = Xattrs::into_iter(xattrs).take(300).collect();
        tree.put(&path(name), Metadata { xattrs, ..Metadata::root(0o644) }, file(noise(10))).unwrap();
    }
    let mut empty = attributes(&[("user.empty", 0), ("trusted.overlay.opaque", 1)]);
    // cap_net_raw=ep: the kernel shows no capabilities that make no sense.
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    empty.insert(b"security.capability".as_slice().into(), capability.as_slice().into());
    tree.put(&path("empty"), Metadata { xattrs: empty, ..Metadata::root(0o755) }, file(noise(10))).unwrap();
    if lists {
        let entries: [(u16, u16, u32); 5] =
            [(1, 7, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 5, u32::MAX)];
        let bytes = entries.iter().flat_map(|(tag, access, id)| {
            [&tag.to_le_bytes()[..], &access.to_le_bytes(), &id.to_le_bytes()].concat()
        });
        let list: Vec<u8> = 2_u32.to_le_bytes().into_iter().chain(bytes).collect();
        let names = ["system.posix_acl_access", "system.posix_acl_default"];
        let xattrs: Xattrs = names.iter().map(|name| (name.as_bytes().into(), list.clone().into())).collect();
        tree.make_directory(&path("lists"), Metadata { xattrs, ..Metadata::root(0o755) }).unwrap();
    }
    valid(tree)
}

/// Directories that are so deep, wide, empty.
pub fn directories(depth: usize) -> ValidTree {
    let mut tree = Tree::new();
    tree.put(&path(format!("{}file", "d/".repeat(depth))), Metadata::root(0o644), file(noise(10))).unwrap();
    tree.make_directory(&path("empty"), Metadata::root(0o700)).unwrap();
    for i in 0..30_000 {
        let name = format!("wide/{}{i}", "long-".repeat(i % 45));
        tree.put(&path(name), Metadata::root(0o600), Node::Fifo).unwrap();
    }
    for i in 0..3000 {
        tree.make_directory(&path(format!("many/{i}/below")), Metadata::root(0o755)).unwrap();
    }
    valid(tree)
}
