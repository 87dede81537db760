//! Firmware in which one's own keys are enrolled starts what they have signed, and nothing else. Needs QEMU;
//! each start takes seconds.
// Judges are programs; a test says what it skips and ends where something fails.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)]

mod signing;
mod support;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use bake_base::Uuid;
use bake_boot::Architecture;
use bake_boot::sign::{self, Enrolment, Existing};
use bake_tree::{Content, TreePath};
use signing::{EPOCH, certificate, key, loader, run, unified, write};
use support::real;

const CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const REFUSED: &str = "Access Denied";
/// The kernel's own word for it.
const STARTED: &str = "Secure boot enabled";

/// An EFI system partition, without a disk around it: firmware takes that too.
fn partition(files: &[(TreePath, Content)], to: &Path) {
    let staging = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let file = staging.path().join(path.to_string().trim_start_matches('/'));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        write(content, &file);
    }
    let image = to.to_str().unwrap();
    // 256 MiB, said in KiB.
    run("mkfs.vfat", &["-F", "32", "-C", image, "262144"], staging.path());
    for entry in std::fs::read_dir(staging.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        run("mcopy", &["-s", "-i", image, &name, "::"], staging.path());
    }
}

/// A machine that is switched off when nobody watches it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a machine until its console shows one of the texts, or it resets; gives the console.
fn start(partition: &Path, variables: &Path, until: &[&str]) -> String {
    let flash =
        |unit: u8, more: &str, file: &str| format!("if=pflash,format=raw,unit={unit}{more},file={file}");
    let disk = format!("if=none,id=disk,format=raw,cache=unsafe,file={}", partition.display());
    let child = Command::new("qemu-system-x86_64")
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .args(["-machine", "q35,smm=on", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "1024"])
        .args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-device", "virtio-rng-pci"])
        .args(["-drive", &flash(0, ",readonly=on", CODE)])
        .args(["-drive", &flash(1, "", variables.to_str().unwrap())])
        .args(["-drive", &disk, "-device", "virtio-blk-pci,drive=disk"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut machine = Running(child.expect("`ci/install-tools` installs QEMU"));
    let mut console = machine.0.stdout.take().unwrap();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = console.read(&mut buffer) {
            if send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + Duration::from_mins(5);
    let mut said = String::new();
    loop {
        match receive.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(bytes) => said.push_str(&String::from_utf8_lossy(&bytes)),
            Err(RecvTimeoutError::Disconnected) => return said,
            Err(RecvTimeoutError::Timeout) => panic!("nothing of {until:?} within 5 minutes:\n{said}"),
        }
        if until.iter().any(|text| said.contains(text)) {
            return said;
        }
    }
}

fn file(path: &str, content: &Content) -> (TreePath, Content) {
    (TreePath::from_root(path.as_bytes()).unwrap(), content.clone())
}

fn flipped(content: &Content) -> Content {
    let mut bytes = signing::bytes(content);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    Content::bytes(bytes)
}

/// One machine at a time: two would each take twice as long.
fn turn() -> File {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tests");
    std::fs::create_dir_all(&directory).unwrap();
    let turn = File::create(directory.join("machine.lock")).unwrap();
    turn.lock().unwrap();
    turn
}

#[test]
fn in_qemu_firmware_with_own_keys_starts_what_they_signed_and_nothing_else() {
    let Some(tree) = real("debian-12-dracut.tar") else { return };
    let _turn = turn();
    let scratch = tempfile::tempdir().unwrap();
    let (own, other) = (key("own"), key("other"));
    let variables = scratch.path().join("variables.fd");
    std::fs::copy(VARIABLES, &variables).unwrap();
    let at = |name: &str| -> PathBuf { scratch.path().join(name) };

    // The keys get in through systemd-boot, which asks nobody when told so. Owner of the machine is another
    // key than that of its programs.
    let unsigned = unified(&tree, "console=ttyS0");
    let image = sign::sign(&unsigned, &own, Existing::Refuse, EPOCH).unwrap();
    let loader = sign::sign(&loader(&tree, Architecture::X86_64), &own, Existing::Refuse, EPOCH).unwrap();
    let enrolment = Enrolment {
        owner: Uuid::from_u128(1),
        time: EPOCH,
        platform: &other,
        exchange: &other,
        database: &[&certificate("own")],
    };
    let mut files = enrolment.files().unwrap();
    files.push(file("EFI/BOOT/BOOTX64.EFI", &loader));
    files.push(file("EFI/Linux/debian.efi", &image));
    files.push(file("loader/loader.conf", &Content::bytes(&b"timeout 0\nsecure-boot-enroll force\n"[..])));
    partition(&files, &at("loader.img"));
    let console = start(&at("loader.img"), &variables, &["Linux version", "Failed to enroll"]);
    assert!(console.contains("Enrolling secure boot keys"), "{console}");
    assert!(!console.contains("Linux version") && !console.contains("Failed to enroll"), "{console}");

    let console = start(&at("loader.img"), &variables, &[STARTED, REFUSED]);
    assert!(console.contains(STARTED), "{console}");
    let by_other = sign::sign(&unsigned, &other, Existing::Refuse, EPOCH).unwrap();
    let both = sign::sign(&by_other, &own, Existing::Keep, EPOCH).unwrap();
    for (name, program, starts) in [
        ("signed", &image, true),
        ("by another first", &both, true),
        ("unsigned", &unsigned, false),
        ("flipped", &flipped(&image), false),
        ("by another", &by_other, false),
    ] {
        partition(&[file("EFI/BOOT/BOOTX64.EFI", program)], &at(name));
        let console = start(&at(name), &variables, &[STARTED, REFUSED]);
        assert_eq!(console.contains(STARTED), starts, "{name}: {console}");
        assert_eq!(console.contains(REFUSED), !starts, "{name}: {console}");
        std::fs::remove_file(at(name)).unwrap();
    }
}
