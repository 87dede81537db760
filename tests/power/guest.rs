//! The smallest machine that runs `pkgpanda` on a disk: a distribution's kernel, its drivers for the disk, and a
//! shell that runs commands and turns the power off.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::record::{Record, SECTOR};
use crate::support::initrd::Initrd;
use crate::support::machine::Turn;
use crate::support::{rootfs, run};

/// Drivers without which the kernel sees no disk.
const DRIVERS: [&str; 2] = ["virtio_pci", "virtio_blk"];
/// How much of a disk is behind the file system, for marks in the record.
pub const MARGIN: u64 = 4096;
/// What the commands are preceded by in the record.
const BEGIN: u8 = b'B';
/// What they are followed by, once they have ended.
const END: u8 = b'E';
/// What is said on the console once the file system is mounted.
const MOUNTED: &str = "power: mounted";
/// What is said once the commands have ended well.
const DONE: &str = "power: done";
/// No machine takes longer.
const LIMIT: Duration = Duration::from_mins(2);

/// A machine's kernel and initrd.
pub struct Guest {
    directory: PathBuf,
}

/// A record with what is known of it.
pub struct Recorded {
    pub record: Record,
    /// The first step of the commands.
    pub begin: usize,
    /// The first step after the commands.
    pub end: usize,
}

impl Guest {
    /// Makes a machine below `directory` that runs `commands` in a shell, with the disk's file system at `/mnt`, mounted
    /// with `options`, and `wares` at `/wares`.
    pub fn new(directory: &Path, size: u64, options: &str, commands: &[String], wares: &Path) -> Self {
        let guest = Self { directory: directory.to_owned() };
        fs::create_dir_all(directory).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(directory)
            .arg("-xf")
            .arg(rootfs("debian-12"))
            .args(["--wildcards", "./boot/vmlinuz-*"]);
        run(tar.args(["./usr/lib/modules/*/modules.dep", "./usr/lib/modules/*/kernel/drivers/[bv]*/virtio*"]));
        fs::rename(only(&directory.join("boot")), directory.join("kernel")).unwrap();
        let modules = only(&directory.join("usr/lib/modules"));
        let mut initrd = Initrd::with_a_shell();
        initrd.directory("mnt");
        let mut loads = String::new();
        for (number, module) in in_order(&modules).iter().enumerate() {
            initrd.file(&format!("{number}.ko"), 0o644, &fs::read(modules.join(module)).unwrap());
            loads.push_str(&format!("insmod /{number}.ko\n"));
        }
        for (mark, name) in [(BEGIN, "begin"), (END, "end")] {
            initrd.file(name, 0o644, &[mark; MARGIN as usize]);
        }
        initrd.tree(wares, "wares");
        let commands: String = commands.iter().map(|command| format!("{command} || fail\n")).collect();
        let place = size / MARGIN;
        let script = format!(
            "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n\
             off() {{ poweroff -n -f; }}\nfail() {{ echo power: failed; off; }}\n\
             mark() {{ dd if=/$1 of=/dev/vda bs={MARGIN} seek={place} oflag=direct 2>/dev/null || fail; }}\n\
             mount -t devtmpfs none /dev\nmount -t proc none /proc\nmount -t sysfs none /sys\n{loads}\
             mount -t ext4 -o {options} /dev/vda /mnt || fail\nsync\nmark begin\necho {MOUNTED}\n{commands}\
             mark end\necho {DONE}\noff\n"
        );
        initrd.file("init", 0o755, script.as_bytes());
        fs::write(directory.join("initrd"), initrd.finish()).unwrap();
        guest
    }

    /// Runs the machine with `disk`, which changes, and gives all that happened to it.
    pub fn record(&self, disk: &Path) -> Recorded {
        let log = self.directory.join("log");
        File::create(&log).unwrap();
        let log = log.to_str().unwrap();
        let sectors =
            format!("driver=blklogwrites,file=disk,log=log,node-name=logged,log-sector-size={SECTOR}");
        let blocks =
            ["-blockdev", &format!("driver=file,filename={log},node-name=log"), "-blockdev", &sectors];
        let _turn = Turn::take();
        let mut machine = self.start(disk, &blocks, "logged");
        machine.finish();
        let size = fs::metadata(disk).unwrap().len() - MARGIN;
        let record = Record::read(Path::new(log));
        let mark = |mark: u8| {
            let is_mark = |step: &_| record.data(step).first() == Some(&mark);
            let found = record.steps.iter().position(|step| step.at == size && is_mark(step));
            found.unwrap_or_else(|| panic!("the record has no mark {}", mark as char))
        };
        let (begin, end) = (mark(BEGIN) + 1, mark(END));
        Recorded { record, begin, end }
    }

    /// Runs the machine to its end, and gives how long its commands took.
    pub fn run(&self, disk: &Path) -> Duration {
        let _turn = Turn::take();
        let mut machine = self.start(disk, &[], "disk");
        machine.mounted();
        let began = Instant::now();
        machine.finish();
        began.elapsed()
    }

    /// Kills the machine when its commands have run for `time`.
    pub fn kill_after(&self, disk: &Path, time: Duration) {
        let _turn = Turn::take();
        let mut machine = self.start(disk, &[], "disk");
        machine.mounted();
        std::thread::sleep(time);
        machine.process.kill().unwrap();
        machine.process.wait().unwrap();
    }

    fn start(&self, disk: &Path, blocks: &[&str], node: &str) -> Machine {
        let console = self.directory.join("console");
        let _ = fs::remove_file(&console);
        let mut command = Command::new("qemu-system-x86_64");
        command.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
            "-no-reboot",
        ]);
        command.arg("-serial").arg(format!("file:{}", console.display()));
        command.arg("-kernel").arg(self.directory.join("kernel"));
        command.arg("-initrd").arg(self.directory.join("initrd"));
        command.args(["-append", "console=ttyS0 quiet panic=-1"]);
        command.arg("-blockdev").arg(format!("driver=file,filename={},node-name=disk", disk.display()));
        command.args(blocks).arg("-device").arg(format!("virtio-blk-pci,drive={node}"));
        let process = command.stdin(Stdio::null()).spawn();
        let process =
            process.unwrap_or_else(|error| panic!("{command:?}: {error}: ci/install-tools installs it"));
        Machine { process, console, began: Instant::now() }
    }
}

/// A machine that is running.
struct Machine {
    process: Child,
    console: PathBuf,
    began: Instant,
}

impl Machine {
    /// Waits until its commands begin.
    fn mounted(&mut self) {
        while !self.said().contains(MOUNTED) {
            self.wait_a_moment();
            assert!(self.process.try_wait().unwrap().is_none(), "the machine went off: {}", self.said());
        }
    }

    /// Waits until the power is off, after its commands ended well.
    fn finish(&mut self) {
        while self.process.try_wait().unwrap().is_none() {
            self.wait_a_moment();
        }
        assert!(self.said().contains(DONE), "the machine failed: {}", self.said());
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    fn wait_a_moment(&self) {
        assert!(self.began.elapsed() < LIMIT, "the machine does not end: {}", self.said());
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It is gone already unless a test failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The only thing in a directory.
fn only(directory: &Path) -> PathBuf {
    let mut entries = fs::read_dir(directory).unwrap();
    let first = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "{} has more than one entry", directory.display());
    first
}

/// The paths of [`DRIVERS`] and of what they need, each after what it needs (modules.dep names the last need first).
fn in_order(modules: &Path) -> Vec<String> {
    let dependencies = fs::read_to_string(modules.join("modules.dep")).unwrap();
    let mut ordered: Vec<String> = Vec::new();
    for driver in DRIVERS {
        let line = dependencies.lines().find(|line| line.contains(&format!("/{driver}.ko:"))).unwrap();
        let (module, needs) = line.split_once(':').unwrap();
        for path in needs.split_whitespace().rev().chain([module]) {
            if !ordered.iter().any(|known| known == path) {
                ordered.push(path.to_owned());
            }
        }
    }
    ordered
}
