//! The host's systemd, through its own program.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde::Serialize;

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

    /// Forgets how often units were started and that they failed. Units that it does not know have nothing to forget.
    ///
    /// # Errors
    /// When its program cannot be run.
    pub(crate) fn forget<'a>(self, units: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let units: Vec<&str> = units.into_iter().filter(|unit| !is_template(unit)).collect();
        if units.is_empty() { Ok(()) } else { self.run(&["reset-failed", "--"], &units, &[0, 1, 5]) }
    }

    /// Starts units without waiting for them.
    ///
    /// # Errors
    /// When systemd does not take the job.
    pub fn start<'a>(self, units: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let units: Vec<&str> = units.into_iter().collect();
        if units.is_empty() { Ok(()) } else { self.run(&["start", "--no-block", "--"], &units, &[0]) }
    }

    /// Starts a unit and waits until it has: for those that start at once.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start_now(self, unit: &str) -> Result<(), Failure> {
        self.run(&["start", "--"], &[unit], &[0])
    }

    /// What units are doing; nothing where there is no systemd.
    ///
    /// # Errors
    /// When systemd does not say.
    pub fn states<'a>(
        self,
        units: impl IntoIterator<Item = &'a str>,
    ) -> Result<BTreeMap<String, UnitState>, Failure> {
        let units: Vec<&str> = units.into_iter().filter(|unit| !is_template(unit)).collect();
        if self == Self::Absent || units.is_empty() {
            return Ok(BTreeMap::new());
        }
        let output = systemctl(&["show", "--property=ActiveState,Type,TriggeredBy", "--"], &units, &[0])?;
        // One block for each, in order, with an empty line between.
        let blocks = output.split("\n\n").map(UnitState::parse);
        Ok(units.into_iter().map(str::to_owned).zip(blocks).collect())
    }

    fn run(self, verb: &[&str], units: &[&str], fine: &[i32]) -> Result<(), Failure> {
        if self == Self::Absent { Ok(()) } else { systemctl(verb, units, fine).map(drop) }
    }
}

/// What a unit is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitState {
    /// It runs, is done, or waits for its time.
    Fine,
    /// It starts or stops.
    Changing,
    /// It failed.
    Failed,
    /// It does not run, and nothing is going to start it.
    Stopped,
}

impl UnitState {
    /// From what `systemctl show` prints of one unit.
    fn parse(block: &str) -> Self {
        let value = |name: &str| {
            let lines = block.lines().filter_map(|line| line.split_once('='));
            lines.filter(|(key, _)| *key == name).map(|(_, value)| value).next().unwrap_or_default()
        };
        match value("ActiveState") {
            "active" | "reloading" => Self::Fine,
            "activating" | "deactivating" => Self::Changing,
            "failed" => Self::Failed,
            // Of these it is not said whether they have been started already.
            _ if value("Type") == "oneshot" || !value("TriggeredBy").is_empty() => Self::Fine,
            _ => Self::Stopped,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "systemd is asked through its own program")]
fn systemctl(verb: &[&str], units: &[&str], fine: &[i32]) -> Result<String, Failure> {
    let shown = format!("systemctl {} {}", verb.join(" "), units.join(" "));
    let output = Command::new("systemctl").args(verb).args(units).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("running `{shown}` failed: {error}")))?;
    if output.status.code().is_some_and(|code| fine.contains(&code)) {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(format!("`{}` ended with {}: {}", shown.trim_end(), output.status, said.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_a_unit_is_a_state() {
        let states = [
            ("Type=simple\nActiveState=active", UnitState::Fine),
            ("Type=notify\nActiveState=activating", UnitState::Changing),
            ("ActiveState=failed\nType=oneshot", UnitState::Failed),
            ("ActiveState=inactive\nType=oneshot\nTriggeredBy=", UnitState::Fine),
            ("ActiveState=inactive\nType=simple\nTriggeredBy=a.timer", UnitState::Fine),
            ("ActiveState=inactive\nType=simple\nTriggeredBy=", UnitState::Stopped),
            ("ActiveState=inactive\nTriggeredBy=", UnitState::Stopped),
            ("", UnitState::Stopped),
        ];
        for (block, state) in states {
            assert_eq!(UnitState::parse(block), state, "{block}");
        }
    }

    #[test]
    fn a_template_stops_with_all_of_its_instances() {
        assert!(is_template("a@.service") && !is_template("a@b.service") && !is_template("a.service"));
        assert_eq!(
            ["a@.service", "a@b.service", "a.b.timer"].map(running),
            ["a@*.service", "a@b.service", "a.b.timer"]
        );
    }
}
