//! Each family boots the way its own users expect: on every firmware that it knows, from one image, with its product
//! and its role, and as a machine with ids of its own from the first boot on. These tests need QEMU.
//!
//! By default each family is booted once, and one of them again; the whole matrix takes `BAKE_TEST_FULL=1` and an hour.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

#[path = "families/keys.rs"]
mod keys;
#[path = "families/labels.rs"]
mod labels;
#[path = "families/matrix.rs"]
mod matrix;
#[path = "families/same.rs"]
mod same;
#[path = "families/script.rs"]
mod script;
mod support;
#[path = "families/units.rs"]
mod units;
#[path = "families/upgrade.rs"]
mod upgrade;

use std::path::Path;

use support::machine::Console;
use support::{Baked, bake_image, made, project, rootfs};

/// What Debian's kernels need for SELinux, which RHEL's do by themselves.
const SELINUX: [&str; 4] = ["--kernel-arg", "security=selinux", "--kernel-arg", "selinux=1"];

/// A family, and what stands in for it.
struct Family {
    profile: &'static str,
    rootfs: &'static str,
    product: &'static str,
    /// For `bake image`.
    arguments: &'static [&'static str],
    role: &'static str,
    selinux: bool,
    /// Everything that its machines start from; the first is booted by default.
    firmware: &'static [&'static str],
    /// Whether they start a second time by default.
    again: bool,
}

/// systemd-boot, as `kernel-install` maintains it.
const DEBIAN: Family = Family {
    profile: "debian",
    rootfs: "debian-12",
    product: "product/small.tar.xz",
    arguments: &[],
    role: "master",
    selinux: false,
    firmware: &["uefi"],
    again: false,
};

/// The same, with all that starts in one file.
const UNIFIED: Family = Family {
    rootfs: "debian-12-dracut",
    arguments: &["--loader", "unified"],
    role: "slave_public",
    ..DEBIAN
};

/// And with a /usr that dm-verity guards.
const VERIFIED: Family =
    Family { arguments: &["--loader", "unified", "--read-only", "usr"], role: "slave", ..UNIFIED };

/// GRUB, as `update-grub` maintains it.
const UBUNTU: Family = Family {
    profile: "ubuntu",
    rootfs: "debian-12-grub",
    role: "master",
    firmware: &["bios", "uefi", "uefi-secure-boot"],
    again: true,
    ..DEBIAN
};

/// GRUB with RHEL's paths, dracut, SELinux.
const RHEL: Family = Family {
    profile: "rhel",
    rootfs: "debian-12-selinux",
    arguments: &SELINUX,
    role: "slave",
    selinux: true,
    firmware: &["uefi-secure-boot", "bios", "uefi"],
    ..DEBIAN
};

/// Another architecture, whose machines know no BIOS.
const ARM64: Family =
    Family { rootfs: "debian-12-arm64", product: "product/small-arm64.tar.xz", role: "slave", ..DEBIAN };

impl Family {
    /// An image with a small product and the witness on the console.
    fn bake(&self, directory: &Path, more: &[&str]) -> Baked {
        let arguments = self.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        bake_image(&rootfs(self.rootfs), directory, &[&arguments[..], more].concat())
    }

    /// For `bake image`, besides the root file system.
    fn arguments(&self) -> Vec<String> {
        let (overlay, product) = (project("tests/overlay"), made(self.product));
        let ours = ["--profile", self.profile, "--overlay", overlay.to_str().unwrap()];
        let product = ["--product", product.to_str().unwrap()];
        let all = ours.iter().chain(&product).chain(self.arguments);
        all.map(|word| (*word).to_owned()).collect()
    }

    /// For `bake boot`: a machine that keeps what it writes in `disk`.
    fn machine(&self, firmware: &str, disk: &Path) -> Vec<String> {
        let role = format!("dcos.roles={}", self.role);
        let words = ["--firmware", firmware, "--memory", "2048", "--credential", &role, "--keep"];
        words.into_iter().chain(disk.to_str()).map(str::to_owned).collect()
    }

    /// The machine started from what it was given, and runs its product.
    fn is_up(&self, console: &Console, firmware: &str, starts: u32) {
        console.runs_as(self.role, starts);
        assert_eq!(console.fact("firmware"), firmware.split('-').next().unwrap());
        // Firmware that cannot check signatures has no such variable.
        let secure = console.fact("secure-boot");
        let is_secure = !matches!(firmware, "bios" | "uefi");
        assert_eq!(secure == "1", is_secure, "{}", console.0);
        let refused = if self.selinux { ("1", "0") } else { ("", "0") };
        assert_eq!((console.fact("selinux"), console.fact("denials")), refused, "{}", console.0);
    }
}

/// The words of a command, and more.
fn with<'a>(machine: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    machine.iter().map(String::as_str).chain(more.iter().copied()).collect()
}
