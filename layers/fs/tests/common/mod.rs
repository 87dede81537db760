//! Trees, images in files, and commands: what the tests of every file system need.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use bake_base::{Epoch, FileBytes, Hasher, Layout, ReadAt, Timestamp};
use bake_tree::{Content, Device, Member, MemberKind, Metadata, Policy, Tree, TreePath, ValidTree};

pub mod generated;

/// No tree has a later time.
pub const EPOCH: Epoch = Epoch::from_seconds(1_700_000_000);

/// Seals what is in the tree and clamps its times.
pub fn valid(mut tree: Tree) -> ValidTree {
    tree.clamp_times(EPOCH);
    ValidTree::new(tree).unwrap()
}

pub fn path(bytes: impl AsRef<[u8]>) -> TreePath {
    TreePath::from_root(bytes.as_ref()).unwrap()
}

/// Gives names to what `target` names.
pub fn link(tree: &mut Tree, target: &TreePath, names: impl Iterator<Item = TreePath>) {
    let member =
        |path| Member { path, metadata: Metadata::root(0), kind: MemberKind::HardLink(target.clone()) };
    tree.apply(names.map(member).collect(), Policy::TAR).unwrap();
}

/// A real root file system, if `ci/` has made one.
pub fn rootfs(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rootfs").join(name);
    path.exists().then_some(path)
}

/// The tree of a plain tar of plain members. A stand-in for the archive crate, which has tests of its own.
pub fn tree_of_tar(tar: &Path) -> Tree {
    let source: Arc<dyn ReadAt> = Arc::new(FileBytes::new(File::open(tar).unwrap()).unwrap());
    let mut archive = tar::Archive::new(File::open(tar).unwrap());
    let mut members = Vec::new();
    let mut extended: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for entry in archive.entries_with_seek().unwrap().raw(true) {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let mut data = Vec::new();
        match header.entry_type() {
            tar::EntryType::XHeader => {
                entry.read_to_end(&mut data).unwrap();
                extended.extend(records(&data));
                continue;
            }
            tar::EntryType::GNULongName | tar::EntryType::GNULongLink => {
                let key =
                    if header.entry_type() == tar::EntryType::GNULongName { "path" } else { "linkpath" };
                entry.read_to_end(&mut data).unwrap();
                data.pop();
                extended.insert(key.into(), data);
                continue;
            }
            _ => {}
        }
        let extended = std::mem::take(&mut extended);
        let text =
            |key: &str| extended.get(key.as_bytes()).map(|value| String::from_utf8(value.clone()).unwrap());
        let xattrs = extended.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(b"SCHILY.xattr.")?.into(), value.clone().into()))
        });
        let mtime = text("mtime").map_or(Timestamp::from_seconds(header.mtime().unwrap() as i64), |text| {
            let (seconds, fraction) = text.split_once('.').unwrap_or((&text, "0"));
            let nanoseconds = format!("{fraction:0<9}")[..9].parse().unwrap();
            Timestamp { seconds: seconds.parse().unwrap(), nanoseconds }
        });
        let metadata = Metadata {
            mode: (header.mode().unwrap() & 0o7777) as u16,
            uid: header.uid().unwrap() as u32,
            gid: header.gid().unwrap() as u32,
            mtime,
            xattrs: xattrs.collect(),
        };
        let name = extended.get(&b"path"[..]).cloned().unwrap_or_else(|| header.path_bytes().into_owned());
        let target = || {
            let long = extended.get(&b"linkpath"[..]).cloned();
            long.unwrap_or_else(|| header.link_name_bytes().unwrap().into_owned())
        };
        let device = || Device {
            major: header.device_major().unwrap().unwrap(),
            minor: header.device_minor().unwrap().unwrap(),
        };
        let kind = match header.entry_type() {
            tar::EntryType::Directory => MemberKind::Directory,
            tar::EntryType::Symlink => MemberKind::Symlink(target().into()),
            tar::EntryType::Link => MemberKind::HardLink(TreePath::parse(&target()).unwrap()),
            tar::EntryType::Char => MemberKind::CharDevice(device()),
            tar::EntryType::Block => MemberKind::BlockDevice(device()),
            tar::EntryType::Fifo => MemberKind::Fifo,
            _ => {
                let (start, len) = (entry.raw_file_position(), entry.size());
                MemberKind::File(Content::whole(Arc::clone(&source), start, len).unwrap())
            }
        };
        members.push(Member { path: TreePath::parse(&name).unwrap(), metadata, kind });
    }
    let mut tree = Tree::new();
    tree.apply(members, Policy::TAR).unwrap();
    tree
}

/// The records of a PAX header, whose values may hold any byte.
fn records(mut data: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let space = data.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&data[..space]).unwrap().parse().unwrap();
        let (key, value) = data[space + 1..length - 1]
            .split_at(data[space + 1..].iter().position(|byte| *byte == b'=').unwrap());
        records.push((key.to_vec(), value[1..].to_vec()));
        data = &data[length..];
    }
    records
}

/// The digest of all blocks that are not zero and of their numbers, however the layout is cut into pieces.
pub fn digest(layout: &Layout) -> String {
    let mut hasher = Hasher::new();
    let mut next = 0;
    for piece in layout.pieces() {
        let blocks = (piece.offset / 4096).max(next)..piece.end().div_ceil(4096);
        next = next.max(blocks.end);
        for block in blocks {
            let mut bytes = [0; 4096];
            layout.read_exact_at(block * 4096, &mut bytes).unwrap();
            if !bake_base::is_zero(&bytes) {
                hasher.update(&block.to_le_bytes());
                hasher.update(&bytes);
            }
        }
    }
    hasher.finish().to_string()
}

/// Writes a layout to a sparse file.
pub fn write(layout: &Layout, path: &Path) {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
    file.set_len(layout.len()).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for piece in layout.pieces() {
        let mut done = 0;
        while done < piece.len {
            let n = (buffer.len() as u64).min(piece.len - done);
            let bytes = &mut buffer[..n as usize];
            piece.source.read_exact_at(piece.source_offset + done, bytes).unwrap();
            file.write_all_at(bytes, piece.offset + done).unwrap();
            done += n;
        }
    }
}

/// Runs a command.
#[allow(clippy::disallowed_methods)]
pub fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs a command that has to succeed.
pub fn must(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{text}\n{errors}", output.status);
    text
}
