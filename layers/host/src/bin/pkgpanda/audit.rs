//! `pkgpanda audit` and `pkgpanda repair`.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use bake_host::Failure;
use bake_host::audit::{self, Options};
use bake_host::repair::{self, Request};
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

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// A serve directory to take content from; without it, packages are fetched from the repository of the host
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    from: Option<PathBuf>,
    /// The repository to fetch packages from
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Undo this override too; may be repeated. Edits that nobody gave a name are always undone
    #[arg(long = "override", value_name = "NAME")]
    overrides: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

/// Puts back what differs. Status 1 if anything differs afterwards.
pub(crate) fn repair(global: &Global, args: RepairArgs) -> Result<ExitCode, Failure> {
    let request = Request {
        from: args.from,
        url: args.url,
        overrides: args.overrides.into_iter().collect(),
        threads: threads(None),
    };
    let host = global.host()?;
    if args.plan {
        let steps = repair::plan(&host, &request)?;
        if global.json {
            print_json(&serde_json::json!({ "steps": steps }))?;
        } else if steps.is_empty() {
            print("nothing to do")?;
        } else {
            print(&steps.join("\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let lock = host.lock(false)?;
    let repaired = repair::repair(&host, &lock, &request, &mut |step| global.say(&step))?;
    if global.json {
        print_json(&repaired)?;
    } else {
        print(repaired.report.to_string().lines().take(5).collect::<Vec<_>>().join("\n").as_str())?;
        repaired.left.iter().try_for_each(|left| print(left))?;
        repaired
            .report
            .overrides
            .iter()
            .try_for_each(|kept| print(&format!("override {} {}", kept.name, kept.path)))?;
    }
    Ok(if repaired.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
