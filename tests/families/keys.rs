//! Firmware with keys of one's own starts what they signed, and nothing else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::matrix::is_its_own;
use crate::support::machine::{boot_and_shut_down, refused};
use crate::support::{bake, full, output, rootfs, run, scratch, text};
use crate::{DEBIAN, Family, RHEL, UBUNTU, UNIFIED, VERIFIED, with};

/// A store of variables without keys.
const BLANK: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
/// What the firmware says of a program that no key of its own signed.
const DENIED: &str = "Access Denied";

/// A key, its certificate, and firmware that knows both.
pub struct Owner {
    scratch: TempDir,
}

impl Owner {
    pub fn new() -> Self {
        let owner = Self { scratch: scratch() };
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-noenc", "-sha256", "-days", "3650"]);
        openssl.args(["-subj", "/CN=owner", "-keyout"]).arg(owner.file("key.pem"));
        run(openssl.arg("-out").arg(owner.file("certificate.pem")));
        // For whoever signs with it here.
        for path in [owner.scratch.path(), &owner.file("key.pem")] {
            fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        owner
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// For `bake image`.
    pub fn signs(&self) -> Vec<String> {
        let (certificate, key) = (self.file("certificate.pem"), self.file("key.pem"));
        let words =
            ["--sign-certificate", certificate.to_str().unwrap(), "--sign-key", key.to_str().unwrap()];
        words.map(str::to_owned).to_vec()
    }

    /// Firmware that systemd-boot has given the keys: a store of variables.
    fn enrolled(&self) -> PathBuf {
        let signs = self.signs();
        let image = DEBIAN.bake(&self.file("enrolment"), &with(&signs, &["--enroll"])).raw();
        let disk = self.file("enrolment.qcow2");
        // The machine starts anew when it has them, which is its end here.
        let console = boot_and_shut_down(&image, &with(&secure(&DEBIAN, &disk, Path::new(BLANK)), &[]));
        assert!(console.0.contains("Enrolling secure boot keys"), "{}", console.0);
        assert!(!console.0.contains("Linux version"), "{}", console.0);
        self.file("enrolment.qcow2.variables")
    }
}

/// A machine that checks signatures, with this store to begin with.
fn secure(family: &Family, disk: &Path, variables: &Path) -> Vec<String> {
    let more = ["--variables", variables.to_str().unwrap()];
    with(&family.machine("uefi-secure-boot", disk), &more).into_iter().map(str::to_owned).collect()
}

#[test]
fn in_qemu_machines_with_own_keys_start_what_these_signed_and_nothing_else() {
    let (owner, other) = (Owner::new(), Owner::new());
    let store = owner.enrolled();
    let families: &[&Family] = if full() { &[&UNIFIED, &DEBIAN, &VERIFIED] } else { &[&UNIFIED] };
    for family in families {
        let scratch = scratch();
        let signed = family.bake(&scratch.path().join("signed"), &with(&owner.signs(), &[]));
        let machine = secure(family, &scratch.path().join("signed.qcow2"), &store);
        is_its_own(family, &signed, "uefi-secure-boot", &machine);
        let by_other = family.bake(&scratch.path().join("other"), &with(&other.signs(), &[])).raw();
        let unsigned = family.bake(&scratch.path().join("unsigned"), &[]).raw();
        for (name, image) in [("by another", by_other), ("unsigned", unsigned)] {
            let machine = secure(family, &scratch.path().join(format!("{name}.qcow2")), &store);
            refused(&image, &with(&machine, &[]), DENIED);
        }
    }
}

/// The distribution's packages bring shim and GRUB signed, and would bring them again.
#[test]
fn grub_is_not_signed_with_keys_of_one_s_own() {
    let owner = Owner::new();
    for family in [&UBUNTU, &RHEL] {
        let scratch = scratch();
        let mut command = bake();
        command.args(["image", "--quiet", "--no-cache", "--rootfs"]).arg(rootfs(family.rootfs));
        command.args(family.arguments()).args(owner.signs()).arg("--out").arg(scratch.path());
        let refused = output(&mut command);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(
            said.contains("GRUB and shim are signed by the distribution: choose another loader"),
            "{said}"
        );
        assert!(!scratch.path().join("manifest.json").exists());
    }
}

#[test]
fn in_qemu_vendors_keys_start_no_program_without_their_signature() {
    let scratch = scratch();
    let image = UNIFIED.bake(scratch.path(), &[]).raw();
    refused(&image, &["--firmware", "uefi-secure-boot"], DENIED);
}
