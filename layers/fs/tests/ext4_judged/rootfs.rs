//! A real root file system.

use std::time::Instant;

use bake_fs::ext4::{self, Options};

use super::support::{
    Mount, compare_with_kernel, compare_with_reader, digest, e2fsck, options, rootfs, tree_of_tar, valid,
    write,
};

#[test]
fn ext4_real_root_file_system() {
    let Some(tar) = rootfs("debian-12.tar") else {
        eprintln!("skipped: target/rootfs/debian-12.tar is not there");
        return;
    };
    let tree = valid(tree_of_tar(&tar));
    let mut digests = Vec::new();
    for threads in [1, 2, 3] {
        let start = Instant::now();
        let plan = ext4::plan(&tree, &Options { threads, ..options() }).unwrap();
        let planned = start.elapsed();
        let layout = plan.layout(2 << 30).unwrap();
        eprintln!("{threads} threads: plan {planned:?}, with layout {:?}", start.elapsed());
        assert_eq!(layout.len(), 2 << 30);
        digests.push(digest(&layout));
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "the number of threads shows");

    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    let plan = ext4::plan(&tree, &options()).unwrap();
    for size in [plan.minimum_size(), 2 << 30] {
        let layout = plan.layout(size).unwrap();
        write(&layout, &image);
        e2fsck(&image);
        compare_with_reader(&image, &tree);
        if let Some(mount) = Mount::new(&image, "ro") {
            compare_with_kernel(mount.path(), &tree);
        }
    }
}
