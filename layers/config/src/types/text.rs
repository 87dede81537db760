//! What each form of a text lets through.

use super::{Form, network, url};

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is not of the form.
    Form,
    /// It is not, for this reason; the reason repeats nothing of the text.
    Because(String),
}

type Text = Result<String, Wrong>;

/// Why a text is not of its form.
fn because<T>(reason: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Because(reason.into()))
}

/// The text as it is, if it is of the form.
fn only_if(of_form: bool, text: &str) -> Text {
    if of_form { Ok(text.into()) } else { Err(Wrong::Form) }
}

impl Form {
    /// The text in the one spelling of this form.
    pub(super) fn check(self, text: &str) -> Text {
        let lines = matches!(self, Self::Lines | Self::RsaPublicKey);
        let at = text.chars().position(|c| breaks(c) && !(lines && matches!(c, '\n' | '\t')));
        if let Some(at) = at {
            return because(format!("has a control character at character {}", at + 1));
        }
        match self {
            Self::Line | Self::Lines => Ok(text.into()),
            Self::Word => only_if(!text.is_empty() && text.trim() == text, text),
            Self::Url => url::url(text, &["http", "https"]),
            Self::HttpsUrl => url::url(text, &["https"]),
            Self::BaseUrl => url::base(text, &["http", "https", "file"]),
            Self::HttpsBaseUrl => url::base(text, &["https"]),
            Self::Proxy => url::proxy(text),
            Self::AbsolutePath | Self::ZooKeeperPath => {
                only_if(text.strip_prefix('/').is_some_and(is_path), text)
            }
            Self::RelativePath => only_if(is_path(text), text),
            Self::FileName => only_if(is_path(text) && !text.contains('/'), text),
            Self::File => only_if(is_file(text), text),
            Self::KeyPrefix => only_if(!text.is_empty() && !text.ends_with('/') && text.trim() == text, text),
            Self::Ipv4 => network::ipv4(text),
            Self::Ipv6 => network::ipv6(text),
            Self::Ipv4Network => network::ipv4_network(text),
            Self::Ipv6Network => network::ipv6_network(text),
            Self::Server => network::server(text),
            Self::Resolver => network::resolver(text),
            Self::DnsSearch => dns_search(text),
            Self::Duration => {
                only_if(is_amount(text, &["ns", "us", "ms", "secs", "mins", "hrs", "days", "weeks"]), text)
            }
            Self::Size => {
                only_if(!text.contains('.') && is_amount(text, &["B", "KB", "MB", "GB", "TB"]), text)
            }
            Self::Colour => only_if(is_colour(text), text),
            Self::FrameOptions => frame_options(text),
            Self::RsaPublicKey => rsa_public_key(text),
            Self::ZooKeeperHosts => only_if(text.split(',').all(url::is_host_and_port), text),
            Self::Weights => only_if(text.split(',').all(is_weight), text),
            Self::ProxyException => only_if(
                !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || ",'\"".contains(c)),
                text,
            ),
            Self::Module => only_if(is_name(text, "_-"), text),
            Self::Command => only_if(
                is_name(text, "_-.+") && !text.starts_with('-') && !text.trim_matches('.').is_empty(),
                text,
            ),
        }
    }
}

/// Whether a character ends a line or does something other than being shown, in anything that reads texts.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Parts with `/` between them, in the shortest form.
fn is_path(text: &str) -> bool {
    text.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn is_name(text: &str, also: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

fn is_file(text: &str) -> bool {
    match text.strip_prefix("ready:") {
        Some(ready) => match ready.split_once('/') {
            Some((name, argument)) => is_name(name, "_-") && is_name(argument, "_-.:@"),
            None => is_name(ready, "_-"),
        },
        None => !text.is_empty() && text.trim() == text && !text.ends_with('/'),
    }
}

/// A decimal number, whole or with a fraction.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// A number and a unit.
pub(super) fn is_amount(text: &str, units: &[&str]) -> bool {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    is_number(&text[..at]) && units.contains(&&text[at..])
}

fn is_weight(text: &str) -> bool {
    text.split_once('=').is_some_and(|(role, weight)| {
        role.split('/').all(|part| is_name(part, "_-."))
            && is_number(weight)
            && weight.contains(|c: char| ('1'..='9').contains(&c))
    })
}

fn is_colour(text: &str) -> bool {
    match text.strip_prefix('#') {
        Some(digits) => {
            matches!(digits.len(), 3 | 4 | 6 | 8) && digits.bytes().all(|b| b.is_ascii_hexdigit())
        }
        None => !text.is_empty() && text.len() <= 20 && text.bytes().all(|b| b.is_ascii_alphabetic()),
    }
}

fn dns_search(text: &str) -> Text {
    if text.contains(',') {
        return because("has a comma; separate domains by spaces");
    }
    let domains: Vec<&str> = text.split(' ').filter(|domain| !domain.is_empty()).collect();
    let count = text.chars().count();
    if domains.len() > 6 {
        return because(format!("has {} domains", domains.len()));
    }
    if count > 255 {
        return because(format!("has {count} characters"));
    }
    only_if(domains.iter().all(|domain| url::is_domain(domain)), &domains.join(" "))
}

fn frame_options(text: &str) -> Text {
    let upper = text.to_ascii_uppercase();
    match (upper.as_str(), text.split_once(' ')) {
        ("DENY" | "SAMEORIGIN", _) => Ok(upper),
        (_, Some((word, from))) if word.eq_ignore_ascii_case("ALLOW-FROM") => {
            url::url(from, &["http", "https"]).map(|from| format!("ALLOW-FROM {from}"))
        }
        _ => Err(Wrong::Form),
    }
}

/// Messages do not repeat a key: people paste private ones by mistake.
fn rsa_public_key(text: &str) -> Text {
    const ANY_ALGORITHM: &str = "PUBLIC KEY";
    const OF_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    if text.contains("PRIVATE KEY") {
        return because("is a private key, which must stay with its owner");
    }
    let text = text.trim();
    let label = [ANY_ALGORITHM, "RSA PUBLIC KEY"].into_iter().find_map(|label| {
        let body = text.strip_prefix(&format!("-----BEGIN {label}-----\n"))?;
        Some((label, body.strip_suffix(&format!("\n-----END {label}-----"))?))
    });
    let Some((label, body)) = label else {
        return because(
            "does not begin with `-----BEGIN PUBLIC KEY-----` and end with `-----END PUBLIC KEY-----`",
        );
    };
    let Some(der) = base64(body) else {
        return because("is not base64 between its first and last line");
    };
    if der.first() != Some(&0x30)
        || (label == ANY_ALGORITHM && !der.windows(OF_RSA.len()).any(|at| at == OF_RSA))
    {
        return because("is the key of another algorithm than RSA");
    }
    Ok(format!("{text}\n"))
}

/// The bytes of base64 in lines.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text: Vec<u8> = text.bytes().filter(|byte| *byte != b'\n').collect();
    let end = text.iter().position(|byte| *byte == b'=').unwrap_or(text.len());
    let padded = text.len().is_multiple_of(4) && text.len() - end <= 2;
    if !padded || text[end..].iter().any(|byte| *byte != b'=') {
        return None;
    }
    let (mut bytes, mut bits, mut held) = (vec![], 0u32, 0u32);
    for byte in &text[..end] {
        let value = ALPHABET.iter().position(|letter| letter == byte)? as u32;
        (bits, held) = ((bits << 6 | value) & 0xff_ffff, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    Some(bytes)
}
