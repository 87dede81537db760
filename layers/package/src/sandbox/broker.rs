//! The stage between `bake` and PID 1: it makes the name spaces, since a process cannot enter a PID name space
//! itself, and stays outside of them.
#![expect(clippy::disallowed_methods, reason = "it starts the next stage of the sandbox")]

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

use super::channel::{Channel, During, Failure, Order, Report, wait_readable};
use super::owner::{self, BUILD_ID};
use super::spec::Spec;
use super::{SUBCOMMAND, chroot, confine, init, probe};

/// What `bake __sandbox` does. It must come first in `main`: a process with several threads cannot enter a user
/// name space.
pub fn enter() -> ExitCode {
    match std::env::args().nth(2).as_deref() {
        None => main(),
        Some(probe::STAGE) => probe::main(),
        Some(probe::CHILD_STAGE) => probe::child(),
        Some(chroot::inside::STAGE) => chroot::inside::main(),
        Some(chroot::ids::STAGE) => chroot::ids::end(),
        Some(_) => init::main(),
    }
}

fn main() -> ExitCode {
    if close_inherited().is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(mut above) = Channel::from_stdin() else { return ExitCode::FAILURE };
    match serve(&mut above) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // When nobody listens, nobody is to be told.
            let _ = above.send(&Report::from(failure));
            ExitCode::FAILURE
        }
    }
}

/// Closes what whoever started `bake` left open: it would reach the build.
fn close_inherited() -> io::Result<()> {
    let mut numbers: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // The one that listed them is closed already.
        let _ = nix::unistd::close(number);
    }
    Ok(())
}

fn serve(above: &mut Channel) -> Result<(), Failure> {
    let Some(Order::Run { spec, as_nobody }) = above.receive().during(|| "read what to run".into())? else {
        return Ok(());
    };
    let reason = chroot::reason().during(|| "find out what this machine allows".into())?;
    if let Some(reason) = reason {
        // It outlives `bake`, whose end it learns, for as long as it takes to end the build and clean up.
        return chroot::serve(above, &spec, &reason);
    }
    confine::end_with_parent().during(|| "bind the sandbox's life to bake's".into())?;
    if !as_nobody {
        if owner::is_among_others() {
            let warning = "bake is root without CAP_SYS_ADMIN: the number of processes is not limited";
            above.send(&Report::Warning(warning.into())).during(|| "report".into())?;
        }
        enter_user_namespace((spec.uid, spec.gid))?;
    }
    for (flag, name) in namespaces(spec.network) {
        make_namespace(flag, name)?;
    }
    let step = || "start the sandbox's first process".to_owned();
    let (mut below, mut child) = start_init().during(step)?;
    below.send(&Order::Run { spec: spec.clone(), as_nobody }).during(step)?;
    let result = relay(above, &mut below, &child, &spec).during(|| "wait for the build".into());
    // Once this has been waited for, nothing of the sandbox lives.
    let _ = child.kill();
    child.wait().during(|| "wait for the sandbox's end".into())?;
    result
}

/// An ordinary user's way to the other name spaces.
pub(super) fn enter_user_namespace(inside: (u32, u32)) -> Result<(), Failure> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).during(|| "make a user name space".into())?;
    map_ids("self", inside, (uid, gid), true).during(|| "map ids into the user name space".into())?;
    // Without these, a uid other than 0 would lose its powers over the name space at the next `exec`.
    let held = rustix::thread::capabilities(None).during(|| "read capabilities".into())?.permitted;
    confine::reduce_capabilities(held).during(|| "keep capabilities in the user name space".into())
}

/// Maps the build's ids to one user and group of the machine.
fn map_ids(process: &str, inside: (u32, u32), outside: (u32, u32), ordinary: bool) -> io::Result<()> {
    let write = |name: &str, text: String| fs::write(format!("/proc/{process}/{name}"), text);
    if ordinary {
        // Groups can deny access, so giving them up is a privilege; the kernel wants this said.
        write("setgroups", "deny".into())?;
    }
    write("gid_map", format!("{} {} 1\n", inside.1, outside.1))?;
    write("uid_map", format!("{} {} 1\n", inside.0, outside.0))
}

/// The name spaces that the broker makes for PID 1. The mount name space is PID 1's own affair: moving into a new
/// root moves every process of the same mount name space.
pub(super) fn namespaces(network: bool) -> Vec<(CloneFlags, &'static str)> {
    let mut namespaces = vec![
        (CloneFlags::CLONE_NEWPID, "PID"),
        (CloneFlags::CLONE_NEWIPC, "IPC"),
        (CloneFlags::CLONE_NEWUTS, "UTS"),
        (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
    ];
    if !network {
        namespaces.push((CloneFlags::CLONE_NEWNET, "network"));
    }
    namespaces
}

pub(super) fn make_namespace(flag: CloneFlags, name: &str) -> Result<(), Failure> {
    unshare(flag).during(|| format!("make a {name} name space"))
}

fn start_init() -> io::Result<(Channel, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .args([SUBCOMMAND, "init"])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    Ok((Channel::new(ours), child))
}

/// Passes on what PID 1 reports until it ends, or until nobody above listens.
fn relay(above: &mut Channel, below: &mut Channel, child: &Child, spec: &Spec) -> io::Result<()> {
    loop {
        let [told, reported] = wait_readable([above.as_fd(), below.as_fd()], None)?;
        if told && !above.fill()? {
            return Ok(());
        }
        if !reported {
            continue;
        }
        let goes_on = below.fill()?;
        while let Some(report) = below.pending()? {
            match report {
                Report::MapIds => {
                    map_ids(&child.id().to_string(), (spec.uid, spec.gid), (BUILD_ID, BUILD_ID), false)?;
                    below.send(&Order::Mapped)?;
                }
                report => above.send(&report)?,
            }
        }
        if !goes_on {
            return Ok(());
        }
    }
}
