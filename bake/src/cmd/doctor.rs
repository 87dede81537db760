//! `bake doctor`.

use crate::cmd::package::print_json;
use crate::env;
use crate::error::Failure;
use crate::ui::Printer;

/// Says what this machine allows; fails when something that is needed does not work.
pub fn run(as_json: bool) -> Result<(), Failure> {
    let printer = Printer::new(false);
    let probed = bake_package::sandbox::probe(&env::executable()?);
    let findings = probed.map_err(|error| Failure::new(format!("trying out the sandbox failed: {error}")))?;
    if as_json {
        print_json(&findings, printer)?;
    } else {
        for finding in &findings {
            let state = finding.problem.as_deref().unwrap_or("works");
            printer.line(format!("{}: {state}", finding.what))?;
        }
    }
    if findings.iter().all(|finding| finding.problem.is_none() || !finding.is_needed) {
        return Ok(());
    }
    Err(Failure::new("this machine does not allow everything that `bake` uses"))
}
