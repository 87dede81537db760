//! The users that packages need.

use std::collections::{BTreeMap, BTreeSet};

use super::{Package, Problem};
use crate::{GroupName, PackageId, UserName};

/// Every user once. A package that names no group takes the one that another names.
pub(super) fn users(
    packages: &[&Package],
    problems: &mut BTreeSet<Problem>,
) -> BTreeMap<UserName, Option<GroupName>> {
    let mut users: BTreeMap<UserName, Option<(&PackageId, &GroupName)>> = BTreeMap::new();
    for package in packages {
        let Some(user) = &package.info.username else { continue };
        let wanted = users.entry(user.clone()).or_default();
        match (*wanted, package.info.group.as_ref()) {
            (None, Some(group)) => *wanted = Some((&package.id, group)),
            (Some((id, first)), Some(group)) if first != group => {
                problems.insert(Problem::Group {
                    user: user.clone(),
                    first: (id.clone(), first.clone()),
                    second: (package.id.clone(), group.clone()),
                });
            }
            _ => {}
        }
    }
    users.into_iter().map(|(user, group)| (user, group.map(|(_, group)| group.clone()))).collect()
}
