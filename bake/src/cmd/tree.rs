//! `bake tree`.

use std::collections::BTreeSet;

use bake_host::Variant;
use bake_package::{ConfigTree, Lock, TreeManifest, deliver};

use crate::cli::TreeArgs;
use crate::cmd::build::{Yard, reporter};
use crate::cmd::package;
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
    if args.build.plan {
        return package::plan(&packages, &workshop, args.build.json, printer);
    }
    let buildable: BTreeSet<_> = packages.iter().map(|package| package.id.clone()).collect();
    let made = signals.ended(workshop.make(&packages, &buildable, yard.jobs()))?;
    let in_bootstrap: BTreeSet<_> = selection.bootstrap.iter().map(|recipe| recipe.requirement()).collect();
    let chosen = packages.iter().zip(&made);
    let chosen = chosen.filter(|(package, _)| in_bootstrap.contains(&package.recipe.requirement()));
    let chosen: Vec<_> = chosen.map(|(_, stored)| stored.clone()).collect();
    let bootstrap = signals.ended(workshop.bootstrap(&chosen))?;
    workshop.set_complete(&variant, &bootstrap, &made)?;
    if args.lock {
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
    let manifest = TreeManifest::new(tool, &variant, &bootstrap, &made, &config);
    let path = match &args.out {
        None => bootstrap.path.clone(),
        Some(out) => {
            signals.hold(|| deliver(&manifest, &variant, &bootstrap, &made, &config, out))?;
            out.join(&manifest.bootstrap.path)
        }
    };
    if args.build.json {
        return package::print_json(&manifest, printer);
    }
    printer.line(path.display().to_string())?;
    printer.line(format!("bootstrap {} ({} of {} packages)", bootstrap.digest, chosen.len(), made.len()))
}
