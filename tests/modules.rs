//! Overlays that bring kernel modules for the user's own hardware.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Baked, bake_image, rootfs, run, scratch, text};

/// A module that no boot needs.
const HARMLESS: &str = "kernel/drivers/net/dummy.ko";
/// A module that the profile requires in the initrd.
const NEEDED: &str = "kernel/drivers/block/virtio_blk.ko";

/// The module tree of the real root file system, extracted below `directory`; its path and the kernel's version.
fn extracted(directory: &Path) -> (PathBuf, String) {
    let tar = rootfs("debian-12");
    run(Command::new("tar")
        .arg("-xf")
        .arg(tar)
        .arg("-C")
        .arg(directory)
        .args(["./usr/lib/modules", "./lib"]));
    let modules = directory.join("usr/lib/modules");
    let version = fs::read_dir(&modules).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();
    (modules.join(&version), version)
}

/// An overlay with one module in `updates`, which is searched before the kernel's own.
fn overlay(directory: &Path, version: &str, name: &str, bytes: &[u8]) -> PathBuf {
    let updates = directory.join("overlay/usr/lib/modules").join(version).join("updates");
    fs::create_dir_all(&updates).unwrap();
    fs::write(updates.join(name), bytes).unwrap();
    directory.join("overlay")
}

fn refused(overlay: &Path) -> String {
    let out = scratch();
    let mut command = support::bake();
    command.args(["image", "--no-cache", "--plan", "--rootfs"]).arg(rootfs("debian-12"));
    let output = support::output(command.arg("--overlay").arg(overlay).arg("--out").arg(out.path()));
    assert_eq!(output.status.code(), Some(1));
    text(&output.stderr)
}

fn file_of(image: &Baked, root: &Path, path: &str, scratch: &Path) -> Vec<u8> {
    let to = scratch.join("dumped");
    assert!(image.directory.exists());
    run(Command::new("debugfs").arg("-R").arg(format!("dump {path} {}", to.display())).arg(root));
    fs::read(to).unwrap()
}

#[test]
fn the_indexes_are_what_depmod_would_have_written_on_the_host() {
    let scratch = scratch();
    let (modules, version) = extracted(scratch.path());
    let overlay = overlay(scratch.path(), &version, "dummy.ko", &fs::read(modules.join(HARMLESS)).unwrap());
    let image = bake_image(
        &rootfs("debian-12"),
        &scratch.path().join("out"),
        &["--overlay", overlay.to_str().unwrap()],
    );
    let root = scratch.path().join("root.ext4");
    image.extract("root", &root);

    fs::create_dir(modules.join("updates")).unwrap();
    fs::copy(modules.join(HARMLESS), modules.join("updates/dummy.ko")).unwrap();
    run(Command::new("depmod").arg("-b").arg(scratch.path()).arg(&version));
    let mut compared = 0;
    for entry in fs::read_dir(&modules).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("modules.") {
            let path = format!("/usr/lib/modules/{version}/{name}");
            let ours = file_of(&image, &root, &path, scratch.path());
            assert!(ours == fs::read(modules.join(&name)).unwrap(), "{name} differs from depmod's");
            compared += 1;
        }
    }
    assert!(compared >= 10, "only {compared} indexes were compared");
    let dependencies = String::from_utf8(fs::read(modules.join("modules.dep")).unwrap()).unwrap();
    assert!(dependencies.contains("updates/dummy.ko:"));
}

#[test]
fn a_module_of_another_kernel_is_refused_by_name() {
    let scratch = scratch();
    let (modules, version) = extracted(scratch.path());
    let mut module = fs::read(modules.join(HARMLESS)).unwrap();
    // With symbol checksums the kernel ignores the version in the magic, but not what it was built with.
    let magic = module.windows(9).position(|window| window == b"vermagic=").unwrap();
    let feature = module[magic..].windows(5).position(|window| window == b" SMP ").unwrap();
    module[magic + feature + 1] = b'X';
    let message = refused(&overlay(scratch.path(), &version, "dummy.ko", &module));
    assert!(message.contains("dummy.ko") && message.contains("expected one for"), "{message}");
}

#[test]
fn a_module_that_the_initrd_would_need_is_an_error_that_says_so() {
    let scratch = scratch();
    let (modules, version) = extracted(scratch.path());
    let module = fs::read(modules.join(NEEDED)).unwrap();
    let message = refused(&overlay(scratch.path(), &version, "virtio_blk.ko", &module));
    assert!(message.contains("virtio_blk") && message.contains("initrd"), "{message}");
}

#[test]
fn modules_without_their_kernel_are_refused() {
    let scratch = scratch();
    let (modules, _) = extracted(scratch.path());
    let message = refused(&overlay(
        scratch.path(),
        "5.0.0-none",
        "dummy.ko",
        &fs::read(modules.join(HARMLESS)).unwrap(),
    ));
    assert!(message.contains("5.0.0-none"), "{message}");
}
