use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use bake_base::{Bytes, Epoch};
use bake_tree::{Device, Extent, Member, MemberKind, Policy};

use super::*;

fn path(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn dated(mode: u16) -> Metadata {
    let mtime = Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 };
    Metadata { mtime, ..Metadata::root(mode) }
}

fn tree(entries: Vec<(&str, u16, Node)>) -> ValidTree {
    let mut tree = Tree::new();
    for (name, mode, node) in entries {
        if matches!(node, Node::Directory(_)) {
            tree.make_directory(&path(name), dated(mode)).unwrap();
        } else {
            tree.put(&path(name), dated(mode), node).unwrap();
        }
    }
    tree.clamp_times(Epoch::from_seconds(1_700_000_000));
    ValidTree::new(tree).unwrap()
}

fn text(text: &str) -> Node {
    Node::File(Content::bytes(text.as_bytes()))
}

fn directory() -> Node {
    Node::Directory(bake_tree::Directory::default())
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn owners_and_set_id_bits_are_left_out_and_everything_else_is_as_in_the_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let into = scratch.path().join("new");
    let tree = tree(vec![
        ("d", 0o2577, directory()),
        ("d/program", 0o6755, text("it")),
        ("d/secret", 0o000, text("it")),
        ("d/sticky", 0o1722, directory()),
        ("fifo", 0o622, Node::Fifo),
        ("link", 0o777, Node::Symlink(b"/etc/passwd".as_slice().into())),
    ]);
    assert_eq!(extract(&tree, &into, ExtractOptions::default()).unwrap(), Extracted::default());
    for (name, expected) in
        [("d", 0o577), ("d/program", 0o755), ("d/secret", 0), ("d/sticky", 0o1722), ("fifo", 0o622)]
    {
        assert_eq!(mode(&into.join(name)), expected, "{name}");
    }
    for name in ["d", "d/program", "d/sticky", "fifo", "link"] {
        let stat = fs::symlink_metadata(into.join(name)).unwrap();
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (1_600_000_000, 123_456_789), "{name}");
        assert_eq!((stat.atime(), stat.uid()), (1_600_000_000, rustix::process::geteuid().as_raw()));
    }
    assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("/etc/passwd"));
    crate::remove_tree(&into).unwrap();
}

#[test]
fn what_has_no_time_is_as_old_as_the_newest_that_has() {
    let extracted = |time: Option<Timestamp>| {
        let mut tree = Tree::new();
        let mtime = time.unwrap_or(Metadata::AT_EPOCH);
        tree.put(&path("d/file"), Metadata { mtime, ..Metadata::root(0o644) }, text("it")).unwrap();
        tree.put(&path("link"), Metadata::root(0o777), Node::Symlink(b"d".as_slice().into())).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let into = scratch.path().join("new");
        extract(&ValidTree::new(tree).unwrap(), &into, ExtractOptions::default()).unwrap();
        let all = ["", "d", "d/file", "link"].map(|name| into.join(name).symlink_metadata().unwrap().mtime());
        assert!(all.iter().all(|time| *time == all[0]), "{all:?}");
        all[0]
    };
    assert_eq!(extracted(Some(Timestamp { seconds: 1_600_000_000, nanoseconds: 0 })), 1_600_000_000);
    assert_eq!(extracted(None), 315_532_800);
}

#[test]
fn readable_trees_can_be_read_by_their_owner() {
    let scratch = tempfile::tempdir().unwrap();
    let tree =
        tree(vec![("d", 0o000, directory()), ("d/secret", 0o000, text("it")), ("e", 0o711, directory())]);
    extract(&tree, scratch.path(), ExtractOptions { readable: true }).unwrap();
    let modes = ["d", "d/secret", "e"].map(|name| mode(&scratch.path().join(name)));
    assert_eq!(modes, [0o500, 0o400, 0o711]);
    assert_eq!(fs::read(scratch.path().join("d/secret")).unwrap(), b"it");
}

#[test]
fn devices_are_left_out_and_counted() {
    let scratch = tempfile::tempdir().unwrap();
    let null = || Node::CharDevice(Device { major: 1, minor: 3 });
    let names: Vec<_> = (0..10).map(|i| format!("dev/null{i}")).collect();
    let tree = tree(names.iter().map(|name| (name.as_str(), 0o666, null())).collect());
    let extracted = extract(&tree, scratch.path(), ExtractOptions::default()).unwrap();
    assert_eq!((extracted.devices, extracted.first_devices.len()), (10, 8));
    assert_eq!(extracted.first_devices[0], path("dev/null0"));
    assert_eq!(fs::read_dir(scratch.path().join("dev")).unwrap().count(), 0);
}

#[test]
fn hard_links_and_holes_stay() {
    let scratch = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(vec![7; 10]));
    let extents = vec![Extent { start: 5 << 20, len: 10, source, source_offset: 0 }];
    let content = Content::sparse(64 << 20, extents).unwrap();
    tree.put(&path("sub/file"), dated(0o644), Node::File(content)).unwrap();
    tree.put(&path("sub/symlink"), dated(0o777), Node::Symlink(b"x".as_slice().into())).unwrap();
    let link = |from: &str, to: &str| Member {
        path: path(from),
        metadata: dated(0),
        kind: MemberKind::HardLink(path(to)),
    };
    tree.apply(vec![link("a", "sub/file"), link("sub/z", "sub/symlink")], Policy::TAR).unwrap();
    tree.clamp_times(Epoch::from_seconds(1_700_000_000));
    extract(&ValidTree::new(tree).unwrap(), scratch.path(), ExtractOptions::default()).unwrap();
    let stat = |name| fs::symlink_metadata(scratch.path().join(name)).unwrap();
    assert_eq!(stat("a").ino(), stat("sub/file").ino());
    assert_eq!(stat("sub/z").ino(), stat("sub/symlink").ino());
    assert_eq!(stat("a").len(), 64 << 20);
    assert!(stat("a").blocks() * 512 < 1 << 20, "{} blocks", stat("a").blocks());
    assert_eq!(
        fs::read(scratch.path().join("a")).unwrap()[5 << 20..][..11],
        *b"\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\0"
    );
}

#[test]
fn only_a_new_or_empty_directory_is_written_to() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree(vec![("file", 0o644, text("ours"))]);
    fs::create_dir(scratch.path().join("full")).unwrap();
    fs::write(scratch.path().join("full/file"), "theirs").unwrap();
    fs::create_dir(scratch.path().join("elsewhere")).unwrap();
    symlink("elsewhere", scratch.path().join("link")).unwrap();
    for (name, reason) in
        [("full", "expected an empty directory"), ("full/file", "failed"), ("link", "failed")]
    {
        let error = extract(&tree, &scratch.path().join(name), ExtractOptions::default()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(fs::read(scratch.path().join("full/file")).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(scratch.path().join("elsewhere")).unwrap().count(), 0);
}

/// Content that does something the moment it is read.
struct Acting<F>(F);

impl<F> std::fmt::Debug for Acting<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acting")
    }
}

impl<F: Fn() -> io::Result<()> + Send + Sync> ReadAt for Acting<F> {
    fn len(&self) -> u64 {
        1
    }

    fn read_exact_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
        self.0()
    }
}

fn acting(act: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Node {
    Node::File(Content::whole(Arc::new(Acting(act)), 0, 1).unwrap())
}

#[test]
fn somebody_who_puts_links_in_the_way_gets_nothing_written_elsewhere() {
    let scratch = tempfile::tempdir().unwrap();
    let (into, outside) = (scratch.path().join("into"), scratch.path().join("outside"));
    fs::create_dir_all(outside.join("sub")).unwrap();
    let swap: (PathBuf, PathBuf, PathBuf) = (into.join("d"), into.join("moved"), outside.clone());
    let tree = tree(vec![
        (
            "d/sub/a",
            0o644,
            acting(move || {
                fs::rename(&swap.0, &swap.1)?;
                symlink(&swap.2, &swap.0)
            }),
        ),
        ("d/sub/b", 0o644, text("through the handle that is open")),
        ("d/z", 0o644, text("through the name")),
    ]);
    let error = extract(&tree, &into, ExtractOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("/into/d` failed"), "{error}");
    assert!(into.join("moved/sub/b").exists());
    assert_eq!(fs::read_dir(outside.join("sub")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_link_in_the_place_of_a_file_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    let (into, outside) = (scratch.path().join("into"), scratch.path().join("outside"));
    let (target, place) = (outside.clone(), into.join("b"));
    let tree = tree(vec![("a", 0o644, acting(move || symlink(&target, &place))), ("b", 0o644, text("it"))]);
    let error = extract(&tree, &into, ExtractOptions::default()).unwrap_err();
    assert!(error.to_string().contains("making"), "{error}");
    assert!(!outside.exists());
}

#[test]
fn content_that_cannot_be_read_is_an_error_that_names_it() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = tree(vec![("d/a", 0o644, acting(|| Err(io::ErrorKind::UnexpectedEof.into())))]);
    let error = extract(&tree, scratch.path(), ExtractOptions::default()).unwrap_err();
    assert!(error.to_string().contains("reading the content of `"), "{error}");
    assert!(error.to_string().contains("/d/a`"), "{error}");
}

#[test]
fn a_tree_may_be_deeper_than_there_are_handles() {
    let scratch = tempfile::tempdir().unwrap();
    let into = scratch.path().join("into");
    let deep = vec!["d"; 2000].join("/");
    extract(&tree(vec![(&deep, 0o644, text("it"))]), &into, ExtractOptions::default()).unwrap();
    crate::remove_tree(&into).unwrap();
    assert!(!into.exists());
}
