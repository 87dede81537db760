//! Trees, images in files, and the judges' commands.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use bake_base::{ReadAt, Uuid};
use bake_fs::ext4::{self, Options};
use bake_tree::{Content, InodeId, Node, Tree, ValidTree};
use ext4_view::Ext4;
use tempfile::TempDir;

pub use crate::common::{EPOCH, digest, link, must, path, rootfs, run, tree_of_tar, valid, write};

use super::reader::compare_with_own_reader;

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

/// The file system of a tree in a file, of its minimum size or more.
pub fn bake(tree: &ValidTree, options: &Options, at_least: u64, image: &Path) {
    let plan = ext4::plan(tree, options).unwrap();
    let size = plan.minimum_size().max(at_least);
    write(&plan.layout(size).unwrap(), image);
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
    compare_mounted(mount, tree, true);
}

/// The kernel sees the tree; `lean` says that files have no more blocks than they need.
pub fn compare_mounted(mount: &Path, tree: &ValidTree, lean: bool) {
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
            Node::File(content) => compare_content(&path, content, lean.then_some(found.blocks()), &shown),
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

fn compare_content(path: &Path, content: &Content, sectors: Option<u64>, shown: &str) {
    let file = File::open(path).unwrap();
    let runs = content.data_blocks(4096, &mut Vec::new()).unwrap();
    let data: u64 = runs.iter().map(|run| run.end - run.start).sum();
    // Blocks of data, and a few that say where they are or hold attributes.
    if let Some(sectors) = sectors {
        assert!(
            (data..=data + data / 300 + 4).contains(&(sectors / 8)),
            "{shown}: {sectors} sectors for {data} blocks"
        );
    }
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
    compare_with_own_reader(&image, tree);
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
