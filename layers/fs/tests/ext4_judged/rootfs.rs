//! A real root file system.

use std::time::Instant;

use bake_fs::ext4;

use super::support::{e2fsck, must, options, rootfs, tree_of_tar, valid, write};

#[test]
fn ext4_real_root_file_system() {
    let Some(tar) = rootfs("debian-12.tar") else {
        eprintln!("skipped: target/rootfs/debian-12.tar is not there");
        return;
    };
    let tree = valid(tree_of_tar(&tar));
    for _ in 0..3 {
        let start = Instant::now();
        let plan = ext4::plan(&tree, &options()).unwrap();
        let planned = start.elapsed();
        let layout = plan.layout(2 << 30).unwrap();
        eprintln!(
            "plan {planned:?}, plan and layout {:?}, pieces {} minimum {} free {}",
            start.elapsed(),
            layout.pieces().len(),
            plan.minimum_size(),
            plan.free_bytes(2 << 30).unwrap()
        );
    }
    let scratch = tempfile::tempdir().unwrap();
    let image = scratch.path().join("image");
    let plan = ext4::plan(&tree, &options()).unwrap();
    write(&plan.layout(2 << 30).unwrap(), &image);
    e2fsck(&image);
    eprintln!("{}", must("dumpe2fs", &["-h", image.to_str().unwrap()]));
}
