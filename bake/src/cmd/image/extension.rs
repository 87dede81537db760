//! `bake image --format sysext`: a system extension instead of a disk.

use std::path::PathBuf;

use bake_image::vendor::extension::{
    self, ExtensionManifest, ExtensionOutput, ExtensionPlan, ExtensionSpec, FileSystem, Hosts,
};
use bake_image::{HostPolicy, Surroundings};

use super::{Own, architecture, epoch, existing_parent};
use crate::cli::ImageArgs;
use crate::error::Failure;
use crate::signals::Signals;
use crate::spec::ImageEntry;
use crate::ui::Printer;

/// The formats that are no disks.
const FORMATS: [(&str, FileSystem); 2] =
    [("sysext", FileSystem::Squashfs), ("sysext-erofs", FileSystem::Erofs)];
/// What an extension is called that has no other name.
const NAME: &str = "dcos";

/// One extension and where it goes.
pub struct Job {
    pub spec: ExtensionSpec,
    pub directory: PathBuf,
    file_system: FileSystem,
    url: String,
    notes: Vec<String>,
}

/// Whether one of these formats is an extension's.
pub fn is_asked(formats: &[String]) -> bool {
    formats.iter().any(|format| FORMATS.iter().any(|(name, _)| name == format))
}

/// The extension that an entry of a spec file describes, with the flags over it.
pub fn job(args: &ImageArgs, entry: &ImageEntry, own: Own<'_>, directory: PathBuf) -> Result<Job, Failure> {
    let formats = if args.format.is_empty() { &entry.formats } else { &args.format };
    let file_system = FORMATS.into_iter().find(|(name, _)| formats.as_slice() == [*name]);
    let Some((_, file_system)) = file_system else {
        return Err(Failure::usage(format!(
            "--format: a system extension is one file and no disk: give `sysext` or `sysext-erofs` alone, not {}",
            formats.join(", ")
        )));
    };
    check(args, entry)?;
    let product =
        args.product.clone().or_else(|| entry.product.as_ref().map(|path| own.directory.join(path)));
    let product = product.ok_or_else(|| {
        Failure::usage("a system extension is of a product: give --product (in a spec file, `product`)")
    })?;
    let url = args.url.clone().or_else(|| entry.url.clone()).ok_or_else(|| {
        Failure::usage(
            "a system extension comes with the configuration of Ignition that fetches it: say from where with --url \
             (in a spec file, `url`)",
        )
    })?;
    let hosts = match args.profile.as_deref().or(entry.profile.as_deref()) {
        None => Hosts::Any,
        Some("flatcar") => Hosts::Flatcar,
        Some(other) => {
            return Err(Failure::usage(format!(
                "--profile {other}: system extensions are for hosts of `flatcar`, or of any kind without a profile"
            )));
        }
    };
    let notes = if *own.policy == HostPolicy::default() {
        Vec::new()
    } else {
        let note = "units, users, files and mounts of the spec file are not in a system extension: have Ignition make \
                    them";
        vec![note.to_owned()]
    };
    let spec = ExtensionSpec {
        name: args.name.clone().or_else(|| entry.name.clone()).unwrap_or_else(|| NAME.to_owned()),
        product,
        roles: if args.role.is_empty() { entry.roles.clone() } else { args.role.clone() },
        hosts,
        architecture: architecture(args, entry)?,
        epoch: epoch(args, entry)?,
    };
    Ok(Job { spec, directory, file_system, url, notes })
}

/// Refuses what is said of disks, all at once.
fn check(args: &ImageArgs, entry: &ImageEntry) -> Result<(), Failure> {
    let given = [
        ("--rootfs", args.rootfs.is_some()),
        ("--overlay", !args.overlay.is_empty()),
        ("--preserve", args.preserve),
        ("--skip", !args.skip.is_empty()),
        ("--size", args.size.is_some()),
        ("--free", args.free.is_some()),
        ("--sector-size", args.sector_size.is_some()),
        ("--loader", args.loader.is_some()),
        ("--read-only", args.read_only.is_some()),
        ("--read-only-format", args.read_only_format.is_some()),
        ("--sign-certificate", args.sign_certificate.is_some()),
        ("--kernel-arg", !args.kernel_arg.is_empty()),
        ("--sum-raw", args.sum_raw),
        ("`rootfs`", entry.rootfs.is_some()),
        ("`overlays`", !entry.overlays.is_empty()),
        ("`preserve`", entry.preserve),
        ("`skip`", !entry.skip.is_empty()),
        ("`size`", entry.size.is_some()),
        ("`free`", entry.free.is_some()),
        ("`sector-size`", entry.sector_size.is_some()),
        ("`loader`", entry.loader.is_some()),
        ("`read-only`", entry.read_only.is_some()),
        ("`read-only-format`", entry.read_only_format.is_some()),
        ("`sign`", entry.sign.is_some()),
    ];
    let senseless: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if senseless.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "a system extension holds the product alone, for hosts that are what they are: leave {} out",
        senseless.join(", ")
    )))
}

/// What came of it.
pub enum Made {
    Planned(ExtensionPlan),
    Written(ExtensionManifest),
}

/// Makes an extension, or says what it would be.
pub fn bake(
    job: &Job,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Made, Failure> {
    let surroundings = Surroundings { scratch: existing_parent(&job.directory), ..surroundings.clone() };
    let bar = printer.bytes("decoding", None);
    let mut extension = extension::compose(&job.spec, &surroundings, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    extension.warnings.iter().for_each(|warning| printer.note(warning));
    extension.notes.extend(job.notes.iter().cloned());
    if args.plan {
        let plan = extension.plan(job.file_system, &job.url)?;
        if !args.json {
            printer.raw(plan.to_string().as_bytes())?;
        }
        return Ok(Made::Planned(plan));
    }
    let output = ExtensionOutput {
        directory: &job.directory,
        scratch: &surroundings.scratch,
        file_system: job.file_system,
        url: &job.url,
        threads: surroundings.threads,
    };
    let bar = printer.bytes("compressing", None);
    let unpublished = extension.write(&output, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let written = signals.hold(|| unpublished.publish())?;
    if !args.json {
        written.manifest.notes.iter().for_each(|note| printer.note(note));
        for file in &written.files {
            printer.line(job.directory.join(file).display().to_string())?;
        }
        printer.line(format!("hosts fetch it from {}", written.manifest.url))?;
    }
    Ok(Made::Written(written.manifest))
}
