//! Whether a host is well: the programs of its packages say so, and no unit of its has failed.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bake_base::names;

use super::CHECK_LIMIT;
use crate::host::{Host, Present};
use crate::systemd::{Systemd, TARGET};
use crate::{Failure, check};

/// How long it takes until the host is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks until the host is well, for at most `timeout`. Gives what was not, the last time: nothing if all is well.
#[expect(
    clippy::disallowed_methods,
    reason = "hosts have a bounded time to be well, and nothing is computed from it"
)]
pub(super) fn wait(
    host: &Host,
    present: &Present,
    timeout: Duration,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let begun = Instant::now();
    let mut before = Vec::new();
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        // A program that hangs is not to take longer than everything may.
        let limit = CHECK_LIMIT.min(left.max(PAUSE));
        let mut unwell = programs(host, present, limit, &mut |_| {})?;
        unwell.extend(units(host, present)?);
        if unwell.is_empty() || begun.elapsed() >= timeout {
            return Ok(unwell);
        }
        if unwell != before {
            for line in &unwell {
                say(format!("not yet: {}", line.lines().next().unwrap_or_default()));
            }
            before = unwell;
        }
        thread::sleep(PAUSE.min(timeout.saturating_sub(begun.elapsed())));
    }
}

/// Those of the generation's programs that fail, with what they say.
pub(super) fn programs(
    host: &Host,
    present: &Present,
    limit: Duration,
    say: &mut dyn FnMut(String),
) -> Result<Vec<String>, Failure> {
    let programs = check::programs(host, present)?;
    let outcomes = check::run(host, present, &programs, limit, &mut |outcome| {
        let verdict = if outcome.passed { "passed" } else { "failed" };
        say(format!("check {} {} {verdict}", outcome.package, outcome.name));
    })?;
    let failed = outcomes.into_iter().filter(|outcome| !outcome.passed).map(|outcome| {
        let said = outcome.output.trim_end();
        let text = format!("check {} {} failed: {}", outcome.package, outcome.name, outcome.status);
        if said.is_empty() { text } else { format!("{text}\n{said}") }
    });
    Ok(failed.collect())
}

/// Those of the generation's units that have failed or are not up yet.
fn units(host: &Host, present: &Present) -> Result<Vec<String>, Failure> {
    if host.systemd != Systemd::Running {
        return Ok(Vec::new());
    }
    let wants = format!("{}/{TARGET}.wants", present.number.directory());
    let names = names(&host.directory(&wants)?).map_err(Failure::io("reading", host.shown(&wants)))?;
    let mut units: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
    units.push(TARGET.to_owned());
    let mut unwell = Vec::new();
    // Those that systemd restarts again and again have not failed yet, and are not well either.
    for unit in listed(&["list-units", "--state=failed,auto-restart"], &units)? {
        unwell.push(format!("{unit} has failed: journalctl -u {unit} tells why"));
    }
    for unit in listed(&["list-jobs"], &units)? {
        unwell.push(format!("{unit} is still starting or stopping"));
    }
    Ok(unwell)
}

/// Those of `units` that systemd lists: the name comes first, or after a mark or a number.
#[expect(clippy::disallowed_methods, reason = "systemd is asked through its own program")]
fn listed(verb: &[&str], units: &[String]) -> Result<Vec<String>, Failure> {
    let mut command = Command::new("systemctl");
    let command = command.args(verb).args(["--plain", "--no-legend", "--full", "--no-pager", "--all"]);
    let output = command.stdin(Stdio::null()).output();
    let shown = verb.join(" ");
    let output =
        output.map_err(|error| Failure::new(format!("running `systemctl {shown}` failed: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "`systemctl {shown}` ended with {}: {}",
            output.status,
            said.trim_end()
        )));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let name = |line: &str| {
        let mut words = line.split_whitespace().take(2);
        words.find_map(|word| units.iter().find(|unit| *unit == word).cloned())
    };
    Ok(text.lines().filter_map(name).collect())
}
