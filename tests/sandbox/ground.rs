//! A ground for sandboxed builds: a builder root over the machine's own `/usr`, and somebody who builds.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bake_package::sandbox::{Limits, Mount, Outcome, Spec, run};
use serde_json::{Value, json};

/// Where the driver finds its directory.
const DRIVER: &str = "BAKE_SANDBOX_TEST";
/// The driver, as the test runner knows it.
const DRIVER_TEST: &str = "the_driver_of_the_other_tests";
/// What Docker leaves to root.
const CONTAINED: &str = "--bounding-set=-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,\
                         +net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap";
/// Directories of the machine that tests need, of all in `/usr`: there may be a great many files, each of which gets
/// another name for a while.
const NEEDED: [&str; 7] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/share/perl",
    "/usr/lib/ARCH-linux-gnu",
    "/usr/lib/ld-linux-ARCH.so.1",
    "/usr/lib64",
    "/usr/lib/locale",
];
/// `nobody`, who owns nothing.
pub const NOBODY: u32 = 65534;

/// Who runs `bake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Root,
    Nobody,
    /// Whoever runs the tests, when that is not root.
    Me,
    /// Root as an ordinary container has it: with few capabilities and without name spaces.
    Contained,
}

/// Runs a test as everybody there is, and as root in a container.
pub fn everywhere(test: impl Fn(&Ground)) {
    as_everybody(&test);
    if is_root("builds by root in a container") {
        eprintln!("--- as {:?}", Who::Contained);
        test(&Ground::new(Who::Contained));
    }
}

/// Runs a test as everybody there is.
pub fn as_everybody(test: impl Fn(&Ground)) {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED for want of root: builds by root");
    }
    let everybody = if root { &[Who::Root, Who::Nobody][..] } else { &[Who::Me] };
    for who in everybody {
        eprintln!("--- as {who:?}");
        test(&Ground::new(*who));
    }
}

pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED for want of root: {what}");
    }
    root
}

pub struct Ground {
    pub who: Who,
    directory: tempfile::TempDir,
}

/// How a build ended.
#[derive(Debug)]
pub struct Ran {
    pub result: Result<Outcome, String>,
    pub log: String,
}

impl Ran {
    /// It ended with status 0.
    pub fn ok(self) -> String {
        assert!(self.result.as_ref().is_ok_and(Outcome::is_success), "{:?}\n{}", self.result, self.log);
        self.log
    }

    /// It did not end by itself.
    pub fn error(self) -> String {
        self.result.map(|outcome| panic!("{outcome:?}\n{}", self.log)).unwrap_err()
    }
}

impl Ground {
    pub fn new(who: Who) -> Self {
        // The system's own temporary directory: the project's may be closed to others.
        let directory = tempfile::tempdir().unwrap();
        let ground = Self { who, directory };
        let at = |name: &str| ground.at(name);
        fs::set_permissions(ground.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in [
            "root/etc",
            "build",
            "scratch",
            "src",
            "result",
            "dependencies/packages/zlib--1/lib",
            "dependencies/packages/own--1",
        ] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            if fs::symlink_metadata(Path::new("/").join(name)).unwrap().is_symlink() {
                std::os::unix::fs::symlink(format!("usr/{name}"), at("root").join(name)).unwrap();
            }
        }
        fs::write(at("root/etc/os-release"), "ID=test\n").unwrap();
        fs::write(at("build/build"), "#!/bin/sh\n").unwrap();
        fs::write(at("dependencies/packages/zlib--1/lib/libz.so"), "z").unwrap();
        fs::write(at("src/source.c"), "int main;\n").unwrap();
        // Only the sandbox is to stand between the build and these.
        let mut chmod = Command::new("chmod");
        chmod.args(["-R", "a+rwX"]).args(["root", "build", "dependencies"].map(at));
        assert!(chmod.status().unwrap().success());
        fs::copy(std::env::current_exe().unwrap(), at("driver")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_bake"), at("bake")).unwrap();
        if who == Who::Nobody {
            for name in ["", "src", "src/source.c", "result"] {
                chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        ground
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A build by a bash script.
    pub fn spec(&self, script: &str) -> Spec {
        let mount = |source: &str, target: &str, writable| Mount {
            source: Path::new("/").join(self.at(source)),
            target: target.into(),
            writable,
        };
        let environment = [("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("PATH", "/usr/bin:/usr/sbin")];
        let mut mounts = vec![
            mount("/usr", "/usr", false),
            mount("build", "/pkg/build", false),
            mount("src", "/pkg/src", true),
            mount("dependencies", "/opt/mesosphere", false),
            mount("result", "/opt/mesosphere/packages/own--1", true),
        ];
        if self.who == Who::Contained {
            let needed = NEEDED.map(|path| path.replace("ARCH", std::env::consts::ARCH));
            let needed = needed.iter().filter(|path| Path::new(path).exists());
            mounts.splice(..1, needed.map(|path| mount(path, path, false)));
        }
        Spec {
            root: self.at("root"),
            mounts,
            command: ["/usr/bin/bash", "-c", script].map(str::to_owned).into(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            working_directory: "/".into(),
            scratch: self.at("scratch"),
            hostname: "builder".into(),
            uid: 0,
            gid: 0,
            network: false,
            cpus: None,
            limits: Limits {
                processes: 256,
                open_files: 1024,
                file_size: 256 << 20,
                memory: None,
                tmp_size: 16 << 20,
                log_size: 16 << 20,
                disk_reserve: 0,
                timeout: 60,
            },
            is_shuffled: false,
            real_prefix: None,
        }
    }

    /// Builds.
    pub fn run(&self, spec: &Spec) -> Ran {
        self.run_by(spec, &[])
    }

    pub fn script(&self, script: &str) -> Ran {
        self.run(&self.spec(script))
    }

    /// Builds, by a command that starts its arguments.
    pub fn run_by(&self, spec: &Spec, starter: &[&str]) -> Ran {
        let status = self.start_by(spec, starter).wait().unwrap();
        assert!(status.success(), "the driver ended with {status}");
        self.ran()
    }

    pub fn ran(&self) -> Ran {
        let result: Value = serde_json::from_slice(&fs::read(self.at("outcome")).unwrap()).unwrap();
        let number = |key: &str| result[key].as_i64().map(|number| number as i32);
        let warnings = result["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect();
        let log = String::from_utf8_lossy(&fs::read(self.at("log")).unwrap()).into_owned();
        eprintln!("{log}{result}");
        let result = match result["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(Outcome { code: number("code"), signal: number("signal"), warnings }),
        };
        Ran { result, log }
    }

    /// Begins to build.
    pub fn start(&self, spec: &Spec) -> Child {
        self.start_by(spec, &[])
    }

    pub fn start_by(&self, spec: &Spec, starter: &[&str]) -> Child {
        fs::write(self.at("spec"), serde_json::to_vec(spec).unwrap()).unwrap();
        let driver = self.at("driver");
        let arguments = [driver.to_str().unwrap(), "--exact", DRIVER_TEST, "--nocapture"];
        let mut command = self.command_by(&[starter, &arguments].concat());
        command.env(DRIVER, self.directory.path()).stdout(std::process::Stdio::null());
        command.stdin(std::process::Stdio::piped()).spawn().unwrap()
    }

    /// A command as whoever builds.
    pub fn command_by(&self, arguments: &[&str]) -> Command {
        let mut line: Vec<String> = Vec::new();
        if self.who == Who::Nobody {
            line.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
        }
        if self.who == Who::Contained {
            line.extend(["perl", "-e", &without_unshare()].map(str::to_owned));
            line.extend(["setpriv", CONTAINED, "--inh-caps=-all"].map(str::to_owned));
        }
        line.extend(arguments.iter().map(|word| (*word).to_owned()));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        command
    }

    /// Waits until a file appears, in a directory that may lie in the root of the build for the time being.
    pub fn wait_for(&self, name: &str) {
        wait_until(|| self.at(name).exists() || self.at("scratch/root/pkg").join(name).exists());
    }
}

/// A Perl program that starts its arguments where `unshare` is refused, as containers do.
fn without_unshare() -> String {
    let (unshare, prctl) = if cfg!(target_arch = "x86_64") { (272, 157) } else { (97, 167) };
    format!(
        r#"my $filter = pack "(SCCL)4", 0x20, 0, 0, 0, 0x15, 0, 1, {unshare}, 6, 0, 0, 0x50001, 6, 0, 0, 0x7fff0000;
        my $program = pack "S x6 P", 4, $filter; syscall({prctl}, 22, 2, $program) == 0 or die "seccomp: $!";
        exec @ARGV; die"#
    )
}

/// What the driver does when it is started as such: it runs `bake`'s part, as whoever started it.
pub fn drive() {
    let Some(directory) = std::env::var_os(DRIVER) else { return };
    let at = |name: &str| Path::new(&directory).join(name);
    let spec: Spec = serde_json::from_slice(&fs::read(at("spec")).unwrap()).unwrap();
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let (watched, stop_file) = (stop.clone(), at("stop"));
    std::thread::spawn(move || {
        while !stop_file.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        watched.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let mut log = fs::File::create(at("log")).unwrap();
    let result = match run(&at("bake"), &spec, &mut log, &stop) {
        Ok(outcome) => {
            json!({"code": outcome.code, "signal": outcome.signal, "warnings": outcome.warnings})
        }
        Err(error) => json!({"error": error.to_string()}),
    };
    fs::write(at("outcome"), result.to_string()).unwrap();
}

/// Waits until something is so.
pub fn wait_until(so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_mins(1), "it did not happen within a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `key=value` lines of a log.
pub fn facts(log: &str) -> BTreeMap<&str, &str> {
    log.lines().filter_map(|line| line.split_once('=')).collect()
}

/// Whether a process of the machine has this argument; tests choose words that nothing else has.
pub fn is_running(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}
