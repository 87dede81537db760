//! What every command takes and says.

use std::io::{self, Write};
use std::path::PathBuf;

use bake_base::json;
use bake_host::Failure;
use bake_host::host::Host;
use clap::Args;

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The root of the host; one other than `/` may be changed without being root, and belongs to its user then
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Start and stop no services, and leave units alone
    #[arg(long, global = true)]
    pub no_systemd: bool,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl Global {
    /// The host that is meant, for those who only look at what everybody may read.
    pub fn host_to_look(&self) -> Result<Host, Failure> {
        Host::open_to_look(&self.root, !self.no_systemd)
    }

    /// The host that is meant.
    pub fn host(&self) -> Result<Host, Failure> {
        Host::open(&self.root, !self.no_systemd)
    }

    /// Tells a step of the work, unless the result is to be JSON.
    pub fn say(&self, step: &str) {
        if !self.json {
            // Losing the listener is no reason to stop half way.
            let _ = print(step);
        }
    }
}

/// A line on stdout.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{line}")
        .map_err(|error| Failure::new(format!("writing to stdout failed: {error}")))
}

/// A value on stdout, as canonical JSON.
pub(crate) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text =
        json::to_canonical(value).map_err(|error| Failure::new(format!("rendering JSON failed: {error}")))?;
    print(String::from_utf8_lossy(&text).trim_end())
}
