//! `bake image`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bake_base::{Epoch, json};
use bake_boot::Architecture;
use bake_disk::SectorSize;
use bake_disk::container::Format;
use bake_image::{HostPolicy, Image, ImageSpec, Loader, Manifest, Output, Plan, Size, Surroundings, compose};

use crate::cli::{ArchArg, ImageArgs, LoaderArg, SectorSizeArg};
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

/// One image to bake and where it goes.
struct Job {
    spec: ImageSpec,
    formats: Vec<Format>,
    directory: PathBuf,
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
        let name = job.spec.name.clone();
        let result = bake(job, args, &surroundings, printer, &signals);
        results.push(result.map_err(|failure| failure.within(name.as_deref().filter(|_| several)))?);
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
}

fn bake(
    job: Job,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Outcome, Failure> {
    let surroundings = Surroundings { scratch: existing_parent(&job.directory), ..surroundings.clone() };
    let bar = printer.bytes("decoding", None);
    let composition = compose(&job.spec, &surroundings, &|bytes| bar.inc(bytes))?;
    bar.finish_and_clear();
    let image = composition.lay_out(surroundings.threads)?;
    image.warnings().iter().for_each(|warning| printer.note(warning));
    if args.plan {
        let plan = image.plan(&job.formats);
        if !args.json {
            printer.raw(plan.to_string().as_bytes())?;
        }
        return Ok(Outcome::Planned(Box::new(plan)));
    }
    let manifest = write(image, &job, args, &surroundings, printer, signals)?;
    Ok(Outcome::Written(Box::new(manifest)))
}

fn write(
    image: Image,
    job: &Job,
    args: &ImageArgs,
    surroundings: &Surroundings,
    printer: Printer,
    signals: &Signals,
) -> Result<Manifest, Failure> {
    let bar = printer.bytes("writing", Some(image.data_bytes()));
    let output = Output {
        directory: &job.directory,
        formats: &job.formats,
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

/// What is to be baked: the flags alone with `--rootfs`, otherwise the spec file with the flags over it.
fn jobs(args: &ImageArgs) -> Result<Vec<Job>, Failure> {
    // Flags that describe an image leave a file that happens to lie here alone; a file that is named gives its policy.
    let here = || Some(PathBuf::from(SPEC)).filter(|path| args.rootfs.is_none() && path.exists());
    let spec = args.spec.clone().or_else(here).as_deref().map(Spec::read).transpose()?;
    if args.rootfs.is_some() {
        if let Some(name) = args.names.first() {
            return Err(Failure::usage(format!(
                "`{name}` is unexpected: with --rootfs the flags describe one image"
            )));
        }
        let policy = spec.map(|spec| spec.policy).unwrap_or_default();
        return Ok(vec![job(args, &ImageEntry::default(), Path::new(""), &policy, args.out.clone())?]);
    }
    let Some(spec) = spec else {
        let message = format!("nothing to bake: give --rootfs, or write a {SPEC}");
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
        jobs.push(job(args, entry, &spec.directory, &spec.policy, args.out.join(&name))?);
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

/// One image: the flags where they are given, otherwise the entry of the spec file.
fn job(
    args: &ImageArgs,
    entry: &ImageEntry,
    base: &Path,
    policy: &HostPolicy,
    directory: PathBuf,
) -> Result<Job, Failure> {
    let from_spec = |path: &PathBuf| base.join(path);
    let rootfs = args.rootfs.clone().or_else(|| entry.rootfs.as_ref().map(from_spec));
    let rootfs = rootfs.ok_or_else(|| Failure::usage("an image of the spec file has no `rootfs`"))?;
    let overlays = match args.overlay.as_slice() {
        [] => entry.overlays.iter().map(from_spec).collect(),
        overlays => overlays.to_vec(),
    };
    let mut policy = policy.clone();
    policy.kernel.args.extend(args.kernel_arg.iter().cloned());
    let spec = ImageSpec {
        name: args.name.clone().or_else(|| entry.name.clone()),
        profile: args.profile.clone().or_else(|| entry.profile.clone()),
        rootfs,
        arch: architecture(args, entry)?,
        overlays,
        preserve: args.preserve || entry.preserve,
        product: args.product.clone().or_else(|| entry.product.as_ref().map(from_spec)),
        roles: if args.role.is_empty() { entry.roles.clone() } else { args.role.clone() },
        policy,
        loader: args.loader.map(loader).or(entry.loader),
        size: size(args, entry)?,
        free: args.free.or(entry.free).unwrap_or(FREE),
        sector_size: sector_size(args, entry)?,
        epoch: epoch(args, entry)?,
    };
    if spec.free > 90 {
        return Err(Failure::usage(format!("free = {}: expected 0 to 90", spec.free)));
    }
    let names = if args.format.is_empty() { &entry.formats } else { &args.format };
    let mut formats: Vec<Format> = Vec::new();
    for name in names {
        let format = name.parse().map_err(|error| Failure::usage(format!("--format: {error}")))?;
        if !formats.contains(&format) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.push(Format::RAW);
    }
    Ok(Job { spec, formats, directory })
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

fn loader(arg: LoaderArg) -> Loader {
    match arg {
        LoaderArg::SystemdBoot => Loader::SystemdBoot,
        LoaderArg::Unified => Loader::Unified,
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
