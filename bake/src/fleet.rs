//! Many hosts compared: audits, as `pkgpanda audit --json` prints them, become states and what differs between them.
//!
//! Reports are folded as they are read: what is kept grows with hosts and with distinct differences, not with bytes.
//! Nothing in them is trusted: every text of theirs goes through [`plain`] before anybody sees it.

mod page;
mod read;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use bake_base::Digest;
use bake_host::audit::Report;
use bake_host::generation::Number;
use serde::Serialize;
use serde_json::{Value, json};

pub use page::page;
pub use read::read;
pub use table::table;

/// The revision of the document's format.
const SCHEMA: &str = "bake-fleet-1";
/// The fewest hex digits that a state is called by.
const SHORTEST: usize = 12;

/// What is known of all hosts.
#[derive(Debug, Default)]
pub struct Fleet {
    /// By digest.
    pub states: BTreeMap<Digest, State>,
    /// Where the report of each host was.
    hosts: BTreeMap<String, String>,
    /// Files that are no reports, and hosts that are there twice.
    pub problems: Vec<String>,
}

/// Hosts with the same bits.
#[derive(Debug, Default)]
pub struct State {
    /// By name.
    pub hosts: BTreeMap<String, Host>,
    /// How many hosts have which configuration; those that were not made from a product have none.
    pub configurations: BTreeMap<Option<String>, usize>,
    /// How many hosts have which finding.
    pub findings: BTreeMap<Finding, usize>,
}

/// One host.
#[derive(Debug)]
pub struct Host {
    /// Whether there are neither differences nor overrides.
    pub clean: bool,
    /// Its current generation.
    pub generation: Number,
    /// What it is.
    pub roles: BTreeSet<String>,
}

/// Something that is not as it was built.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// In which way; `override` and its name for what an operator has changed.
    pub what: String,
    /// Where.
    pub path: String,
}

/// A finding, and who has it.
#[derive(Debug, Serialize)]
pub struct Found {
    #[serde(flatten)]
    pub finding: Finding,
    /// How many hosts have it.
    pub hosts: usize,
    /// What the states of those hosts are called.
    pub states: Vec<String>,
}

impl Fleet {
    /// Takes a report in; `stem` names the host if nothing else does.
    pub fn add(&mut self, report: Report, file: &str, stem: &str) {
        let name = if report.node.is_empty() { stem } else { &report.node }.to_owned();
        if let Some(first) = self.hosts.get(&name) {
            let (name, place) = (plain(&name), if first == file { "twice in" } else { "in both" });
            let files =
                if first == file { plain(file) } else { format!("{} and {}", plain(first), plain(file)) };
            self.problems.push(format!("host {name} is {place} {files}: the first report counts"));
            return;
        }
        self.hosts.insert(name.clone(), file.to_owned());
        let state = self.states.entry(report.state).or_default();
        *state.configurations.entry(report.config_id).or_default() += 1;
        let differences = report.differences.into_iter();
        let differences = differences.map(|it| Finding { what: it.what.to_string(), path: it.path });
        let overrides = report.overrides.into_iter();
        let overrides = overrides.map(|it| Finding { what: format!("override {}", it.name), path: it.path });
        // A host counts once, whatever it says twice.
        for finding in differences.chain(overrides).collect::<BTreeSet<_>>() {
            *state.findings.entry(finding).or_default() += 1;
        }
        let roles = report.roles.iter().map(ToString::to_string).collect();
        let host = Host { clean: report.clean, generation: report.generation, roles };
        state.hosts.insert(name, host);
    }

    /// Says what is wrong with a file.
    pub fn problem(&mut self, file: &str, reason: &str) {
        self.problems.push(format!("{}: {reason}", plain(file)));
    }

    /// How many hosts there are.
    pub fn count(&self) -> usize {
        self.hosts.len()
    }

    /// How many of them are clean.
    pub fn clean(&self) -> usize {
        self.states.values().map(State::clean).sum()
    }

    /// Whether all hosts are clean and have the same bits, and every file was a report.
    pub fn is_one(&self) -> bool {
        self.states.len() == 1 && self.clean() == self.count() && self.problems.is_empty()
    }

    /// The states with what they are called, those with the most hosts first.
    pub fn ranked(&self) -> Vec<(String, &Digest, &State)> {
        let names = self.names();
        let states = self.states.iter().map(|(digest, state)| (names[digest].clone(), digest, state));
        let mut states: Vec<_> = states.collect();
        states.sort_by_key(|(_, digest, state)| (std::cmp::Reverse(state.hosts.len()), **digest));
        states
    }

    /// The shortest beginnings of digests, all of one length, that no two states share.
    fn names(&self) -> BTreeMap<Digest, String> {
        let texts: Vec<String> = self.states.keys().map(ToString::to_string).collect();
        let shared =
            |(a, b): (&String, &String)| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
        // They are sorted: what two of them share, neighbours share.
        let longest = texts.iter().zip(texts.iter().skip(1)).map(shared).max().unwrap_or(0);
        let length = SHORTEST.max(longest + 1);
        self.states.keys().zip(&texts).map(|(digest, text)| (*digest, text[..length].to_owned())).collect()
    }

    /// What differs anywhere, what most hosts have first.
    pub fn found(&self) -> Vec<Found> {
        let mut all: BTreeMap<&Finding, (usize, Vec<String>)> = BTreeMap::new();
        for (name, _, state) in self.ranked() {
            for (finding, hosts) in &state.findings {
                let (count, states) = all.entry(finding).or_default();
                *count += hosts;
                states.push(name.clone());
            }
        }
        let found = all.into_iter().map(|(finding, (hosts, states))| Found {
            finding: finding.clone(),
            hosts,
            states,
        });
        let mut found: Vec<Found> = found.collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.hosts));
        found
    }

    /// How many hosts have which configuration, the most first.
    pub fn configurations(&self) -> Vec<(Option<String>, usize)> {
        let mut all: BTreeMap<&Option<String>, usize> = BTreeMap::new();
        for (id, count) in self.states.values().flat_map(|state| &state.configurations) {
            *all.entry(id).or_default() += count;
        }
        let mut all: Vec<_> = all.into_iter().map(|(id, count)| (id.clone(), count)).collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        all
    }

    /// All of it as a document. Texts of hosts are as they are: JSON has escapes of its own.
    pub fn to_json(&self) -> Value {
        let states = self.ranked().into_iter().map(|(name, digest, state)| {
            json!({
                "state": digest,
                "name": name,
                "clean": state.clean(),
                "config_ids": state.configurations.keys().collect::<Vec<_>>(),
                "generations": state.generations(),
                "hosts": state.hosts.keys().collect::<Vec<_>>(),
            })
        });
        let configurations = self.configurations();
        let configurations =
            configurations.iter().map(|(id, hosts)| json!({"config_id": id, "hosts": hosts}));
        json!({
            "schema": SCHEMA,
            "hosts": self.count(),
            "clean": self.clean(),
            "one_clean_state": self.is_one(),
            "states": states.collect::<Vec<_>>(),
            "configurations": configurations.collect::<Vec<_>>(),
            "differences": self.found(),
            "problems": self.problems,
        })
    }
}

impl State {
    /// How many of its hosts are clean. The same bits may be clean on one host and not on another, whose users or
    /// running units differ.
    pub fn clean(&self) -> usize {
        self.hosts.values().filter(|host| host.clean).count()
    }

    /// The generations that its hosts are in.
    pub fn generations(&self) -> BTreeSet<Number> {
        self.hosts.values().map(|host| host.generation).collect()
    }
}

/// What the configuration of a host is called.
fn configuration(id: Option<&str>) -> String {
    id.map_or_else(|| "none".to_owned(), plain)
}

/// A number of things.
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// A text of a host, harmless for terminals and readers: without controls, and without characters that hide or turn
/// around what stands beside them.
pub fn plain(text: &str) -> String {
    let is_harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests;
