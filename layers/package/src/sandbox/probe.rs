//! What this machine allows, found out by trying, and which setting to change where it refuses.
#![expect(clippy::disallowed_methods, reason = "it starts a process that tries things")]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use serde::{Deserialize, Serialize};

use super::broker;
use super::channel::{During, Failure};
use super::{SUBCOMMAND, chroot, filter, loopback, owner};

/// The argument of the stage that tries things.
pub(super) const STAGE: &str = "probe";
/// The argument of its child, which is in the new PID name space.
pub(super) const CHILD_STAGE: &str = "probe-child";

/// One thing that the sandbox needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// Nothing when it works; otherwise what the kernel said and which setting to change.
    pub problem: Option<String>,
    /// Whether nothing is built without it.
    pub is_needed: bool,
}

/// Tries everything that the sandbox needs, by the `bake` executable `launcher`, in the order in which it is
/// needed. What comes after the first problem may only follow from it.
pub fn probe(launcher: &Path) -> io::Result<Vec<Finding>> {
    let mut findings = name_spaces(launcher)?;
    let first = findings.iter().position(|finding| finding.problem.is_some());
    if let Some(first) = first.filter(|_| chroot::may_build_in_chroot()) {
        findings.truncate(first + 1);
        findings[first].is_needed = false;
        let what = "a chroot instead, which protects less".to_owned();
        findings.push(Finding { what, problem: None, is_needed: true });
    }
    Ok(findings)
}

/// Tries what a whole sandbox needs.
pub(super) fn name_spaces(launcher: &Path) -> io::Result<Vec<Finding>> {
    let mut command = Command::new(launcher);
    command.args([SUBCOMMAND, STAGE]).env_clear().stdin(Stdio::null());
    let output = command.output()?;
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

/// The stage that tries.
pub(super) fn main() -> ExitCode {
    let privileged = owner::builds_as_nobody();
    let mut tried = true;
    if !privileged {
        tried &= tell("a user name space", broker::enter_user_namespace((0, 0)));
    }
    for (flag, name) in broker::namespaces(false) {
        tried &= tell(&format!("a {name} name space"), broker::make_namespace(flag, name));
    }
    tried &= tell("a mount name space", try_mount());
    tried &= tell("a loopback interface", loopback::bring_up().during(|| "bring up the interface".into()));
    tried &= tell("processes of its own", try_processes());
    if privileged {
        let made = unshare(CloneFlags::CLONE_NEWUSER).during(|| "make a user name space".into());
        tried &= tell("a user name space", made);
    }
    tried &= tell(
        "a system call filter",
        filter::install(filter::Without::default()).during(|| "filter system calls".into()),
    );
    if tried { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The stage in the PID name space.
pub(super) fn child() -> ExitCode {
    match mount("proc", "/proc", "proc", MountFlags::empty(), None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(u8::try_from(error.raw_os_error()).unwrap_or(1)),
    }
}

/// Prints a finding as a line of JSON; whether it could be.
fn tell(what: &str, result: Result<(), Failure>) -> bool {
    let problem = result.err().map(|Failure { step, error }| {
        let remedy = remedy(&step, error.raw_os_error()).map_or(String::new(), |text| format!("; {text}"));
        format!("cannot {step}: {error}{remedy}")
    });
    let finding = Finding { what: what.to_owned(), problem, is_needed: true };
    let Ok(mut line) = serde_json::to_vec(&finding) else { return false };
    line.push(b'\n');
    io::stdout().write_all(&line).is_ok()
}

fn try_mount() -> Result<(), Failure> {
    broker::make_namespace(CloneFlags::CLONE_NEWNS, "mount")?;
    let step = || "mount a file system in memory".to_owned();
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).during(step)?;
    mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None).during(step)
}

fn try_processes() -> Result<(), Failure> {
    let step = || "mount the name space's own processes".to_owned();
    let status =
        Command::new("/proc/self/exe").args([SUBCOMMAND, CHILD_STAGE]).env_clear().status().during(step)?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Failure::new(step(), io::Error::from_raw_os_error(code.unwrap_or(1)))),
    }
}

/// Which setting to change when the kernel refuses a step of making the sandbox; nothing when the cause is not
/// a refusal.
pub(super) fn remedy(step: &str, errno: Option<i32>) -> Option<String> {
    use nix::libc::{EACCES, EINVAL, ENOSPC, ENOSYS, EPERM, EUSERS};
    let refused = matches!(errno?, EPERM | EACCES | ENOSPC | EUSERS | ENOSYS | EINVAL);
    let of_name_spaces = step.contains("name space") || step.starts_with("mount a file system in memory");
    if !refused || !of_name_spaces {
        return None;
    }
    let setting = |path: &str| fs::read_to_string(Path::new("/proc/sys").join(path)).ok();
    let is = |path, value| setting(path).is_some_and(|text| text.trim() == value);
    let mut causes = Vec::new();
    if is("user/max_user_namespaces", "0") || matches!(errno?, ENOSPC | EUSERS) {
        causes.push("no more user name spaces are allowed: `sysctl user.max_user_namespaces=15000`");
    }
    if is("kernel/unprivileged_userns_clone", "0") {
        causes.push("user name spaces are for root alone: `sysctl kernel.unprivileged_userns_clone=1`");
    }
    if is("kernel/apparmor_restrict_unprivileged_userns", "1") {
        causes.push(
            "AppArmor restricts user name spaces: write a profile for `bake` with `flags=(unconfined)` and the \
             rule `userns,` to /etc/apparmor.d/bake and load it by `apparmor_parser -r`, or \
             `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
        );
    }
    if is_filtered() {
        causes.push(
            "this is a container that filters system calls: start it with `--security-opt seccomp=unconfined \
             --security-opt systempaths=unconfined`, or with `--cap-add SYS_ADMIN` and as root",
        );
    }
    if causes.is_empty() {
        causes.push(
            "the kernel needs user name spaces for this (`CONFIG_USER_NS`, no chroot around, no masked /proc); \
             as root with CAP_SYS_ADMIN it works without them",
        );
    }
    let missing = chroot::missing();
    let chroot = missing.map(|missing| format!("as root with {missing} it would build in a chroot"));
    Some(causes.into_iter().map(str::to_owned).chain(chroot).collect::<Vec<_>>().join("; "))
}

/// Whether a filter is on this process already.
fn is_filtered() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}
