//! `bake publish`: plan, publish, report.

#[cfg(feature = "aws")]
mod ami;
mod templates;

use bake_publish::script::{self, Kind, Upload};
use bake_publish::{BootMode, Manifest};

use crate::cli::{BootModeArg, PublishCommand, ScriptArgs, ScriptKindArg};
use crate::error::Failure;
use crate::ui::Printer;

/// Letters of the disk digest in names.
const SHORT_DIGEST: usize = 12;

/// Runs `bake publish`.
pub fn run(command: &PublishCommand) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "aws")]
        PublishCommand::Ami(args) => ami::run(args),
        #[cfg(not(feature = "aws"))]
        PublishCommand::Ami(_) => Err(crate::cmd::cloud::without_aws()),
        PublishCommand::Templates(args) => templates::run(args),
        PublishCommand::Script(args) => script(args),
    }
}

fn script(args: &ScriptArgs) -> Result<(), Failure> {
    let manifest = Manifest::beside(&args.image)?;
    let missing =
        |option| Failure::usage(format!("{option}: name it, for the image has no manifest that says it"));
    let of_manifest = || {
        let manifest = manifest.as_ref()?;
        Some(format!("{}-{}", manifest.name, &manifest.digest.to_string()[..SHORT_DIGEST]))
    };
    let name = args.name.clone().or_else(of_manifest).ok_or_else(|| missing("--name"))?;
    let architecture = args.architecture.clone();
    let architecture = architecture.or_else(|| manifest.as_ref().map(architecture_of));
    let architecture = architecture.ok_or_else(|| missing("--architecture"))?;
    let kind = match args.kind {
        ScriptKindArg::VmImport => Kind::VmImport,
        ScriptKindArg::Azure => Kind::Azure,
        ScriptKindArg::Gce => Kind::Gce,
    };
    let upload = Upload {
        name: &name,
        architecture: &architecture,
        boot_mode: boot_mode(args.boot_mode).name(),
        root_device: &args.root_device,
    };
    Printer::new(false).raw(script::script(kind, &args.image, &upload)?.as_bytes())
}

/// The architecture of a manifest as clouds call it.
fn architecture_of(manifest: &Manifest) -> String {
    match manifest.architecture.as_str() {
        "x86-64" => "x86_64".to_owned(),
        other => other.to_owned(),
    }
}

fn boot_mode(argument: BootModeArg) -> BootMode {
    match argument {
        BootModeArg::Uefi => BootMode::Uefi,
        BootModeArg::LegacyBios => BootMode::LegacyBios,
        BootModeArg::UefiPreferred => BootMode::UefiPreferred,
    }
}
