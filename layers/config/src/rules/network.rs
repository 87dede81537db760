//! Rules about networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Facts, Fault, Rule};

pub(super) const DEFAULT_OVERLAY: Rule = Rule {
    reads: &["dcos_overlay_enable", "dcos_overlay_network", "dcos_overlay_network_default_name"],
    check: |facts| default_overlay(facts, "dcos_overlay_network_default_name", None),
};

pub(super) const DEFAULT_OVERLAY6: Rule = Rule {
    reads: &[
        "dcos_overlay_enable",
        "dcos_overlay_network",
        "dcos_overlay_network6_default_name",
        "enable_ipv6",
    ],
    check: |facts| {
        // Overlays of their own often have none with IPv6, and nobody misses it.
        if !facts.flag("enable_ipv6") || !facts.written("dcos_overlay_network6_default_name") {
            return Vec::new();
        }
        default_overlay(facts, "dcos_overlay_network6_default_name", Some("subnet6"))
    },
};

pub(super) const CALICO: Rule = Rule {
    reads: &["calico_enabled", "calico_network_cidr", "dcos_overlay_enable", "dcos_overlay_network"],
    check: |facts| {
        if !facts.flag("calico_enabled") || !facts.flag("dcos_overlay_enable") {
            return Vec::new();
        }
        let cidr = facts.text("calico_network_cidr");
        let Some(calico) = range(cidr) else { return Vec::new() };
        let mut faults = Vec::new();
        for (at, overlay) in overlays(facts).iter().enumerate() {
            let enabled = overlay.get("enabled") != Some(&Value::Bool(false));
            let subnet = text(overlay, "subnet");
            if enabled && range(subnet).is_some_and(|other| overlap(calico, other)) {
                let message =
                    format!("{cidr} of Calico overlaps {subnet} of the overlay `{}`", text(overlay, "name"));
                let subnet = format!("dcos_overlay_network.overlays[{at}].subnet");
                faults.extend(Fault::new(&["calico_network_cidr", &subnet], message));
            }
        }
        faults
    },
};

pub(super) const BALANCER_IPV6: Rule = Rule {
    reads: &["enable_ipv6", "dcos_l4lb_enable_ipv6"],
    check: |facts| {
        if facts.flag("enable_ipv6") || !facts.flag("dcos_l4lb_enable_ipv6") {
            return Vec::new();
        }
        let message = "must be false because `enable_ipv6` is false";
        Fault::new(&["dcos_l4lb_enable_ipv6", "enable_ipv6"], message)
    },
};

pub(super) const BALANCER_RANGE: Rule = Rule {
    reads: &["dcos_l4lb_min_named_ip", "dcos_l4lb_max_named_ip"],
    check: |facts| ordered::<Ipv4Addr>(facts, "dcos_l4lb_min_named_ip", "dcos_l4lb_max_named_ip"),
};

pub(super) const BALANCER_RANGE6: Rule = Rule {
    reads: &["dcos_l4lb_min_named_ip6", "dcos_l4lb_max_named_ip6"],
    check: |facts| ordered::<Ipv6Addr>(facts, "dcos_l4lb_min_named_ip6", "dcos_l4lb_max_named_ip6"),
};

fn ordered<T: std::str::FromStr + PartialOrd>(facts: &Facts, min: &str, max: &str) -> Vec<Fault> {
    let (first, last) = (facts.text(min), facts.text(max));
    match (first.parse::<T>(), last.parse::<T>()) {
        (Ok(from), Ok(to)) if from > to => {
            Fault::new(&[min, max], format!("{first} of `{min}` is after {last} of `{max}`"))
        }
        _ => Vec::new(),
    }
}

/// The default is an overlay that has addresses of one kind, or `None` for any.
fn default_overlay(facts: &Facts, parameter: &str, addresses: Option<&str>) -> Vec<Fault> {
    let name = facts.text(parameter);
    let fits = |overlay: &&Value| addresses.is_none_or(|key| overlay.get(key).is_some());
    let names: Vec<_> = overlays(facts).iter().filter(fits).map(|overlay| text(overlay, "name")).collect();
    if !facts.flag("dcos_overlay_enable") || names.contains(&name) {
        return Vec::new();
    }
    let kind = addresses.map_or(String::new(), |key| format!(" with a `{key}`"));
    let message = match names.as_slice() {
        [] => format!("is `{name}`, but there is no overlay{kind}"),
        names => format!("is `{name}`, but the overlays{kind} are {}", names.join(", ")),
    };
    Fault::new(&[parameter, "dcos_overlay_network.overlays"], message)
}

fn overlays<'a>(facts: &Facts<'a>) -> &'a [Value] {
    let network = facts.get("dcos_overlay_network");
    network.and_then(|network| network.get("overlays")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The first and the last address of a network.
fn range(network: &str) -> Option<(u32, u32)> {
    let (address, prefix) = network.split_once('/')?;
    let address: Ipv4Addr = address.parse().ok()?;
    let hosts = 32_u32.checked_sub(prefix.parse().ok()?)?;
    let mask = u32::MAX.checked_shl(hosts).unwrap_or(0);
    let first = address.to_bits() & mask;
    Some((first, first | !mask))
}

fn overlap((first, last): (u32, u32), (other_first, other_last): (u32, u32)) -> bool {
    first <= other_last && other_first <= last
}

#[cfg(test)]
mod tests {
    use super::{overlap, range};

    #[test]
    fn networks_overlap() {
        let overlaps = |a, b| overlap(range(a).unwrap(), range(b).unwrap());
        assert!(overlaps("0.0.0.0/0", "9.0.0.0/8"));
        assert!(overlaps("9.1.2.0/24", "9.0.0.0/8"));
        assert!(overlaps("9.0.0.0/8", "9.255.255.255/32"));
        assert!(!overlaps("9.0.0.0/8", "10.0.0.0/8"));
        assert!(!overlaps("172.29.0.0/16", "172.30.0.0/16"));
        for odd in ["", "9.0.0.0", "9.0.0.0/33", "9.0.0/8", "9.0.0.0/-1"] {
            assert_eq!(range(odd), None, "{odd}");
        }
    }
}
