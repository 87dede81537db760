//! System calls of a run, as `strace` lists them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Calls that change nothing but the process itself.
const HARMLESS: [&str; 71] = [
    "access",
    "arch_prctl",
    "brk",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "epoll_create1",
    "eventfd2",
    "execve",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fcntl",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getrandom",
    "gettid",
    "getuid",
    "getxattr",
    "ioctl",
    "ioprio_set",
    "lgetxattr",
    "listxattr",
    "llistxattr",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "newfstatat",
    "pipe2",
    "poll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "umask",
    "uname",
    "wait4",
    "waitid",
];
/// Calls that change files, directories and links, or have changes on disk.
const CHANGING: [&str; 44] = [
    "chmod",
    "chown",
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchownat",
    "fdatasync",
    "fremovexattr",
    "fsetxattr",
    "fsync",
    "ftruncate",
    "lchown",
    "link",
    "linkat",
    "lremovexattr",
    "lsetxattr",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "open",
    "openat",
    "openat2",
    "pwrite64",
    "pwritev",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "splice",
    "symlink",
    "symlinkat",
    "syncfs",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
];

/// One call of a run.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// Which one of its name it is, in its thread, from 1 on.
    pub number: usize,
    /// The call as `strace` shows it.
    pub text: String,
}

impl Call {
    /// Whether it may change something outside of the process.
    pub fn changes(&self) -> bool {
        match self.name.as_str() {
            "open" | "openat" | "openat2" => {
                ["O_CREAT", "O_TRUNC", "O_TMPFILE"].iter().any(|flag| self.text.contains(flag))
            }
            // What it says.
            "write" => !["write(1, ", "write(2, "].iter().any(|start| self.text.starts_with(start)),
            name => CHANGING.contains(&name),
        }
    }

    /// Whether it is one of these.
    pub fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// Runs a command in which something happens at this call, as `strace` is to `inject` it.
    pub fn inject(&self, what: &str, command: &Command) -> Command {
        let inject = format!("inject={}:{what}:when={}", self.name, self.number);
        traced(&["-o", "/dev/null", "-e", &inject], command)
    }
}

/// All calls of a command that must succeed, in order; of those that have the same name and number in two threads,
/// the first.
pub fn of(command: &Command, log: &Path) -> Vec<Call> {
    let mut traced = traced(&["-s", "200", "-e", "signal=none", "-o", log.to_str().unwrap()], command);
    crate::wares::succeeds(&mut traced);
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned();
    let (mut counts, mut calls) = (BTreeMap::new(), BTreeMap::new());
    for (place, line) in text.lines().enumerate() {
        let (thread, text) = line.split_once(' ').unwrap();
        let text = text.trim_start();
        let Some((name, _)) = text.split_once('(').filter(|_| !text.starts_with("<...")) else { continue };
        assert!(HARMLESS.contains(&name) || CHANGING.contains(&name), "nobody has judged `{name}`: {text}");
        let number = counts.entry((thread, name)).or_insert(0);
        *number += 1;
        let call = Call { name: name.to_owned(), number: *number, text: text.to_owned() };
        calls.entry((name, *number)).or_insert((place, call));
    }
    let mut calls: Vec<_> = calls.into_values().collect();
    calls.sort_by_key(|(place, _)| *place);
    calls.into_iter().map(|(_, call)| call).collect()
}

/// On one processor: threads that read share their work in another way each time, one does it in the same.
fn traced(arguments: &[&str], command: &Command) -> Command {
    let mut strace = Command::new("taskset");
    strace
        .args(["--cpu-list", "0", "strace", "-f", "-qqq"])
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args());
    strace
}

/// About `count` of `all`, over the whole of it and another part for every `offset`; all of it if that is not more.
pub fn some<T: Clone>(all: &[T], count: usize, offset: usize) -> Vec<T> {
    let step = all.len().div_ceil(count).max(1);
    all.iter().skip(offset % step).step_by(step).cloned().collect()
}
