//! What a change would do.

use std::collections::{BTreeMap, BTreeSet};

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
    /// Whether the same would be active in the same roles.
    pub fn is_empty(&self) -> bool {
        let Self { added, removed, roles_added, roles_removed, units, .. } = self;
        added.is_empty()
            && removed.is_empty()
            && roles_added.is_empty()
            && roles_removed.is_empty()
            && *units == UnitChanges::default()
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
