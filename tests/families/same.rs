//! Every image of the matrix is the same, byte for byte, whoever bakes it, where and how.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::keys::Owner;
use crate::support::{Baked, bake, full, is_root, rootfs, run, scratch};
use crate::{ARM64, DEBIAN, Family, RHEL, UBUNTU, UNIFIED};

#[test]
fn debian_s_image_is_the_same_from_everyone() {
    is_the_same(&DEBIAN, &[]);
}

#[test]
fn ubuntu_s_image_is_the_same_from_everyone() {
    is_the_same(&UBUNTU, &[]);
}

#[test]
fn rhel_s_image_is_the_same_from_everyone() {
    is_the_same(&RHEL, &[]);
}

#[test]
fn arm64_s_image_is_the_same_from_everyone() {
    if !full() {
        eprintln!("SKIPPED without BAKE_TEST_FULL: arm64, for which there is no product then");
        return;
    }
    is_the_same(&ARM64, &[]);
}

#[test]
fn an_image_with_signatures_of_one_key_is_the_same_from_everyone() {
    let owner = Owner::new();
    let signs = owner.signs();
    is_the_same(&UNIFIED, &signs.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_root_that_is_guarded_by_verity_is_the_same_from_everyone() {
    is_the_same(&UNIFIED, &["--read-only", "root", "--read-only-format", "erofs", "--role", "slave"]);
    if full() {
        is_the_same(&UNIFIED, &["--read-only", "usr", "--read-only-format", "squashfs"]);
    } else {
        eprintln!("SKIPPED without BAKE_TEST_FULL: squashfs, whose compression takes a minute");
    }
}

/// Bakes it here, and in other surroundings: compressed input, directories, time zone, locale, umask, number of
/// threads, and, where this is root, user.
fn is_the_same(family: &Family, more: &[&str]) {
    let scratch = scratch();
    let plain = family.bake(&scratch.path().join("plain"), more);

    // Others may pass through, and own what is in it.
    fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let compressed = scratch.path().join("input.bin");
    run(Command::new("zstd")
        .args(["-q", "-f", "-1", "-T0", "-o"])
        .args([&compressed, &rootfs(family.rootfs)]));
    let out = scratch.path().join("else where/\u{e4}\u{301}");
    fs::create_dir_all(&out).unwrap();
    let umask = ["sh", "-c", "umask 077 && exec \"$@\"", "sh"];
    let nobody =
        ["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"];
    let mut other = if is_root("baking as another user") {
        chown(&out, Some(65534), Some(65534)).unwrap();
        let mut setpriv = Command::new("setpriv");
        setpriv.args(nobody).args(umask);
        setpriv
    } else {
        let mut shell = Command::new(umask[0]);
        shell.args(&umask[1..]);
        shell
    };
    other.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    other.envs([("TZ", "Pacific/Chatham"), ("LC_ALL", "tr_TR.UTF-8"), ("HOME", "/nonexistent")]);
    other.current_dir("/").arg(bake().get_program()).args(["image", "--quiet", "--no-cache", "--threads=1"]);
    other.arg("--rootfs").arg(&compressed).args(family.arguments()).args(more);
    run(other.arg("--out").arg(&out));

    let other = Baked::read(&out);
    run(Command::new("cmp").args([plain.raw(), other.raw()]));
    for part in ["disk", "boot"] {
        assert_eq!(other.manifest[part], plain.manifest[part], "{part}");
    }
}
