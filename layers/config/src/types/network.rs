//! Addresses and networks.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::text::Wrong;

type Text = Result<String, Wrong>;

/// An IPv4 address.
pub fn ipv4(text: &str) -> Text {
    text.parse::<Ipv4Addr>().map(|address| address.to_string()).map_err(|_| Wrong::Form)
}

/// An IPv6 address, in its shortest spelling.
pub fn ipv6(text: &str) -> Text {
    text.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| Wrong::Form)
}

/// An IPv4 network without host bits.
pub fn ipv4_network(text: &str) -> Text {
    let (address, length) = network::<Ipv4Addr>(text, 32)?;
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let base = Ipv4Addr::from_bits(address.to_bits() & mask);
    without_host_bits(base == address, &format!("{base}/{length}"))
}

/// An IPv6 network without host bits, in its shortest spelling.
pub fn ipv6_network(text: &str) -> Text {
    let (address, length) = network::<Ipv6Addr>(text, 128)?;
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let base = Ipv6Addr::from_bits(address.to_bits() & mask);
    without_host_bits(base == address, &format!("{base}/{length}"))
}

/// An IPv4 address, perhaps with a port.
pub fn server(text: &str) -> Text {
    let (address, port) = text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
    ipv4(address)?;
    match port.map(super::decimal) {
        None | Some(Some(1..=65535)) => Ok(text.into()),
        Some(_) => Err(Wrong::Form),
    }
}

/// A server that is none of those that the cluster's own DNS forwarder listens at.
pub fn resolver(text: &str) -> Text {
    let text = server(text)?;
    match text.split(':').next() {
        Some("198.51.100.1" | "198.51.100.2" | "198.51.100.3") => {
            Err(Wrong::Because(format!("is `{text}`, where the cluster's own DNS server listens")))
        }
        _ => Ok(text),
    }
}

/// How many leading bits of a checked network are its own.
pub fn length(network: &str) -> i64 {
    network.split_once('/').and_then(|(_, length)| length.parse().ok()).unwrap_or_default()
}

fn network<A: std::str::FromStr>(text: &str, bits: i64) -> Result<(A, u32), Wrong> {
    let (address, length) = text.split_once('/').ok_or(Wrong::Form)?;
    let length = super::decimal(length).filter(|length| (0..=bits).contains(length)).ok_or(Wrong::Form)?;
    Ok((address.parse().map_err(|_| Wrong::Form)?, length as u32))
}

fn without_host_bits(is_base: bool, base: &str) -> Text {
    if is_base {
        Ok(base.into())
    } else {
        Err(Wrong::Because(format!("has host bits; the network is `{base}`")))
    }
}
