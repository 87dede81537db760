//! URLs and names of hosts.

use std::net::Ipv6Addr;

use super::text::Wrong;

type Text = Result<String, Wrong>;

/// A URL of one of these schemes.
pub fn url(text: &str, schemes: &[&str]) -> Text {
    // What RFC 3986 allows; everything else has an escape there.
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
    if let Some(at) = text.chars().position(|c| !allowed(c)) {
        return Err(Wrong::Because(format!("has a character that URLs cannot have, the {}th", at + 1)));
    }
    let (scheme, rest) = text.split_once("://").ok_or(Wrong::Form)?;
    if !schemes.contains(&scheme) {
        return Err(Wrong::Form);
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    without_credentials(authority)?;
    let right = match scheme {
        "file" => rest.len() > 1 && rest.starts_with('/'),
        _ => is_authority(authority),
    };
    if right { Ok(text.into()) } else { Err(Wrong::Form) }
}

/// A URL to which paths are added.
pub fn base(text: &str, schemes: &[&str]) -> Text {
    let text = url(text, schemes)?;
    if text.ends_with('/') {
        return Err(Wrong::Because("ends with `/`".into()));
    }
    if text.contains(['?', '#']) {
        return Err(Wrong::Because("has a query or a fragment, to which no path can be added".into()));
    }
    Ok(text)
}

/// A host and a port.
pub fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// Labels with dots between them.
pub fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_domain(text),
    }
}

fn is_port(text: &str) -> bool {
    matches!(super::decimal(text), Some(1..=65535))
}

/// A proxy as programs find it in their environment: a URL, or a host and a port. Programs take much here, so that
/// only what must not be published is refused.
pub fn proxy(text: &str) -> Text {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    without_credentials(rest)?;
    Ok(text.into())
}

/// Refuses a name and a password before a host. Messages repeat nothing of them.
fn without_credentials(text: &str) -> Result<(), Wrong> {
    if !text.contains('@') {
        return Ok(());
    }
    Err(Wrong::Because(
        "has a name or a password before `@`, and files that are published would hold it; remove it".into(),
    ))
}

/// A host, with or without a port.
fn is_authority(text: &str) -> bool {
    is_host(text) || is_host_and_port(text)
}
