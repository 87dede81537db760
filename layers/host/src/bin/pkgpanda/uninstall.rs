//! `pkgpanda uninstall`.

use std::io::{self, BufRead, IsTerminal, Write};

use bake_host::Failure;
use bake_host::uninstall::{self, Request};
use clap::Args;

use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
#[command(
    after_help = "What stays: containers, images and networks of Docker, kernel settings until the next boot, \
                        and whatever services wrote outside of /var/lib/dcos. Killed at any point, the next boot or \
                        the same command goes on."
)]
pub(crate) struct UninstallArgs {
    /// Remove without asking
    #[arg(long)]
    yes: bool,
    /// Leave /var/lib/dcos with everything in it, and the users that own it
    #[arg(long)]
    keep_state: bool,
    /// Say what would be removed, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    plan: bool,
}

pub(crate) fn uninstall(global: &Global, args: &UninstallArgs) -> Result<(), Failure> {
    let request = Request { root: &global.root, systemd: !global.no_systemd, keep_state: args.keep_state };
    if args.plan || !args.yes {
        let plan = uninstall::plan(&request)?;
        if args.plan && global.json {
            return print_json(&plan);
        }
        let lines = plan.lines();
        if args.plan {
            return lines.iter().try_for_each(|line| print(line));
        }
        confirm(&lines)?;
    }
    let removed = uninstall::run(&request, &mut |step| global.say(step))?;
    if global.json {
        return print_json(&removed);
    }
    removed.kept.iter().try_for_each(|kept| print(&format!("kept {kept}")))
}

/// Asks whoever sits there.
fn confirm(lines: &[String]) -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let message =
            "everything would be removed, and nobody is there to ask: give --yes, or --plan to see what";
        return Err(Failure::new(message));
    }
    let io = |error: io::Error| Failure::new(format!("asking failed: {error}"));
    let mut stderr = io::stderr();
    for line in lines {
        writeln!(stderr, "{line}").map_err(io)?;
    }
    write!(stderr, "Type yes to do all of this: ").map_err(io)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(io)?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new("nothing is removed")) }
}
