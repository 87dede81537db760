//! A small change of what goes in is a small change of the disk: what lies in one layer never moves because of
//! another, and nothing that checksums depend on derives from content.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use support::{Baked, bake_image, made, project, rootfs, run, scratch, small_product};

/// The most 512 KiB blocks that a small change may touch: a few dozen, of thousands.
const FEW: usize = 36;

#[test]
fn one_changed_byte_of_an_overlay_changes_a_few_blocks() {
    let out = scratch();
    let overlay = out.path().join("overlay");
    fs::create_dir_all(overlay.join("etc")).unwrap();
    let bake_with = |byte: u8| {
        let mut text = vec![b'x'; 10_000];
        text[5000] = byte;
        fs::write(overlay.join("etc/site.conf"), text).unwrap();
        bake(&out.path().join(byte.to_string()), &["--overlay", overlay.to_str().unwrap()])
    };
    let changed = changed_blocks(&bake_with(b'a'), &bake_with(b'b'));
    assert!((1..=2).contains(&changed.len()), "{changed:?}");
}

#[test]
fn one_changed_byte_of_the_configuration_changes_a_few_blocks() {
    let out = scratch();
    let spec = out.path().join("bake.toml");
    let bake_with = |name: &str, argument: &str| {
        fs::write(&spec, format!("format-revision = 1\n[kernel]\nargs = [\"{argument}\"]\n")).unwrap();
        bake(&out.path().join(name), &["--spec", spec.to_str().unwrap()])
    };
    // The kernel's arguments are in the entry on the EFI system partition and in the root file system.
    let changed = changed_blocks(&bake_with("a", "audit=0"), &bake_with("b", "audit=1"));
    assert!((2..=FEW).contains(&changed.len()), "{changed:?}");
}

#[test]
fn a_longer_value_in_the_configuration_changes_a_few_blocks() {
    let out = scratch();
    let spec = out.path().join("bake.toml");
    let bake_with = |name: &str, content: &str| {
        let text = format!("format-revision = 1\n[files.\"/etc/motd\"]\ncontent = \"{content}\"\n");
        fs::write(&spec, text).unwrap();
        bake(&out.path().join(name), &["--spec", spec.to_str().unwrap()])
    };
    let changed = changed_blocks(&bake_with("a", "short"), &bake_with("b", &"longer ".repeat(5000)));
    assert!((1..=FEW).contains(&changed.len()), "{changed:?}");
}

#[test]
fn a_role_changes_a_few_blocks() {
    let out = scratch();
    let product = small_product();
    let product = ["--product", product.to_str().unwrap()];
    let neutral = bake(&out.path().join("neutral"), &product);
    let master = bake(&out.path().join("master"), &[&product[..], &["--role", "master"]].concat());
    let changed = changed_blocks(&neutral, &master);
    assert!((1..=FEW).contains(&changed.len()), "{changed:?}");
}

#[test]
fn another_name_of_a_cluster_changes_a_few_blocks() {
    let out = scratch();
    let bake_with = |name: &str| {
        let serve = out.path().join(format!("serve-{name}"));
        run(support::bake()
            .args(["configure", "--quiet", "--config"])
            .arg(project("tests/genconf/config.yaml"))
            .arg("--artifacts")
            .arg(made("product/small-artifacts"))
            .arg("--out")
            .arg(&serve)
            .args(["--set", &format!("cluster_name={name}")]));
        bake(&out.path().join(name), &["--product", serve.to_str().unwrap(), "--role", "master"])
    };
    let (one, other) = (bake_with("one"), bake_with("another-name"));
    assert_ne!(one.manifest["configuration"], other.manifest["configuration"]);
    let changed = changed_blocks(&one, &other);
    assert!((2..=FEW).contains(&changed.len()), "{} blocks: {changed:?}", changed.len());
}

#[test]
fn an_added_overlay_moves_nothing_of_the_root_file_system() {
    let out = scratch();
    let overlay = out.path().join("overlay");
    for (name, size) in [("etc/aaa", 100), ("usr/bin/aaa", 1 << 20), ("zzz/zzz", 5 << 20), ("etc/issue", 9)] {
        let file = overlay.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, vec![b'o'; size]).unwrap();
    }
    let without = bake(&out.path().join("without"), &[]);
    let with = bake(&out.path().join("with"), &["--overlay", overlay.to_str().unwrap()]);
    let changed = changed_blocks(&without, &with);
    // What the overlay holds itself lies in blocks of its own.
    assert!((12..=FEW + 12).contains(&changed.len()), "{changed:?}");

    let (before, after) = (places(&without, out.path()), places(&with, out.path()));
    assert!(before.len() > 10_000, "only {} files were seen", before.len());
    // What the host's own layer replaces stands on the overlay.
    let hosts = without.manifest["normalised"]["added"].as_array().unwrap();
    let is_moved =
        |path: &str| after.get(path) != before.get(path) && !hosts.iter().any(|added| added == path);
    let moved: Vec<_> = before.keys().filter(|path| is_moved(path)).collect();
    assert_eq!(moved, ["/etc/issue"], "the overlay replaces one file");
}

#[test]
fn an_added_overlay_moves_of_a_product_no_more_than_lies_behind_it() {
    let out = scratch();
    let (product, overlay) = (small_product(), project("tests/overlay"));
    let product = ["--product", product.to_str().unwrap()];
    let without = bake(&out.path().join("without"), &product);
    let with =
        bake(&out.path().join("with"), &[&product[..], &["--overlay", overlay.to_str().unwrap()]].concat());
    // Layers lie in the order in which they are merged, and the product's comes after overlays.
    let (before, after) = (places(&without, out.path()), places(&with, out.path()));
    let hosts = without.manifest["normalised"]["added"].as_array().unwrap();
    let is_moved =
        |path: &str| after.get(path) != before.get(path) && !hosts.iter().any(|added| added == path);
    let moved: Vec<_> = before.keys().filter(|path| is_moved(path)).collect();
    assert!(moved.is_empty(), "of the root file system: {moved:?}");
    // Its program is there twice: in its package, and where a unit starts it from.
    let pkgpanda = fs::metadata(made("pkgpanda/pkgpanda")).unwrap().len();
    let behind = usize::try_from(2 * pkgpanda.div_ceil(512 << 10)).unwrap();
    let changed = changed_blocks(&without, &with);
    assert!((1..=FEW + behind).contains(&changed.len()), "{} blocks: {changed:?}", changed.len());
}

fn bake(out: &Path, arguments: &[&str]) -> Baked {
    // Of one size, whatever is added.
    bake_image(&rootfs("debian-12"), out, &[&["--size", "4G"], arguments].concat())
}

/// Indexes of the blocks in which two disks of one size differ, by their manifests.
fn changed_blocks(one: &Baked, other: &Baked) -> Vec<u64> {
    assert_eq!(one.manifest["disk"]["size"], other.manifest["disk"]["size"]);
    let (ours, theirs) = (blocks(one), blocks(other));
    assert!(ours.len() > 500, "only {} blocks hold something", ours.len());
    let mut indexes: Vec<u64> = ours.keys().chain(theirs.keys()).copied().collect();
    indexes.sort_unstable();
    indexes.dedup();
    indexes.retain(|index| ours.get(index) != theirs.get(index));
    indexes
}

/// Digests of the blocks that are not zeros.
fn blocks(image: &Baked) -> BTreeMap<u64, String> {
    let mut blocks = BTreeMap::new();
    for run in image.manifest["disk"]["blocks"]["runs"].as_array().unwrap() {
        let first = run["first"].as_u64().unwrap();
        for (index, digest) in (first..).zip(run["sha256"].as_array().unwrap()) {
            blocks.insert(index, digest.as_str().unwrap().to_owned());
        }
    }
    blocks
}

/// Where the inode and the content of every regular file lie, as debugfs tells.
fn places(image: &Baked, scratch: &Path) -> BTreeMap<String, String> {
    let root = scratch.join("root");
    image.extract("root", &root);
    let listing = run(Command::new("tar").arg("-tf").arg(rootfs("debian-12")));
    let files: Vec<_> = listing.lines().filter(|line| !line.ends_with('/') && !line.contains('\\')).collect();
    let requests = scratch.join("requests");
    // debugfs itself asks for quotes around names with blanks.
    let stat = |file: &&str| format!("stat \"{}\"\n", file.trim_start_matches('.'));
    fs::write(&requests, files.iter().map(stat).collect::<Vec<_>>().concat()).unwrap();
    let answers = run(Command::new("debugfs").arg("-f").arg(&requests).arg(&root));
    let mut places = BTreeMap::new();
    for answer in answers.split("debugfs: stat \"").skip(1) {
        let (path, rest) = answer.split_once("\"\n").unwrap();
        if rest.contains("Type: regular") {
            let inode = rest.split_whitespace().nth(1).unwrap();
            let extents = rest.split_once("EXTENTS:\n").map_or("", |(_, extents)| extents.trim());
            places.insert(path.to_owned(), format!("inode {inode}: {extents}"));
        }
    }
    places
}
