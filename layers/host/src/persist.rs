//! What a host keeps outside of the install root: the files of the product, the roles, and what starts it at boot.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::TreePath;

use crate::created::{self, Created, Origin};
use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::{Failure, Role, files};

/// What a host is to keep outside of the install root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Persistent {
    /// Files of the product; those of an earlier product go. None if the host has no product.
    pub files: Option<BTreeMap<TreePath, HostEntry>>,
    /// Secrets that are at hand: those that are not stay as they are.
    pub secrets: BTreeMap<TreePath, HostEntry>,
    /// What the host is.
    pub roles: BTreeSet<Role>,
}

/// Makes what is missing, after it was written down; the link that has everything started at boot comes last.
pub(crate) fn persist(root: &Root, wanted: &Persistent, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let fixed = integration::files();
    let of = |files: &BTreeMap<TreePath, HostEntry>, origin| {
        let file =
            |(path, file): (&TreePath, &HostEntry)| Created::File(path.clone(), origin, Some(file.clone()));
        files.iter().map(file).collect::<Vec<_>>()
    };
    let mut things = wanted.files.as_ref().map_or_else(Vec::new, |files| of(files, Origin::Product));
    things.extend(of(&wanted.secrets, Origin::Secret));
    things.extend(of(&fixed, Origin::Host));
    things.extend(wanted.roles.iter().map(created::role));
    let (link, target) = integration::ENABLED;
    things.push(Created::Link(place::path(link), target.to_owned()));
    created::note(root, &things)?;
    for thing in &things {
        let Created::File(path, _, Some(file)) = thing else { continue };
        if files::put(root, path, file)? {
            say(format!("wrote /{}", path.as_bytes().escape_ascii()));
        }
    }
    if let Some(files) = &wanted.files {
        created::drop_stale(root, files.keys().chain(wanted.secrets.keys()), say)?;
    }
    if files::link(root, &place::path(link), target)? {
        say(format!("enabled {}", integration::SETUP_UNIT));
    }
    Ok(())
}
