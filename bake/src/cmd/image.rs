//! `bake image`.

mod extension;
mod oci;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bake_base::{Epoch, json};
use bake_boot::Architecture;
use bake_disk::SectorSize;
use bake_disk::container::Format;
use bake_image::oci::FORMAT;
use bake_image::vendor::extension::{ExtensionManifest, ExtensionPlan};
use bake_image::{
    HostPolicy, Image, ImageSpec, Loader, Manifest, Output, Plan, ReadOnly, ReadOnlyFormat, Signing, Size,
    Surroundings, TAR, compose, vendor,
};

use crate::cli::{ArchArg, ImageArgs, LoaderArg, ReadOnlyArg, ReadOnlyFormatArg, SectorSizeArg};
use crate::cmd::SPEC;
use crate::env;
use crate::error::Failure;
use crate::signals::Signals;
use crate::spec::{ImageEntry, Spec};
use crate::ui::Printer;

/// Percentage of the root file system that stays free when nothing else is asked for.
const FREE: u8 = 20;

/// The largest disk, in bytes: as far as the root file system can grow.
const LARGEST: u64 = 8 << 40;
/// The newest time that ext4 can hold (in 2446), in seconds since 1970.
const NEWEST: u64 = (1 << 34) - (1 << 31) - 1;

/// One thing to bake.
enum Job {
    Image(Box<ImageJob>),
    Extension(Box<extension::Job>),
}

/// One image to bake and where it goes.
struct ImageJob {
    spec: ImageSpec,
    formats: Vec<Format>,
    /// Whether its tree is written too.
    tar: bool,
    /// Whether it is a layer on a container image, and no disk.
    is_layer: bool,
    directory: PathBuf,
}

impl Job {
    /// Its name, if it was given one.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Image(job) => job.spec.name.as_deref(),
            Self::Extension(job) => Some(&job.spec.name),
        }
    }
}

/// Bakes the image that the flags describe, or those of the spec file.
pub fn run(args: &ImageArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let jobs = jobs(args)?;
    let surroundings = surroundings(args)?;
    let signals = Signals::take_over().map_err(Failure::signals)?;
    let several = jobs.len() > 1;
    let mut results = Vec::new();
    for job in jobs {
        let result = match &job {
            Job::Image(job) if job.is_layer => {
                let made = oci::bake(&job.spec, &job.directory, args, &surroundings, printer, &signals);
                made.map(Outcome::Layer)
            }
            Job::Image(job) => bake(job, args, &surroundings, printer, &signals),
            Job::Extension(job) => {
                extension::bake(job, args, &surroundings, printer, &signals).map(|made| match made {
                    extension::Made::Planned(plan) => Outcome::ExtensionPlanned(Box::new(plan)),
                    extension::Made::Written(manifest) => Outcome::ExtensionWritten(Box::new(manifest)),
                })
            }
        };
        results.push(result.map_err(|failure| failure.within(job.name().filter(|_| several)))?);
    }
    match results.as_slice() {
        _ if !args.json => Ok(()),
        [one] => printer.raw(&to_json(one)?),
        all => printer.raw(&to_json(&all)?),
    }
}

/// What `--json` prints of one image.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Outcome {
    Planned(Box<Plan>),
    Written(Box<Manifest>),
    ExtensionPlanned(Box<ExtensionPlan>),
    ExtensionWritten(Box<ExtensionManifest>),
    Layer(oci::Outcome),
}

fn bake(
    job: &ImageJob,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Outcome, Failure> {
    let surroundings = Surroundings { scratch: existing_parent(&job.directory), ..surroundings.clone() };
    let bar = printer.bytes("decoding", None);
    let image = if vendor::is_disk(&job.spec.rootfs)? {
        vendor::compose(&job.spec, &surroundings, &|bytes| bar.inc(bytes))?.lay_out(surroundings.threads)?
    } else {
        compose(&job.spec, &surroundings, &|bytes| bar.inc(bytes))?.lay_out(surroundings.threads)?
    };
    bar.finish_and_clear();
    image.warnings().iter().for_each(|warning| printer.note(warning));
    if args.plan {
        let plan = image.plan(&job.formats, job.tar);
        if !args.json {
            printer.raw(plan.to_string().as_bytes())?;
        }
        return Ok(Outcome::Planned(Box::new(plan)));
    }
    let manifest = write(image, job, args, &surroundings, printer, signals)?;
    Ok(Outcome::Written(Box::new(manifest)))
}

fn write(
    image: Image,
    job: &ImageJob,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Manifest, Failure> {
    let bar = printer.bytes("writing", Some(image.data_bytes()));
    let output = Output {
        directory: &job.directory,
        formats: &job.formats,
        tar: job.tar,
        sum_raw: args.sum_raw,
        threads: surroundings.threads,
    };
    let unpublished = image.write(&output, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let written = signals.hold(|| unpublished.publish())?;
    let manifest = written.manifest;
    if args.json {
        return Ok(manifest);
    }
    for note in &manifest.normalised.notes {
        printer.note(note);
    }
    for file in &written.files {
        printer.line(job.directory.join(file).display().to_string())?;
    }
    let gib = manifest.disk.size >> 30;
    printer.line(format!(
        "disk {} ({gib} GiB, {} for {})",
        manifest.disk.digest, manifest.profile, manifest.architecture
    ))?;
    Ok(manifest)
}

fn to_json(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    json::to_canonical(value).map_err(|error| Failure::new(format!("rendering JSON failed: {error}")))
}

/// The nearest directory that exists: where files without a name can lie that will be on the same file system.
fn existing_parent(directory: &Path) -> PathBuf {
    let found = directory.ancestors().find(|path| path.is_dir());
    found.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

fn surroundings(args: &ImageArgs) -> Result<Surroundings, Failure> {
    let limit = |flag: &str, text: &str| {
        text.parse().map(|size: Size| size.0).map_err(|reason| Failure::usage(format!("{flag}: {reason}")))
    };
    let cache = args.cache.clone().or_else(env::cache_directory).filter(|_| !args.no_cache);
    Ok(Surroundings {
        threads: args.threads.map_or_else(env::threads, usize::from),
        cache,
        scratch: PathBuf::new(),
        paranoid: args.paranoid,
        max_decoded: limit("--max-decoded", &args.max_decoded)?,
        max_decoder_memory: limit("--max-decoder-memory", &args.max_decoder_memory)?,
    })
}

/// What is to be baked: the flags alone with `--rootfs`, or with the product of an extension; otherwise the spec file
/// with the flags over it.
fn jobs(args: &ImageArgs) -> Result<Vec<Job>, Failure> {
    // Flags that describe an image leave a file that happens to lie here alone; a file that is named gives its policy.
    let is_alone = args.rootfs.is_some() || extension::is_asked(&args.format) && args.product.is_some();
    let here = || Some(PathBuf::from(SPEC)).filter(|path| !is_alone && path.exists());
    let spec = args.spec.clone().or_else(here).as_deref().map(Spec::read).transpose()?;
    if is_alone {
        if let Some(name) = args.names.first() {
            return Err(Failure::usage(format!(
                "`{name}` is unexpected: with --rootfs, or --format sysext and --product, the flags describe one image"
            )));
        }
        let (policy, profiles) = spec.map(|spec| (spec.policy, spec.profiles)).unwrap_or_default();
        let own = Own { policy: &policy, profiles: &profiles, directory: Path::new("") };
        return Ok(vec![job(args, &ImageEntry::default(), own, args.out.clone())?]);
    }
    let Some(spec) = spec else {
        let missing = if extension::is_asked(&args.format) { "--product" } else { "--rootfs" };
        let message = format!("nothing to bake: give {missing}, or write a {SPEC}");
        return Err(Failure::usage(message));
    };
    let mut jobs = Vec::new();
    let mut directories = BTreeSet::new();
    let mut unknown: BTreeSet<&String> = args.names.iter().collect();
    for (index, entry) in spec.images.iter().enumerate() {
        let name = entry.name.clone().or(entry.profile.clone());
        let name = name
            .ok_or_else(|| Failure::usage(format!("image {} of the spec file has no `name`", index + 1)))?;
        unknown.remove(&name);
        if !args.names.is_empty() && !args.names.contains(&name) {
            continue;
        }
        if !directories.insert(name.clone()) {
            return Err(Failure::usage(format!("two images of the spec file are called `{name}`")));
        }
        let own = Own { policy: &spec.policy, profiles: &spec.profiles, directory: &spec.directory };
        jobs.push(job(args, entry, own, args.out.join(&name))?);
    }
    if let Some(name) = unknown.first() {
        return Err(Failure::usage(format!("no image of the spec file is called `{name}`")));
    }
    if jobs.is_empty() {
        return Err(Failure::usage("the spec file lists no image: add an [[image]] with a `rootfs`"));
    }
    if jobs.len() > 1 && args.name.is_some() {
        return Err(Failure::usage("--name: several images cannot have one name"));
    }
    Ok(jobs)
}

/// What a spec file says of all its images.
#[derive(Clone, Copy)]
struct Own<'a> {
    policy: &'a HostPolicy,
    profiles: &'a BTreeMap<String, toml::Table>,
    /// Where its relative paths start.
    directory: &'a Path,
}

/// One image: the flags where they are given, otherwise the entry of the spec file.
fn job(args: &ImageArgs, entry: &ImageEntry, own: Own<'_>, directory: PathBuf) -> Result<Job, Failure> {
    let names = if args.format.is_empty() { &entry.formats } else { &args.format };
    if extension::is_asked(names) {
        return extension::job(args, entry, own, directory).map(|job| Job::Extension(Box::new(job)));
    }
    if args.url.is_some() || entry.url.is_some() {
        let message = "--url (in a spec file, `url`) is for system extensions: give --format sysext too";
        return Err(Failure::usage(message));
    }
    let from_spec = |path: &PathBuf| own.directory.join(path);
    let rootfs = args.rootfs.clone().or_else(|| entry.rootfs.as_ref().map(from_spec));
    let rootfs = rootfs.ok_or_else(|| Failure::usage("an image of the spec file has no `rootfs`"))?;
    let overlays = match args.overlay.as_slice() {
        [] => entry.overlays.iter().map(from_spec).collect(),
        overlays => overlays.to_vec(),
    };
    let mut policy = own.policy.clone();
    policy.kernel.args.extend(args.kernel_arg.iter().cloned());
    let spec = ImageSpec {
        name: args.name.clone().or_else(|| entry.name.clone()),
        profile: args.profile.clone().or_else(|| entry.profile.clone()),
        profiles: own.profiles.clone(),
        skip: if args.skip.is_empty() { entry.skip.clone() } else { args.skip.clone() },
        rootfs,
        arch: architecture(args, entry)?,
        overlays,
        preserve: args.preserve || entry.preserve,
        product: args.product.clone().or_else(|| entry.product.as_ref().map(from_spec)),
        roles: if args.role.is_empty() { entry.roles.clone() } else { args.role.clone() },
        policy,
        loader: args.loader.map(loader).or(entry.loader),
        read_only: args.read_only.map(read_only).or(entry.read_only),
        read_only_format: args.read_only_format.map(read_only_format).or(entry.read_only_format),
        signing: signing(args, entry, own.directory),
        size: size(args, entry)?,
        free: args.free.or(entry.free).unwrap_or(FREE),
        sector_size: sector_size(args, entry)?,
        epoch: epoch(args, entry)?,
    };
    if spec.free > 90 {
        return Err(Failure::usage(format!("free = {}: expected 0 to 90", spec.free)));
    }
    let mut formats: Vec<Format> = Vec::new();
    let is_layer = names.iter().any(|name| name == FORMAT);
    if is_layer && names.iter().any(|name| name != FORMAT) {
        return Err(Failure::usage("--format: `oci` is a container image and no disk: give it alone"));
    }
    let tar = names.iter().any(|name| name == TAR);
    for name in names.iter().filter(|name| !is_layer && *name != TAR) {
        let format = name.parse().map_err(|error| {
            Failure::usage(format!(
                "--format: {error}, or of tar, oci, sysext and sysext-erofs, which are no disks"
            ))
        })?;
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() && !tar {
        formats.push(Format::RAW);
    }
    Ok(Job::Image(Box::new(ImageJob { spec, formats, tar, is_layer, directory })))
}

fn architecture(args: &ImageArgs, entry: &ImageEntry) -> Result<Option<Architecture>, Failure> {
    Ok(match (args.arch, entry.arch.as_deref()) {
        (Some(ArchArg::X86_64), _) | (None, Some("x86-64" | "x86_64" | "amd64")) => {
            Some(Architecture::X86_64)
        }
        (Some(ArchArg::Arm64), _) | (None, Some("arm64" | "aarch64")) => Some(Architecture::Arm64),
        (None, None) => None,
        (None, Some(other)) => {
            return Err(Failure::usage(format!("arch = `{other}`: expected x86-64 or arm64")));
        }
    })
}

/// The flags, or the entry's with paths from where the spec file lies.
fn signing(args: &ImageArgs, entry: &ImageEntry, base: &Path) -> Option<Signing> {
    if let Some(certificate) = args.sign_certificate.clone() {
        let (key, signer) = (args.sign_key.clone(), args.signer.clone());
        return Some(Signing { certificate, key, signer, enroll: args.enroll });
    }
    let mut signing = entry.sign.clone()?;
    signing.certificate = base.join(&signing.certificate);
    signing.key = signing.key.map(|key| base.join(key));
    Some(signing)
}

fn loader(arg: LoaderArg) -> Loader {
    match arg {
        LoaderArg::SystemdBoot => Loader::SystemdBoot,
        LoaderArg::Unified => Loader::Unified,
        LoaderArg::Grub => Loader::Grub,
    }
}

fn read_only(arg: ReadOnlyArg) -> ReadOnly {
    match arg {
        ReadOnlyArg::None => ReadOnly::None,
        ReadOnlyArg::Usr => ReadOnly::Usr,
        ReadOnlyArg::Root => ReadOnly::Root,
    }
}

fn read_only_format(arg: ReadOnlyFormatArg) -> ReadOnlyFormat {
    match arg {
        ReadOnlyFormatArg::Ext4 => ReadOnlyFormat::Ext4,
        ReadOnlyFormatArg::Squashfs => ReadOnlyFormat::Squashfs,
        ReadOnlyFormatArg::Erofs => ReadOnlyFormat::Erofs,
    }
}

fn size(args: &ImageArgs, entry: &ImageEntry) -> Result<Option<u64>, Failure> {
    let origin = if args.size.is_some() { "--size" } else { "size" };
    let asked = args.size.as_ref().map(|size| size.parse::<Size>()).transpose();
    let asked = asked.map_err(|reason| Failure::usage(format!("--size: {reason}")))?.or(entry.size);
    match asked {
        Some(Size(bytes)) if bytes == 0 || !bytes.is_multiple_of(bake_disk::GIB) => {
            Err(Failure::usage(format!("{origin}: {bytes} bytes are no whole number of GiB")))
        }
        Some(Size(bytes)) if bytes > LARGEST => {
            Err(Failure::usage(format!("{origin}: a disk has at most 8T")))
        }
        asked => Ok(asked.map(|size| size.0)),
    }
}

fn sector_size(args: &ImageArgs, entry: &ImageEntry) -> Result<SectorSize, Failure> {
    match (args.sector_size, entry.sector_size) {
        (Some(SectorSizeArg::Bytes512), _) | (None, Some(512) | None) => Ok(SectorSize::Bytes512),
        (Some(SectorSizeArg::Bytes4096), _) | (None, Some(4096)) => Ok(SectorSize::Bytes4096),
        (None, Some(other)) => Err(Failure::usage(format!("sector-size = {other}: expected 512 or 4096"))),
    }
}

/// The flag, the spec file's, the environment's; in this order.
fn epoch(args: &ImageArgs, entry: &ImageEntry) -> Result<Option<Epoch>, Failure> {
    let given = args.epoch.or(entry.epoch).map(|seconds| ("the epoch", seconds.to_string()));
    let inherited = || Some((env::SOURCE_DATE_EPOCH, env::source_date_epoch()?));
    let Some((origin, text)) = given.or_else(inherited) else { return Ok(None) };
    let seconds = text.parse().ok().filter(|seconds| *seconds <= NEWEST);
    let wrong =
        || Failure::usage(format!("{origin} is `{text}`: expected seconds since 1970, at most {NEWEST}"));
    seconds.map(|seconds| Some(Epoch::from_seconds(seconds))).ok_or_else(wrong)
}
