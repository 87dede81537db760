//! What a host itself keeps in its install root: copies of files that an operator has changed, what was replaced
//! elsewhere, the record of what was made there, and what audits have read.

use std::collections::BTreeSet;

use super::report::What;
use super::scan::{self, Found, Node, Scan};
use super::wanted::{At, Judged, Part, Wanted, plain};
use super::{CACHE, CACHE_UNFINISHED, difference, not_there, outside};
use crate::created::{self, CREATED, REPLACED, Record};
use crate::generation::OVERRIDES;
use crate::host::Host;
use crate::{Failure, files, overrides};

/// The longest record of what was made, in bytes.
const LIMIT: u64 = 64 << 20;

/// Judges all of it.
///
/// # Errors
/// When what was replaced cannot be compared with what is in its place.
pub(crate) fn judge(host: &Host, scan: &Scan) -> Result<Vec<Judged>, Failure> {
    let mut judged = Vec::new();
    for name in [OVERRIDES, REPLACED] {
        let found = scan.get(name.as_bytes()).filter(|found| found.node != Node::Directory);
        judged.extend(found.map(|found| said(name.as_bytes(), What::Type, "a directory", found)));
    }
    for name in [CACHE, CACHE_UNFINISHED] {
        let found = scan.get(name.as_bytes()).filter(|found| !matches!(found.node, Node::File(_)));
        judged.extend(found.map(|found| said(name.as_bytes(), What::Extra, not_there(), found)));
    }
    if let Some(named) = named(host) {
        let copies =
            below(scan, OVERRIDES).filter(|(path, found)| !named.contains(*path) && !is_draft(path, found));
        judged.extend(copies.map(|(path, found)| said(path, What::Extra, not_there(), found)));
    }
    match record(host) {
        Ok(record) => judged.extend(replaced(host, scan, &record)?),
        Err(reason) => judged.push(difference(
            At::Home(CREATED.into()),
            What::Record,
            "the record of what was made outside of the install root",
            plain(reason.as_bytes()),
            Part::State,
        )),
    }
    Ok(judged)
}

fn said(path: &[u8], what: What, expected: &str, found: &Found) -> Judged {
    difference(At::Home(path.to_vec()), what, expected, found.describe(), Part::State)
}

/// The changed copies that generations name, relative to the install root; none if one cannot be read, which may name
/// any.
fn named(host: &Host) -> Option<BTreeSet<Vec<u8>>> {
    let mut named = BTreeSet::new();
    for number in host.generations().ok()? {
        let generation = host.present(number).ok()?.generation;
        for (name, id, path) in overrides::each(&generation.overrides) {
            named.extend(overrides::copy(name, id, path).map(|copy| copy.as_bytes().to_vec()));
        }
    }
    Some(named)
}

/// Everything but directories below a directory at the top.
fn below<'a>(scan: &'a Scan, top: &str) -> impl Iterator<Item = (&'a Vec<u8>, &'a Found)> {
    let below = format!("{top}/").into_bytes();
    let all = scan.range(below.clone()..).take_while(move |(path, _)| path.starts_with(&below));
    all.filter(|(_, found)| found.node != Node::Directory)
}

/// Whether it is what somebody is writing just now, or was: `pkgpanda edit` sees to these.
fn is_draft(path: &[u8], found: &Found) -> bool {
    let (_, name) = scan::split_path(path);
    let is_plain = matches!(found.node, Node::File(_)) && found.stamp.mode & 0o7000 == 0;
    is_plain && name.starts_with(b".") && name.ends_with(b".unfinished")
}

fn record(host: &Host) -> Result<Record, String> {
    match files::read_at(&host.home, CREATED.as_bytes(), LIMIT) {
        Ok(bytes) => Record::parse(&bytes).map_err(|reason| format!("one that {reason}")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_there().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// What lies where replaced files are kept and is none: the record does not name it, nor is it what was put back.
fn replaced(host: &Host, scan: &Scan, record: &Record) -> Result<Vec<Judged>, Failure> {
    let kept: BTreeSet<Vec<u8>> = record.replaced.iter().map(|path| kept_at(path)).collect();
    let mut judged = Vec::new();
    for (path, found) in below(scan, REPLACED).filter(|(path, _)| !kept.contains(*path)) {
        let place = &path[REPLACED.len() + 1..];
        let there = outside::find(&host.root, place, &Wanted::directory(Part::State))?;
        if there.is_none_or(|there| there.node != found.node || there.stamp.mode != found.stamp.mode) {
            judged.push(said(path, What::Extra, not_there(), found));
        }
    }
    Ok(judged)
}

/// Where the install root keeps what was at a path of the record.
fn kept_at(recorded: &str) -> Vec<u8> {
    let top = bake_tree::TreePath::root();
    created::kept_at(&top, &created::place_of(recorded)).as_bytes().to_vec()
}
