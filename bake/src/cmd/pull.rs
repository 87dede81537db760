//! `bake pull`.

use bake_disk::BlockDigests;
use bake_publish::pull::{self, Http, Origin, Remote};
use bake_publish::{AmiId, Manifest};
use serde::Serialize;

use crate::cli::PullArgs;
use crate::cmd::cloud::progress;
use crate::cmd::package::print_json;
use crate::env;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// What was done.
#[derive(Serialize)]
struct Done {
    disk: String,
    blocks: u64,
    fetched: u64,
}

/// Brings a disk onto a file or a device. A signal ends it; the next run goes on.
pub fn run(args: &PullArgs) -> Result<(), Failure> {
    let signals = Signals::take_over_softly().map_err(Failure::signals)?;
    let printer = Printer::new(args.quiet);
    let done = signals.ended(pulled(args, &signals, printer))?;
    if args.json {
        return print_json(&done, printer);
    }
    let kept = done.blocks - done.fetched;
    printer.line(format!("disk {}: fetched {} blocks, kept {kept}", done.disk, done.fetched))
}

fn pulled(args: &PullArgs, signals: &Signals, printer: Printer) -> Result<Done, Failure> {
    let manifest = args.manifest.as_deref().map(Manifest::read).transpose()?;
    let blocks = manifest.map(|manifest| manifest.blocks);
    if args.from.starts_with("ami:") {
        return of_ami(args, blocks, signals, printer);
    }
    let http = Http {
        proxy: env::proxy().map(|proxy| (proxy.url, proxy.except)),
        certificates: env::certificates(),
    };
    let (remote, manifest) = Remote::open(&args.from, &http)?;
    from(&remote, &blocks.unwrap_or(manifest.blocks), args, signals, printer)
}

#[cfg(feature = "aws")]
fn of_ami(
    args: &PullArgs,
    blocks: Option<BlockDigests>,
    signals: &Signals,
    printer: Printer,
) -> Result<Done, Failure> {
    let ami: AmiId = args.from.parse().map_err(Failure::usage)?;
    let no_manifest =
        || Failure::usage("--manifest: name the manifest of the AMI's disk, so that blocks can be checked");
    let blocks = blocks.ok_or_else(no_manifest)?;
    let jobs = usize::from(args.jobs);
    let pulled = bake_publish::pull_ami(&ami, args.profile.as_deref(), jobs, &progress(printer))?;
    from(&pulled, &blocks, args, signals, printer)
}

#[cfg(not(feature = "aws"))]
fn of_ami(args: &PullArgs, _: Option<BlockDigests>, _: &Signals, _: Printer) -> Result<Done, Failure> {
    let _: AmiId = args.from.parse().map_err(Failure::usage)?;
    Err(crate::cmd::cloud::without_aws())
}

fn from(
    origin: &dyn Origin,
    blocks: &BlockDigests,
    args: &PullArgs,
    signals: &Signals,
    printer: Printer,
) -> Result<Done, Failure> {
    let jobs = (usize::from(args.jobs), env::threads());
    let report = pull::pull(origin, blocks, &args.onto, jobs, (signals.stop(), &progress(printer)))?;
    Ok(Done { disk: blocks.disk_digest().to_string(), blocks: report.blocks, fetched: report.fetched })
}
