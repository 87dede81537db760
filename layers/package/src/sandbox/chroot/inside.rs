//! The stage that becomes the build: it enters the directory and gives everything up on the way.
#![expect(clippy::disallowed_methods, reason = "it becomes the build script, in a sandbox")]

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::thread::CapabilitySet;

use super::super::channel::{Channel, During, Failure, Order, Report};
use super::super::confine;
use super::super::filter::{self, Without};
use super::super::spec::Spec;

/// The argument of this stage.
pub(in crate::sandbox) const STAGE: &str = "inside";

/// Returns only when the build could not begin.
pub(in crate::sandbox) fn main() -> ExitCode {
    let Ok(mut channel) = Channel::from_stdin() else { return ExitCode::FAILURE };
    if let Err(failure) = begin(&mut channel) {
        // When nobody listens, nobody is to be told.
        let _ = channel.send(&Report::from(failure));
    }
    ExitCode::FAILURE
}

fn begin(channel: &mut Channel) -> Result<(), Failure> {
    let order = channel.receive().during(|| "read what to run".into())?;
    let Some(Order::RunIn { spec, root, id }) = order else { return Ok(()) };
    rustix::process::setsid().during(|| "begin a session".into())?;
    // When memory runs out, the kernel should end the build rather than the machine's other work.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    confine::restore_signals().during(|| "restore signals".into())?;
    if let Some(count) = spec.cpus {
        confine::use_processors(count).during(|| format!("use {count} processors"))?;
    }
    enter(&root).during(|| format!("make `{}` the root", root.display()))?;
    // Descriptors of what is outside: none but the channel, which ends with this stage, and the log.
    confine::limit(&spec.limits).during(|| "set limits".into())?;
    confine::become_user(id, id).during(|| format!("become the user {id}"))?;
    confine::reduce_capabilities(CapabilitySet::empty()).during(|| "give up capabilities".into())?;
    confine::end_with_parent().during(|| "bind the sandbox's life to bake's".into())?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::thread::set_no_new_privs(true).during(|| "give up new privileges".into())?;
    if let Err(error) = confine::leave_sockets_alone() {
        let warning = Report::Warning(confine::reachable_sockets(&error));
        channel.send(&warning).during(|| "report".into())?;
    }
    let without = Without { network: !spec.network, ipc: true };
    filter::install(without).during(|| "filter system calls".into())?;
    Err(become_command(&spec))
}

fn enter(root: &Path) -> std::io::Result<()> {
    std::env::set_current_dir(root)?;
    rustix::process::chroot(".")?;
    std::env::set_current_dir("/")
}

/// Becomes the command, or says why not.
fn become_command(spec: &Spec) -> Failure {
    let step = format!("run `{}` in `{}`", spec.command.join(" "), spec.working_directory);
    let Some((program, arguments)) = spec.command.split_first() else {
        return Failure::new("run the command", std::io::ErrorKind::InvalidInput);
    };
    let error = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&spec.environment)
        .current_dir(&spec.working_directory)
        .stdin(Stdio::null())
        .exec();
    Failure::new(step, error)
}
