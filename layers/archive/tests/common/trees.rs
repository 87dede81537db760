//! Any tree.

use std::collections::BTreeMap;

use bake_base::{Epoch, Timestamp};
use bake_tree::{Content, Device, Member, MemberKind, Metadata, Policy, Tree, TreePath, ValidTree};
use proptest::prelude::*;

/// Times that every file system of Linux can store.
fn metadata(with_xattrs: bool) -> impl Strategy<Value = Metadata> {
    let owner = || prop_oneof![0..3_u32, 2_097_150..2_097_154_u32, 0..u32::MAX];
    let seconds = prop_oneof![-2_000_000_000..0_i64, 0..2_000_000_000_i64, 8_589_934_590..8_589_934_594_i64];
    let nanoseconds = prop_oneof![Just(0_u32), Just(999_999_999), Just(500_000_000), 0..1_000_000_000_u32];
    let xattr = ("user\\.[a-z=%\n]{1,20}", prop::collection::vec(any::<u8>(), 0..200));
    let xattrs = prop::collection::vec(xattr, 0..if with_xattrs { 3 } else { 1 });
    (0..=0o7777_u16, owner(), owner(), seconds, nanoseconds, xattrs).prop_map(
        |(mode, uid, gid, seconds, nanoseconds, xattrs)| Metadata {
            mode,
            uid,
            gid,
            mtime: Timestamp { seconds, nanoseconds },
            xattrs: xattrs.into_iter().map(|(key, value)| (key.into_bytes().into(), value.into())).collect(),
        },
    )
}

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(b'a'..=b'c', len.clone()),
        prop::collection::vec((1..=255_u8).prop_filter("no slash", |byte| *byte != b'/'), len),
    ]
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![bytes(1..4), bytes(1..60), bytes(80..110), bytes(250..256)]
        .prop_filter("no path of its own", |name| name != b"." && name != b"..")
}

fn member() -> impl Strategy<Value = (bool, Metadata, MemberKind)> {
    let device = || (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Device { major, minor });
    let file = prop::collection::vec(any::<u8>(), 0..3000);
    prop_oneof![
        3 => metadata(true).prop_map(|metadata| (true, metadata, MemberKind::Directory)),
        3 => (metadata(true), file)
            .prop_map(|(metadata, file)| (false, metadata, MemberKind::File(Content::bytes(file)))),
        1 => (metadata(false), prop_oneof![bytes(1..20), bytes(90..110), bytes(300..1000)])
            .prop_map(|(metadata, to)| (false, plain(metadata), MemberKind::Symlink(to.into()))),
        1 => (metadata(false), device())
            .prop_map(|(metadata, device)| (false, plain(metadata), MemberKind::CharDevice(device))),
        1 => (metadata(false), device())
            .prop_map(|(metadata, device)| (false, plain(metadata), MemberKind::BlockDevice(device))),
        1 => metadata(false).prop_map(|metadata| (false, plain(metadata), MemberKind::Fifo)),
    ]
}

/// Only files and directories take `user.` attributes.
fn plain(metadata: Metadata) -> Metadata {
    Metadata { xattrs: BTreeMap::new(), ..metadata }
}

/// A tree of everything, with names, owners and times of every notation, and hard links.
pub fn any_tree() -> impl Strategy<Value = ValidTree> {
    let entry = (name(), any::<prop::sample::Index>(), member());
    let entries = prop::collection::vec(entry, 0..24);
    let links = prop::collection::vec((name(), any::<[prop::sample::Index; 2]>()), 0..5);
    (metadata(true), entries, links).prop_map(|(root, entries, links)| {
        let mut directories = vec![TreePath::root()];
        let mut members: BTreeMap<TreePath, Member> = BTreeMap::new();
        let add = |path: TreePath, metadata, kind, members: &mut BTreeMap<TreePath, Member>| {
            // Short enough for a path of the machine that the judges take apart.
            let is_new = !members.contains_key(&path) && path.as_bytes().len() < 3000;
            if is_new {
                members.insert(path.clone(), Member { path, metadata, kind });
            }
            is_new
        };
        add(TreePath::root(), root, MemberKind::Directory, &mut members);
        for (name, parent, (is_directory, metadata, kind)) in entries {
            let path = parent.get(&directories).join(&name);
            if add(path.clone(), metadata, kind, &mut members) && is_directory {
                directories.push(path);
            }
        }
        let files: Vec<TreePath> = members
            .values()
            .filter(|member| !matches!(member.kind, MemberKind::Directory))
            .map(|member| member.path.clone())
            .collect();
        for (name, [parent, target]) in links.into_iter().filter(|_| !files.is_empty()) {
            let path = parent.get(&directories).join(&name);
            let kind = MemberKind::HardLink(target.get(&files).clone());
            add(path, Metadata::root(0), kind, &mut members);
        }
        let mut tree = Tree::new();
        tree.apply(members.into_values().collect(), Policy::TAR).unwrap();
        tree.clamp_times(Epoch::from_seconds(9_000_000_000));
        ValidTree::new(tree).unwrap()
    })
}
