//! A tree on disk and the same tree as members, each told in lines that can be compared.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use bake_base::Digest;
use bake_tree::{Follow, InodeId, Member, Node, Policy, Tree, TreePath};

/// Runs a tool that has to succeed.
#[allow(clippy::disallowed_methods)]
pub fn run(directory: &Path, command: &[&str]) {
    let output = Command::new(command[0])
        .args(&command[1..])
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error} (ci/install-tools installs it)", command[0]));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whether this process may make devices and give files away.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What is compared of a tree.
#[derive(Clone, Copy)]
pub struct Compare {
    pub owners: bool,
    pub nanoseconds: bool,
    pub xattrs: bool,
}

impl Compare {
    pub const ALL: Self = Self { owners: true, nanoseconds: true, xattrs: true };
}

/// Merges members into a tree.
pub fn merge(members: Vec<Member>) -> Tree {
    let mut tree = Tree::new();
    tree.apply(members, Policy::TAR).unwrap();
    tree
}

/// One line for every entry of a merged tree, by path.
pub fn lines_of_tree(tree: &Tree, compare: Compare) -> BTreeMap<Vec<u8>, String> {
    let mut first: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (path, id) in tree.walk() {
        let inode = tree.inode(id);
        let first = first.entry(id).or_insert_with(|| path.clone()).clone();
        let metadata = &inode.metadata;
        let what = match &inode.node {
            Node::Directory(_) => "directory".to_owned(),
            Node::File(content) => {
                let mut digest = bake_base::Hasher::new();
                let mut reader = content.reader();
                let mut buffer = vec![0; 1 << 16];
                loop {
                    let n = std::io::Read::read(&mut reader, &mut buffer).unwrap();
                    if n == 0 {
                        break;
                    }
                    digest.update(&buffer[..n]);
                }
                format!("file {} {}", content.len(), digest.finish())
            }
            Node::Symlink(target) => format!("symlink {}", target.escape_ascii()),
            Node::CharDevice(device) => format!("char {}:{}", device.major, device.minor),
            Node::BlockDevice(device) => format!("block {}:{}", device.major, device.minor),
            Node::Fifo => "fifo".to_owned(),
        };
        let xattrs = metadata.xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        let line = line(
            compare,
            (metadata.mode.into(), metadata.uid, metadata.gid),
            (metadata.mtime.seconds, metadata.mtime.nanoseconds.into()),
            &xattrs,
            &format!("{what} first {first}"),
        );
        lines.insert(path.as_bytes().to_vec(), line);
    }
    assert!(tree.lookup(&TreePath::root(), Follow::Last).is_some());
    lines
}

/// The same of a directory on disk, by the standard library alone.
pub fn lines_of_directory(top: &Path, compare: Compare) -> BTreeMap<Vec<u8>, String> {
    let mut paths = vec![Vec::new()];
    let mut ahead = vec![top.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            paths.push(path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec());
            if entry.file_type().unwrap().is_dir() {
                ahead.push(path);
            }
        }
    }
    let mut paths: Vec<TreePath> = paths.iter().map(|path| TreePath::parse(path).unwrap()).collect();
    paths.sort();
    let mut first: BTreeMap<(u64, u64), TreePath> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for path in paths {
        let on_disk = top.join(OsStr::from_bytes(path.as_bytes()));
        let stat = fs::symlink_metadata(&on_disk).unwrap();
        let first = first.entry((stat.dev(), stat.ino())).or_insert_with(|| path.clone()).clone();
        let (major, minor) = (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
        let kind = stat.file_type();
        let what = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_file() {
            format!("file {} {}", stat.len(), Digest::of(&fs::read(&on_disk).unwrap()))
        } else if kind.is_symlink() {
            format!("symlink {}", fs::read_link(&on_disk).unwrap().as_os_str().as_bytes().escape_ascii())
        } else if kind.is_char_device() {
            format!("char {major}:{minor}")
        } else if kind.is_block_device() {
            format!("block {major}:{minor}")
        } else {
            "fifo".to_owned()
        };
        let line = line(
            compare,
            (stat.permissions().mode() & 0o7777, stat.uid(), stat.gid()),
            (stat.mtime(), stat.mtime_nsec()),
            &xattrs(&on_disk),
            &format!("{what} first {first}"),
        );
        lines.insert(path.as_bytes().to_vec(), line);
    }
    lines
}

fn line(
    compare: Compare,
    (mode, uid, gid): (u32, u32, u32),
    (seconds, nanoseconds): (i64, i64),
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
    what: &str,
) -> String {
    let owner = if compare.owners { format!("{uid}:{gid}") } else { String::new() };
    let nanoseconds = if compare.nanoseconds { nanoseconds } else { 0 };
    let mut line = format!("{what} {mode:04o} {owner} {seconds}.{nanoseconds:09}");
    for (name, value) in xattrs.iter().filter(|_| compare.xattrs) {
        line += " ";
        line += &[name.escape_ascii().to_string(), value.escape_ascii().to_string()].join("=");
    }
    line
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let n = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let names = names[..n].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let n = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).unwrap();
            (name.to_vec(), value[..n].to_vec())
        })
        .collect()
}

/// Compares line by line, so that a failure shows what differs and nothing else.
pub fn assert_same(ours: &BTreeMap<Vec<u8>, String>, theirs: &BTreeMap<Vec<u8>, String>) {
    for (path, line) in theirs {
        let path_shown = path.escape_ascii();
        assert_eq!(ours.get(path), Some(line), "{path_shown}");
    }
    for path in ours.keys() {
        assert!(theirs.contains_key(path), "{} is not there", path.escape_ascii());
    }
}
