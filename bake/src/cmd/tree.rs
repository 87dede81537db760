//! `bake tree`.

use std::collections::BTreeSet;

use bake_host::Variant;
use bake_package::{ConfigTree, Lock, Program, TreeManifest, deliver, program};

use crate::cli::TreeArgs;
use crate::cmd::build::{Yard, reporter};
use crate::cmd::package;
use crate::env;
use crate::error::Failure;
use crate::signals::Signals;
use crate::ui::Printer;

/// Builds a tree and its bootstrap tarball, or says what would be built.
pub fn run(args: &TreeArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.build.quiet);
    let yard = Yard::open(&args.build, printer)?;
    let variant =
        args.variant.as_deref().map_or(Ok(Variant::default()), Variant::named).map_err(Failure::usage)?;
    let selection =
        yard.tree.select(&variant).map_err(|problems| Failure::usage(problems.within(&args.build.tree)))?;
    // Before hours of building.
    let config = ConfigTree::read(&yard.directory)?;
    let signals = Signals::take_over_softly().map_err(Failure::signals)?;
    let report = reporter(printer);
    let workshop = yard.workshop(args.lock, signals.stop(), &report)?;
    let packages = yard.ids(selection.packages.iter().copied(), &workshop)?;
    let program = match &args.pkgpanda {
        Some(path) => Program::read(path)?,
        None => Program::read(&program::find(&env::executable()?)?)?,
    };
    if args.build.plan {
        let ids = packages.iter().map(|package| &package.id).chain([&program.id]);
        return package::plan(ids, &workshop, args.build.json, printer);
    }
    let buildable: BTreeSet<_> = packages.iter().map(|package| package.id.clone()).collect();
    let made = signals.ended(workshop.make(&packages, &buildable, yard.jobs()))?;
    let in_bootstrap: BTreeSet<_> = selection.bootstrap.iter().map(|recipe| recipe.requirement()).collect();
    let chosen = packages.iter().zip(&made);
    let chosen = chosen.filter(|(package, _)| in_bootstrap.contains(&package.recipe.requirement()));
    let mut chosen: Vec<_> = chosen.map(|(_, stored)| stored.clone()).collect();
    let program = signals.ended(workshop.program(&program))?;
    chosen.push(program.clone());
    let bootstrap = signals.ended(workshop.bootstrap(&chosen))?;
    let everything = [made.as_slice(), &[program]].concat();
    workshop.set_complete(&variant, &bootstrap, &everything)?;
    if args.lock {
        // The program is not locked: it changes with the tool, and a tree stays what it is.
        let lock = workshop.lock(&packages, &made)?;
        let before = Lock::read(&yard.directory)?;
        lock.write(&yard.directory)?;
        if !args.build.json {
            for line in before.map(|before| lock.moved_since(&before)).unwrap_or_default() {
                printer.line(line)?;
            }
        }
    }
    let tool = format!("bake {}", env!("CARGO_PKG_VERSION"));
    let manifest = TreeManifest::new(tool, &variant, &bootstrap, &everything, &config);
    let path = match &args.out {
        None => bootstrap.path.clone(),
        Some(out) => {
            signals.hold(|| deliver(&manifest, &variant, &bootstrap, &everything, &config, out))?;
            out.join(&manifest.bootstrap.path)
        }
    };
    if args.build.json {
        return package::print_json(&manifest, printer);
    }
    printer.line(path.display().to_string())?;
    printer.line(format!(
        "bootstrap {} ({} of {} packages)",
        bootstrap.digest,
        chosen.len(),
        everything.len()
    ))
}
