//! `bake package`.

use std::collections::BTreeSet;

use bake_base::json;
use bake_host::{PackageId, Requirement, Variant};
use bake_package::recipe::{Identified, Recipe};
use bake_package::{Stored, Verdict, Workshop};
use serde::Serialize;

use crate::cli::PackageArgs;
use crate::cmd::build::{Yard, reporter};
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// A package, as `--json` gives it.
#[derive(Serialize)]
pub struct Row {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_built: Option<bool>,
}

/// Builds packages, or says what would be built.
pub fn run(args: &PackageArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.build.quiet);
    let yard = Yard::open(&args.build, printer)?;
    let roots = roots(args, &yard)?;
    let signals = Signals::take_over_softly().map_err(Failure::signals)?;
    let report = reporter(printer);
    let workshop = yard.workshop(false, signals.stop(), &report)?;
    let packages = yard.ids(roots.iter().copied(), &workshop)?;
    if args.build.plan {
        let ids = packages.iter().map(|package| &package.id);
        return plan(ids, &workshop, args.build.json, printer);
    }
    let named: BTreeSet<_> = roots.iter().map(|recipe| recipe.requirement()).collect();
    let everything = args.recursive || args.names.is_empty();
    let is_named = |package: &&Identified<'_>| named.contains(&package.recipe.requirement());
    let buildable = packages.iter().filter(|package| everything || is_named(package));
    let buildable: BTreeSet<_> = buildable.map(|package| package.id.clone()).collect();
    let mut fresh = BTreeSet::new();
    for package in packages.iter().filter(|_| args.check) {
        if workshop.store.find(&package.id)?.is_none() {
            fresh.insert(package.id.clone());
        }
    }
    let made = signals.ended(workshop.make(&packages, &buildable, yard.jobs()))?;
    let wanted: Vec<_> = packages.iter().zip(&made).filter(|(package, _)| is_named(package)).collect();
    if args.check {
        return check(&wanted, &made, &fresh, &workshop, &signals, (args.build.json, printer));
    }
    print(wanted.into_iter().map(|(_, stored)| stored), args.build.json, printer)
}

/// The recipes that are named, or all.
fn roots<'a>(args: &PackageArgs, yard: &'a Yard<'_>) -> Result<Vec<&'a Recipe>, Failure> {
    if args.names.is_empty() {
        return Ok(yard.tree.recipes().iter().collect());
    }
    let named = |text: &String| {
        let (name, variant) =
            text.split_once('/').map_or((text.as_str(), None), |(name, variant)| (name, Some(variant)));
        let name = name.parse().map_err(Failure::usage)?;
        let variant = variant.map_or(Ok(Variant::default()), Variant::named).map_err(Failure::usage)?;
        yard.tree.recipe(&Requirement { name, variant }).map_err(|problems| {
            Failure::usage(
                problems.0.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("\n"),
            )
        })
    };
    args.names.iter().map(named).collect()
}

/// Prints ids in build order, and which of them are there.
pub fn plan<'a>(
    ids: impl Iterator<Item = &'a PackageId>,
    workshop: &Workshop<'_>,
    as_json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for id in ids {
        let stored = workshop.store.find(id)?;
        if !as_json {
            let state = if stored.is_some() { "built" } else { "to build" };
            printer.line(format!("{id}  {state}"))?;
        }
        rows.push(Row {
            id: id.to_string(),
            path: stored.as_ref().map(|stored| stored.path.display().to_string()),
            sha256: stored.as_ref().map(|stored| stored.digest.to_string()),
            is_built: Some(stored.is_some()),
        });
    }
    if as_json { print_json(&rows, printer) } else { Ok(()) }
}

/// Prints packages that are there.
fn print<'a>(
    stored: impl Iterator<Item = &'a Stored>,
    as_json: bool,
    printer: Printer,
) -> Result<(), Failure> {
    let row = |stored: &Stored| Row {
        id: stored.id.to_string(),
        path: Some(stored.path.display().to_string()),
        sha256: Some(stored.digest.to_string()),
        is_built: None,
    };
    if as_json {
        return print_json(&stored.map(row).collect::<Vec<_>>(), printer);
    }
    for stored in stored {
        printer.line(stored.path.display().to_string())?;
    }
    Ok(())
}

pub(super) fn print_json(value: &impl Serialize, printer: Printer) -> Result<(), Failure> {
    let bytes = json::to_canonical(value);
    printer.raw(&bytes.map_err(|error| Failure::new(format!("rendering JSON failed: {error}")))?)
}

/// What `--check` found of a package.
#[derive(Serialize)]
struct Checked {
    id: String,
    is_reproducible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    likely_cause: Option<&'static str>,
}

/// Builds each of `wanted` again in other surroundings. Of those that this run made, what is not reproducible is
/// taken out of the cache again.
fn check(
    wanted: &[(&Identified<'_>, &Stored)],
    made: &[Stored],
    fresh: &BTreeSet<PackageId>,
    workshop: &Workshop<'_>,
    signals: &Signals,
    (as_json, printer): (bool, Printer),
) -> Result<(), Failure> {
    let (mut rows, mut different) = (Vec::new(), Vec::new());
    for (package, stored) in wanted {
        let id = &package.id;
        let required: Vec<_> =
            made.iter().filter(|stored| package.requires.contains(&stored.id)).cloned().collect();
        let verdict = workshop.check(package, stored, &required);
        if !matches!(verdict, Ok(Verdict::Same)) && fresh.contains(id) {
            let claim = workshop.store.claim(&id.name(), workshop.stop)?;
            workshop.store.withdraw(&claim, id, &package.recipe.variant)?;
        }
        let (difference, cause) = match signals.ended(verdict)? {
            Verdict::Same => (None, None),
            Verdict::Different { difference, cause } => (
                Some(difference),
                Some(
                    cause.map_or("several changes of the surroundings together", bake_package::Factor::cause),
                ),
            ),
        };
        match (&difference, cause) {
            (Some(difference), Some(cause)) => {
                different.push(format!("{id} is not reproducible: {difference}\n  likely cause: {cause}"));
            }
            _ if !as_json => printer.line(format!("{id}  reproducible"))?,
            _ => {}
        }
        let is_reproducible = difference.is_none();
        rows.push(Checked { id: id.to_string(), is_reproducible, difference, likely_cause: cause });
    }
    if as_json {
        print_json(&rows, printer)?;
    }
    if different.is_empty() { Ok(()) } else { Err(Failure::new(different.join("\n"))) }
}
