//! A fleet as one page that needs nothing else: no network, no other file, and scripts only to search.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::{Fleet, State, configuration, plain};

/// How many colours there are before they begin again.
const COLOURS: usize = 8;
/// The smallest share of the bar that a state has, in percent, so that it can be seen.
const THINNEST: f64 = 0.4;

/// All that the page shows.
#[derive(Serialize)]
struct Page {
    hosts: usize,
    clean: usize,
    one: bool,
    states: Vec<Shown>,
    found: Vec<Line>,
    configurations: Vec<(String, usize)>,
    problems: Vec<String>,
}

/// A state as the page shows it.
#[derive(Serialize)]
struct Shown {
    name: String,
    digest: String,
    hosts: Vec<Named>,
    clean: usize,
    configurations: Vec<String>,
    generations: Vec<String>,
    findings: Vec<Line>,
    colour: usize,
    /// Percent of all hosts, for people.
    share: String,
    /// How much of the bar it gets.
    width: String,
}

/// A host as the page shows it.
#[derive(Serialize)]
struct Named {
    name: String,
    roles: String,
    generation: String,
    clean: bool,
}

/// A finding as the page shows it.
#[derive(Serialize)]
struct Line {
    what: String,
    path: String,
    hosts: usize,
    states: Vec<String>,
}

/// The page.
///
/// # Errors
/// When it cannot be rendered, which no fleet is a reason for.
pub fn page(fleet: &Fleet) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("page", include_str!("page.html"))?;
    let ranked = fleet.ranked();
    let states: Vec<Shown> = ranked
        .iter()
        .enumerate()
        .map(|(rank, (name, digest, state))| shown(fleet, rank, name, &digest.to_string(), state))
        .collect();
    let found = fleet.found().into_iter().map(|it| Line {
        what: plain(&it.finding.what),
        path: plain(&it.finding.path),
        hosts: it.hosts,
        states: it.states,
    });
    let configurations = fleet.configurations();
    let configurations: Vec<(String, usize)> =
        configurations.iter().map(|(id, count)| (configuration(id.as_deref()), *count)).collect();
    // The template's last line break is not among what it renders.
    let page = environment.get_template("page")?.render(Value::from(Serde(Page {
        hosts: fleet.count(),
        clean: fleet.clean(),
        one: fleet.is_one(),
        states,
        found: found.collect(),
        configurations,
        problems: fleet.problems.clone(),
    })))?;
    Ok(page + "\n")
}

fn shown(fleet: &Fleet, rank: usize, name: &str, digest: &str, state: &State) -> Shown {
    let percent = state.hosts.len() as f64 * 100.0 / fleet.count() as f64;
    let hosts = state.hosts.iter().map(|(name, host)| Named {
        name: plain(name),
        roles: host.roles.iter().cloned().collect::<Vec<_>>().join(", "),
        generation: host.generation.to_string(),
        clean: host.clean,
    });
    let findings = state.findings.iter().map(|(finding, hosts)| Line {
        what: plain(&finding.what),
        path: plain(&finding.path),
        hosts: *hosts,
        states: Vec::new(),
    });
    Shown {
        name: name.to_owned(),
        digest: digest.to_owned(),
        hosts: hosts.collect(),
        clean: state.clean(),
        configurations: state.configurations.keys().map(|id| configuration(id.as_deref())).collect(),
        generations: state.generations().iter().map(ToString::to_string).collect(),
        findings: findings.collect(),
        colour: rank % COLOURS,
        // Neither all nor nothing unless it is so.
        share: if percent > 99.9 && percent < 100.0 { "> 99.9".to_owned() } else { shortened(percent) },
        width: format!("{:.3}", percent.max(THINNEST)),
    }
}

fn shortened(percent: f64) -> String {
    if percent < 0.1 { "< 0.1".to_owned() } else { format!("{percent:.1}") }
}
