//! How packages leave the store.

use std::collections::BTreeSet;

use crate::activate::leave;
use crate::generation::{Number, PACKAGES};
use crate::host::{Host, Lock};
use crate::{Failure, PackageId};

/// Removes packages; those that are not there are gone already. `force`: also those that another generation than
/// the current one is made of. Tells each package that it removes.
///
/// # Errors
/// When one of them is active, or a rollback would break and it is not forced: then all of them stay.
pub fn remove(
    host: &Host,
    _lock: &Lock,
    ids: &BTreeSet<PackageId>,
    force: bool,
    removed: &mut dyn FnMut(&PackageId),
) -> Result<(), Failure> {
    let there: BTreeSet<PackageId> = host.packages()?.into_iter().collect();
    let current = host.current()?;
    let mut problems = Vec::new();
    for id in ids.intersection(&there) {
        if current.generation.active.contains_key(id) {
            problems.push(format!("`{id}` is active: swap or activate others first"));
            continue;
        }
        let breaks = if force { Vec::new() } else { needed_by(host, id)? };
        if !breaks.is_empty() {
            let generations = breaks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            problems.push(format!(
                "a rollback to generation {generations} needs `{id}`: remove that with `pkgpanda gc`, or give --force"
            ));
        }
    }
    if !problems.is_empty() {
        return Err(Failure::each(problems));
    }
    // Also those of which a run that was killed took only the names.
    leave::clear_leftovers(host)?;
    for id in ids.intersection(&there) {
        leave::discard(host, PACKAGES, id.as_str())?;
        removed(id);
    }
    Ok(())
}

/// The generations that a package is active in.
fn needed_by(host: &Host, id: &PackageId) -> Result<Vec<Number>, Failure> {
    let needs = |number: &Number| {
        // Nobody goes back to one that cannot be read.
        host.present(*number).is_ok_and(|present| present.generation.active.contains_key(id))
    };
    Ok(host.generations()?.into_iter().filter(needs).collect())
}
