//! Trees, images in files, and the judges' commands.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

use bake_base::{Epoch, FileBytes, Hasher, Layout, ReadAt, Timestamp, Uuid};
use bake_fs::ext4::{self, Options};
use bake_tree::{
    Content, Device, InodeId, Member, MemberKind, Metadata, Node, Policy, Tree, TreePath, ValidTree,
};
use ext4_view::Ext4;
use tempfile::TempDir;

/// No tree has a later time.
pub const EPOCH: Epoch = Epoch::from_seconds(1_700_000_000);

pub fn options() -> Options {
    Options {
        uuid: Uuid::from_u128(0x0123_4567_89ab_5def_8123_4567_89ab_cdef),
        hash_seed: Uuid::from_u128(0xfedc_ba98_7654_5210_bedc_ba98_7654_3210),
        label: "root".to_owned(),
        epoch: EPOCH,
        journal_bytes: 64 << 20,
        inodes_per_group: 8192,
        flex_bg: 16,
        reserved_gdt_blocks: 1024,
        metadata_csum_seed: false,
        threads: 2,
    }
}

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

/// The file system of a tree in a file, of its minimum size or more.
pub fn bake(tree: &ValidTree, options: &Options, at_least: u64, image: &Path) {
    let plan = ext4::plan(tree, options).unwrap();
    let size = plan.minimum_size().max(at_least);
    write(&plan.layout(size).unwrap(), image);
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

/// The first judge: not one remark of `e2fsck`, neither this machine's nor, where `ci/` has made one, that of
/// Debian 13.
pub fn e2fsck(image: &Path) {
    static NEWER: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    judge_by(run("e2fsck", &["-fn", image.to_str().unwrap()]));
    if let Some((_, checker)) = NEWER.get_or_init(newer_e2fsck) {
        judge_by(run(checker.to_str().unwrap(), &["-fn", image.to_str().unwrap()]));
    }
}

fn judge_by(output: Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let remarks: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("Pass ") && !line.contains(" files (") && !line.trim().is_empty())
        .collect();
    assert!(output.status.success() && remarks.is_empty(), "e2fsck: {}\n{text}", output.status);
}

/// A script that runs Debian 13's `e2fsck` with its own loader and libraries.
fn newer_e2fsck() -> Option<(TempDir, PathBuf)> {
    let tar = rootfs("debian-13.tar").filter(|_| cfg!(target_arch = "x86_64"))?;
    let scratch = tempfile::tempdir().unwrap();
    let (root, libraries) = (scratch.path().to_str().unwrap(), "./usr/lib/x86_64-linux-gnu");
    let members = ["./usr/sbin/e2fsck".to_owned(), format!("{libraries}/*.so*")];
    must(
        "tar",
        &[
            "-xf",
            tar.to_str().unwrap(),
            "-C",
            root,
            "--wildcards",
            "--no-same-owner",
            &members[0],
            &members[1],
        ],
    );
    let script = scratch.path().join("e2fsck");
    let text = format!(
        "#!/bin/sh\nexec {root}/{libraries}/ld-linux-x86-64.so.2 --library-path {root}/{libraries} {root}/usr/sbin/e2fsck \"$@\"\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Some((scratch, script))
}

/// What a path must be, as everyone who reads the file system sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: Option<u64>,
    pub time: (i64, i64),
    /// Not told by every reader.
    pub links: Option<u64>,
    /// Not told by every reader.
    pub device: Option<u64>,
}

/// What the tree says about an inode.
pub fn expected(tree: &ValidTree, id: InodeId) -> Seen {
    let inode = tree.inode(id);
    let (kind, size, device) = match &inode.node {
        Node::Directory(_) => (0o040_000, None, 0),
        Node::File(content) => (0o100_000, Some(content.len()), 0),
        Node::Symlink(target) => (0o120_000, Some(target.len() as u64), 0),
        Node::CharDevice(device) => (0o020_000, Some(0), rustix::fs::makedev(device.major, device.minor)),
        Node::BlockDevice(device) => (0o060_000, Some(0), rustix::fs::makedev(device.major, device.minor)),
        Node::Fifo => (0o010_000, Some(0), 0),
    };
    let adopted = id == Tree::ROOT && tree.root().get(b"lost+found").is_none();
    let links = u64::from(tree.link_count(id)) + u64::from(adopted);
    let metadata = &inode.metadata;
    Seen {
        mode: kind | u32::from(metadata.mode),
        owner: (metadata.uid, metadata.gid),
        size,
        time: (metadata.mtime.seconds, i64::from(metadata.mtime.nanoseconds)),
        links: Some(if links > 65_000 { 1 } else { links }),
        device: Some(device),
    }
}

/// The second judge: an independent reader sees the tree.
pub fn compare_with_reader(image: &Path, tree: &ValidTree) {
    let reader = Ext4::load_from_path(image).unwrap();
    let mut names = BTreeSet::from([b"/lost+found".to_vec()]);
    for (path, id) in tree.tree().walk() {
        let path = [b"/", path.as_bytes()].concat();
        let inode = tree.inode(id);
        let name = ext4_view::Path::new(&path);
        let found =
            reader.symlink_metadata(name).unwrap_or_else(|error| panic!("{}: {error}", path.escape_ascii()));
        let file_type = found.file_type();
        let kind = match &inode.node {
            Node::Directory(_) => file_type.is_dir(),
            Node::File(_) => file_type.is_regular_file(),
            Node::Symlink(_) => file_type.is_symlink(),
            Node::CharDevice(_) => file_type.is_char_dev(),
            Node::BlockDevice(_) => file_type.is_block_dev(),
            Node::Fifo => file_type.is_fifo(),
        };
        assert!(kind, "{}", path.escape_ascii());
        let wanted = expected(tree, id);
        let seen = Seen {
            mode: wanted.mode & 0o170_000 | u32::from(found.mode()),
            owner: (found.uid(), found.gid()),
            size: wanted.size.map(|_| found.len()),
            time: (found.modified().seconds(), i64::from(found.modified().nanoseconds())),
            links: wanted.links,
            device: wanted.device,
        };
        assert_eq!(seen, wanted, "{}", path.escape_ascii());
        match &inode.node {
            Node::File(content) if content.len() < 64 << 20 => {
                let bytes = reader.read(name).unwrap();
                assert!(content.read_all(u64::MAX).unwrap() == bytes, "{}", path.escape_ascii());
            }
            Node::Symlink(target) => {
                assert_eq!(reader.read_link(name).unwrap().as_ref(), &**target);
            }
            Node::Directory(_) => {
                for entry in reader.read_dir(name).unwrap() {
                    let entry = entry.unwrap().path();
                    let bytes: &[u8] = entry.as_ref();
                    if !bytes.ends_with(b"/.") && !bytes.ends_with(b"/..") {
                        names.insert(bytes.to_vec());
                    }
                }
            }
            _ => {}
        }
        names.remove(&path);
    }
    names.remove(&b"/lost+found"[..]);
    assert!(names.is_empty(), "not in the tree: {names:?}");
}

/// A mounted image, unmounted when it is dropped.
pub struct Mount {
    directory: TempDir,
    pub device: String,
}

impl Mount {
    /// Mounts an image, or says that only root can.
    pub fn new(image: &Path, mode: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let forced = std::env::var_os("BAKE_TEST_ROOT").is_some();
            assert!(!forced, "BAKE_TEST_ROOT is set, but only root can mount");
            eprintln!("skipped: only root can mount");
            return None;
        }
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        let device = must("losetup", &["--find", "--show", image.to_str().unwrap()]).trim().to_owned();
        must("mount", &["-t", "ext4", "-o", mode, &device, directory.path().to_str().unwrap()]);
        Some(Self { directory, device })
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = run("umount", &[self.path().to_str().unwrap()]);
        let detached = run("losetup", &["--detach", &self.device]);
        if !std::thread::panicking() {
            assert!(unmounted.status.success() && detached.status.success(), "{unmounted:?} {detached:?}");
        }
    }
}

/// The third judge: the kernel sees the tree, in all that it can tell about it.
pub fn compare_with_kernel(mount: &Path, tree: &ValidTree) {
    let mut names = BTreeSet::new();
    for (path, id) in tree.tree().walk() {
        let shown = path.to_string();
        let path = mount.join(OsStr::from_bytes(path.as_bytes()));
        let found = fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let wanted = expected(tree, id);
        let seen = Seen {
            mode: found.mode(),
            owner: (found.uid(), found.gid()),
            size: wanted.size.map(|_| found.size()),
            time: (found.mtime(), found.mtime_nsec()),
            links: Some(found.nlink()),
            device: Some(found.rdev()),
        };
        assert_eq!(seen, wanted, "{shown}");
        compare_attributes(&path, tree, id, &shown);
        match &tree.inode(id).node {
            Node::File(content) => compare_content(&path, content, found.blocks(), &shown),
            Node::Symlink(target) => {
                assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), &**target);
            }
            Node::Directory(_) => {
                names.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            }
            _ => {}
        }
        names.remove(&path);
    }
    names.remove(&mount.join("lost+found"));
    assert!(names.is_empty(), "not in the tree: {names:?}");
}

fn compare_attributes(path: &Path, tree: &ValidTree, id: InodeId, shown: &str) {
    let mut list = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let mut found: Vec<&[u8]> =
        list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    found.sort_unstable();
    let xattrs = &tree.inode(id).metadata.xattrs;
    assert!(found.iter().copied().eq(xattrs.keys().map(|name| &**name)), "{shown}: {found:?}");
    for (name, value) in xattrs {
        let mut bytes = vec![0; 1 << 16];
        let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut bytes[..]).unwrap();
        assert_eq!(bytes[..length], **value, "{shown}: {}", name.escape_ascii());
    }
}

fn compare_content(path: &Path, content: &Content, sectors: u64, shown: &str) {
    let file = File::open(path).unwrap();
    let runs = content.data_blocks(4096, &mut Vec::new()).unwrap();
    let data: u64 = runs.iter().map(|run| run.end - run.start).sum();
    // Blocks of data, and a few that say where they are or hold attributes.
    assert!(
        (data..=data + data / 300 + 4).contains(&(sectors / 8)),
        "{shown}: {sectors} sectors for {data} blocks"
    );
    let mut hole = 0;
    for run in runs {
        // Just before and just after the data there is none.
        check_zero(&file, hole, run.start * 4096, shown);
        let (start, end) = (run.start * 4096, (run.end * 4096).min(content.len()));
        for at in (start..end).step_by(1 << 20) {
            let n = (end - at).min(1 << 20) as usize;
            let (mut ours, mut theirs) = (vec![0; n], vec![0; n]);
            content.read_exact_at(at, &mut ours).unwrap();
            file.read_exact_at(&mut theirs, at).unwrap();
            assert!(ours == theirs, "{shown} from byte {at}");
        }
        hole = end;
    }
    check_zero(&file, hole, content.len(), shown);
}

fn check_zero(file: &File, start: u64, end: u64, shown: &str) {
    for at in [start, end.saturating_sub(4096).max(start)] {
        let mut bytes = vec![1; (end - at).min(4096) as usize];
        file.read_exact_at(&mut bytes, at).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "{shown} from byte {at}");
    }
}

/// All judges on a tree in a file system of `size` bytes, or of its minimum size.
pub fn judge(tree: &ValidTree, options: &Options, at_least: u64) {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(tree, options, at_least, &image);
    // The reader takes times before 1970 for damage.
    if tree.tree().walk().all(|(_, id)| tree.inode(id).metadata.mtime.seconds >= 0) {
        compare_with_reader(&image, tree);
    }
    judge_image(&image, tree);
}

/// The judges that know all of ext4.
pub fn judge_image(image: &Path, tree: &ValidTree) {
    e2fsck(image);
    if let Some(mount) = Mount::new(image, "ro") {
        compare_with_kernel(mount.path(), tree);
    }
}
