//! Users and groups that a host has: those of `/etc`, those of `/usr/lib`, where ostree keeps the vendor's (nss-altfiles),
//! and those that systemd makes at boot (sysusers.d(5)).

use bake_tree::Tree;

use super::{LIMIT, conf};
use crate::error::{Error, path};

/// Where lists of what is made at boot lie; what comes first hides files of the same name in what comes later.
const SYSUSERS: [&str; 3] = ["etc/sysusers.d", "usr/local/lib/sysusers.d", "usr/lib/sysusers.d"];

/// Whether there is a user of this name.
pub(super) fn has_user(tree: &Tree, name: &str) -> Result<bool, Error> {
    Ok(is_listed(tree, "passwd", name)? || is_made(tree, &["u", "u!"], name)?)
}

/// Whether there is a group of this name; a user that is made has one.
pub(super) fn has_group(tree: &Tree, name: &str) -> Result<bool, Error> {
    Ok(is_listed(tree, "group", name)? || is_made(tree, &["g", "u", "u!"], name)?)
}

fn is_listed(tree: &Tree, list: &str, name: &str) -> Result<bool, Error> {
    for place in ["etc", "usr/lib"] {
        let text = tree.read(&path(&format!("{place}/{list}"))?, LIMIT)?.unwrap_or_default();
        if String::from_utf8_lossy(&text).lines().any(|line| line.split(':').next() == Some(name)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_made(tree: &Tree, kinds: &[&str], name: &str) -> Result<bool, Error> {
    for file in conf::files(tree, &SYSUSERS)? {
        // A link to /dev/null takes a list away.
        let Ok(Some(text)) = tree.read(&file, LIMIT) else { continue };
        let makes = |line: &str| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|kind| kinds.contains(&kind)) && words.next() == Some(name)
        };
        if String::from_utf8_lossy(&text).lines().any(makes) {
            return Ok(true);
        }
    }
    Ok(false)
}
