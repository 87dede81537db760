//! Disks that are full: the run fails and says so, and succeeds once there is space.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use bake_base::Digest;

use crate::support::ground::{Numbers, failed_well};
use crate::support::{is_root, output, run};
use crate::yard::Yard;

/// A file system in memory, mounted until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&path).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(&path));
        Self(path)
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// More than a build has to leave free, and nothing of it is used.
const AMPLE: &str = "size=3g";

/// 4 MiB that do not compress.
fn noise() -> Vec<u8> {
    let mut numbers = Numbers(17);
    (0..4 << 20).map(|_| numbers.below(256) as u8).collect()
}

/// The package `app`, which copies a large source.
fn yard() -> Yard {
    let yard = Yard::empty();
    yard.put("app.data", &noise());
    let sha256 = Digest::of(&noise());
    let url = yard.path("app.data").display().to_string();
    let source = format!(r#"{{"kind": "url", "url": "file://{url}", "sha256": "{sha256}"}}"#);
    yard.recipe("app", "cp /pkg/src/app/app.data $PKG_PATH/\n", &format!(r#"{{"single_source": {source}}}"#));
    yard
}

const ARGUMENTS: [&str; 2] = ["package", "app"];

/// With the directory `name` of the cache on a disk of `size`, the run fails as `expected` has it; with more
/// space it gives the package that it gives elsewhere.
fn fails_where(name: &str, size: &str, expected: &[&str]) {
    if !is_root("mounting a small disk") {
        return;
    }
    let yard = yard();
    let packages = yard.build(&ARGUMENTS);
    yard.clear();
    let disk = Disk::new(yard.path("tree/cache").join(name), size);
    let failed = output(&mut yard.command(&ARGUMENTS));
    let said = failed_well(&failed, name);
    for expected in expected {
        assert!(said.contains(expected), "{said}");
    }
    assert!(said.contains(disk.0.to_str().unwrap()), "{said}");
    assert!(yard.packages().is_empty(), "{said}");
    yard.is_tidy(&said);
    disk.resize("3g");
    assert_eq!(yard.build(&ARGUMENTS), packages);
}

#[test]
fn a_disk_that_is_full_while_fetching_is_told() {
    fails_where("packages", "size=1m", &["source `app`", "No space left on device"]);
}

#[test]
fn a_disk_that_is_full_while_packing_is_told() {
    // There is space for the source and none for the package.
    fails_where("packages", "size=6m", &["writing", "No space left on device"]);
}

#[test]
fn a_disk_that_is_full_while_the_builder_is_extracted_is_told() {
    fails_where("extracted", "size=2m", &["No space left on device"]);
}

#[test]
fn a_disk_that_is_full_while_sources_are_laid_out_is_told() {
    fails_where("build", "size=2m", &["No space left on device"]);
}

#[test]
fn a_disk_that_has_little_space_left_ends_the_build_and_says_so() {
    fails_where("build", "size=100m", &["bytes left and 1073741824 are to stay free"]);
}

#[test]
fn a_build_that_fills_the_disk_is_ended_and_leaves_nothing() {
    if !is_root("mounting a small disk") {
        return;
    }
    let yard = Yard::of("large", "head -c 400M /dev/zero > $PKG_PATH/large\nsleep 1000\n");
    let _disk = Disk::new(yard.path("tree/cache/build"), "size=1200m");
    let said = yard.refused(&["package", "large"]);
    assert!(said.contains("1073741824 are to stay free"), "{said}");
    yard.recipe("large", "head -c 1M /dev/zero > $PKG_PATH/large\n", "{}");
    assert_eq!(yard.build(&["package", "large"]).len(), 1);
}

/// Whatever the step is that meets the end of the disk.
#[test]
fn a_disk_may_be_full_at_any_step() {
    if !is_root("mounting a small disk") {
        return;
    }
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    let disk = Disk::new(yard.path("tree/cache"), "size=4k");
    for blocks in [1, 2, 4, 8, 12, 16, 20, 30, 40, 100, 300, 700, 1500, 3000] {
        disk.resize(&format!("{}k", 4 * blocks));
        let said = yard.refused(&["tree"]);
        assert!(said.contains("No space left on device") || said.contains("to stay free"), "{said}");
        assert!(said.contains(yard.path("tree").to_str().unwrap()), "{said}");
    }
    disk.resize("3g");
    assert_eq!(yard.build(&["tree"]), expected);
}

/// Not the size of files but their number.
#[test]
fn a_disk_may_have_no_room_for_another_name() {
    if !is_root("mounting a small disk") {
        return;
    }
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    yard.clear();
    let disk = Disk::new(yard.path("tree/cache"), &format!("{AMPLE},nr_inodes=2"));
    for inodes in [3, 5, 7, 9, 12, 15, 20, 25, 30, 40] {
        run(Command::new("mount").args(["-o", &format!("remount,nr_inodes={inodes}")]).arg(&disk.0));
        let said = yard.refused(&["tree"]);
        assert!(said.contains("No space left on device"), "{said}");
    }
    run(Command::new("mount").args(["-o", "remount,nr_inodes=100000"]).arg(&disk.0));
    assert_eq!(yard.build(&["tree"]), expected);
}
