//! How a host is doing, in short.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{sources, units};
use crate::activate::{known_roles, leave};
use crate::generation::{Number, Overrides};
use crate::host::{Host, Present};
use crate::integration::COMMON_ROLES;
use crate::product::Product;
use crate::systemd::UnitState;
use crate::{Failure, Role};

/// How a host is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The generation that is current.
    pub generation: Number,
    /// Identifies every byte of its configuration, if it was made from a product.
    pub config_id: Option<String>,
    /// What the host is.
    pub roles: BTreeSet<Role>,
    /// Who names the host's roles now.
    pub source: Option<String>,
    /// The roles that are named there, if they are others: the next setup makes them the host's, or puts right what
    /// names them.
    pub named: Option<BTreeSet<Role>>,
    /// Whether nothing runs until the host is given a role.
    pub is_waiting: bool,
    /// Whether everything is being removed.
    pub removing: bool,
    /// What every unit of the generation is doing; empty where there is no systemd to ask.
    pub units: BTreeMap<String, UnitState>,
    /// What an operator has changed.
    pub overrides: Overrides,
    /// What runs that were killed have left; the next change removes it.
    pub leftovers: Vec<String>,
    /// What was wrong with the sources of roles, and with the roles themselves.
    pub warnings: Vec<String>,
}

/// Looks how a host is doing.
///
/// # Errors
/// When there is none, or systemd does not say what units do.
pub fn status(host: &Host) -> Result<Status, Failure> {
    let present = host.current()?;
    let mut warnings = Vec::new();
    let found = sources::read(&host.root, &mut |warning| warnings.push(warning));
    let product = present.product.as_ref().and_then(|bytes| serde_json::from_slice::<Product>(bytes).ok());
    let units = units::of(host, &present)?;
    let units = host.systemd.states(units.iter().map(String::as_str))?;
    warnings.extend(unknown(host, &present, &found.roles));
    let generation = present.generation;
    let named = Some(found.roles).filter(|named| !named.is_empty() && *named != generation.roles);
    Ok(Status {
        generation: present.number,
        config_id: product.map(|product| product.config_id),
        is_waiting: generation.roles.is_empty() && !generation.removing,
        roles: generation.roles,
        source: found.source,
        named,
        removing: generation.removing,
        units,
        overrides: generation.overrides,
        leftovers: leave::leftovers(host)?,
        warnings,
    })
}

/// Roles of the host, or that are named for it, which may be slips of the pen: nothing on it has anything for them.
fn unknown(host: &Host, present: &Present, named: &BTreeSet<Role>) -> Vec<String> {
    let roles: BTreeSet<&Role> = present.generation.roles.union(named).collect();
    if roles.iter().all(|role| COMMON_ROLES.contains(&role.as_str())) {
        return Vec::new();
    }
    let known = match known_roles(host, present) {
        Ok(known) => known,
        // A package that is damaged, or that not everybody may read, is no reason to tell nothing.
        Err(failure) => return vec![failure.to_string()],
    };
    let unknown = roles.into_iter().filter(|role| !known.contains(role));
    unknown.map(|role| format!("no package knows the role `{role}`")).collect()
}

impl Status {
    /// The same for people: what is fine in one line, what is not by name.
    pub fn lines(&self) -> Vec<String> {
        let list = |roles: &BTreeSet<Role>| roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
        let source = self.source.as_deref().unwrap_or("none is named anywhere");
        let roles = if self.is_waiting {
            "waiting for a role".to_owned()
        } else if self.named.is_some() {
            list(&self.roles)
        } else {
            format!("{} ({source})", list(&self.roles))
        };
        let mut lines = vec![
            format!("generation: {}", self.generation),
            format!("configuration: {}", self.config_id.as_deref().unwrap_or("none")),
            format!("roles: {roles}"),
        ];
        if let Some(named) = &self.named {
            lines.push(format!("roles that {source} names: {}: run `pkgpanda setup`", list(named)));
        }
        if self.removing {
            lines.push("everything is being removed: `pkgpanda uninstall` goes on with that".to_owned());
        }
        let count = |state: &UnitState| self.units.values().filter(|found| *found == state).count();
        if !self.units.is_empty() {
            lines.push(format!("units: {} of {} are fine", count(&UnitState::Fine), self.units.len()));
        }
        for (state, what) in [
            (UnitState::Failed, "failed"),
            (UnitState::Stopped, "stopped"),
            (UnitState::Changing, "changing"),
        ] {
            let units = self.units.iter().filter(|(_, found)| **found == state);
            lines.extend(units.map(|(unit, _)| format!("{what}: {unit}")));
        }
        for (name, id, path) in crate::overrides::each(&self.overrides) {
            lines.push(format!("changed ({name}): {id}/{path}"));
        }
        lines.extend(self.leftovers.iter().map(|left| format!("left by a run that was killed: {left}")));
        lines.extend(self.warnings.iter().map(|warning| format!("warning: {warning}")));
        lines
    }
}
