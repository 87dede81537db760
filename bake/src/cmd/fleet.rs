//! `bake fleet`: compares hosts by their audits.

use std::io::Write;
use std::path::Path;

use bake_base::Unnamed;

use crate::cli::{FleetCommand, FleetReportArgs};
use crate::cmd::package::print_json;
use crate::error::Failure;
use crate::fleet::{self, Fleet};
use crate::ui::{self, Printer};

/// Runs `bake fleet`.
pub fn run(command: &FleetCommand) -> Result<(), Failure> {
    match command {
        FleetCommand::Report(args) => report(args),
    }
}

/// Fails when hosts differ from each other, or from what they should be.
fn report(args: &FleetReportArgs) -> Result<(), Failure> {
    let printer = Printer::new(args.quiet);
    let mut fleet = Fleet::default();
    for (at, file) in args.files.iter().enumerate() {
        if at % 1000 == 999 {
            printer.step(format!("read {} of {} files", at + 1, args.files.len()));
        }
        fleet::read(&mut fleet, file);
    }
    if args.json {
        print_json(&fleet.to_json(), printer)?;
    } else if fleet.count() > 0 {
        printer.raw(fleet::table(&fleet).as_bytes())?;
    }
    if let Some(path) = &args.html {
        write_page(path, &fleet)?;
    }
    for problem in &fleet.problems {
        ui::report(&Failure::new(problem));
    }
    if fleet.is_one() { Ok(()) } else { Err(Failure::different()) }
}

/// Writes the page: all of it, or nothing.
fn write_page(path: &Path, fleet: &Fleet) -> Result<(), Failure> {
    let page =
        fleet::page(fleet).map_err(|error| Failure::new(format!("rendering the page failed: {error}")))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let unnamed = Unnamed::new(directory)?;
        (&**unnamed.file()).write_all(page.as_bytes())?;
        unnamed.file().sync_all()?;
        unnamed.name(path)
    };
    write().map_err(|error| Failure::new(format!("writing `{}` failed: {error}", path.display())))
}
