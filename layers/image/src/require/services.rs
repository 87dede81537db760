//! What starts at boot.

use bake_tree::{Follow, Node, Tree};

use super::{Verdict, all, conf, has_program, names};
use crate::error::{Error, path};
use crate::units;

/// Services of which one sets the clock.
const TIME: [&str; 7] = ["chrony", "chronyd", "ntp", "ntpd", "ntpsec", "openntpd", "systemd-timesyncd"];
/// Services which listen on port 53 whatever they are told.
const NAMES: [&str; 6] = ["bind9", "dnsmasq", "knot-resolver", "named", "pdns-recursor", "unbound"];
/// Services of which one sets the network up.
const NETWORK: [&str; 7] =
    ["NetworkManager", "connman", "dhcpcd", "network", "networking", "systemd-networkd", "wicked"];
/// Reads `/etc/netplan` and starts what that needs.
const NETPLAN: &str = "usr/lib/systemd/system-generators/netplan";

/// Whether a unit starts at boot.
pub(super) fn starts(tree: &Tree, unit: &str) -> bool {
    units::starts_at_boot(tree, unit).unwrap_or(false)
}

/// The first of these services that starts at boot.
fn first<'a>(tree: &Tree, services: &[&'a str]) -> Option<&'a str> {
    services.iter().copied().find(|name| starts(tree, &format!("{name}.service")))
}

/// Whether each unit is masked in `/etc` (systemd.unit(5)).
pub(super) fn masked(tree: &Tree, units: &[String]) -> Result<Verdict, Error> {
    let is_masked = |unit: &str| -> Result<bool, Error> {
        let at = path(&format!("etc/systemd/system/{unit}"))?;
        let node = tree.lookup(&at, Follow::Parents).map(|id| &tree.inode(id).node);
        Ok(matches!(node, Some(Node::Symlink(target)) if **target == *b"/dev/null"))
    };
    all(units, "mask of unit", is_masked)
}

pub(super) fn clock(tree: &Tree) -> Verdict {
    match first(tree, &TIME) {
        Some(_) => Verdict::Met,
        None => Verdict::Broken("no service that sets the clock starts at boot".to_owned()),
    }
}

/// Unless it is told not to, systemd-resolved listens on 127.0.0.53 and keeps everybody else from the port.
pub(super) fn port_53(tree: &Tree) -> Result<Verdict, Error> {
    if let Some(name) = first(tree, &NAMES) {
        return Ok(Verdict::Broken(format!("`{name}.service` starts at boot and listens on port 53")));
    }
    let told = conf::setting(tree, "resolved", "Resolve", "DNSStubListener")?;
    let is_off = told.is_some_and(|value| ["no", "false", "off", "0", "n", "f"].contains(&value.as_str()));
    Ok(if is_off || first(tree, &["systemd-resolved"]).is_none() {
        Verdict::Met
    } else {
        Verdict::Broken("systemd-resolved listens on port 53".to_owned())
    })
}

/// A service, or netplan with something to read: files, or cloud-init, which writes one at boot.
pub(super) fn network(tree: &Tree) -> Result<Verdict, Error> {
    let has_plan = || -> Result<bool, Error> {
        let is_there = tree.lookup(&path(NETPLAN)?, Follow::Last).is_some();
        let mut plans =
            ["etc/netplan", "usr/lib/netplan"].map(path).into_iter().collect::<Result<Vec<_>, _>>()?;
        plans.retain(|directory| names(tree, directory).any(|name| name.ends_with(b".yaml")));
        Ok(is_there && (!plans.is_empty() || has_program(tree, "cloud-init")?))
    };
    Ok(if first(tree, &NETWORK).is_some() || has_plan()? {
        Verdict::Met
    } else {
        Verdict::Broken("nothing that sets the network up starts at boot".to_owned())
    })
}
