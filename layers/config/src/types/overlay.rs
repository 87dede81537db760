//! The overlay networks.

use serde_json::Value;

use super::document::{Field, record};
use super::{Checked, Document, Form, Type, network, wrong};
use crate::{Kind, Node, Problem};

/// The least that IPv4 and IPv6 headers and their options leave of use.
const LEAST_MTU: i64 = 552;
const LONGEST_NAME: usize = 13;

fn field(key: &'static str, required: bool, kind: Type) -> Field {
    Field { key, required, kind }
}

/// Checks the document: its fields, then each overlay in itself, then their names against each other.
pub fn check(name: &str, node: &Node) -> Checked {
    let mtu = Type::Integer { min: LEAST_MTU, max: 65535, except: vec![] };
    let anything = Type::List { of: Box::new(Type::Object), distinct: false, lengths: vec![] };
    let fields = [
        field("vtep_subnet", true, Type::Text(Form::Ipv4Network)),
        field("vtep_subnet6", true, Type::Text(Form::Ipv6Network)),
        field("vtep_mac_oui", true, Type::Text(Form::Word)),
        field("vtep_mtu", false, mtu),
        field("overlays", true, anything),
    ];
    let expected = Document::Overlay.expected();
    let mut problems = vec![];
    let mut document = match record(name, node, expected, &fields) {
        Ok(document) => document,
        Err(found) => {
            problems = found;
            Value::Null
        }
    };
    let Kind::Map(entries) = &node.kind else { return Err(problems) };
    let mut whole = document != Value::Null;
    for (key, node) in entries {
        let name = format!("{name}.{}", key.name);
        match (key.name.as_str(), &node.kind) {
            ("vtep_mac_oui", Kind::Text(text)) => match mac(text) {
                Some(mac) => document["vtep_mac_oui"] = Value::from(mac),
                None => problems.extend(wrong(
                    &name,
                    node,
                    "is not a MAC prefix, expected six pairs of hexadecimal digits of which the last three are 00, \
                     such as `70:B3:D5:00:00:00`",
                )),
            },
            ("overlays", Kind::List(items)) => match overlays(&name, node, items) {
                Ok(overlays) => document["overlays"] = overlays,
                Err(found) => {
                    whole = false;
                    problems.extend(found);
                }
            },
            _ => {}
        }
    }
    if whole && problems.is_empty() { Ok(document) } else { Err(problems) }
}

fn mac(text: &str) -> Option<String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let right = pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()))
        && pairs[3..].iter().all(|pair| *pair == "00");
    right.then(|| text.to_ascii_uppercase())
}

fn overlays(name: &str, node: &Node, items: &[Node]) -> Checked {
    let mut problems = vec![];
    let mut whole = true;
    let mut values: Vec<Value> = vec![];
    if items.is_empty() {
        problems.extend(wrong(name, node, "is empty, expected at least one overlay network"));
    }
    for (at, item) in items.iter().enumerate().filter(|(_, item)| matches!(item.kind, Kind::Map(_))) {
        let name = format!("{name}[{at}]");
        match overlay(&name, item) {
            Ok(value) if values.iter().any(|other| other["name"] == value["name"]) => {
                problems.extend(wrong(
                    &name,
                    item,
                    format!("has the name of another overlay, {}", value["name"]),
                ));
            }
            Ok(value) => values.push(value),
            Err(found) => {
                whole = false;
                problems.extend(found);
            }
        }
    }
    if whole && problems.is_empty() { Ok(Value::Array(values)) } else { Err(problems) }
}

fn overlay(name: &str, node: &Node) -> Checked {
    let prefix = |max| Type::Integer { min: 1, max, except: vec![] };
    let fields = [
        field("name", true, Type::Text(Form::Word)),
        field("subnet", false, Type::Text(Form::Ipv4Network)),
        field("prefix", false, prefix(32)),
        field("subnet6", false, Type::Text(Form::Ipv6Network)),
        field("prefix6", false, prefix(128)),
        field("enabled", false, Type::Boolean),
    ];
    let value = record(name, node, "a mapping with `name`, `subnet` and `prefix`", &fields)?;
    let mut problems: Vec<Problem> = vec![];
    let mut say = |message: String| problems.extend(wrong(name, node, message));
    let written = value["name"].as_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if written.len() > LONGEST_NAME || !written.chars().all(plain) {
        say(format!(
            "has the name `{written}`, expected at most {LONGEST_NAME} letters, digits, `-`, `_` and `.`: it names \
             a network interface"
        ));
    }
    for (subnet, prefix) in [("subnet", "prefix"), ("subnet6", "prefix6")] {
        match (value[subnet].as_str(), value[prefix].as_i64()) {
            (Some(network), Some(length)) if length < network::length(network) => say(format!(
                "has `{prefix}` {length}, which is larger than `{subnet}` {network}: agents get parts of it"
            )),
            (Some(_), None) => say(format!("has `{subnet}` without `{prefix}`")),
            (None, Some(_)) => say(format!("has `{prefix}` without `{subnet}`")),
            _ => {}
        }
    }
    if value["subnet"].is_null() && value["subnet6"].is_null() {
        say("lacks a network: `subnet` and `prefix`, `subnet6` and `prefix6`, or both".into());
    }
    if problems.is_empty() { Ok(value) } else { Err(problems) }
}
