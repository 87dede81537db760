//! `bake configure`.

mod report;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bake_config::artifacts::Artifacts;
use bake_config::calculate::Files;
use bake_config::configure::{self, Configured, Known, Plan, Written};
use bake_config::diff::{self, Diff, Side};
use bake_config::packages::CheckBins;
use bake_config::{Error, installer, serve, single};
use bake_package::ConfigTree;

use crate::cli::ConfigureArgs;
use crate::env;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// The most that is read of a file that people write, in bytes: readers refuse less than that by themselves.
const LARGEST: u64 = 4 << 20;
/// Operators' check programs, beside the configuration.
const CHECK_BINS: &str = "check_bins";
/// The directory of the configuration, as it is usually called in paths that the configuration itself has.
const GENCONF: &str = "genconf/";

/// Makes a serve directory, or says what it would be.
pub fn run(args: &ConfigureArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let extensions = extensions(args)?;
    if args.schema {
        return report::schema(&known_without_artifacts(args, &extensions)?, printer);
    }
    let signals = Signals::take_over().map_err(Failure::signals)?;
    let artifacts = Artifacts::read(&args.artifacts)?;
    let known = configure::known(&artifacts.config()?, &extensions).map_err(Error::from)?;
    let directory = Beside::of(&args.config);
    let check_bins = CheckBins::read(&directory.0.join(CHECK_BINS))?;
    let config = (args.config.display().to_string(), read_config(&args.config)?);
    let written = Written { config, set: args.set.clone() };
    let given = configure::given(&known, &artifacts, check_bins.as_ref());
    let plan = configure::plan(&known, &written, &given, &directory).map_err(Error::from)?;
    for note in &plan.notes {
        printer.note(note.to_string());
    }
    if args.plan {
        return report::plan(&plan, args.json, printer);
    }
    printer.step("reading packages");
    let scratch = env::temporary_directory();
    let inside = artifacts.open(&scratch, env::threads())?;
    printer.step("making packages of the configuration");
    let configured = Configured::new(&plan, &artifacts, &inside, check_bins.as_ref())?;
    match &args.diff {
        Some(old) => compare(old, configured, &scratch, args.json, printer),
        None => signals.hold(|| publish(args, &plan, &configured, printer)),
    }
}

/// Writes everything: secrets before the script that asks for them, the single file when all of it is there.
fn publish(
    args: &ConfigureArgs,
    plan: &Plan,
    configured: &Configured,
    printer: Printer,
) -> Result<(), Failure> {
    let release = &configured.release;
    let secrets = secrets_directory(args)?;
    if let Some(path) = &args.single_file {
        check_single_file(path, args)?;
    }
    let has_secrets = !release.product.secrets.is_empty();
    let mut outcome = report::Outcome {
        config_id: release.product.config_id.clone(),
        out: args.out.display().to_string(),
        packages: configured.made.iter().map(|made| made.id.to_string()).collect(),
        changed: Vec::new(),
        secrets: has_secrets.then(|| secrets.join(serve::SECRETS_TAR).display().to_string()),
        single_file: None,
    };
    serve::write_secrets(&plan.files, &secrets)?;
    outcome.changed = serve::publish(release, &args.out, args.prune, &|path| printer.step(path))?;
    if let Some(path) = &args.single_file {
        printer.step(format!("writing {}", path.display()));
        let (sha256, size) = single::write(path, &configured.installer, &release.blobs)?;
        outcome.single_file =
            Some(report::SingleFile { path: path.display().to_string(), sha256: sha256.to_string(), size });
    }
    report::outcome(&outcome, args.json, printer)
}

fn compare(
    old: &Path,
    configured: Configured,
    scratch: &Path,
    as_json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let old = diff::read(old, scratch)?;
    let new = Side::of(configured.release.product, &configured.made)?;
    report::diff(&Diff::between(&old, &new), as_json, printer)
}

fn known_without_artifacts(args: &ConfigureArgs, extensions: &Extensions) -> Result<Known, Failure> {
    // Editors want a schema long before there is a tree.
    let config =
        if args.artifacts.exists() { Artifacts::read(&args.artifacts)?.config()? } else { BTreeMap::new() };
    Ok(configure::known(&config, extensions).map_err(Error::from)?)
}

type Extensions = Vec<(String, BTreeMap<String, Vec<u8>>)>;

fn extensions(args: &ConfigureArgs) -> Result<Extensions, Failure> {
    let read = |path: &PathBuf| Ok((path.display().to_string(), ConfigTree::read_one(path)?));
    args.extend.iter().map(read).collect()
}

fn read_config(path: &Path) -> Result<Vec<u8>, Failure> {
    let shown = path.display();
    read_limited(path).map_err(|reason| {
        Failure::new(format!("`{shown}` {reason}: expected a configuration; --config names another one"))
    })
}

fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err("does not exist".to_owned()),
        result => result.map_err(|error| format!("cannot be opened: {error}"))?,
    };
    let read = file.take(LARGEST).read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| format!("cannot be read: {error}"))
}

/// Files that a configuration names, relative to its own directory.
struct Beside(PathBuf);

impl Beside {
    fn of(config: &Path) -> Self {
        let parent = config.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self(parent.unwrap_or(Path::new(".")).to_owned())
    }
}

impl Files for Beside {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let at = self.0.join(path.strip_prefix(GENCONF).unwrap_or(path));
        read_limited(&at).map_err(|reason| format!("`{path}` {reason} (looked for at `{}`)", at.display()))
    }
}

/// A single file replaces nothing but another one, and the serve directory lists all that it holds.
fn check_single_file(path: &Path, args: &ConfigureArgs) -> Result<(), Failure> {
    let shown = path.display();
    if absolute(path)?.starts_with(absolute(&args.out)?) {
        let message = format!("`{shown}` is in the serve directory: expected a --single-file elsewhere");
        return Err(Failure::usage(message));
    }
    let mut beginning = Vec::new();
    let read = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => {
            file.and_then(|file| file.take(installer::BEGINNING.len() as u64).read_to_end(&mut beginning))
        }
    };
    read.map_err(|error| Failure::new(format!("reading `{shown}` failed: {error}")))?;
    if beginning == installer::BEGINNING.as_bytes() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{shown}` is something else than a single file: it is not replaced; remove it"
    )))
}

/// Where secrets go: beside the serve directory, never in it.
fn secrets_directory(args: &ConfigureArgs) -> Result<PathBuf, Failure> {
    let out = absolute(&args.out)?;
    let secrets = match (&args.secrets, out.file_name()) {
        (Some(path), _) => path.clone(),
        (None, Some(name)) => {
            let mut name = name.to_owned();
            name.push(".secrets");
            match args.out.file_name() {
                Some(_) => args.out.with_file_name(name),
                None => out.with_file_name(name),
            }
        }
        (None, None) => return Err(Failure::usage("`/` has no directory beside it: expected --secrets DIR")),
    };
    if absolute(&secrets)?.starts_with(&out) {
        let shown = secrets.display();
        return Err(Failure::usage(format!(
            "`{shown}` is in the serve directory, which everybody reads: expected another --secrets DIR"
        )));
    }
    Ok(secrets)
}

/// A path without links as far as it exists, and without `..` behind that.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::new(format!("finding `{}` failed: {error}", path.display()));
    let mut there = std::path::absolute(path).map_err(failed)?;
    let mut missing = Vec::new();
    loop {
        match there.canonicalize() {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(error) => {
                let last = there.components().next_back();
                let Some(Component::Normal(name)) = last else { return Err(failed(error)) };
                missing.push(name.to_owned());
                there.pop();
            }
        }
    }
}
