//! Which units differ between two generations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use bake_base::names;
use bake_tree::TreePath;
use rustix::io::Errno;
use serde::Serialize;

use super::Stop;
use crate::generation::Number;
use crate::host::Host;
use crate::unit::WANTS;
use crate::{Entry, Failure, files};

/// The longest unit, in bytes.
const LIMIT: u64 = 16 << 20;

/// Units by name, with what the links to them lead to.
pub(super) type Links = BTreeMap<String, Vec<u8>>;

/// How the units of one generation differ from those of another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnitChanges {
    /// Those that the old one lacks.
    pub added: BTreeSet<String>,
    /// Those that the new one lacks.
    pub removed: BTreeSet<String>,
    /// Those that have another text.
    pub changed: BTreeSet<String>,
}

/// The names of the units that are to stop between two generations, in order.
pub(super) fn to_stop(host: &Host, from: Number, to: Number, stop: Stop) -> Result<Vec<String>, Failure> {
    let old = of_generation(host, from)?;
    match stop {
        Stop::Everything => Ok(old.into_keys().collect()),
        Stop::Gone => {
            let UnitChanges { removed, changed, .. } = changes(host, &old, &of_generation(host, to)?);
            Ok(removed.union(&changed).cloned().collect())
        }
    }
}

/// The units of a generation that is there.
pub(super) fn of_generation(host: &Host, number: Number) -> Result<Links, Failure> {
    let path = format!("{}/{WANTS}", number.directory());
    let shown = host.shown(&path);
    let directory = host.directory(&path)?;
    let mut links = Links::new();
    for name in names(&directory).map_err(Failure::io("reading", &shown))? {
        let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(&name), Vec::new());
        let target = target.map_err(Failure::io("reading", format!("{shown}/{}", name.escape_ascii())))?;
        let name = String::from_utf8(name).map_err(Failure::io("reading", &shown))?;
        links.insert(name, target.into_bytes());
    }
    Ok(links)
}

/// The units of a generation that is to be.
pub(super) fn of_entries(entries: &BTreeMap<TreePath, Entry>) -> Links {
    let units = entries.iter().filter_map(|(path, entry)| {
        let (directory, name) = path.split()?;
        let Entry::Symlink(target) = entry else { return None };
        let name = std::str::from_utf8(name).ok()?;
        (directory.as_bytes() == WANTS.as_bytes()).then(|| (name.to_owned(), target.to_vec()))
    });
    units.collect()
}

/// What differs. Of a unit that cannot be read nobody can say that its text is the same.
pub(super) fn changes(host: &Host, old: &Links, new: &Links) -> UnitChanges {
    let text = |target: &[u8]| text(host, target).ok();
    let lacking = |a: &Links, b: &Links| a.keys().filter(|name| !b.contains_key(*name)).cloned().collect();
    let both = old.iter().filter_map(|(name, old)| Some((name, old, new.get(name)?)));
    let changed =
        both.filter(|(_, old, new)| old != new && text(old).is_none_or(|old| text(new) != Some(old)));
    let changed = changed.map(|(name, ..)| name.clone()).collect();
    UnitChanges { added: lacking(new, old), removed: lacking(old, new), changed }
}

/// The text of the unit that a link of a generation leads to.
fn text(host: &Host, target: &[u8]) -> Result<Vec<u8>, Failure> {
    let path = TreePath::from_root(target).map_err(|error| Failure::of(&error))?;
    let bytes = files::read_through(&host.root, &path, LIMIT)?;
    bytes.ok_or_else(|| Failure::io("reading", host.root.shown(&path))(Errno::NOENT))
}
