//! What is on a host before a product comes: its roles and secrets.

use std::collections::BTreeSet;

use bake_base::names;
use bake_tree::TreePath;

use crate::place::{self, Root};
use crate::{Failure, Role, integration};

/// The roles of the host: those that are asked for, or those that it has, which for an installed host are those of
/// its generation.
pub(super) fn roles(
    root: &Root,
    asked: &BTreeSet<Role>,
    installed: Option<&BTreeSet<Role>>,
) -> Result<BTreeSet<Role>, Failure> {
    let list = |roles: &BTreeSet<Role>| {
        let list = roles.iter().map(Role::as_str).collect::<Vec<_>>().join(", ");
        if list.is_empty() { "none".to_owned() } else { list }
    };
    if let Some(roles) = installed {
        if asked.is_empty() || asked == roles {
            return Ok(roles.clone());
        }
        let (roles, asked) = (list(roles), list(asked));
        return Err(Failure::new(format!(
            "the roles of this host are {roles}: expected {asked}; give the roles that it has, or change them with \
             `pkgpanda role`"
        )));
    }
    let roles = named(root)?;
    // A run that was killed may have left some of the roles.
    if asked.is_empty() || roles.is_subset(asked) {
        return Ok(if asked.is_empty() { roles } else { asked.clone() });
    }
    let shown = root.shown(&place::path(integration::ROLES));
    let (roles, asked) = (list(&roles), list(asked));
    Err(Failure::new(format!(
        "the roles of this host are {roles}, as `{shown}` says: expected {asked}; give the roles that it has, or \
         empty that directory"
    )))
}

/// The roles that `/etc/mesosphere/roles` names.
///
/// # Errors
/// When something there is no role.
pub(crate) fn named(root: &Root) -> Result<BTreeSet<Role>, Failure> {
    let at = place::path(integration::ROLES);
    let shown = root.shown(&at);
    let there = match root.find(&at)? {
        Some(directory) => names(&directory).map_err(Failure::io("reading", &shown))?,
        None => Vec::new(),
    };
    let mut roles = BTreeSet::new();
    for name in there.iter().filter(|name| !name.starts_with(b".")) {
        let role = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        let found = name.escape_ascii();
        let error = || Failure::new(format!("`{shown}` holds `{found}`, which is no role: remove it"));
        roles.insert(role.ok_or_else(error)?);
    }
    Ok(roles)
}

/// Which of these files are not there.
pub(super) fn missing<'a>(
    root: &Root,
    paths: impl Iterator<Item = &'a TreePath>,
) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    for path in paths {
        let (directory, name) = path.split().expect("no file is the root");
        let found = match root.find(&directory)? {
            Some(directory) => {
                place::stat(&directory, name).map_err(Failure::io("reading", root.shown(path)))?
            }
            None => None,
        };
        if found.is_none() {
            missing.push(format!("/{}", path.as_bytes().escape_ascii()));
        }
    }
    Ok(missing)
}
