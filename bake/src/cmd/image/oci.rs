//! `bake image --format oci`: one more layer on a container image that hosts are made of.

use std::path::Path;

use bake_image::oci::{OciManifest, OciPlan, compose};
use bake_image::{ImageSpec, Surroundings};

use super::existing_parent;
use crate::cli::ImageArgs;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// What `--json` prints of one image.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Planned(Box<OciPlan>),
    Written(Box<OciManifest>),
}

/// Bakes one image into `directory`, or plans to.
pub fn bake(
    spec: &ImageSpec,
    directory: &Path,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Outcome, Failure> {
    let surroundings = Surroundings { scratch: existing_parent(directory), ..surroundings.clone() };
    let bar = printer.bytes("decoding", None);
    let composition = compose(spec, &surroundings, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    composition.warnings().iter().for_each(|warning| printer.note(warning));
    if args.plan {
        let plan = composition.plan();
        if !args.json {
            printer.raw(plan.to_string().as_bytes())?;
        }
        return Ok(Outcome::Planned(Box::new(plan)));
    }
    let unpublished = composition.write(directory, &surroundings.scratch)?;
    let written = signals.hold(|| unpublished.publish())?;
    let manifest = written.manifest;
    if args.json {
        return Ok(Outcome::Written(Box::new(manifest)));
    }
    for note in &manifest.notes {
        printer.note(note);
    }
    for file in &written.files {
        printer.line(directory.join(file).display().to_string())?;
    }
    let (profile, architecture) = (&manifest.profile, &manifest.architecture);
    printer.line(format!("image sha256:{} ({profile} for {architecture})", manifest.image.digest))?;
    Ok(Outcome::Written(Box::new(manifest)))
}
