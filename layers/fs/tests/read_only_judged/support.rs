//! What a tree must look like where the kernel or a tool shows it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bake_base::{ReadAt, Timestamp};
use bake_tree::{Content, Device, Node, ValidTree};
use tempfile::TempDir;

use crate::common::{must, run};
use crate::listing::{Entry, Kind, Listing, at, implied_links, list};

/// How a file system changes what it is given.
#[derive(Clone, Copy)]
pub struct Manners {
    /// What it makes of a time.
    pub time: fn(Timestamp) -> Timestamp,
    /// Whether it has an attribute of this name.
    pub xattr: fn(&[u8]) -> bool,
    /// Whether directories count their links.
    pub directory_links: bool,
}

/// What the tree says, with links by inode.
fn expected(tree: &ValidTree, manners: Manners) -> Listing {
    let mut listing = Listing::new();
    let mut first_names = BTreeMap::new();
    let number = |device: &Device| rustix::fs::makedev(device.major, device.minor);
    for (path, id) in tree.tree().walk() {
        let path = path.as_bytes().to_vec();
        let inode = tree.inode(id);
        let metadata = &inode.metadata;
        let time = (manners.time)(metadata.mtime);
        let xattrs = metadata.xattrs.iter().filter(|(name, _)| (manners.xattr)(name));
        let entry = Entry {
            kind: match &inode.node {
                Node::Directory(_) => Kind::Directory,
                Node::File(content) => Kind::File { size: content.len() },
                Node::Symlink(target) => Kind::Link { target: target.to_vec() },
                Node::CharDevice(device) => Kind::CharacterDevice { number: number(device) },
                Node::BlockDevice(device) => Kind::BlockDevice { number: number(device) },
                Node::Fifo => Kind::Fifo,
            },
            mode: u32::from(metadata.mode),
            owner: (metadata.uid, metadata.gid),
            time: (time.seconds, i64::from(time.nanoseconds)),
            xattrs: xattrs
                .map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), value.to_vec()))
                .collect(),
            first_name: first_names.entry(id).or_insert_with(|| path.clone()).clone(),
            links: u64::from(tree.link_count(id)),
        };
        listing.insert(path, entry);
    }
    listing
}

/// Compares a directory with the tree, all of it.
pub fn compare(root: &Path, tree: &ValidTree, manners: Manners) {
    let (mut found, mut wanted) = (list(root), expected(tree, manners));
    assert_eq!(
        found.keys().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>(),
        wanted.keys().map(|path| path.escape_ascii().to_string()).collect::<Vec<_>>()
    );
    for links in [implied_links(&found), implied_links(&wanted)] {
        for (path, count) in links {
            assert_eq!(wanted[path].links, count, "{}", path.escape_ascii());
        }
    }
    for listing in [&mut found, &mut wanted] {
        for entry in
            listing.values_mut().filter(|entry| !manners.directory_links && entry.kind == Kind::Directory)
        {
            entry.links = 0;
        }
    }
    for (path, entry) in &wanted {
        assert_eq!(&found[path], entry, "{}", path.escape_ascii());
    }
    for (path, id) in tree.tree().walk() {
        if let Node::File(content) = &tree.inode(id).node {
            same_bytes(&at(root, path.as_bytes()), content);
        }
    }
}

/// Compares data, and the holes' edges.
fn same_bytes(path: &Path, content: &Content) {
    let file = File::open(path).unwrap();
    let compare = |start: u64, end: u64| {
        for from in (start..end).step_by(1 << 20) {
            let n = (end - from).min(1 << 20) as usize;
            let (mut ours, mut theirs) = (vec![0; n], vec![1; n]);
            content.read_exact_at(from, &mut ours).unwrap();
            file.read_exact_at(&mut theirs, from).unwrap();
            assert!(ours == theirs, "{} from byte {from}", path.display());
        }
    };
    let mut hole = 0;
    let end = std::iter::once(content.len().div_ceil(4096)..content.len().div_ceil(4096));
    for run in content.data_blocks(4096, &mut Vec::new()).unwrap().into_iter().chain(end) {
        let (start, end) = ((run.start * 4096).min(content.len()), (run.end * 4096).min(content.len()));
        compare(hole, start.min(hole + 9000));
        compare(start.saturating_sub(9000).max(hole), start);
        compare(start, end);
        hole = end;
    }
}

/// A file system that the kernel has mounted, unmounted when it is dropped.
pub struct Mount(TempDir);

impl Mount {
    /// Mounts an image, or says that only root can.
    pub fn new(image: &Path, kind: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let forced = std::env::var_os("BAKE_TEST_ROOT").is_some();
            assert!(!forced, "BAKE_TEST_ROOT is set, but only root can mount");
            eprintln!("skipped: only root can mount");
            return None;
        }
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let places = [image.to_str().unwrap(), directory.path().to_str().unwrap()];
        must("mount", &[&["-t", kind, "-o", "ro,loop"], &places[..]].concat());
        Some(Self(directory))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = run("umount", &[self.path().to_str().unwrap()]);
        if !std::thread::panicking() {
            assert!(unmounted.status.success(), "{unmounted:?}");
        }
    }
}
