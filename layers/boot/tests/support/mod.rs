//! Inputs that several tests have.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bake_base::{FileBytes, ReadAt};
use bake_tree::{Policy, Tree};

/// The tree of a real root file system, if `ci/rootfs` has made it.
pub fn real(name: &str) -> Option<Tree> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/rootfs").join(name);
    let Ok(file) = File::open(&path) else {
        eprintln!("skipped: {} is not there; `ci/rootfs` makes it", path.display());
        return None;
    };
    let source: Arc<dyn ReadAt> = Arc::new(FileBytes::new(file).unwrap());
    let tar = bake_archive::read_tar(name, &source).unwrap();
    let mut tree = Tree::new();
    tree.apply(tar.members, Policy::TAR).unwrap();
    Some(tree)
}
