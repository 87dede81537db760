//! The packages of a host: they come whole and verified, stay as they are, and go in one step.

mod add;
mod package;
mod remove;

use std::collections::BTreeMap;

use bake_base::Digest;

use crate::host::Host;
use crate::{Failure, PackageId};

pub use add::{Added, add, has, id_of};
pub(crate) use add::{add_inside, add_tree};
pub(crate) use package::{read, verify};
pub use remove::remove;

/// Checks a whole package of the store against its list of contents: content, types, modes, owners, and that
/// nothing is there that is not listed. `expected`: the digest that this list must have. Gives the digest of the
/// list; none if the package has no list, about which nobody can tell more.
///
/// # Errors
/// When the package is not there or not what was built; everything that differs is told.
pub fn verify_package(
    host: &Host,
    id: &PackageId,
    expected: Option<Digest>,
) -> Result<Option<Digest>, Failure> {
    let read = read(host, id).map_err(Failure::each)?;
    verify(&read, expected).map_err(Failure::each)
}

/// The digests of lists of contents that the records of generations vouch for.
pub(crate) fn known(host: &Host) -> Result<BTreeMap<PackageId, Digest>, Failure> {
    let mut known = BTreeMap::new();
    for number in host.generations()? {
        // A generation that nobody can read is no reason to keep a host from another.
        let Ok(present) = host.present(number) else { continue };
        known.extend(present.generation.active.into_iter().filter_map(|(id, digest)| Some((id, digest?))));
    }
    Ok(known)
}
