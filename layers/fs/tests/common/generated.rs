//! Random trees.

use std::sync::Arc;

use bake_base::{Bytes, Timestamp};
use bake_tree::{Content, Device, Extent, Follow, Metadata, Node, Tree, TreePath, ValidTree, Xattrs};
use proptest::prelude::*;

use super::{link, valid};

/// An entry below one of the directories that are there already.
#[derive(Clone, Debug)]
pub struct Step {
    parent: prop::sample::Index,
    name: Vec<u8>,
    metadata: Metadata,
    what: What,
    /// Whether the layer ends here.
    seal: bool,
}

#[derive(Clone, Debug)]
enum What {
    Directory,
    /// A file of runs of bytes between holes, by length.
    File(Vec<(u64, Vec<u8>)>),
    Symlink(Vec<u8>),
    Node(Node),
    /// Another name of an earlier step's file.
    Link(prop::sample::Index),
    /// Takes away what has the name of an earlier step.
    Removal(prop::sample::Index),
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if byte == 0 || byte == b'/' { b'_' } else { byte });
    let any_byte = prop_oneof![4 => prop::collection::vec(byte.clone(), 1..12), 1 => prop::collection::vec(byte, 200..=255)];
    any_byte.prop_map(|name| if name == b"." || name == b".." { b"dots".to_vec() } else { name })
}

fn xattrs() -> impl Strategy<Value = Xattrs> {
    let name = prop_oneof!["user\\.[a-z]{1,30}", "trusted\\.[a-z.]{1,200}", "security\\.[a-z]{1,9}x"];
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..1200),
    ];
    let some = prop::collection::btree_map(
        name.prop_map(|name| name.into_bytes().into()),
        value.prop_map(Into::into),
        0..4,
    );
    prop_oneof![2 => Just(Xattrs::new()), 1 => some]
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let time = (0..=1_700_000_000_i64, 0_u32..1_000_000_000);
    let owner =
        prop_oneof![Just(0), Just(1000), Just(65_536), any::<u32>().prop_map(|id| id % (u32::MAX - 1))];
    (0_u16..=0o7777, owner.clone(), owner, time, xattrs()).prop_map(|(mode, uid, gid, time, xattrs)| {
        Metadata { mode, uid, gid, mtime: Timestamp { seconds: time.0, nanoseconds: time.1 }, xattrs }
    })
}

fn what() -> impl Strategy<Value = What> {
    let device = || (0_u32..4096, 0_u32..1_048_576).prop_map(|(major, minor)| Device { major, minor });
    let hole = prop_oneof![Just(0), 1_u64..20_000, Just(4096), 1_u64 << 30..1 << 40];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        (1_usize..30_000).prop_map(|length| vec![0x5a; length]),
        (1_usize..30_000).prop_map(|length| vec![0; length]),
    ];
    let byte = any::<u8>().prop_map(|byte| byte.max(1));
    prop_oneof![
        3 => Just(What::Directory),
        5 => prop::collection::vec((hole.clone(), bytes.clone()), 0..12).prop_map(What::File),
        1 => prop::collection::vec((Just(4096), bytes), 0..800).prop_map(What::File),
        1 => prop::collection::vec(byte.clone(), 1..80).prop_map(What::Symlink),
        // Names in a path have up to 255 bytes: the reader insists on it.
        1 => prop::collection::vec(byte, 255 * 15).prop_map(|bytes| {
            What::Symlink(bytes.chunks(255).collect::<Vec<_>>().join(&b'/'))
        }),
        1 => device().prop_map(|device| What::Node(Node::CharDevice(device))),
        1 => device().prop_map(|device| What::Node(Node::BlockDevice(device))),
        1 => Just(What::Node(Node::Fifo)),
        1 => any::<prop::sample::Index>().prop_map(What::Removal),
        1 => any::<prop::sample::Index>().prop_map(What::Link),
    ]
}

pub fn step() -> impl Strategy<Value = Step> {
    (any::<prop::sample::Index>(), name(), metadata(), what(), prop::bool::weighted(0.05))
        .prop_map(|(parent, name, metadata, what, seal)| Step { parent, name, metadata, what, seal })
}

fn content(runs: &[(u64, Vec<u8>)]) -> Content {
    let mut extents = Vec::new();
    let mut end = 0;
    for (hole, bytes) in runs {
        let start = end + hole;
        end = start + bytes.len() as u64;
        let source = Arc::new(Bytes::from(bytes.as_slice()));
        extents.push(Extent { start, len: bytes.len() as u64, source, source_offset: 0 });
    }
    Content::sparse(end, extents).unwrap()
}

/// `old` moves all times by 68 years, most of them before 1970.
pub fn tree(steps: &[Step], old: bool) -> ValidTree {
    let mut tree = Tree::new();
    let mut directories = vec![TreePath::root()];
    let mut paths = Vec::new();
    for step in steps {
        let path = step.parent.get(&directories).join(&step.name);
        if path.as_bytes().len() > 3000 {
            continue;
        }
        let mut metadata = step.metadata.clone();
        metadata.mtime.seconds -= if old { 1 << 31 } else { 0 };
        let put = match &step.what {
            What::Directory => {
                let made = tree.make_directory(&path, metadata);
                if made.is_ok() {
                    directories.push(path.clone());
                }
                made
            }
            What::File(runs) => tree.put(&path, metadata, Node::File(content(runs))),
            What::Removal(index) => {
                if let Some(path) = (!paths.is_empty()).then(|| index.get(&paths)) {
                    tree.remove(path);
                }
                continue;
            }
            What::Link(index) => {
                let target = (!paths.is_empty()).then(|| index.get(&paths).clone());
                let free = tree.lookup(&path, Follow::Parents).is_none();
                let is_file = |id| tree.inode(id).as_directory().is_none();
                let there = |path: &TreePath| tree.lookup(path, Follow::Parents).is_some_and(is_file);
                if let Some(target) = target.filter(|target| free && there(target)) {
                    link(&mut tree, &target, std::iter::once(path));
                }
                continue;
            }
            other => {
                // The kernel shows `user.` attributes of files and directories only.
                metadata.xattrs.retain(|name, _| !name.starts_with(b"user."));
                let node = match other {
                    What::Symlink(target) => {
                        metadata.mode = 0o777;
                        Node::Symlink(target.as_slice().into())
                    }
                    What::Node(node) => node.clone(),
                    _ => unreachable!(),
                };
                tree.put(&path, metadata, node)
            }
        };
        if put.is_ok() {
            paths.push(path);
        }
        if step.seal {
            tree.seal();
        }
    }
    valid(tree)
}
