//! What makes a host start the product: units, the script that they run, users and state directories as data.
//!
//! Nothing here depends on a role or changes with one: a script gives each host its units at every boot.

use std::collections::BTreeMap;
use std::fmt;

use bake_tree::{PathError, TreePath};

use crate::product::Product;
use crate::{GroupName, PackageName, ROOT, UserName};

/// The roles of every cluster, whether packages have anything of their own for them or not.
pub const COMMON_ROLES: [&str; 3] = ["master", "slave", "slave_public"];
/// Where a host's roles are read from.
pub const ROLES: &str = "etc/mesosphere/roles";
/// The unit that runs at every boot.
pub const SETUP_UNIT: &str = "dcos-setup.service";
/// Where the unit is, and the link that has it started at boot.
pub const ENABLED: (&str, &str) = (
    "etc/systemd/system/multi-user.target.wants/dcos-setup.service",
    "/etc/systemd/system/dcos-setup.service",
);
/// Paths and texts that are the same on every host.
const FIXED: [(&str, &str); 2] = [
    ("etc/systemd/system/dcos-setup.service", include_str!("integration/dcos-setup.service")),
    ("etc/systemd/system/dcos.target", include_str!("integration/dcos.target")),
];
/// What the real name of every user is.
pub const USER_COMMENT: &str = "DCOS System User";
/// What every user has for a shell.
pub const USER_SHELL: &str = "/sbin/nologin";

/// A regular file of the host outside of the install root; owned by root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEntry {
    /// Permissions.
    pub mode: u16,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// A file of a product that no host can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {reason}")]
pub struct HostFileError {
    path: String,
    reason: String,
}

/// The files that make a host set itself up at every boot.
pub fn files() -> BTreeMap<TreePath, HostEntry> {
    let entry = |text: &str| HostEntry { mode: 0o644, content: text.as_bytes().to_vec() };
    FIXED.map(|(path, text)| (place(path), entry(text))).into()
}

/// The files of the host that a product brings.
///
/// # Errors
/// Every file whose path or mode no host can have, and those that the installation itself writes.
pub fn product_files(product: &Product) -> Result<BTreeMap<TreePath, HostEntry>, Vec<HostFileError>> {
    let (mut entries, mut problems) = (BTreeMap::new(), Vec::new());
    for (path, file) in &product.files {
        let mode = u16::from_str_radix(&file.mode, 8).ok().filter(|mode| *mode <= 0o777);
        match (host_path(path), mode) {
            (Err(error), _) => problems.push(error),
            (_, None) => {
                let reason = format!("has the mode `{}`: expected octal digits such as 0644", file.mode);
                problems.push(HostFileError { path: path.clone(), reason });
            }
            (Ok(place), Some(mode)) => {
                let content = file.content.clone().into_bytes();
                entries.insert(place, HostEntry { mode, content });
            }
        }
    }
    if problems.is_empty() { Ok(entries) } else { Err(problems) }
}

/// Where the secrets of a product go.
///
/// # Errors
/// Every path that no host can have, and those of files that are no secrets.
pub fn secret_paths(product: &Product) -> Result<BTreeMap<TreePath, String>, Vec<HostFileError>> {
    let (mut paths, mut problems) = (BTreeMap::new(), Vec::new());
    for path in &product.secrets {
        match host_path(path) {
            Ok(_) if product.files.contains_key(path) => {
                let reason = "is a secret and a file that anybody may read: expected one of them".to_owned();
                problems.push(HostFileError { path: path.clone(), reason });
            }
            Ok(place) => drop(paths.insert(place, path.clone())),
            Err(error) => problems.push(error),
        }
    }
    if problems.is_empty() { Ok(paths) } else { Err(problems) }
}

/// A path that a product may name: absolute, as short as it can be, and nobody else's.
fn host_path(path: &str) -> Result<TreePath, HostFileError> {
    let error = |reason: String| HostFileError { path: path.to_owned(), reason };
    let expected = "expected an absolute path without `.`, `..` and repeated slashes";
    let place = TreePath::from_root(path.as_bytes())
        .map_err(|problem: PathError| error(format!("is no path: {problem}")))?;
    if format!("/{}", String::from_utf8_lossy(place.as_bytes())) != path || place.is_root() {
        return Err(error(format!("is no path: {expected}")));
    }
    let own = FIXED.map(|(path, _)| path).into_iter().chain([ENABLED.0]);
    let reserved = own.map(self::place).chain([self::place(ROLES), self::place(&ROOT[1..])]);
    for own in reserved {
        if place.starts_with(&own) || own.starts_with(&place) {
            return Err(error(format!(
                "belongs to the installation itself (`/{}`)",
                String::from_utf8_lossy(own.as_bytes())
            )));
        }
    }
    Ok(place)
}

/// The users of a generation as sysusers.d(5) has them. A group that is named is one of the host.
pub fn sysusers(users: &BTreeMap<UserName, Option<GroupName>>) -> String {
    let line = |(user, group): (&UserName, &Option<GroupName>)| {
        let id = group.as_ref().map_or("-".to_owned(), |group| format!("-:{group}"));
        format!("u {user} {id} \"{USER_COMMENT}\" {ROOT} {USER_SHELL}\n")
    };
    header("The users of the active packages") + &users.iter().map(line).collect::<String>()
}

/// The state directories of a generation as tmpfiles.d(5) has them.
pub fn tmpfiles(state_directories: &BTreeMap<PackageName, Option<UserName>>) -> String {
    let mut text = header("The state directories of the active packages");
    if !state_directories.is_empty() {
        text.push_str("d /var/lib/dcos 0755 root root -\n");
    }
    for (package, user) in state_directories {
        let owner = user.as_ref().map_or("root", UserName::as_str);
        text.push_str(&format!("d /var/lib/dcos/{package} 0755 {owner} root -\n"));
    }
    text
}

fn header(what: impl fmt::Display) -> String {
    format!("# {what}. Written by the installation: do not edit.\n")
}

fn place(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a relative path without `..`")
}

#[cfg(test)]
mod tests;
