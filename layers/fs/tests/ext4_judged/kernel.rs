//! The kernel not only reads the file system but works with it. Every test here needs root.

use std::fs::{self, File};
use std::io::Write;

use bake_fs::ext4::Options;
use bake_tree::{Content, Metadata, Node, Tree, ValidTree};

use super::support::{Mount, bake, compare_with_kernel, e2fsck, must, options, path, valid};

/// A small tree with a directory that has an index.
fn tree() -> ValidTree {
    let mut tree = Tree::new();
    for i in 0..2000 {
        let content = Content::bytes(format!("file {i}").repeat(i).into_bytes());
        tree.put(&path(format!("many/file-{i}")), Metadata::root(0o644), Node::File(content)).unwrap();
    }
    tree.put(&path("etc/link"), Metadata::root(0o777), Node::Symlink(b"../many".as_slice().into())).unwrap();
    valid(tree)
}

/// Adds, changes and removes.
fn work(mount: &Mount) {
    let many = mount.path().join("many");
    for i in 0..3000 {
        fs::write(many.join(format!("new-{i}")), vec![1; i]).unwrap();
    }
    for i in (0..2000).step_by(3) {
        fs::remove_file(many.join(format!("file-{i}"))).unwrap();
    }
    let mut file = File::options().append(true).open(many.join("file-1000")).unwrap();
    file.write_all(&vec![7; 3 << 20]).unwrap();
    fs::create_dir_all(mount.path().join("a/b/c/d")).unwrap();
    fs::rename(mount.path().join("etc"), mount.path().join("a/b/etc")).unwrap();
}

#[test]
fn ext4_kernel_as_root_writes_to_it() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    let tree = tree();
    bake(&tree, &options(), 1 << 30, &image);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    compare_with_kernel(mount.path(), &tree);
    work(&mount);
    drop(mount);
    e2fsck(&image);
}

#[test]
fn ext4_kernel_as_root_fills_the_smallest_size() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    bake(&tree(), &options(), 0, &image);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    let mut file = File::create(mount.path().join("filler")).unwrap();
    while file.write_all(&vec![1; 1 << 16]).is_ok() {}
    drop((file, mount));
    e2fsck(&image);
}

/// Growing a mounted file system takes `CAP_SYS_RESOURCE`, which root in a container may lack.
fn may_grow() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let may = u64::from_str_radix(line.trim(), 16).unwrap() & 1 << 24 != 0;
    assert!(
        may || std::env::var_os("BAKE_TEST_ROOT").is_none(),
        "BAKE_TEST_ROOT is set without CAP_SYS_RESOURCE"
    );
    may
}

#[test]
fn ext4_kernel_as_root_grows_it_a_hundredfold_while_mounted() {
    for (size, factor) in [(1_u64 << 30, 100), ((2 << 30) + (4096 * 777), 100), (10 << 30, 100)] {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        let tree = tree();
        bake(&tree, &options(), size, &image);
        let Some(mount) = Mount::new(&image, "rw") else { return };
        File::options().write(true).open(&image).unwrap().set_len(size * factor).unwrap();
        let mount = if may_grow() {
            must("losetup", &["--set-capacity", &mount.device]);
            must("resize2fs", &[&mount.device]);
            mount
        } else {
            eprintln!("not while mounted: no CAP_SYS_RESOURCE");
            drop(mount);
            // What it insists on before it grows what is not mounted.
            must("e2fsck", &["-fy", image.to_str().unwrap()]);
            must("resize2fs", &[image.to_str().unwrap()]);
            e2fsck(&image);
            let Some(mount) = Mount::new(&image, "rw") else { return };
            mount
        };
        compare_with_kernel(mount.path(), &tree);
        let statistics = rustix::fs::statvfs(mount.path()).unwrap();
        assert!(statistics.f_blocks * 4096 > size * factor / 100 * 97, "{}", statistics.f_blocks);
        work(&mount);
        drop(mount);
        e2fsck(&image);
    }
}

#[test]
fn ext4_kernel_as_root_gives_it_another_id_while_mounted() {
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    let tree = tree();
    bake(&tree, &Options { metadata_csum_seed: true, ..options() }, 1 << 30, &image);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    let uuid = "9b2f4a35-91c2-4c6f-8a54-0f7f0d1a2b3c";
    must("tune2fs", &["-U", uuid, &mount.device]);
    work(&mount);
    drop(mount);
    e2fsck(&image);
    let dump = must("dumpe2fs", &["-h", image.to_str().unwrap()]);
    assert!(dump.contains(uuid), "{dump}");
}

#[test]
fn ext4_kernel_as_root_replays_its_journal() {
    let scratch = tempfile::tempdir().unwrap();
    let (image, copy) = (scratch.path().join("image"), scratch.path().join("copy"));
    bake(&tree(), &options(), 1 << 30, &image);
    let Some(mount) = Mount::new(&image, "rw") else { return };
    work(&mount);
    // What is on disk while the file system is in use is what a power cut leaves.
    rustix::fs::fsync(File::open(mount.path().join("many")).unwrap()).unwrap();
    must("cp", &["--sparse=always", image.to_str().unwrap(), copy.to_str().unwrap()]);
    drop(mount);
    assert!(must("dumpe2fs", &["-h", copy.to_str().unwrap()]).contains("needs_recovery"));
    drop(Mount::new(&copy, "rw"));
    e2fsck(&copy);
}
