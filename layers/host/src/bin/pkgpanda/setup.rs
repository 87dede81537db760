//! What runs at every boot, and what tells how that went.

use std::env;

use bake_host::Failure;
use bake_host::setup;
use clap::Args;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
pub(crate) struct SetupArgs {
    /// Accepted for scripts of old: services are never waited for
    #[arg(long)]
    no_block_systemd: bool,
}

/// Makes the host what its roles and its generation say.
pub(crate) fn setup(global: &Global, _args: &SetupArgs) -> Result<(), Failure> {
    let done = setup::set_up(&global.host()?, &mut |step| global.say(&log_line(&step)))?;
    if global.json {
        return print_json(&done);
    }
    if done.is_waiting {
        let waiting = "warning: waiting for a role: none in /etc/mesosphere/roles, the credential dcos.roles, the \
                       SMBIOS strings or dcos.roles= of the kernel";
        return print(&log_line(waiting));
    }
    if done.is_removed {
        return print("removed");
    }
    let roles = done.roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    print(&format!("generation {} as {roles}", done.generation))
}

/// Tells how the host is doing.
pub(crate) fn status(global: &Global) -> Result<(), Failure> {
    let status = setup::status(&global.host_to_look()?)?;
    if global.json {
        return print_json(&status);
    }
    status.lines().iter().try_for_each(|line| print(line))
}

#[expect(clippy::disallowed_methods, reason = "systemd says there whether the journal listens")]
/// A step as the journal takes it: warnings have a level, so that they reach consoles that show nothing less.
fn log_line(step: &str) -> String {
    let warning = step.starts_with("warning: ") && env::var_os("JOURNAL_STREAM").is_some();
    format!("{}{step}", if warning { "<4>" } else { "" })
}
