//! PID 1 of the sandbox: it makes what the build will see, confines itself, starts the build, and reaps.
//!
//! When it ends, the kernel ends every process of its PID name space; so it ends when the command does, when the
//! broker does, or when it is told to.
#![expect(clippy::disallowed_methods, reason = "it starts the build script, in a sandbox")]

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, WaitOptions};
use rustix::thread::CapabilitySet;

use super::broker::make_namespace;
use super::channel::{Channel, During, Failure, Order, Report, wait_readable};
use super::owner::BUILD_ID;
use super::spec::Spec;
use super::{compose, confine, filter, loopback};

/// Runs as PID 1.
pub(super) fn main() -> ExitCode {
    let Ok(mut channel) = Channel::from_stdin() else { return ExitCode::FAILURE };
    let report = match build(&mut channel) {
        Ok(report) => report,
        Err(failure) => Some(failure.into()),
    };
    match report.map(|report| channel.send(&report)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// What became of the command; nothing when nobody waits for it any more.
fn build(channel: &mut Channel) -> Result<Option<Report>, Failure> {
    confine::end_with_parent().during(|| "bind the sandbox's life to bake's".into())?;
    let order = channel.receive().during(|| "read what to run".into())?;
    let Some(Order::Run { spec, as_nobody }) = order else { return Ok(None) };

    rustix::process::setsid().during(|| "begin a session".into())?;
    // When memory runs out, the kernel should end the build rather than the machine's other work.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    rustix::system::sethostname(spec.hostname.as_bytes()).during(|| "set the host name".into())?;
    rustix::system::setdomainname(b"(none)").during(|| "set the domain name".into())?;
    if !spec.network {
        loopback::bring_up().during(|| "bring up the loopback interface".into())?;
    }
    make_namespace(CloneFlags::CLONE_NEWNS, "mount")?;
    compose::enter(&spec, as_nobody.then_some(BUILD_ID))?;
    let kept = if as_nobody { become_nobody(channel, &spec)? } else { confine::KEPT };
    confine_self(channel, &spec, kept)?;

    let (waker, woken) = UnixStream::pair().during(|| "make a socket".into())?;
    waker.set_nonblocking(true).during(|| "make a socket".into())?;
    woken.set_nonblocking(true).during(|| "make a socket".into())?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, waker)
        .during(|| "listen for processes that end".into())?;
    let process = start(&spec)?;
    supervise(channel, woken, process).during(|| "wait for the build".into())
}

/// Root's way to be nobody in particular: a user name space, made last, in which there is nobody else. Gives the
/// capabilities that may be kept.
fn become_nobody(channel: &mut Channel, spec: &Spec) -> Result<CapabilitySet, Failure> {
    let step = || format!("become the user {BUILD_ID}");
    if let Err(error) = unshare(CloneFlags::CLONE_NEWUSER) {
        let warning = format!(
            "the kernel refuses user name spaces ({error}): the build runs as uid {BUILD_ID}, not {}",
            spec.uid
        );
        channel.send(&Report::Warning(warning)).during(step)?;
        // These would be real ones.
        confine::bound_capabilities(CapabilitySet::empty()).during(step)?;
        confine::become_user(BUILD_ID, BUILD_ID).during(step)?;
        return Ok(CapabilitySet::empty());
    }
    channel.send(&Report::MapIds).during(step)?;
    match channel.receive().during(step)? {
        Some(Order::Mapped) => {}
        _ => return Err(Failure::new(step(), io::ErrorKind::ConnectionAborted)),
    }
    confine::become_user(spec.uid, spec.gid).during(step)?;
    Ok(confine::KEPT)
}

fn confine_self(channel: &mut Channel, spec: &Spec, kept: CapabilitySet) -> Result<(), Failure> {
    if !kept.is_empty() {
        confine::bound_capabilities(kept).during(|| "bound the capabilities".into())?;
    }
    confine::reduce_capabilities(kept).during(|| "give up capabilities".into())?;
    confine::end_with_parent().during(|| "bind the sandbox's life to bake's".into())?;
    confine::lock_up().during(|| "close the sandbox's own process".into())?;
    confine::limit(&spec.limits).during(|| "set limits".into())?;
    if let Some(count) = spec.cpus {
        confine::use_processors(count).during(|| format!("use {count} processors"))?;
    }
    confine::restore_signals().during(|| "restore signals".into())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::thread::set_no_new_privs(true).during(|| "give up new privileges".into())?;
    if spec.network {
        // There is no network name space, which would keep them apart.
        if let Err(error) = confine::leave_sockets_alone() {
            let warning = Report::Warning(confine::reachable_sockets(&error));
            channel.send(&warning).during(|| "report".into())?;
        }
    }
    filter::install(filter::Without::default()).during(|| "filter system calls".into())
}

/// Starts the build.
fn start(spec: &Spec) -> Result<Pid, Failure> {
    let step = || format!("run `{}` in `{}`", spec.command.join(" "), spec.working_directory);
    let Some((program, arguments)) = spec.command.split_first() else {
        return Err(Failure::new("run the command", io::ErrorKind::InvalidInput));
    };
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&spec.environment)
        .current_dir(&spec.working_directory)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .during(step)?;
    Ok(Pid::from_child(&child))
}

/// Reaps whatever ends until the build itself has ended.
fn supervise(channel: &mut Channel, mut woken: UnixStream, process: Pid) -> io::Result<Option<Report>> {
    loop {
        while let Some((ended, status)) = rustix::process::wait(WaitOptions::NOHANG)? {
            if ended == process {
                return Ok(status
                    .exit_status()
                    .map(Report::Exited)
                    .or_else(|| status.terminating_signal().map(Report::Killed)));
            }
        }
        let [told, _] = wait_readable([channel.as_fd(), woken.as_fd()], None)?;
        if told && !channel.fill()? {
            return Ok(None);
        }
        // However many signals came: what they tell is looked up above.
        let _ = woken.read(&mut [0; 256]);
    }
}
