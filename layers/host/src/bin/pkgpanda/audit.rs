//! `pkgpanda audit` and `pkgpanda repair`.

use std::process::{Command, ExitCode, Stdio};

use bake_host::Failure;
use bake_host::audit::{self, Options};
use clap::Args;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Read only files that have changed since an earlier audit, as their change times tell; without it, everything
    /// is read and nothing trusted
    #[arg(long)]
    incremental: bool,
    /// How many threads read; as many as there are cores if it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

/// Prints what differs. Status 1 if anything does.
pub(crate) fn audit(global: &Global, args: &AuditArgs) -> Result<ExitCode, Failure> {
    give_way();
    let options = Options { incremental: args.incremental, threads: threads(args.threads) };
    let audited = audit::audit(&global.host()?, options)?;
    audited.notes.iter().for_each(|note| crate::complain(note));
    if global.json {
        print_json(&audited.report)?;
    } else {
        print(audited.report.to_string().trim_end())?;
    }
    Ok(if audited.report.clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::disallowed_methods, reason = "what is printed does not depend on the number of threads")]
fn threads(asked: Option<u16>) -> usize {
    let available = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.map_or_else(available, usize::from)
}

/// Has everything else on the host come first: at the processors, and at the disks.
#[expect(clippy::disallowed_methods, reason = "no crate sets the priority at the disks without unsafe code")]
fn give_way() {
    // Neither is worth failing for.
    let _ = rustix::process::setpriority_process(None, 19);
    let _ = Command::new("ionice")
        .args(["-c", "3", "-p", &std::process::id().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
