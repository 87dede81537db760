//! What every baked host needs to become a machine of its own: SSH keys made on first boot, and a root that
//! grows to its disk. Exactly one mechanism grows it, or two would race.

use bake_tree::{Content, Follow, Metadata, Node, Tree};

use crate::error::{Error, path};
use crate::units;

/// Makes the host keys that are missing, before anything listens; does nothing once they are there.
const HOST_KEYS: (&str, &str) =
    ("etc/systemd/system/ssh-host-keys.service", include_str!("host/ssh-host-keys.service"));

/// How the root partition grows on first boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// systemd-repart enlarges the partition, systemd-growfs the file system.
    Repart,
    /// cloud-init's growpart does both; nothing is added.
    CloudInit,
    /// What the vendor of the disk has for it.
    Vendor,
    /// The root file system has neither.
    None,
}

/// Adds what first boot needs, and tells how `last` will grow, the partition that hosts write: `root`, or `var` where
/// that one is read-only.
///
/// # Errors
/// When something else is where the units go.
pub fn integrate(tree: &mut Tree, last: &str) -> Result<Growth, Error> {
    empty_machine_id(tree)?;
    let has = |tree: &Tree, name: &str| -> Result<bool, Error> {
        Ok(tree.lookup(&path(name)?, Follow::Last).is_some())
    };
    // Distributions whose sshd makes its own keys have a unit for it.
    let makes_keys = has(tree, "usr/lib/systemd/system/sshd-keygen@.service")?;
    if has(tree, "usr/sbin/sshd")? && has(tree, "usr/bin/ssh-keygen")? && !makes_keys {
        put(tree, HOST_KEYS)?;
        units::enable(tree, "ssh-host-keys.service", &mut Vec::new())?;
    }
    // cloud-init grows what is mounted on `/` alone.
    let growth = if last == "root" && has(tree, "usr/bin/growpart")? && has(tree, "usr/bin/cloud-init")? {
        Growth::CloudInit
    } else if has(tree, "usr/bin/systemd-repart")? && has(tree, "usr/lib/systemd/systemd-growfs")? {
        Growth::Repart
    } else {
        Growth::None
    };
    if growth == Growth::Repart {
        // To the end of the disk (repart.d(5)).
        put(tree, (&format!("etc/repart.d/50-{last}.conf"), &format!("[Partition]\nType={last}\n")))?;
    }
    Ok(growth)
}

/// Makes `/etc/machine-id` an empty file (machine-id(5)): without it, or with a link to nowhere, systemd takes
/// every boot for the first one and presets undo the choice of units; with an id, all machines have the same.
fn empty_machine_id(tree: &mut Tree) -> Result<(), Error> {
    let at = path("etc/machine-id")?;
    match tree.lookup(&at, Follow::Parents).map(|id| &tree.inode(id).node) {
        Some(Node::File(content)) if content.is_empty() => return Ok(()),
        Some(Node::File(_)) => {
            let message = "an overlay brings `/etc/machine-id`, which all hosts would share: leave it out";
            return Err(Error::Policy(message.to_owned()));
        }
        _ => {}
    }
    tree.put(&at, Metadata::root(0o444), Node::File(Content::empty()))?;
    Ok(())
}

fn put(tree: &mut Tree, (at, text): (&str, &str)) -> Result<(), Error> {
    tree.put(&path(at)?, Metadata::root(0o644), Node::File(Content::bytes(text.as_bytes())))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> Tree {
        let mut tree = Tree::new();
        for name in files {
            put(&mut tree, (name, "")).unwrap();
        }
        tree
    }

    fn has(tree: &Tree, name: &str) -> bool {
        tree.lookup(&path(name).unwrap(), Follow::Last).is_some()
    }

    #[test]
    fn exactly_one_mechanism_grows_the_root() {
        let repart = ["usr/bin/systemd-repart", "usr/lib/systemd/systemd-growfs"];
        let cloud = ["usr/bin/growpart", "usr/bin/cloud-init"];
        for (files, growth, growth_of_var) in [
            (repart.to_vec(), Growth::Repart, Growth::Repart),
            (cloud.to_vec(), Growth::CloudInit, Growth::None),
            ([repart, cloud].concat(), Growth::CloudInit, Growth::Repart),
            (vec![], Growth::None, Growth::None),
        ] {
            for (last, growth) in [("root", growth), ("var", growth_of_var)] {
                let mut tree = tree(&files);
                assert_eq!(integrate(&mut tree, last).unwrap(), growth, "{files:?}");
                assert_eq!(has(&tree, &format!("etc/repart.d/50-{last}.conf")), growth == Growth::Repart);
            }
        }
    }

    #[test]
    fn a_machine_id_is_always_an_empty_file() {
        let is_empty_file = |tree: &Tree| {
            let id = tree.lookup(&path("etc/machine-id").unwrap(), Follow::Parents);
            matches!(id.map(|id| &tree.inode(id).node), Some(Node::File(content)) if content.is_empty())
        };
        let mut linked = Tree::new();
        let target = Node::Symlink(Box::from(&b"/var/lib/dbus/machine-id"[..]));
        linked.put(&path("etc/machine-id").unwrap(), Metadata::root(0o777), target).unwrap();
        for mut tree in [Tree::new(), tree(&["etc/machine-id"]), linked] {
            integrate(&mut tree, "root").unwrap();
            assert!(is_empty_file(&tree));
        }
        let mut shared = Tree::new();
        put(&mut shared, ("etc/machine-id", "0123")).unwrap();
        assert!(integrate(&mut shared, "root").unwrap_err().to_string().contains("share"));
    }

    #[test]
    fn host_keys_are_made_where_nothing_else_makes_them() {
        let debian = ["usr/sbin/sshd", "usr/bin/ssh-keygen"];
        let enabled = "etc/systemd/system/multi-user.target.wants/ssh-host-keys.service";
        let mut on_debian = tree(&debian);
        integrate(&mut on_debian, "root").unwrap();
        assert!(has(&on_debian, enabled));
        let mut on_rhel = tree(&[debian[0], debian[1], "usr/lib/systemd/system/sshd-keygen@.service"]);
        integrate(&mut on_rhel, "root").unwrap();
        assert!(!has(&on_rhel, enabled));
    }
}
