//! The reader: what the writer wrote, what `mke2fs` and the kernel made, and what nobody should have made.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bake_base::{FileBytes, ReadAt};
use bake_fs::ext4::{ReadError, Volume};
use bake_tree::{Content, Follow, InodeId, Metadata, Node, Policy, Tree, ValidTree};
use rustix::fs::{FallocateFlags, XattrFlags};
use tempfile::TempDir;

use super::support::{
    Mount, bake, compare_mounted, compare_with_reader, must, options, path, rootfs, run, tree_of_tar, valid,
};

fn source(image: &Path) -> Arc<dyn ReadAt> {
    Arc::new(FileBytes::new(File::open(image).unwrap()).unwrap())
}

/// What the reader finds, as a tree of its own.
fn read(image: &Path) -> (ValidTree, Vec<String>) {
    let volume = Volume::read(&source(image)).unwrap_or_else(|error| panic!("{error}"));
    let mut tree = Tree::new();
    tree.apply(volume.members, Policy::TAR).unwrap_or_else(|problems| panic!("{problems:?}"));
    (ValidTree::new(tree).unwrap(), volume.notes)
}

/// The reader gives back what the writer was given.
pub fn compare_with_own_reader(image: &Path, tree: &ValidTree) {
    let (mut found, notes) = read(image);
    assert!(notes.is_empty(), "{notes:?}");
    if tree.root().get(b"lost+found").is_none() {
        let mut without = found.tree().clone();
        assert!(without.remove(&path("lost+found")));
        found = ValidTree::new(without).unwrap();
    }
    same_trees(&found, tree);
}

fn same_trees(found: &ValidTree, wanted: &ValidTree) {
    let mut pairs: BTreeMap<InodeId, InodeId> = BTreeMap::new();
    let (mut ours, mut theirs) = (found.tree().walk(), wanted.tree().walk());
    loop {
        let ((path, id), (other_path, other)) = match (ours.next(), theirs.next()) {
            (None, None) => return,
            (Some(ours), Some(theirs)) => (ours, theirs),
            (ours, theirs) => panic!("{ours:?} {theirs:?}"),
        };
        assert_eq!(path, other_path);
        assert_eq!(*pairs.entry(id).or_insert(other), other, "{path} is another inode");
        assert_eq!(found.link_count(id), wanted.link_count(other), "{path}");
        let (id, other) = (found.inode(id), wanted.inode(other));
        assert_eq!(id.metadata, other.metadata, "{path}");
        match (&id.node, &other.node) {
            (Node::File(ours), Node::File(theirs)) => same_content(ours, theirs, &path.to_string()),
            (Node::Symlink(ours), Node::Symlink(theirs)) => assert_eq!(ours, theirs, "{path}"),
            (Node::CharDevice(ours), Node::CharDevice(theirs))
            | (Node::BlockDevice(ours), Node::BlockDevice(theirs)) => assert_eq!(ours, theirs, "{path}"),
            (ours, theirs) => assert_eq!(ours.describe(), theirs.describe(), "{path}"),
        }
    }
}

fn same_content(ours: &Content, theirs: &Content, shown: &str) {
    let blocks = |content: &Content| content.data_blocks(4096, &mut Vec::new()).unwrap();
    assert_eq!((ours.len(), blocks(ours)), (theirs.len(), blocks(theirs)), "{shown}");
    for run in blocks(ours) {
        for block in run {
            let n = (ours.len() - block * 4096).min(4096) as usize;
            let (mut a, mut b) = ([0; 4096], [0; 4096]);
            ours.read_exact_at(block * 4096, &mut a[..n]).unwrap();
            theirs.read_exact_at(block * 4096, &mut b[..n]).unwrap();
            assert!(a == b, "{shown} from block {block}");
        }
    }
}

/// What the kernel does to a file system that tries a reader.
fn populate(at: &Path, has_acls: bool) {
    let write = |name: &str, bytes: &[u8]| fs::write(at.join(name), bytes).unwrap();
    fs::create_dir(at.join("many")).unwrap();
    for i in 0..3000 {
        write(&format!("many/{i}-{}", "n".repeat(i % 200)), format!("content {i}").as_bytes());
    }
    for i in (0..3000).step_by(3) {
        fs::remove_file(at.join(format!("many/{i}-{}", "n".repeat(i % 200)))).unwrap();
    }
    // Fragments enough for every kind of block that says where blocks are.
    let sparse = File::create(at.join("sparse")).unwrap();
    for i in 0..2000_u64 {
        sparse.write_all_at(format!("piece {i}").as_bytes(), i * 9000).unwrap();
    }
    sparse.write_all_at(b"far", 3 << 30).unwrap();
    sparse.set_len((3 << 30) + 12_345).unwrap();
    let reserved = File::create(at.join("reserved")).unwrap();
    if rustix::fs::fallocate(&reserved, FallocateFlags::empty(), 0, 1 << 20).is_ok() {
        reserved.write_all_at(b"in the middle of what is not written", 500_000).unwrap();
        rustix::fs::fallocate(&reserved, FallocateFlags::KEEP_SIZE, 1 << 20, 1 << 20).unwrap();
    }
    write("large", &(0..5_000_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    write("empty", b"");
    write("linked", b"linked");
    for name in ["link-1", "many/link-2"] {
        fs::hard_link(at.join("linked"), at.join(name)).unwrap();
    }
    for length in [1, 59, 60, 61, 200, 1000] {
        symlink(
            "t".repeat(length.min(200)) + &"/t".repeat(length.saturating_sub(200) / 2),
            at.join(format!("to-{length}")),
        )
        .unwrap();
    }
    let deep = at.join("d/".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), b"deep").unwrap();
    let file = |name: &str| at.join(name).to_str().unwrap().to_owned();
    must("mknod", &[&file("character"), "c", "259", "70000"]);
    must("mknod", &[&file("block"), "b", "8", "17"]);
    must("mknod", &[&file("whiteout"), "c", "0", "0"]);
    must("mkfifo", &[&file("fifo")]);
    must("chown", &["4000000000:3000000000", &file("linked")]);
    must("chmod", &["6751", &file("linked")]);
    must("touch", &["-h", "-d", "1960-02-03 04:05:06.789", &file("to-59")]);
    rustix::fs::setxattr(at.join("empty"), "user.some", b"value", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(at.join("empty"), "user.empty", b"", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(at.join("empty"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    for name in ["linked", "large"] {
        rustix::fs::setxattr(at.join(name), "user.long", &[b'x'; 700], XattrFlags::empty()).unwrap();
    }
    must("setcap", &["cap_net_raw+ep", &file("large")]);
    if has_acls {
        must("setfacl", &["-m", "u:1000:rw,g:2000:r", &file("linked")]);
        must("setfacl", &["-d", "-m", "u:1000:rwx", &file("d")]);
    }
}

/// An image that `mke2fs` makes with `arguments` and the kernel fills.
fn made(arguments: &str, fill: impl Fn(&Path)) -> Option<TempDir> {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    let mut all = vec!["-q", "-F"];
    all.extend(arguments.split_whitespace());
    all.push(image.to_str().unwrap());
    must("mke2fs", &all);
    let mount = Mount::new(&image, "rw")?;
    fill(mount.path());
    drop(mount);
    Some(scratch)
}

#[test]
fn ext4_reader_as_root_reads_what_the_kernel_wrote() {
    for (arguments, is_new) in [
        ("-t ext4", true),
        ("-t ext4 -O metadata_csum,64bit,metadata_csum_seed,orphan_file,large_dir", true),
        ("-t ext4 -b 1024 -I 256 -O ^metadata_csum", true),
        ("-t ext4 -b 1024 -O meta_bg,^resize_inode", true),
        ("-t ext4 -b 2048 -I 512 -O ^64bit,^flex_bg", true),
        ("-t ext4 -O bigalloc -C 65536", true),
        ("-t ext4 -O bigalloc,meta_bg,^resize_inode -b 4096 -C 16384", true),
        ("-t ext4 -O sparse_super2 -N 20000", true),
        ("-t ext4 -O ea_inode,verity,mmp", true),
        ("-t ext3 -I 256", false),
        ("-t ext2 -b 1024 -I 128 -O ^filetype", false),
        ("-t ext2 -b 4096 -I 128", false),
    ] {
        let Some(scratch) = made(arguments, |at| populate(at, true)) else { return };
        let image = scratch.path().join("image");
        let (tree, notes) = read(&image);
        assert!(notes.is_empty(), "{notes:?}");
        let mount = Mount::new(&image, "ro,noload").unwrap();
        compare_mounted(mount.path(), &tree, false);
        drop(mount);
        // The independent reader knows neither maps of blocks of all kinds nor all of the features, nor old times.
        if is_new && arguments == "-t ext4" {
            let mut tree = tree.tree().clone();
            tree.remove(&path("to-59"));
            let mount = Mount::new(&image, "rw").unwrap();
            fs::remove_file(mount.path().join("to-59")).unwrap();
            drop(mount);
            let tree = ValidTree::new(tree).unwrap();
            // Removing has given its directory another time.
            let mut tree = tree.tree().clone();
            *tree.metadata_mut(Tree::ROOT) = read(&image).0.inode(Tree::ROOT).metadata.clone();
            compare_with_reader(&image, &ValidTree::new(tree).unwrap());
        }
    }
}

#[test]
fn ext4_reader_as_root_says_what_a_tree_has_not() {
    let fill = |at: &Path| {
        drop(std::os::unix::net::UnixListener::bind(at.join("socket")).unwrap());
        fs::hard_link(at.join("socket"), at.join("socket-2")).unwrap();
        fs::write(at.join("kept"), b"x").unwrap();
        must("chattr", &["+i", at.join("kept").to_str().unwrap()]);
    };
    let Some(scratch) = made("-t ext4", fill) else { return };
    let (tree, notes) = read(&scratch.path().join("image"));
    assert!(tree.tree().lookup(&path("socket"), Follow::Parents).is_none());
    assert_eq!(
        notes,
        [
            "sockets are left out, as their services make them anew: `/socket`, `/socket-2`",
            "flags of inodes are lost (such as `immutable`, see `lsattr`): `/kept`"
        ]
    );
}

#[test]
fn ext4_reader_as_root_refuses_what_is_not_unmounted() {
    let Some(scratch) = made("-t ext4", |_| ()) else { return };
    let (image, copy) = (scratch.path().join("image"), scratch.path().join("copy"));
    let mount = Mount::new(&image, "rw").unwrap();
    fs::write(mount.path().join("file"), b"x").unwrap();
    rustix::fs::fsync(File::open(mount.path().join("file")).unwrap()).unwrap();
    must("cp", &["--sparse=always", image.to_str().unwrap(), copy.to_str().unwrap()]);
    drop(mount);
    let error = Volume::read(&source(&copy)).unwrap_err();
    assert!(matches!(error, ReadError::Unclean(_)), "{error}");
    // The advice helps.
    drop(Mount::new(&copy, "rw"));
    assert!(read(&copy).0.tree().lookup(&path("file"), Follow::Last).is_some());
}

#[test]
fn ext4_reader_refuses_inline_data() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    File::create(&image).unwrap().set_len(16 << 20).unwrap();
    must("mke2fs", &["-q", "-F", "-t", "ext4", "-O", "inline_data", image.to_str().unwrap()]);
    let error = Volume::read(&source(&image)).unwrap_err().to_string();
    assert!(error.contains("files inside of inodes (`inline_data`)"), "{error}");
}

#[test]
fn ext4_reader_reads_a_real_root_file_system() {
    let Some(tar) = rootfs("debian-12.tar") else {
        eprintln!("skipped: target/rootfs/debian-12.tar is not there");
        return;
    };
    let tree = valid(tree_of_tar(&tar));
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(&tree, &options(), 2 << 30, &image);
    compare_with_own_reader(&image, &tree);
}

/// A small file system with one of everything that points somewhere, without a journal.
fn small(scratch: &Path, features: &str) -> Vec<u8> {
    let (image, tree) = (scratch.join("image"), scratch.join("tree"));
    fs::create_dir_all(tree.join("many")).unwrap();
    for i in 0..120 {
        fs::write(tree.join(format!("many/{}-{i}", "n".repeat(80))), vec![b'x'; i * 20]).unwrap();
    }
    let sparse = File::create(tree.join("sparse")).unwrap();
    for i in 0..100 {
        sparse.write_all_at(b"piece", i * 3000).unwrap();
    }
    symlink("t".repeat(100), tree.join("slow")).unwrap();
    symlink("fast", tree.join("link")).unwrap();
    let _ = rustix::fs::setxattr(tree.join("sparse"), "user.long", &[b'x'; 600], XattrFlags::empty());
    let _ = rustix::fs::setxattr(tree.join("sparse"), "user.short", b"x", XattrFlags::empty());
    File::create(&image).unwrap().set_len(2 << 20).unwrap();
    let (image_name, tree_name) = (image.to_str().unwrap(), tree.to_str().unwrap());
    let features = format!("^has_journal,^resize_inode,{features}");
    must(
        "mke2fs",
        &["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "160", "-O", &features, "-d", tree_name, image_name],
    );
    fs::read(&image).unwrap()
}

/// Numbers without a pattern, the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn ext4_reader_survives_damage_of_all_kinds() {
    let scratch = tempfile::tempdir().unwrap();
    for features in ["^metadata_csum", "^metadata_csum,^64bit,^extents", "metadata_csum"] {
        let good = small(scratch.path(), features);
        fs::remove_dir_all(scratch.path().join("tree")).unwrap();
        // Places that hold something: where damage matters.
        let used: Vec<usize> = (1024..good.len()).filter(|at| good[*at] != 0 && good[*at] != b'x').collect();
        let mut noise = Noise(features.len() as u64);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..1500 {
            let mut bytes = good.clone();
            for _ in 0..=noise.next(6) {
                let at = used[noise.next(used.len() as u64) as usize];
                let near = (at + noise.next(8) as usize).min(bytes.len() - 1);
                bytes[near] = match noise.next(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[near].wrapping_add(1),
                    _ => noise.next(256) as u8,
                };
            }
            let source: Arc<dyn ReadAt> = Arc::new(bytes);
            match Volume::read(&source) {
                Ok(volume) => {
                    read += 1;
                    // What was read has to be usable: contents end where they say.
                    for member in &volume.members {
                        if let bake_tree::MemberKind::File(content) = &member.kind {
                            content.data_blocks(4096, &mut Vec::new()).unwrap();
                        }
                    }
                }
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 200 && (read > 100 || features == "metadata_csum"), "{features}: {read} {refused}");
    }
}

#[test]
fn ext4_reader_notices_a_changed_bit_by_its_checksums() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    let mut tree = Tree::new();
    for i in 0..400 {
        let content = Content::bytes(format!("{i}").into_bytes());
        tree.put(&path(format!("many/file-{i}")), Metadata::root(0o644), Node::File(content)).unwrap();
    }
    bake(&valid(tree), &options(), 0, &image);
    let before = fs::read(&image).unwrap();
    let layout = |what: &str| {
        let text = must("debugfs", &["-R", what, image.to_str().unwrap()]);
        text.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse::<usize>().ok()).unwrap()
    };
    // A leaf of the directory; block 0 of it is the index.
    let leaf = layout("bmap many 1") * 4096;
    let table = {
        let text = must("debugfs", &["-R", "imap many", image.to_str().unwrap()]);
        let words: Vec<_> = text.split_whitespace().map(|word| word.trim_end_matches(',')).collect();
        let block: usize =
            words[words.iter().rposition(|word| *word == "block").unwrap() + 1].parse().unwrap();
        let offset =
            words[words.iter().position(|word| *word == "offset").unwrap() + 1].trim_start_matches("0x");
        block * 4096 + usize::from_str_radix(offset, 16).unwrap()
    };
    for (at, reason) in [
        (1024 + 0x79, "the superblock does not match its checksum"),
        (4096 + 8, "the descriptor of group 0 does not match its checksum"),
        (table + 8, "does not match its checksum"),
        (leaf + 9, "names that do not match their checksum"),
    ] {
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        let source: Arc<dyn ReadAt> = Arc::new(bytes);
        let error = Volume::read(&source).unwrap_err().to_string();
        assert!(error.contains(reason), "{at:#x}: {error}");
    }
    assert!(run("e2fsck", &["-fn", image.to_str().unwrap()]).status.success());
}
