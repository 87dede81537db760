//! Masters, names and addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::generic::named;
use super::{Named, View};

/// What proxies are never asked for.
const NEVER_PROXIED: &str = ".mesos,.thisdcos.directory,.dcos.directory,.zk,127.0.0.1,localhost";

pub(super) const NAMED: &[Named] = &[
    named("num_masters", &["master_discovery", "master_list"], num_masters),
    named("master_quorum", &["num_masters"], |view| Ok(json!(view.number("num_masters") / 2 + 1))),
    named("exhibitor_static_ensemble", &["master_list"], ensemble),
    named("resolvers_str", &["resolvers"], |view| Ok(json!(view.texts("resolvers").join(",")))),
    named("mesos_dns_resolvers_str", &["resolvers"], |view| {
        let resolvers = view.texts("resolvers");
        Ok(json!(match resolvers.as_slice() {
            [] => r#""externalOn": false"#.to_owned(),
            resolvers => format!(r#""resolvers": {}"#, json!(resolvers)),
        }))
    }),
    named("dcos_gen_resolvconf_search_str", &["dns_search"], |view| {
        Ok(json!(match view.text("dns_search") {
            "" => String::new(),
            search => format!("SEARCH={search}"),
        }))
    }),
    named("dns_bind_ip_blacklist_json", &["dns_bind_ip_reserved", "dns_bind_ip_blacklist"], |view| {
        let reserved = view.texts("dns_bind_ip_reserved").into_iter();
        let all: Vec<_> = reserved.chain(view.texts("dns_bind_ip_blacklist")).collect();
        Ok(json!(json!(all).to_string()))
    }),
    named("no_proxy_final", &["no_proxy"], |view| {
        let all: Vec<_> = std::iter::once(NEVER_PROXIED).chain(view.texts("no_proxy")).collect();
        Ok(json!(all.join(",")))
    }),
    named("dcos_l4lb_min_named_ip_erltuple", &["dcos_l4lb_min_named_ip"], |view| {
        erlang_ipv4(view.text("dcos_l4lb_min_named_ip"))
    }),
    named("dcos_l4lb_max_named_ip_erltuple", &["dcos_l4lb_max_named_ip"], |view| {
        erlang_ipv4(view.text("dcos_l4lb_max_named_ip"))
    }),
    named("dcos_l4lb_min_named_ip6_erltuple", &["dcos_l4lb_min_named_ip6"], |view| {
        erlang_ipv6(view.text("dcos_l4lb_min_named_ip6"))
    }),
    named("dcos_l4lb_max_named_ip6_erltuple", &["dcos_l4lb_max_named_ip6"], |view| {
        erlang_ipv6(view.text("dcos_l4lb_max_named_ip6"))
    }),
];

fn num_masters(view: &View) -> Result<Value, String> {
    match view.text("master_discovery") {
        "static" => Ok(json!(view.texts("master_list").len())),
        other => Err(format!("must be set because `master_discovery` is `{other}`: 1, 3, 5, 7 or 9")),
    }
}

/// Servers are numbered in the order of their texts, whatever order the operator wrote: the numbers of a
/// running cluster must not change.
#[expect(clippy::unnecessary_wraps, reason = "calculations share a type")]
fn ensemble(view: &View) -> Result<Value, String> {
    let mut masters = view.texts("master_list");
    masters.sort_unstable();
    let servers = masters.iter().enumerate().map(|(at, master)| format!("{}:{master}", at + 1));
    Ok(json!(servers.collect::<Vec<_>>().join(",")))
}

fn erlang_ipv4(text: &str) -> Result<Value, String> {
    let address: Ipv4Addr = text.parse().map_err(|_| format!("`{text}` is no IPv4 address"))?;
    let [a, b, c, d] = address.octets();
    Ok(json!(format!("{{{a},{b},{c},{d}}}")))
}

fn erlang_ipv6(text: &str) -> Result<Value, String> {
    let address: Ipv6Addr = text.parse().map_err(|_| format!("`{text}` is no IPv6 address"))?;
    let parts: Vec<_> = address.segments().iter().map(|segment| format!("16#{segment:x}")).collect();
    Ok(json!(format!("{{{}}}", parts.join(","))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::support::{calculate, fails};

    #[test]
    fn masters_are_counted_and_numbered() {
        let masters = json!({"master_list": ["10.0.0.9", "10.0.0.10", "10.0.0.2"]});
        let ensemble = calculate("exhibitor_static_ensemble", masters);
        assert_eq!(ensemble, json!("1:10.0.0.10,2:10.0.0.2,3:10.0.0.9"));
        let by_list =
            json!({"master_discovery": "static", "master_list": ["10.0.0.9", "10.0.0.10", "10.0.0.2"]});
        assert_eq!(calculate("num_masters", by_list), json!(3));
        let message = fails("num_masters", json!({"master_discovery": "master_http_loadbalancer"}));
        assert!(message.starts_with("must be set because `master_discovery` is `master_http_loadbalancer`"));
        for (masters, quorum) in [(1, 1), (3, 2), (5, 3), (7, 4), (9, 5)] {
            assert_eq!(calculate("master_quorum", json!({"num_masters": masters})), json!(quorum));
        }
    }

    #[test]
    fn resolvers_are_joined() {
        let two = || json!({"resolvers": ["8.8.8.8", "8.8.4.4:53"]});
        assert_eq!(calculate("resolvers_str", two()), json!("8.8.8.8,8.8.4.4:53"));
        let line = r#""resolvers": ["8.8.8.8","8.8.4.4:53"]"#;
        assert_eq!(calculate("mesos_dns_resolvers_str", two()), json!(line));
        let none = json!({"resolvers": []});
        assert_eq!(calculate("mesos_dns_resolvers_str", none), json!(r#""externalOn": false"#));
        let name = "dcos_gen_resolvconf_search_str";
        assert_eq!(calculate(name, json!({"dns_search": ""})), json!(""));
        assert_eq!(calculate(name, json!({"dns_search": "a.b c.d"})), json!("SEARCH=a.b c.d"));
        let blocked =
            json!({"dns_bind_ip_reserved": ["198.51.100.4"], "dns_bind_ip_blacklist": ["10.0.0.1"]});
        let list = r#"["198.51.100.4","10.0.0.1"]"#;
        assert_eq!(calculate("dns_bind_ip_blacklist_json", blocked), json!(list));
    }

    #[test]
    fn proxies_are_not_asked_for_the_cluster() {
        let always = ".mesos,.thisdcos.directory,.dcos.directory,.zk,127.0.0.1,localhost";
        assert_eq!(calculate("no_proxy_final", json!({"no_proxy": []})), json!(always));
        let more = calculate("no_proxy_final", json!({"no_proxy": [".example.com", "10.0.0.1"]}));
        assert_eq!(more, json!(format!("{always},.example.com,10.0.0.1")));
    }

    #[test]
    fn addresses_become_erlang_tuples() {
        let four = |name: &str, value: &str| calculate(&format!("{name}_erltuple"), json!({name: value}));
        assert_eq!(four("dcos_l4lb_min_named_ip", "11.0.0.0"), json!("{11,0,0,0}"));
        assert_eq!(four("dcos_l4lb_max_named_ip", "11.255.255.255"), json!("{11,255,255,255}"));
        let zeros = "{16#fd01,16#c,16#0,16#0,16#0,16#0,16#0,16#0}";
        assert_eq!(four("dcos_l4lb_min_named_ip6", "fd01:c::"), json!(zeros));
        let ones = "{16#fd01,16#c,16#0,16#0,16#ffff,16#ffff,16#ffff,16#ffff}";
        assert_eq!(four("dcos_l4lb_max_named_ip6", "fd01:c::ffff:ffff:ffff:ffff"), json!(ones));
        let message = fails("dcos_l4lb_min_named_ip_erltuple", json!({"dcos_l4lb_min_named_ip": "x"}));
        assert_eq!(message, "`x` is no IPv4 address");
    }
}
