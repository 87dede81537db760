//! `bake image` as somebody without any privilege, seen from outside by `strace`: it computes, and touches
//! nothing but its inputs and its output.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{is_root, made, output, project, rootfs, run, text};

/// `nobody`, who owns nothing.
const NOBODY: u32 = 65534;

/// Whatever names a system call's file, by these calls.
const FILE_CALLS: &str = "%file";
/// Calls that would need a privilege, run a program, or leave the machine.
const FORBIDDEN: [&str; 22] = [
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "fsopen",
    "fsmount",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "socket",
    "socketpair",
    "connect",
    "bind",
    "sendto",
    "ptrace",
    "init_module",
    "finit_module",
    "mknod",
    "mknodat",
];
/// What makes one process out of another, and programs out of processes.
const PROCESS_CALLS: &str = "execve,execveat,fork,vfork,clone,clone3,ioctl";

/// A directory under the system's own temporary one: the project's may be closed to others.
fn open_scratch() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    scratch
}

/// Copies an input to where everybody can read it.
fn copied(from: &Path, directory: &Path) -> PathBuf {
    let to = directory.join(from.file_name().unwrap());
    run(Command::new("cp").args(["-r", "--sparse=always"]).arg(from).arg(&to));
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&to));
    to
}

/// A whole bake with product and overlay under `strace`, by nobody, who may not even make user namespaces.
struct Traced {
    scratch: tempfile::TempDir,
    lines: Vec<String>,
}

impl Traced {
    fn new(input: impl Fn(&Path) -> PathBuf, more: &[&str]) -> Self {
        let scratch = open_scratch();
        let at = |name: &str| scratch.path().join(name);
        let bake = copied(Path::new(support::bake().get_program()), scratch.path());
        let product = copied(&made("product/bootstrap.tar.xz"), scratch.path());
        let overlay = copied(&project("tests/overlay"), scratch.path());
        let rootfs = input(scratch.path());
        fs::create_dir(at("home")).unwrap();
        let mut command = Command::new("setpriv");
        if is_root("dropping privileges that are not there") {
            chown(at("home"), Some(NOBODY), Some(NOBODY)).unwrap();
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        }
        let calls = format!("{FILE_CALLS},{PROCESS_CALLS},{}", FORBIDDEN.join(","));
        command
            .args(["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"])
            .args(["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-o", "home/trace", "-e"])
            .arg(format!("trace={calls}"))
            .arg(bake)
            .args(["image", "--quiet", "--format", "raw,qcow2", "--out", "home/out", "--rootfs"])
            .arg(rootfs)
            .arg("--product")
            .arg(product)
            .arg("--overlay")
            .arg(overlay)
            .args(more)
            .current_dir(scratch.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        run(&mut command);
        let trace = fs::read_to_string(at("home/trace")).unwrap();
        Self { scratch, lines: trace.lines().map(str::to_owned).collect() }
    }

    fn at(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().unwrap().to_owned()
    }

    /// The lines with one of these calls.
    fn calls<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
        let call = |line: &str| {
            let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
            call.split('(').next().unwrap_or_default().to_owned()
        };
        self.lines.iter().map(String::as_str).filter(move |line| names.contains(&call(line).as_str()))
    }

    /// Nothing is run, mounted, connected or opened that should not be.
    fn is_harmless(&self) {
        assert!(!self.lines.is_empty());
        let programs: Vec<_> = self.calls(&["execve", "execveat"]).collect();
        assert_eq!(programs.len(), 1, "other programs were run: {programs:#?}");
        assert_eq!(self.calls(&FORBIDDEN).next(), None);
        assert_eq!(self.calls(&["fork", "vfork"]).next(), None);
        for line in self.calls(&["clone", "clone3"]) {
            assert!(line.contains("CLONE_THREAD") && !line.contains("CLONE_NEW"), "no mere thread: {line}");
        }
        for line in self.calls(&["ioctl"]) {
            // Whether standard error is a terminal, and sharing blocks of files with the cache.
            assert!(["TCGETS", "FICLONE", "TIOCGWINSZ"].iter().any(|known| line.contains(known)), "{line}");
        }
        for line in self.calls(&["open", "openat", "openat2", "creat"]) {
            assert!(!line.contains("\"/dev"), "a device was opened: {line}");
        }
        self.writes_only_its_outputs();
    }

    /// Whatever is opened for writing, made, named or removed lies in the output directory or its parent.
    fn writes_only_its_outputs(&self) {
        let home = self.at("home");
        let mut written = BTreeSet::new();
        for line in self.calls(&["open", "openat", "openat2", "creat"]) {
            if ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE", "creat("].iter().any(|flag| line.contains(flag))
            {
                written.insert(line);
            }
        }
        let names = [
            "mkdir",
            "mkdirat",
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "symlink",
            "symlinkat",
            "unlink",
            "unlinkat",
            "rmdir",
            "truncate",
            "chmod",
            "fchmodat",
            "chown",
            "lchown",
            "fchownat",
            "utimensat",
            "setxattr",
            "lsetxattr",
        ];
        written.extend(self.calls(&names));
        assert!(written.len() > 3, "outputs are written somehow: {written:#?}");
        for line in written {
            // Paths are relative to the scratch directory, as the command line gave them; `-y` adds whole ones.
            let paths = line.split('"').skip(1).step_by(2);
            for path in paths.filter(|path| !path.starts_with("/proc/self/fd/")) {
                let inside = path == "home" || path.starts_with("home/") || path.starts_with(&home);
                assert!(inside || is_below(line, &home), "written outside of the output: {line}");
            }
        }
    }
}

/// Whether a call is relative to a directory below `home`, whose path `-y` shows.
fn is_below(line: &str, home: &str) -> bool {
    line.contains(&format!("<{home}"))
}

#[test]
fn a_bake_runs_nothing_mounts_nothing_opens_no_device_and_asks_no_network() {
    let traced = Traced::new(|directory| copied(&rootfs("debian-12"), directory), &["--no-cache"]);
    traced.is_harmless();
    let out = traced.scratch.path().join("home/out");
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));
    let left: BTreeSet<_> = fs::read_dir(traced.scratch.path().join("home"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["out", "trace"].map(Into::into).into_iter().collect());
}

#[test]
fn a_bake_of_a_compressed_input_with_a_cache_writes_only_there_beside_its_output() {
    let compressed = |directory: &Path| {
        let to = directory.join("rootfs.tar.zst");
        run(Command::new("zstd")
            .args(["-q", "-1", "-T0"])
            .arg(rootfs("debian-12-dracut"))
            .arg("-o")
            .arg(&to));
        to
    };
    // This root file system sets no clock, which the whole product asks for.
    let more = ["--cache", "home/cache", "--loader", "unified", "--role", "master", "--skip", "clock"];
    let traced = Traced::new(compressed, &more);
    traced.is_harmless();
    let cached = traced.scratch.path().join("home/cache/layers/sha256");
    assert!(fs::read_dir(cached).unwrap().count() >= 2, "the decoded layer was kept");
}

/// The proof that the tests above are about somebody without privileges.
#[test]
fn nobody_may_neither_mount_nor_make_devices() {
    if !is_root("dropping privileges") {
        return;
    }
    for program in
        [&["mount", "-t", "tmpfs", "none", "/mnt"][..], &["mknod", "/tmp/bake-device", "b", "7", "0"]]
    {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]);
        let output = output(command.args(["--inh-caps=-all", "--bounding-set=-all"]).args(program));
        assert!(!output.status.success(), "{program:?}: {}", text(&output.stdout));
    }
}
