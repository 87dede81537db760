//! What `bake configure` prints.

use bake_config::configure::{Known, Plan};
use bake_config::diff::Diff;
use serde::Serialize;

use crate::cmd::package::print_json;
use crate::error::Failure;
use crate::ui::Printer;

/// What was made.
#[derive(Serialize)]
pub struct Outcome {
    pub config_id: String,
    pub out: String,
    pub packages: Vec<String>,
    pub changed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub single_file: Option<SingleFile>,
}

/// The one script with everything in it.
#[derive(Serialize)]
pub struct SingleFile {
    pub path: String,
    pub sha256: String,
    pub size: u64,
}

pub fn outcome(outcome: &Outcome, as_json: bool, printer: Printer) -> Result<(), Failure> {
    if as_json {
        return print_json(outcome, printer);
    }
    printer.line(&outcome.out)?;
    let changed = match outcome.changed.len() {
        0 => "nothing changed".to_owned(),
        1 => "1 file changed".to_owned(),
        count => format!("{count} files changed"),
    };
    printer.line(format!("configuration {} ({changed})", outcome.config_id))?;
    if let Some(single) = &outcome.single_file {
        printer.line(format!("{} ({} bytes, sha256 {})", single.path, single.size, single.sha256))?;
    }
    if let Some(secrets) = &outcome.secrets {
        printer.note(format!("hosts need `{secrets}` too: bring it there apart, and give it with --secrets"));
    }
    Ok(())
}

pub fn diff(diff: &Diff, as_json: bool, printer: Printer) -> Result<(), Failure> {
    if as_json {
        print_json(diff, printer)?;
    } else {
        printer.raw(diff.to_string().as_bytes())?;
    }
    if diff.is_empty() { Ok(()) } else { Err(Failure::different()) }
}

pub fn plan(plan: &Plan, as_json: bool, printer: Printer) -> Result<(), Failure> {
    if as_json {
        return print_json(&bake_config::plan::json(&plan.effective, &plan.notes), printer);
    }
    // The notes were told already.
    printer.raw(bake_config::plan::text(&plan.effective, &[]).as_bytes())
}

pub fn schema(known: &Known, printer: Printer) -> Result<(), Failure> {
    print_json(&bake_config::schema::schema(&known.table), printer)
}
