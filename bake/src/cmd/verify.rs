//! `bake verify`.

use std::path::Path;

use bake_publish::{AmiId, verify};
use serde::Serialize;

use crate::cli::VerifyArgs;
use crate::cmd::cloud::progress;
use crate::cmd::package::print_json;
use crate::env;
use crate::error::Failure;
use crate::ui::Printer;

/// What was proved.
#[derive(Serialize)]
struct Proof {
    disk: String,
    checks: Vec<String>,
    /// Files beside the manifest that it does not list.
    strangers: Vec<String>,
}

/// Compares an artifact or an AMI with its manifest; fails when it differs.
pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let proof =
        if args.what.starts_with("ami:") { of_ami(args, printer)? } else { of_artifact(args, printer)? };
    if args.json {
        return print_json(&proof, printer);
    }
    for name in &proof.strangers {
        printer.note(format!(
            "`{name}` is not in the manifest and was not checked: an earlier bake may have left it"
        ));
    }
    proof.checks.iter().try_for_each(|check| printer.line(check))?;
    printer.line(format!("disk {}", proof.disk))
}

fn of_artifact(args: &VerifyArgs, printer: Printer) -> Result<Proof, Failure> {
    let (path, progress) = (Path::new(&args.what), progress(printer));
    let verified = verify::artifact(path, args.manifest.as_deref(), env::threads(), &progress)?;
    Ok(Proof { disk: verified.disk.to_string(), checks: verified.checks, strangers: verified.strangers })
}

#[cfg(feature = "aws")]
fn of_ami(args: &VerifyArgs, printer: Printer) -> Result<Proof, Failure> {
    let ami: AmiId = args.what.parse().map_err(Failure::usage)?;
    let manifest = args.manifest.as_deref().map(bake_publish::Manifest::read).transpose()?;
    let expected = manifest.as_ref().map(|manifest| &manifest.blocks);
    let profile = args.profile.as_deref();
    let found =
        bake_publish::verify_ami(&ami, profile, expected, usize::from(args.jobs), &progress(printer))?;
    let against = if expected.is_some() { "the manifest" } else { "the disk digest in its tags" };
    let check = format!("{ami}: all {} blocks, against {against}", found.block_count());
    Ok(Proof { disk: found.disk_digest().to_string(), checks: vec![check], strangers: Vec::new() })
}

#[cfg(not(feature = "aws"))]
fn of_ami(args: &VerifyArgs, _: Printer) -> Result<Proof, Failure> {
    let _: AmiId = args.what.parse().map_err(Failure::usage)?;
    Err(crate::cmd::cloud::without_aws())
}
