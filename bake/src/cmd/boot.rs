//! `bake boot`: starts an image in QEMU and judges it by its console.
//!
//! The image is the read-only base of a copy-on-write file, so it stays what it is. The only command that
//! runs another program.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bake_base::ReadAt;
use bake_disk::discoverable;
use bake_image::Size;
use regex::bytes::Regex;
use tempfile::TempDir;

use crate::cli::{AccelArg, BootArgs, DiskArg, FirmwareArg};
use crate::cmd::inspect::open;
use crate::error::{Failure, failed};
use crate::signals::Signals;
use crate::ui::Printer;

/// What a machine of one architecture needs.
struct Machine {
    program: &'static str,
    package: &'static str,
    board: &'static str,
    /// Firmware code and variable store, by the places where distributions keep them.
    firmware: &'static [(&'static str, &'static str)],
    /// The same, of firmware that checks signatures and has the keys of vendors.
    secure_firmware: &'static [(&'static str, &'static str)],
    firmware_package: &'static str,
}

const X86_64: Machine = Machine {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    board: "q35",
    firmware: &[
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ],
    secure_firmware: &[
        ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ],
    firmware_package: "ovmf",
};

const ARM64: Machine = Machine {
    program: "qemu-system-aarch64",
    package: "qemu-system-arm",
    board: "virt",
    firmware: &[
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),
    ],
    secure_firmware: &[("/usr/share/AAVMF/AAVMF_CODE.ms.fd", "/usr/share/AAVMF/AAVMF_VARS.ms.fd")],
    firmware_package: "qemu-efi-aarch64",
};

/// What the console shows before nothing else comes.
const PANIC: &str = "Kernel panic - not syncing";
/// How much of the console an expression can still match, in bytes.
const REMEMBERED: usize = 16 << 10;

/// Longest time until a signal is noticed.
const NOTICE: Duration = Duration::from_millis(100);

/// Boots the image and waits for what is expected. A signal switches the machine off first.
pub fn run(args: &BootArgs) -> Result<(), Failure> {
    let signals = Signals::take_over().map_err(failed("taking signals over"))?;
    signals.hold(|| boot(args, &signals))
}

fn boot(args: &BootArgs, signals: &Signals) -> Result<(), Failure> {
    let expected = args
        .expect
        .iter()
        .map(|text| Regex::new(text).map_err(|error| Failure::usage(format!("--expect: {error}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let scratch = tempfile::tempdir().map_err(failed("making a temporary directory"))?;
    let image =
        fs::canonicalize(&args.image).map_err(failed(&format!("opening `{}`", args.image.display())))?;
    let opened = open(&image)?;
    let machine = machine_for(&opened, &image)?;
    let disk = match opened.format.qemu_driver() {
        Some(driver) => writable_disk(args, &image, driver, &scratch)?,
        None => {
            let raw = scratch.path().join("unpacked.raw");
            unpack(&*opened.disk, &raw).map_err(failed(&format!("unpacking `{}`", image.display())))?;
            writable_disk(args, &raw, "raw", &scratch)?
        }
    };
    let mut command = command(args, machine, &disk, &scratch)?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|error| missing(machine.program, machine.package, &error))?;
    watch(Running(child), &expected, args, signals)
}

/// The architecture, by the type of the root partition.
fn machine_for(opened: &bake_disk::container::Opened, image: &Path) -> Result<&'static Machine, Failure> {
    let table = bake_disk::read_gpt(&*opened.disk)
        .map_err(|error| Failure::new(format!("`{}`: {error}", image.display())))?;
    let has = |kind| table.partitions.iter().any(|partition| partition.type_guid == kind);
    Ok(if has(discoverable::ROOT_ARM64) { &ARM64 } else { &X86_64 })
}

/// Writes a disk of which QEMU does not know the container.
fn unpack(disk: &dyn ReadAt, raw: &Path) -> io::Result<()> {
    let file = File::create_new(raw)?;
    file.set_len(disk.len())?;
    let mut buffer = vec![0; 1 << 20];
    for offset in (0..disk.len()).step_by(buffer.len()) {
        let part = &mut buffer[..(disk.len() - offset).min(1 << 20) as usize];
        disk.read_exact_at(offset, part)?;
        if !bake_base::is_zero(part) {
            file.write_all_at(part, offset)?;
        }
    }
    Ok(())
}

/// The copy-on-write file over the image.
fn writable_disk(args: &BootArgs, image: &Path, format: &str, scratch: &TempDir) -> Result<PathBuf, Failure> {
    let disk = args.keep.clone().unwrap_or_else(|| scratch.path().join("disk.qcow2"));
    if !disk.exists() {
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(image).arg(&disk);
        if let Some(size) = &args.grow {
            let size: Size = size.parse().map_err(|reason| Failure::usage(format!("--grow: {reason}")))?;
            create.arg(size.0.to_string());
        }
        let output = create.output().map_err(|error| missing("qemu-img", "qemu-utils", &error))?;
        if !output.status.success() {
            return Err(Failure::new(format!(
                "qemu-img failed: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
    }
    Ok(disk)
}

fn command(args: &BootArgs, machine: &Machine, disk: &Path, scratch: &TempDir) -> Result<Command, Failure> {
    let mut command = Command::new(machine.program);
    let accel = match args.accel {
        AccelArg::Tcg => ["tcg,thread=multi", "max"],
        AccelArg::Kvm => ["kvm", "host"],
    };
    let is_pc = machine.board == X86_64.board;
    let is_secure = args.firmware == FirmwareArg::UefiSecureBoot;
    // Only code in system management mode may change the store that the keys are in.
    let board = if is_secure && is_pc { "q35,smm=on" } else { machine.board };
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    command.args(["-machine", board, "-accel", accel[0], "-cpu", accel[1], "-smp", "2"]);
    command.args(["-m", &args.memory.to_string(), "-device", "virtio-rng-pci"]);
    if args.firmware == FirmwareArg::Bios {
        if !is_pc {
            return Err(Failure::usage("--firmware bios: this image's architecture has no BIOS"));
        }
    } else {
        let known = if is_secure { machine.secure_firmware } else { machine.firmware };
        let found = known.iter().find(|(code, _)| Path::new(code).exists());
        let (code, variables) = found.ok_or_else(|| {
            Failure::new(format!("no such UEFI firmware is installed: install {}", machine.firmware_package))
        })?;
        let variables = args.variables.as_deref().unwrap_or(Path::new(variables));
        let store = variable_store(args, variables, scratch)?;
        command.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file={code}")]);
        command.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", option(&store)?)]);
        if is_secure && is_pc {
            command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        }
    }
    // What is written is thrown away or can be made again: syncing it would only cost time.
    let drive = format!("if=none,id=disk,format=qcow2,cache=unsafe,file={}", option(disk)?);
    let device = match args.disk {
        DiskArg::Virtio => "virtio-blk-pci,drive=disk,bootindex=1",
        DiskArg::Nvme => "nvme,drive=disk,serial=bake,bootindex=1",
    };
    command.args(["-drive", &drive, "-device", device]);
    for (number, image) in args.attach.iter().enumerate() {
        let format = open(image)?.format;
        let driver = format.qemu_driver().ok_or_else(|| {
            Failure::new(format!("--attach: QEMU cannot read {format}: unpack `{}` first", image.display()))
        })?;
        let drive = format!("if=none,id=other{number},snapshot=on,format={driver},file={}", option(image)?);
        command.args(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive=other{number}")]);
    }
    for credential in &args.credential {
        if !credential.contains('=') {
            return Err(Failure::usage(format!("--credential: `{credential}`: expected NAME=VALUE")));
        }
        // systemd.system-credentials(7): SMBIOS type 11 vendor strings.
        command.args([
            "-smbios",
            &format!("type=11,value=io.systemd.credential:{}", credential.replace(',', ",,")),
        ]);
    }
    if let Some([kernel, initrd, arguments]) = args.kernel.as_deref() {
        command.args(["-kernel", kernel, "-initrd", initrd, "-append", arguments]);
    }
    Ok(command)
}

/// The machine's own store of variables, which begins as a copy of `first` and is kept with the disk.
fn variable_store(args: &BootArgs, first: &Path, scratch: &TempDir) -> Result<PathBuf, Failure> {
    let store = match &args.keep {
        None => scratch.path().join("variables.fd"),
        Some(disk) => {
            let mut beside = disk.clone().into_os_string();
            beside.push(".variables");
            PathBuf::from(beside)
        }
    };
    if !store.exists() {
        fs::copy(first, &store).map_err(failed(&format!("copying `{}`", first.display())))?;
    }
    Ok(store)
}

/// A path as a value in QEMU's option syntax, in which a comma is doubled.
fn option(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().ok_or_else(|| Failure::usage(format!("`{}` is no UTF-8", path.display())))?;
    Ok(text.replace(',', ",,"))
}

/// A machine that is switched off when nobody watches it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left to do about it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watch(
    mut machine: Running,
    expected: &[Regex],
    args: &BootArgs,
    signals: &Signals,
) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let mut console = machine.0.stdout.take().expect("the console is a pipe");
    let mut errors = machine.0.stderr.take().expect("the errors are a pipe");
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = console.read(&mut buffer) {
            if send.send(buffer[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let complaints = thread::spawn(move || {
        let mut text = String::new();
        let _ = errors.read_to_string(&mut text);
        text
    });
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let panic = Regex::new(PANIC).expect("a plain text is a regular expression");
    let mut seen = Vec::new();
    let mut wanted: Vec<&Regex> = expected.iter().collect();
    loop {
        if signals.came() {
            return Err(Failure::new("interrupted"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let missing = if wanted.is_empty() { String::new() } else { unseen(&wanted) };
            let message = format!("after {} seconds the machine still runs{missing}", args.timeout);
            return Err(Failure::new(message));
        }
        match receive.recv_timeout(left.min(NOTICE)) {
            Ok(bytes) => {
                printer.raw(&bytes)?;
                seen.drain(..seen.len().saturating_sub(REMEMBERED));
                seen.extend_from_slice(&bytes);
                wanted.retain(|regex| !regex.is_match(&seen));
                if wanted.is_empty() && !expected.is_empty() {
                    // Consoles end in the middle of lines.
                    return if seen.ends_with(b"\n") { Ok(()) } else { printer.line("") };
                }
                if panic.is_match(&seen) {
                    return Err(Failure::new("the kernel panicked: the console tells why"));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = machine.0.wait().map_err(failed("waiting for QEMU"))?;
    let complaints = complaints.join().unwrap_or_default();
    if !status.success() {
        return Err(Failure::new(format!("QEMU ended with {status}: {}", complaints.trim())));
    }
    if wanted.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("the machine switched off{}", unseen(&wanted))))
    }
}

fn unseen(wanted: &[&Regex]) -> String {
    let texts: Vec<_> = wanted.iter().map(|regex| format!("`{regex}`")).collect();
    format!(", and its console never showed {}", texts.join(", "))
}

fn missing(program: &str, package: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new(format!("`{program}` is not installed: install {package}"))
        }
        _ => Failure::new(format!("starting `{program}` failed: {error}")),
    }
}
