//! What a host keeps outside of the install root: the files of the product, the roles, and what starts it at boot.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::TreePath;

use crate::integration::{self, HostEntry};
use crate::place::{self, Root};
use crate::{Failure, Role, files};

/// What a host is to keep outside of the install root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Persistent {
    /// Files of the product, and secrets.
    pub files: BTreeMap<TreePath, HostEntry>,
    /// What the host is.
    pub roles: BTreeSet<Role>,
}

/// Makes what is missing; the link that has everything started at boot comes last.
pub(crate) fn persist(root: &Root, wanted: &Persistent, say: &mut dyn FnMut(String)) -> Result<(), Failure> {
    let empty = HostEntry { mode: 0o644, content: Vec::new() };
    let roles = wanted.roles.iter();
    let roles = roles.map(|role| (place::path(&format!("{}/{role}", integration::ROLES)), empty.clone()));
    let roles: BTreeMap<_, _> = roles.collect();
    for (path, file) in wanted.files.iter().chain(&integration::files()).chain(&roles) {
        if files::put(root, path, file)? {
            say(format!("wrote /{}", path.as_bytes().escape_ascii()));
        }
    }
    let (link, target) = integration::ENABLED;
    if files::link(root, &place::path(link), target)? {
        say(format!("enabled {}", integration::SETUP_UNIT));
    }
    Ok(())
}
