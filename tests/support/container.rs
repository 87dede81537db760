//! Containers: a real Debian under its own systemd, which takes seconds where a machine takes a minute.
//!
//! All share one extracted root file system below an overlay, so that a fresh one costs a mount.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{output, project, rootfs, run, scratch, text};

/// How long a boot, a shutdown or a unit may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// A root file system of one's own, gone with the value.
pub struct Root {
    directory: TempDir,
}

impl Root {
    /// Debian 12 as `ci/rootfs` made it.
    pub fn debian() -> Self {
        Self::of("debian-12")
    }

    /// A root file system that `ci/rootfs` made, by its name.
    pub fn of(name: &str) -> Self {
        let lower = extracted(name);
        let directory = scratch();
        for name in ["upper", "work", "root"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let shown = |name: &str| directory.path().join(name).display().to_string();
        let layers =
            format!("lowerdir={},upperdir={},workdir={}", lower.display(), shown("upper"), shown("work"));
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "overlay", "overlay", "-o", &layers]).arg(directory.path().join("root")));
        Self { directory }
    }

    /// What somebody has mounted at `root` in a directory.
    pub fn mounted(directory: TempDir) -> Self {
        Self { directory }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    /// Something in it, by its path without a leading slash.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }
}

impl Root {
    /// Brings a program of this machine with the libraries that it needs and the root does not have.
    pub fn bring(&self, program: &str) {
        let found = run(Command::new("sh").args(["-c", &format!("command -v {program}")]));
        let found = Path::new(found.trim());
        fs::copy(found, self.at("usr/sbin").join(program)).unwrap();
        // Scripts have no libraries.
        let libraries = text(&output(Command::new("ldd").arg(found)).stdout);
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let place = self.at("usr/lib/x86_64-linux-gnu").join(Path::new(library).file_name().unwrap());
            if !place.exists() {
                fs::copy(library, place).unwrap();
            }
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Lazily, since a test that failed may have left something at work in it.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// The root file system that all have below, extracted once and kept.
fn extracted(name: &str) -> PathBuf {
    let directory = project("target/containers");
    fs::create_dir_all(&directory).unwrap();
    let directory = directory.canonicalize().unwrap();
    let lock = File::create(directory.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let (tar, root) = (rootfs(name), directory.join(name));
    // A tar that was made again has another time.
    let stamp = format!("{:?}", fs::metadata(&tar).unwrap().modified().unwrap());
    let stamp_file = directory.join(format!("{name}.stamp"));
    if fs::read_to_string(&stamp_file).ok().as_deref() != Some(&stamp) {
        let _ = fs::remove_dir_all(&root);
        super::extract(&tar, &root);
        fs::write(&stamp_file, &stamp).unwrap();
    }
    root
}

/// Hierarchies of control groups in which units are: one of them is there, or the last two.
const GROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];

/// Runs `"$@"` in groups of its own, called `$0`. Containers in one group would have each other's units in theirs,
/// since those have the same names.
const IN_GROUPS: &str = r#"
for place in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -w "$place/cgroup.procs" ] || continue
    mkdir "$place/$0" && echo $$ >"$place/$0/cgroup.procs" || exit
done
exec "$@""#;

/// A network of containers that is connected to nothing else. It ends with the value.
pub struct Bridge {
    name: String,
}

impl Bridge {
    /// A new one.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bk{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run(Command::new("ip").args(["link", "add", &name, "type", "bridge"]));
        let bridge = Self { name };
        run(Command::new("ip").args(["link", "set", &bridge.name, "up"]));
        bridge
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.name]).status();
    }
}

/// A booted container. It ends with the value.
pub struct Container<'a> {
    nspawn: Child,
    leader: u32,
    root: &'a Root,
    console: PathBuf,
    name: String,
}

impl<'a> Container<'a> {
    /// Boots `root` with a network of its own, which is a loopback device, and waits until it is up. `binds` are
    /// directories of this machine that it may read, and where.
    pub fn boot(root: &'a Root, binds: &[(&Path, &str)]) -> Self {
        Self::start(root, binds, "--private-network")
    }

    /// The same with an interface `host0` at a bridge, which has this address (`ADDRESS/BITS`) when all is up.
    pub fn boot_at(root: &'a Root, binds: &[(&Path, &str)], bridge: &Bridge, address: &str) -> Self {
        let container = Self::start(root, binds, &format!("--network-bridge={}", bridge.name));
        container.run(&format!("ip address add {address} dev host0 && ip link set host0 up"));
        container
    }

    fn start(root: &'a Root, binds: &[(&Path, &str)], network: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("bake-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let console = root.directory.path().join(format!("{name}.console"));
        let log = File::create(&console).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", IN_GROUPS, &name, "systemd-nspawn"]);
        // Without machined and without a scope: this machine need not run systemd.
        command.args(["--quiet", "--register=no", "--keep-unit", "--console=pipe", network]);
        command.arg(format!("--machine={name}")).arg("--directory").arg(root.path());
        for (from, to) in binds {
            command.arg(format!("--bind-ro={}:{to}", from.display()));
        }
        command.arg("--boot").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let nspawn = command.spawn().expect("`ci/install-tools` installs systemd-container");
        let mut container = Self { nspawn, leader: 0, root, console, name };
        container.wait_for("the end of its boot", |container| {
            // The first child that there ever is prepares the container and ends; then its init has its place.
            container.leader = container.children().first().copied().unwrap_or(0);
            container.leader != 0 && matches!(container.state().as_str(), "running" | "degraded")
        });
        container
    }

    fn children(&mut self) -> Vec<u32> {
        if let Some(status) = self.nspawn.try_wait().unwrap() {
            panic!("systemd-nspawn ended with {status}:\n{}", self.console());
        }
        let id = self.nspawn.id();
        // Before, it is the shell with children of its own.
        if !fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default().starts_with("systemd-nspawn") {
            return Vec::new();
        }
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    /// What it wrote on its console.
    pub fn console(&self) -> String {
        text(&fs::read(&self.console).unwrap_or_default())
    }

    /// Its root file system.
    pub fn root(&self) -> &Root {
        self.root
    }

    /// What its systemd says of the system as a whole.
    pub fn state(&self) -> String {
        text(&output(&mut self.command("systemctl is-system-running")).stdout).trim().to_owned()
    }

    /// A shell command in it, as root, in a process group of its own.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.leader));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]);
        command.args(["/bin/bash", "-c", script]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/root");
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Runs a shell command that must succeed, and gives what it printed.
    pub fn run(&self, script: &str) -> String {
        run(&mut self.command(script))
    }

    /// Runs a shell command that may fail.
    pub fn output(&self, script: &str) -> Output {
        output(&mut self.command(script))
    }

    /// Waits until a shell command succeeds.
    pub fn until(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.output(script).status.success() {
            assert!(Instant::now() < end, "{script}: never\n{}\n{}", self.journal(), self.console());
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Its journal since the boot.
    pub fn journal(&self) -> String {
        text(&self.output("journalctl --boot --no-pager --output=short-monotonic").stdout)
    }

    fn wait_for(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "a container waited in vain for {what}:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Shuts it down as its own systemd does.
    pub fn power_off(mut self) {
        self.run("systemctl poweroff");
        let end = Instant::now() + PATIENCE;
        while self.nspawn.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "a container does not end:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // The kernel ends everything in a container with its first process.
        if self.leader != 0 && matches!(self.nspawn.try_wait(), Ok(None)) {
            let _ = Command::new("kill").args(["-KILL", &self.leader.to_string()]).status();
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        for groups in GROUPS.map(|place| Path::new(place).join(&self.name)) {
            // The last processes may still be on their way.
            for _ in 0..50 {
                let _ = Command::new("find")
                    .arg(&groups)
                    .args(["-depth", "-type", "d", "-delete"])
                    .stderr(Stdio::null())
                    .status();
                if !groups.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}
