//! `pkgpanda upgrade`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bake_base::Digest;
use bake_host::fetch::Url;
use bake_host::upgrade::{self, Checks, Outcome, Request, Source};
use bake_host::{Failure, check};
use clap::Args;

use crate::complain;
use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
#[command(after_help = "\
With --root, the programs by which packages tell whether the host is well are those of the host there, but they run on
this machine, as whoever runs this, and look at it: --skip-checks runs none.")]
pub(crate) struct UpgradeArgs {
    /// The product: product.json of a serve directory
    #[arg(long, value_name = "FILE")]
    product: PathBuf,
    /// The digest that this document must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    #[command(flatten)]
    source: SourceArgs,
    /// The archive with the product's secrets; without it, the host keeps those that it has
    #[arg(long, value_name = "TAR")]
    secrets: Option<PathBuf>,
    /// Ask neither before nor after whether the host is well
    #[arg(long)]
    skip_checks: bool,
    /// Stay with the new product, however the host is with it
    #[arg(long)]
    no_rollback: bool,
    /// How long the host may take to be well
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    timeout: u64,
    /// Bring packages, print what would change, and change nothing else
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SourceArgs {
    /// The directory that the files of the product lie in, by the paths that it names
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The serve directory: http://, https:// or file://
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

/// Prints what happens. Status 1 if the host is not well with the new product.
pub(crate) fn upgrade(global: &Global, args: UpgradeArgs) -> Result<ExitCode, Failure> {
    let source = match (args.source.from, args.source.url) {
        (Some(from), _) => Source::Directory(from),
        (None, Some(url)) => Source::Server(url),
        (None, None) => return Err(Failure::new("the product's files are missing: give --from or --url")),
    };
    let checks = Checks { timeout: Duration::from_secs(args.timeout), rollback: !args.no_rollback };
    let checks = (!args.skip_checks).then_some(checks);
    let request =
        Request { product: args.product, sha256: args.sha256, source, secrets: args.secrets, checks };
    let host = global.host()?;
    let lock = host.lock(false)?;
    let say = &mut |step: String| global.say(&step);
    let ready = upgrade::prepare(&host, &lock, &request, say)?;
    if args.plan {
        let plan = upgrade::plan(&host, &ready)?;
        if global.json {
            print_json(&plan)?;
        } else {
            plan.lines().iter().try_for_each(|line| print(line))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(note) = check::elsewhere(&host).filter(|_| request.checks.is_some()) {
        complain(&format!("note: {note}"));
    }
    let upgraded = upgrade::upgrade(&host, &lock, ready, request.checks, say)?;
    for line in &upgraded.unwell {
        complain(line);
    }
    if global.json {
        print_json(&upgraded)?;
    } else {
        upgraded.notes.iter().try_for_each(|note| print(&format!("note: {note}")))?;
    }
    let (number, config_id) = (upgraded.generation, &upgraded.config_id);
    Ok(match upgraded.outcome {
        Outcome::Already | Outcome::Upgraded => {
            global.say(&format!("active: {config_id}, generation {number}"));
            ExitCode::SUCCESS
        }
        Outcome::RolledBack => {
            complain(&format!("the host was not well with {config_id}: it is back at generation {number}"));
            ExitCode::FAILURE
        }
        Outcome::Unwell => {
            complain(&format!(
                "the host is not well with {config_id}, generation {number}: mend it, or go back with `pkgpanda rollback`"
            ));
            ExitCode::FAILURE
        }
    })
}
