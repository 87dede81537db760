//! The host's systemd, through its own program.

use std::process::{Command, Stdio};

use crate::Failure;
use crate::place::{self, Root};

/// The target that wants every unit of a generation.
pub const TARGET: &str = "dcos.target";

/// Whether there is a systemd to talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Systemd {
    /// That of this machine.
    Running,
    /// None: another root than that of this machine, or nobody wants it.
    Absent,
}

/// Whether systemd is what started the machine (sd_booted(3)).
pub(crate) fn is_running(root: &Root) -> Result<bool, Failure> {
    Ok(root.find(&place::path("run/systemd/system"))?.is_some())
}

/// Whether a unit is one that only instances of can run.
pub(crate) fn is_template(unit: &str) -> bool {
    unit.rsplit_once('.').is_some_and(|(stem, _)| stem.ends_with('@'))
}

/// What a unit is called when it is to stop: a template by all of its instances.
fn running(unit: &str) -> String {
    if is_template(unit) { unit.replacen("@.", "@*.", 1) } else { unit.to_owned() }
}

impl Systemd {
    /// Stops units and waits until they have; units that are not loaded count as stopped.
    ///
    /// # Errors
    /// When one does not stop.
    pub fn stop<'a>(self, units: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let units: Vec<String> = units.into_iter().map(running).collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        // Status 5: not loaded.
        if units.is_empty() { Ok(()) } else { self.run(&["stop", "--"], &units, &[0, 5]) }
    }

    /// Has systemd read its units again.
    ///
    /// # Errors
    /// When it does not.
    pub fn reload(self) -> Result<(), Failure> {
        self.run(&["daemon-reload"], &[], &[0])
    }

    /// Starts units without waiting for them.
    ///
    /// # Errors
    /// When systemd does not take the job.
    pub fn start<'a>(self, units: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let units: Vec<&str> = units.into_iter().collect();
        if units.is_empty() { Ok(()) } else { self.run(&["start", "--no-block", "--"], &units, &[0]) }
    }

    fn run(self, verb: &[&str], units: &[&str], fine: &[i32]) -> Result<(), Failure> {
        if self == Self::Absent {
            return Ok(());
        }
        let shown = format!("systemctl {} {}", verb.join(" "), units.join(" "));
        let output = Command::new("systemctl").args(verb).args(units).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Failure::new(format!("running `{shown}` failed: {error}")))?;
        if output.status.code().is_some_and(|code| fine.contains(&code)) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("`{}` ended with {}: {}", shown.trim_end(), output.status, said.trim_end())))
    }
}
