//! What a change would do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;

use super::prepare::Prepared;
use super::units::{self, UnitChanges};
use crate::generation::Number;
use crate::host::{Host, Present};
use crate::{Failure, PackageId, Role};

/// What would differ from the current generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The generation that is current.
    pub current: Number,
    /// Packages that would become active.
    pub added: BTreeSet<PackageId>,
    /// Packages that would no longer be active.
    pub removed: BTreeSet<PackageId>,
    /// Roles that the host would get.
    pub roles_added: BTreeSet<Role>,
    /// Roles that the host would lose.
    pub roles_removed: BTreeSet<Role>,
    /// What would become of units.
    pub units: UnitChanges,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// A line for each difference and note.
    pub fn lines(&self) -> Vec<String> {
        fn each<'a, T: Display>(
            mark: char,
            what: &'a str,
            of: &'a BTreeSet<T>,
        ) -> impl Iterator<Item = String> {
            of.iter().map(move |thing| format!("{mark} {what} {thing}"))
        }
        let roles = each('-', "role", &self.roles_removed).chain(each('+', "role", &self.roles_added));
        let packages = each('-', "package", &self.removed).chain(each('+', "package", &self.added));
        let UnitChanges { added, removed, changed } = &self.units;
        let units =
            each('-', "unit", removed).chain(each('+', "unit", added)).chain(each('~', "unit", changed));
        let notes = self.notes.iter().map(|note| format!("note: {note}"));
        roles.chain(packages).chain(units).chain(notes).collect()
    }
}

pub(super) fn plan(
    host: &Host,
    current: &Present,
    prepared: &Prepared,
    dropped: Vec<String>,
) -> Result<Plan, Failure> {
    let (old, new) = (&current.generation, &prepared.generation);
    // Whatever its number will be: links to units do not lead through it.
    let entries = prepared.entries(current.number)?;
    let units =
        units::changes(host, &units::of_generation(host, current.number)?, &units::of_entries(&entries));
    let lacking = |a: &BTreeMap<PackageId, _>, b: &BTreeMap<PackageId, _>| {
        a.keys().filter(|id| !b.contains_key(*id)).cloned().collect()
    };
    Ok(Plan {
        current: current.number,
        added: lacking(&new.active, &old.active),
        removed: lacking(&old.active, &new.active),
        roles_added: new.roles.difference(&old.roles).cloned().collect(),
        roles_removed: old.roles.difference(&new.roles).cloned().collect(),
        units,
        notes: [dropped, prepared.notes.clone()].concat(),
    })
}
