//! What an audit finds is put back, and nothing else is touched.
//!
//! Content comes from where it is at hand: what is generated is generated again, a file that another package has
//! as well is copied from there, and everything else comes from the packages of the repository. Whatever it comes
//! from is trusted only once it has the digest that is expected, for which the record of the current generation
//! vouches. Each file appears whole, by a rename, and on disk: a run that was killed has mended some of the host, and
//! the next one mends the rest.

mod current;
mod product;
mod put;
mod record;
mod source;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::activate::{self, Stop, Wanted};
use crate::audit::survey::{Survey, survey};
use crate::audit::{self, Options, Report};
use crate::host::{Host, Lock};
use crate::overrides::LOCAL;
use crate::{Failure, setup};
use source::Source;
use steps::Step;

/// How often a host is looked at again: what is found only once lists of packages are right comes second.
const ROUNDS: usize = 5;

/// Where to take content from, and what else to undo.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// A directory with packages: a serve directory.
    pub from: Option<PathBuf>,
    /// Where packages are fetched from, if not from where the host's own configuration says.
    pub url: Option<String>,
    /// Overrides to undo, beside those that nobody gave a name.
    pub overrides: BTreeSet<String>,
    /// On how many threads to read.
    pub threads: usize,
}

/// What a repair came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Repaired {
    /// What was done, in order.
    pub done: Vec<String>,
    /// What could not be mended, and why.
    pub left: Vec<String>,
    /// What the host is afterwards.
    pub report: Report,
}

/// What [`repair`] would do first, without doing it. What only shows once that is done is not among it.
///
/// # Errors
/// When the host cannot be audited.
pub fn plan(host: &Host, request: &Request) -> Result<Vec<String>, Failure> {
    if let Some(number) = current::meant(host)? {
        return Ok(vec![current::describe(number)]);
    }
    if let Err(failure) = host.current() {
        return record::rebuild(host)
            .map(|rebuilt| vec![rebuilt.describe()])
            .map_err(|why| Failure::each(vec![failure.to_string(), why.to_string()]));
    }
    let survey = survey(host, options(request))?;
    check_names(&survey, request)?;
    let mut lines: Vec<String> = steps::steps(&survey).iter().map(Step::describe).collect();
    lines.extend(undone(&survey, request).into_iter().map(|name| format!("undo the override {name}")));
    Ok(lines)
}

/// Mends a host.
///
/// # Errors
/// When the host cannot be audited. What cannot be mended is no error, but a part of the result.
pub fn repair(
    host: &Host,
    lock: &Lock,
    request: &Request,
    say: &mut dyn FnMut(String),
) -> Result<Repaired, Failure> {
    let mut done = Vec::new();
    let mut tell = |what: String| {
        say(what.clone());
        done.push(what);
    };
    if let Some(number) = current::meant(host)? {
        current::lead(host, lock, number)?;
        tell(current::describe(number));
    }
    if let Err(failure) = host.current() {
        let rebuilt = record::rebuild(host);
        let rebuilt = rebuilt.map_err(|why| Failure::each(vec![failure.to_string(), why.to_string()]))?;
        rebuilt.write(host)?;
        tell(rebuilt.describe());
    }
    let mut problems = BTreeMap::new();
    let mut now = survey(host, options(request))?;
    check_names(&now, request)?;
    for _ in 0..ROUNDS {
        let steps = steps::steps(&now);
        if steps.is_empty() {
            break;
        }
        problems = apply(host, &now, request, &steps, &mut tell);
        let before = std::mem::take(&mut now.judged);
        now = survey(host, options(request))?;
        if now.judged == before {
            break;
        }
    }
    let undone = undone(&now, request);
    if !undone.is_empty() {
        let mut wanted = Wanted::of(&now.present);
        wanted.overrides.retain(|name, _| !undone.contains(name));
        match activate::change(host, lock, &wanted, Stop::Gone, &mut tell) {
            Ok(_) => undone.iter().for_each(|name| tell(format!("undid the override {name}"))),
            Err(failure) => drop(problems.insert("overrides".to_owned(), failure.to_string())),
        }
        now = survey(host, options(request))?;
    }
    let report = audit::report(host, &now);
    Ok(Repaired { done, left: left(&report, &problems), report })
}

fn options(request: &Request) -> Options {
    Options { incremental: false, threads: request.threads }
}

/// Whether there are all overrides that are to be undone; those that nobody gave a name always may be.
fn check_names(survey: &Survey, request: &Request) -> Result<(), Failure> {
    let there = &survey.present.generation.overrides;
    let is_there = |name: &&String| *name == LOCAL || there.contains_key(*name);
    let Some(unknown) = request.overrides.iter().find(|name| !is_there(name)) else { return Ok(()) };
    let list = there.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let expected =
        if list.is_empty() { "this host has none".to_owned() } else { format!("expected one of {list}") };
    Err(Failure::new(format!("there is no override `{}`: {expected}", unknown.escape_debug())))
}

/// The overrides that are to go.
fn undone(survey: &Survey, request: &Request) -> BTreeSet<String> {
    let names = survey.present.generation.overrides.keys();
    names.filter(|name| *name == LOCAL || request.overrides.contains(*name)).cloned().collect()
}

/// Takes the steps, and gives the reasons why some of them could not be taken.
fn apply(
    host: &Host,
    survey: &Survey,
    request: &Request,
    steps: &[Step],
    tell: &mut dyn FnMut(String),
) -> BTreeMap<String, String> {
    let mut source = Source::new(host, survey, request);
    let mut problems = BTreeMap::new();
    for step in steps {
        let taken = match step {
            Step::Remove(path) => put::remove(host, path),
            Step::Put(path, wanted) => put::put(host, path, wanted, &mut source),
            Step::Correct(path, wanted) => {
                let attributes = survey.scan.get(path).map(|found| &found.attributes[..]);
                put::correct(host, path, wanted, attributes.unwrap_or_default())
            }
            Step::Secret(path, wanted) => put::secret(host, path, wanted),
            Step::Directory(path) => put::directory(host, path),
            // It says itself what it does.
            Step::Derive => setup::derive(host, &survey.present, tell).map_err(|failure| failure.to_string()),
            Step::Leave(_, why) => Err((*why).to_owned()),
        };
        match taken {
            Ok(()) if *step == Step::Derive => {}
            Ok(()) => tell(step.done()),
            Err(why) => drop(problems.insert(step.path(), why)),
        }
    }
    problems
}

/// What still differs, and why.
fn left(report: &Report, problems: &BTreeMap<String, String>) -> Vec<String> {
    let mut left: Vec<String> = report
        .differences
        .iter()
        .map(|difference| match problems.get(&difference.path).or_else(|| problems.get("")) {
            Some(why) => format!("{difference}: {why}"),
            None => difference.to_string(),
        })
        .collect();
    left.extend(problems.get("overrides").map(|why| format!("overrides: {why}")));
    left
}
