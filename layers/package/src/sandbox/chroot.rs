//! The sandbox of root in an ordinary container, which may make neither name spaces nor mounts: a directory of
//! its own, a user of its own, and the system call filter.
//!
//! ```text
//! bake ([`super::run`])
//!  └─ bake __sandbox ([`serve`])                     root: composes the directory, reaps, ends, takes back
//!      └─ bake __sandbox inside ([`inside`])         chroot, a user without powers, the filter
//!          └─ the build script                       (the same process)
//! ```
//!
//! A chroot holds whoever cannot leave it: that takes CAP_SYS_CHROOT, a descriptor of something outside, or that
//! the own directory is moved out, and a build gets none of the three. Ptrace, signals and files of others are
//! closed by its user id, which nobody else has ([`ids`]). What is missing all the same is told ([`warnings`]).
#![expect(clippy::disallowed_methods, reason = "it starts the stages of the sandbox")]

pub(super) mod ids;
pub(super) mod inside;

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;

use self::ids::Ids;
use super::SUBCOMMAND;
use super::channel::{Channel, During, Failure, Order, Report, wait_readable};
use super::compose::{Composed, link};
use super::owner::{self, Loan};
use super::probe::{self, Finding};
use super::run::COMPOSED;
use super::spec::Spec;

/// What root needs for this sandbox; containers have all of it unless somebody took it away.
const NEEDED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Whether this process is root with little power over the machine, as in a container, so that its builds may have
/// to do without name spaces. The files that they read then get further names, by hard links.
pub fn may_build_in_chroot() -> bool {
    let held = rustix::thread::capabilities(None).map(|sets| sets.effective);
    owner::is_among_others()
        && held.is_ok_and(|held| held.contains(NEEDED) && !held.contains(CapabilitySet::SYS_ADMIN))
}

/// What root lacks for this sandbox; nothing for those who are not root or lack nothing.
pub(super) fn missing() -> Option<String> {
    let held = rustix::thread::capabilities(None).ok()?.effective;
    let missing: Vec<_> = NEEDED.difference(held).iter_names().map(|(name, _)| name).collect();
    (owner::is_among_others() && !missing.is_empty()).then(|| missing.join(", "))
}

/// The first thing that keeps this process from making a whole sandbox, when this one would do.
pub(super) fn reason() -> io::Result<Option<String>> {
    if !may_build_in_chroot() {
        return Ok(None);
    }
    let problem = |finding: Finding| Some(format!("{}: {}", finding.what, finding.problem?));
    Ok(probe::name_spaces(Path::new("/proc/self/exe"))?.into_iter().find_map(problem))
}

/// What protects less than a whole sandbox does, one sentence each.
fn warnings(spec: &Spec, reason: &str) -> Vec<String> {
    let mut warnings = vec![
        format!(
            "builds run in a chroot as a user of their own, neither root nor uid {}, since name spaces are refused \
             ({reason})",
            spec.uid
        ),
        "without a mount name space `/proc` is empty and there are no terminals: what needs `/proc`, `/dev/fd`, \
         `/dev/stdin`, `/dev/stdout` or `/dev/stderr` fails"
            .to_owned(),
        "without a mount name space `/tmp`, `/var/tmp`, `/root`, `/run` and `/dev/shm` lie on the disk: only the \
         space that is to stay free bounds them"
            .to_owned(),
        "without a PID name space process ids are the machine's, and a build outlives `bake __sandbox` when somebody \
         kills that"
            .to_owned(),
        "without an IPC name space shared memory, semaphores and queues of System V and POSIX queues are refused"
            .to_owned(),
        "without a UTS name space builds see the machine's host name".to_owned(),
    ];
    if !spec.network {
        warnings.push(
            "without a network name space all sockets but Unix and netlink ones are refused, loopback included"
                .to_owned(),
        );
    }
    if spec.is_shuffled {
        warnings.push(
            "without file systems in memory directories are listed in the usual order: that a build depends on it \
             is not found"
                .to_owned(),
        );
    }
    warnings
}

/// Runs a build, and leaves everything as it was.
pub(super) fn serve(above: &mut Channel, spec: &Spec, reason: &str) -> Result<(), Failure> {
    let step = || "begin a session".to_owned();
    // Whoever ends `bake` together with its whole group should leave this one to end the build.
    rustix::process::setsid().during(step)?;
    rustix::process::set_child_subreaper(Some(Pid::INIT)).during(step)?;
    for warning in warnings(spec, reason) {
        above.send(&Report::Warning(warning)).during(|| "report".into())?;
    }
    let ids = Ids::claim().during(|| "find a user id for the build".into())?;
    let root = spec.scratch.join(COMPOSED);
    std::fs::create_dir(&root).during(|| format!("make `{}`", root.display()))?;
    let mut composed = Composed::default();
    let mut loan = Loan::new(ids.build);
    let report = link(spec, &root, ids.build, &mut composed).and_then(|()| {
        composed
            .writable()
            .try_for_each(|path| loan.lend(path).during(|| format!("hand over `{}`", path.display())))?;
        build(above, spec, &root, &ids)
    });
    let returned =
        loan.end().map_err(|(path, error)| Failure::new(format!("take over `{}`", path.display()), error));
    let taken = composed.take_back();
    let report = report?;
    returned.and(taken)?;
    report.map_or(Ok(()), |report| above.send(&report).during(|| "report".into()))
}

/// What became of the command; nothing when nobody waits for it any more. None of its processes lives then.
fn build(above: &mut Channel, spec: &Spec, root: &Path, ids: &Ids) -> Result<Option<Report>, Failure> {
    let step = || "wait for the build".to_owned();
    let (waker, woken) = UnixStream::pair().during(step)?;
    waker.set_nonblocking(true).during(step)?;
    woken.set_nonblocking(true).during(step)?;
    signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, waker).during(step)?;
    let (mut below, mut child) =
        start(spec, root, ids).during(|| "start the sandbox's first process".into())?;
    let ended = supervise(above, &mut below, woken, &child).during(step);
    if !matches!(ended, Ok(Some(_))) {
        // It may be root still, whom the other way of ending does not reach.
        let _ = child.kill();
    }
    ids.end_all().during(|| "end the build's processes".into())?;
    ended?.map(|status| last_word(above, &mut below, status).during(step)).transpose()
}

fn start(spec: &Spec, root: &Path, ids: &Ids) -> io::Result<(Channel, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = Command::new("/proc/self/exe")
        .args([SUBCOMMAND, inside::STAGE])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()?;
    let mut below = Channel::new(ours);
    below.send(&Order::RunIn { spec: Box::new(spec.clone()), root: root.to_owned(), id: ids.build })?;
    Ok((below, child))
}

/// Takes in what the stage inside reports, and reaps whatever ends, until the build itself has ended or nobody
/// above listens.
fn supervise(
    above: &mut Channel,
    below: &mut Channel,
    mut woken: UnixStream,
    child: &Child,
) -> io::Result<Option<WaitStatus>> {
    let process = Pid::from_child(child);
    let mut listening = true;
    loop {
        while let Some((ended, status)) = rustix::process::wait(WaitOptions::NOHANG)? {
            if ended == process {
                return Ok(Some(status));
            }
        }
        let [told, reported, _] = if listening {
            wait_readable([above.as_fd(), below.as_fd(), woken.as_fd()], None)?
        } else {
            let [told, woken] = wait_readable([above.as_fd(), woken.as_fd()], None)?;
            [told, false, woken]
        };
        if told && !above.fill()? {
            return Ok(None);
        }
        if reported {
            // It ends when the build takes the place of the stage.
            listening = below.fill()?;
        }
        let _ = woken.read(&mut [0; 256]);
    }
}

/// What became of a build that has ended: it may never have begun.
fn last_word(above: &mut Channel, below: &mut Channel, status: WaitStatus) -> io::Result<Report> {
    while below.fill()? {}
    while let Some(report) = below.pending()? {
        match report {
            Report::Warning(_) => above.send(&report)?,
            report => return Ok(report),
        }
    }
    let killed = || Report::Killed(status.terminating_signal().unwrap_or_default());
    Ok(status.exit_status().map_or_else(killed, Report::Exited))
}
