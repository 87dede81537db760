//! Roles that a host may be given.

use std::collections::BTreeSet;

use super::{Wanted, prepare};
use crate::host::{Host, Present};
use crate::integration::COMMON_ROLES;
use crate::setup::{self, sources};
use crate::{Failure, Role};

impl Wanted {
    /// What there is, in other roles.
    ///
    /// # Errors
    /// When a source of the host's roles cannot be read: what it says would be taken for news later.
    pub fn in_roles(host: &Host, present: &Present, roles: BTreeSet<Role>) -> Result<Self, Failure> {
        let wanted = Self::of(present);
        // What the host's own sources name now is no news later; what they should not say, `setup` tells.
        let found = sources::try_read(&host.root, &mut |_| ())?;
        if roles == wanted.roles && !setup::is_news(host, &present.generation, &found)? {
            return Ok(wanted);
        }
        Ok(Self { roles, seen: found.roles, ..wanted })
    }
}

/// The roles that a host is about to have: those that its own sources name, if they are news, else those that it has.
///
/// # Errors
/// When a source cannot be read.
pub fn coming_roles(host: &Host, present: &Present) -> Result<BTreeSet<Role>, Failure> {
    let found = sources::try_read(&host.root, &mut |_| ())?;
    let is_news = setup::is_news(host, &present.generation, &found)?;
    Ok(if is_news { found.roles } else { present.generation.roles.clone() })
}

/// The roles of every cluster, and those that an active package has something for.
///
/// # Errors
/// When a package cannot be read.
pub fn known_roles(host: &Host, present: &Present) -> Result<BTreeSet<Role>, Failure> {
    let mut known: BTreeSet<Role> =
        COMMON_ROLES.iter().map(|role| role.parse().expect("it is the name of a role")).collect();
    for id in present.generation.active.keys() {
        known.extend(prepare::listing(host, id)?.roles());
    }
    Ok(known)
}
