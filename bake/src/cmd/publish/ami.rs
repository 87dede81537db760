//! `bake publish ami`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bake_image::{CloudProfile, Profiles};
use bake_publish::published::SCHEMA;
use bake_publish::{
    AmiOptions, BootMode, Encryption, Image, Manifest, Published, PublishedImage, Region, RegionIds,
    Register, policy,
};

use super::{SHORT_DIGEST, architecture_of, boot_mode};
use crate::cli::AmiArgs;
use crate::cmd::cloud::progress;
use crate::cmd::package::print_json;
use crate::cmd::publish::templates;
use crate::env;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// The largest store of variables that an AMI takes, in bytes (Amazon EC2 User Guide, "UEFI variables").
const UEFI_DATA: usize = 64 << 10;

/// Publishes, or says what that would do. A signal ends it; the next run goes on.
pub fn run(args: &AmiArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    if args.iam_policy {
        // The policy depends on no image; a name stands in for the image's.
        let options = options(args, None, &Signals::default())?;
        options.check()?;
        return print_json(&policy(&options), printer);
    }
    let signals = Signals::take_over_softly().map_err(Failure::signals)?;
    let progress = progress(printer);
    let path = args.image.as_deref().ok_or_else(|| Failure::usage("--image: name the image"))?;
    let image = Image::open(path, env::threads(), &progress)?;
    let options = options(args, Some(&image), &signals)?;
    if args.plan {
        let plan = signals.ended(bake_publish::plan(&image, &options, &progress))?;
        return if args.json { print_json(&plan, printer) } else { printer.line(plan.to_string()) };
    }
    let published = signals.ended(bake_publish::ami(&image, &options, &progress))?;
    if let Some(path) = &args.published {
        templates::write_published(path, &published_image(&published, &options.register))?;
    }
    report(&published, args, printer)
}

/// What those who launch it need to know.
fn published_image(published: &Published, register: &Register) -> PublishedImage {
    let ids = |region: &Region| RegionIds { ami: region.image.clone(), snapshot: region.snapshot.clone() };
    PublishedImage {
        schema: SCHEMA.to_owned(),
        name: published.name.clone(),
        disk: published.disk,
        architecture: register.architecture.clone(),
        boot_mode: register.boot_mode,
        root_device: register.root_device.clone(),
        regions: published.regions.iter().map(|region| (region.region.clone(), ids(region))).collect(),
    }
}

fn report(published: &Published, args: &AmiArgs, printer: Printer) -> Result<(), Failure> {
    if args.json {
        return print_json(published, printer);
    }
    for step in &published.done {
        printer.line(step)?;
    }
    if published.done.is_empty() {
        printer.line("nothing to do: all of it is there")?;
    }
    for region in &published.regions {
        let verified = if region.verified { ", read back and the same" } else { "" };
        printer.line(format!("{}: {} ({}{verified})", region.region, region.image, region.snapshot))?;
    }
    Ok(())
}

fn options(args: &AmiArgs, image: Option<&Image>, signals: &Signals) -> Result<AmiOptions, Failure> {
    let manifest = image.and_then(|image| image.manifest.as_ref());
    let path = args.image.clone().unwrap_or_default();
    let parent = args.parent_manifest.as_deref().map(Manifest::read).transpose()?;
    let first = args.region.first().map_or("", String::as_str);
    let beside = || PathBuf::from(format!("{}.publish-{first}", path.display()));
    Ok(AmiOptions {
        name: name(args, image)?,
        description: args.description.clone(),
        regions: args.region.clone(),
        profile: args.profile.clone(),
        register: register(args, image, manifest)?,
        parent: args.parent.clone(),
        parent_blocks: parent.map(|parent| parent.blocks),
        tags: tags(&args.tag)?,
        share: args.share.clone(),
        deprecate: args.deprecate.clone(),
        encryption: encryption(args),
        verify: args.verify,
        jobs: usize::from(args.jobs),
        patience: Duration::from_mins(args.wait),
        journal: args.journal.clone().unwrap_or_else(beside),
        stop: Arc::clone(signals.stop()),
    })
}

fn name(args: &AmiArgs, image: Option<&Image>) -> Result<String, Failure> {
    let digest = image.map_or_else(|| "0".repeat(SHORT_DIGEST), |image| image.digest.to_string());
    let own = || {
        let image = image?;
        let stem = || Some(image.path.file_stem()?.to_str()?.to_owned());
        image.manifest.as_ref().map(|manifest| manifest.name.clone()).or_else(stem)
    };
    let name = match (&args.name, image) {
        (Some(name), _) => name.clone(),
        (None, None) => "image-{digest}".to_owned(),
        (None, Some(_)) => {
            format!(
                "{}-{{digest}}",
                own().ok_or_else(|| Failure::usage("--name: the file's name is no text"))?
            )
        }
    };
    Ok(name.replace("{digest}", &digest[..SHORT_DIGEST]))
}

fn register(args: &AmiArgs, image: Option<&Image>, manifest: Option<&Manifest>) -> Result<Register, Failure> {
    let of_manifest = manifest.map(architecture_of);
    let missing =
        |option| Failure::usage(format!("{option}: name it, for the image has no manifest that says it"));
    let named = args.boot_mode.map(boot_mode);
    let is_policy = image.is_none();
    let boot_mode = named.or_else(|| image?.boot_mode()).or(is_policy.then_some(BootMode::Uefi));
    let architecture = args.architecture.clone().or(of_manifest).or(is_policy.then(|| "x86_64".to_owned()));
    let cloud = manifest.map(|manifest| cloud(&manifest.profile)).unwrap_or_default();
    Ok(Register {
        architecture: architecture.ok_or_else(|| missing("--architecture"))?,
        boot_mode: boot_mode.ok_or_else(|| missing("--boot-mode"))?,
        uefi_data: uefi_data(args)?,
        tpm: args.tpm,
        imds_v2: !args.imds_v1,
        root_device: args.root_device.clone().unwrap_or(cloud.aws_root_device),
        volume_type: args.volume_type.clone().unwrap_or(cloud.aws_volume_type),
    })
}

/// What the profile says; a specification's own profile is not known here, and gets what most have.
fn cloud(profile: &str) -> CloudProfile {
    let profile = Profiles::new(&BTreeMap::new()).and_then(|profiles| profiles.by_name(profile));
    profile.map_or_else(|_| CloudProfile::default(), |profile| profile.cloud)
}

fn uefi_data(args: &AmiArgs) -> Result<Option<String>, Failure> {
    let Some(path) = &args.uefi_data else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(format!("reading `{}` failed: {error}", path.display())))?;
    let text = text.trim().to_owned();
    let is_base64 = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    if text.is_empty() || text.len() > UEFI_DATA || !is_base64 {
        let message = format!(
            "--uefi-data: `{}` is not what AWS takes: expected base64 of up to 64 KiB, from `uefivars -o aws`",
            path.display()
        );
        return Err(Failure::usage(message));
    }
    Ok(Some(text))
}

fn tags(tags: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |tag: &String| {
        let wrong = || Failure::usage(format!("--tag `{tag}`: expected KEY=VALUE"));
        tag.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    tags.iter().map(pair).collect()
}

fn encryption(args: &AmiArgs) -> Encryption {
    let mut encryption =
        Encryption { is_on: args.encrypt || !args.kms_key.is_empty(), ..Encryption::default() };
    for key in &args.kms_key {
        match key.split_once('=') {
            Some((region, key)) => _ = encryption.keys.insert(region.to_owned(), key.to_owned()),
            None => encryption.key = Some(key.clone()),
        }
    }
    encryption
}
