//! Commands about the packages of a host: what there is, how it comes and goes, and whether it is well.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bake_host::check::{self, Outcome};
use bake_host::fetch::{self, Url};
use bake_host::store::{self, Added};
use bake_host::{Failure, PackageId, PackageName, Version};
use clap::Args;
use serde_json::json;

use crate::complain;
use crate::global::{Global, print, print_json};

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The serve directory: http://, https:// or file://
    #[arg(long, value_name = "URL")]
    repository_url: Url,
    /// Take packages whose digest nobody knows
    #[arg(long)]
    unverified: bool,
    /// The packages
    #[arg(value_name = "ID", required = true)]
    ids: Vec<PackageId>,
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// The package's file, called ID.tar.xz
    file: PathBuf,
    /// The digest that the file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<bake_base::Digest>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The packages; those that are not there count as removed
    #[arg(value_name = "ID", required = true)]
    ids: Vec<PackageId>,
    /// Also those that another generation needs, which nobody can go back to then
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The programs are those of the host at --root, but they always run on this machine, as whoever runs this, and what they
look at is this machine too, its /opt/mesosphere among it. `check --list` runs nothing.")]
pub(crate) struct CheckArgs {
    /// Only tell which programs there are
    #[arg(long)]
    list: bool,
    /// How long each program may take
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(crate) fn list(global: &Global) -> Result<(), Failure> {
    let ids = global.host_to_look()?.packages()?;
    if global.json {
        return print_json(&ids);
    }
    let mut versions: BTreeMap<PackageName, Vec<Version>> = BTreeMap::new();
    for id in &ids {
        versions.entry(id.name()).or_default().push(id.version());
    }
    for (name, versions) in versions {
        if let [version] = versions.as_slice() {
            print(&format!("{name}--{version}"))?;
            continue;
        }
        print(&format!("{name}:"))?;
        versions.iter().try_for_each(|version| print(&format!("  {version}")))?;
    }
    Ok(())
}

pub(crate) fn fetch(global: &Global, args: &FetchArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let lock = host.lock(false)?;
    let mut results = BTreeMap::new();
    for id in &args.ids {
        begin(global, &format!("Fetching: {id}"));
        let added = fetch::fetch(&host, &lock, &args.repository_url, id, args.unverified);
        let added = added.inspect_err(|_| end(global, ""))?;
        if added == Added::Already {
            end(global, "Package already added.");
        }
        end(global, &format!("\rFetched: {id}"));
        results.insert(id, told(added));
    }
    if global.json { print_json(&results) } else { Ok(()) }
}

pub(crate) fn add(global: &Global, args: &AddArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let id = store::id_of(&args.file)?;
    let lock = host.lock(false)?;
    let added = store::add(&host, &lock, &id, &args.file, args.sha256)?;
    match added {
        Added::Already => global.say("Package already added."),
        Added::Now(_) => global.say(&format!("Added: {id}")),
    }
    let result = told(added);
    if global.json { print_json(&BTreeMap::from([(id, result)])) } else { Ok(()) }
}

pub(crate) fn remove(global: &Global, args: RemoveArgs) -> Result<(), Failure> {
    let host = global.host()?;
    let lock = host.lock(false)?;
    let ids: BTreeSet<PackageId> = args.ids.into_iter().collect();
    let mut removed = Vec::new();
    let result = store::remove(&host, &lock, &ids, args.force, &mut |id| removed.push(id.clone()));
    if global.json {
        result?;
        return print_json(&removed);
    }
    for id in if result.is_ok() { ids.iter().collect() } else { removed.iter().collect::<Vec<_>>() } {
        begin(global, &format!("Removing: {id}"));
        end(global, &format!("\rRemoved: {id}"));
    }
    result
}

pub(crate) fn check(global: &Global, args: &CheckArgs) -> Result<ExitCode, Failure> {
    let host = global.host()?;
    let present = host.current()?;
    let programs = check::programs(&host, &present)?;
    if args.list {
        return listed(global, &programs).map(|()| ExitCode::SUCCESS);
    }
    for program in programs.iter().filter(|program| !program.executable) {
        complain(&format!("{}: check/{} is not executable: it is left out", program.package, program.name));
    }
    if let Some(note) = check::elsewhere(&host).filter(|_| !programs.is_empty()) {
        complain(&format!("note: {note}"));
    }
    let limit = Duration::from_secs(args.timeout);
    let outcomes = check::run(&host, &present, &programs, limit, &mut |outcome| tell(global, outcome))?;
    if global.json {
        print_json(&outcomes)?;
    }
    let passed = outcomes.iter().all(|outcome| outcome.passed);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What a program wrote, and whether it failed.
fn tell(global: &Global, outcome: &Outcome) {
    if !outcome.output.is_empty() {
        global.say(outcome.output.trim_end_matches('\n'));
    }
    if !outcome.passed {
        complain(&format!("Check failed: {} {}: {}", outcome.package, outcome.name, outcome.status));
    }
}

fn listed(global: &Global, programs: &[check::Program]) -> Result<(), Failure> {
    let mut names: BTreeMap<&PackageId, Vec<&str>> = BTreeMap::new();
    for program in programs {
        names.entry(&program.package).or_default().push(&program.name);
    }
    if global.json {
        return print_json(&names);
    }
    for (id, names) in names {
        print(id.as_str())?;
        names.iter().try_for_each(|name| print(&format!(" - {name}")))?;
    }
    Ok(())
}

/// Tells a note, and gives what became of the package as JSON.
fn told(added: Added) -> serde_json::Value {
    match added {
        Added::Already => json!({"added": false}),
        Added::Now(None) => json!({"added": true}),
        Added::Now(Some(note)) => {
            complain(&format!("note: {note}"));
            json!({"added": true, "note": note})
        }
    }
}

/// The beginning of a line that is written over when its work is done.
fn begin(global: &Global, text: &str) {
    if !global.json {
        let mut out = std::io::stdout();
        // Losing the listener is no reason to stop half way.
        let _ = write!(out, "\r{text}").and_then(|()| out.flush());
    }
}

fn end(global: &Global, text: &str) {
    global.say(text);
}
