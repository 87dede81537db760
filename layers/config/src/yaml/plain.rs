//! What a text without quotes means, if every reader agrees.

use crate::Kind;

/// Words that are booleans to some readers, and what they are there.
const TRUE_WORDS: &[&str] = &["true", "yes", "y", "on"];
const FALSE_WORDS: &[&str] = &["false", "no", "n", "off"];

/// What a plain text is; or why it is refused. Reasons repeat nothing of it, since it may be a secret, but the words
/// of a closed list.
pub fn resolve(text: &str) -> Result<Kind, String> {
    match text {
        "" | "~" | "null" => return Ok(Kind::Null),
        "true" => return Ok(Kind::Bool(true)),
        "false" => return Ok(Kind::Bool(false)),
        "=" => return Err("is `=` without quotes, which has a meaning of its own; quote it".into()),
        _ => {}
    }
    let is = |word: &&&str| text.eq_ignore_ascii_case(word);
    for (words, value) in [(TRUE_WORDS, "true"), (FALSE_WORDS, "false")] {
        if words.iter().any(|word| is(&word)) {
            return Err(format!(
                "is `{text}` without quotes, {value} to some readers of YAML and a text to others; write `{value}`, \
                 or quote it"
            ));
        }
    }
    if text.eq_ignore_ascii_case("null") {
        return Err(format!(
            "is `{text}`, nothing to some readers of YAML and a text to others; write `null`, or quote it"
        ));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if [".inf", ".nan"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Err("is no finite number; quote it if it is a text".into());
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return Ok(Kind::Text(text.into()));
    }
    number(text, unsigned)
}

/// What begins like a number.
fn number(text: &str, unsigned: &str) -> Result<Kind, String> {
    let refused = |what: &str| Err(format!("{what}; write a decimal number, or quote it if it is a text"));
    let all = |text: &str, also: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || also.contains(c))
    };
    let signed = text.starts_with('+');
    let zero_first = unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0.");
    if all(unsigned, "") {
        return match text.parse() {
            _ if zero_first => refused("begins with 0, octal to some readers of YAML"),
            _ if signed || text == "-0" => refused("has a sign that readers of YAML treat differently"),
            Ok(value) => Ok(Kind::Int(value)),
            Err(_) => refused("is a number too large"),
        };
    }
    let lower = unsigned.to_ascii_lowercase();
    for (prefix, digits, what) in [
        ("0o", "01234567_", "is octal"),
        ("0x", "0123456789abcdef_", "is hexadecimal"),
        ("0b", "01_", "is binary"),
    ] {
        if lower
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| digits.contains(c)))
        {
            return refused(what);
        }
    }
    if all(unsigned, "_")
        || (all(unsigned, "_.") && unsigned.contains('_') && unsigned.matches('.').count() == 1)
    {
        return refused("has `_` between digits, a number to some readers of YAML and a text to others");
    }
    if is_sexagesimal(unsigned) {
        return refused("has `:` between digits, a number to base 60 to some readers of YAML");
    }
    if is_date(unsigned) {
        return refused("looks like a date, which some readers of YAML turn into a time");
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (lower.as_str(), None),
    };
    let is_fraction = mantissa.split_once('.').is_none_or(|(whole, fraction)| {
        (whole.is_empty() || all(whole, "")) && (fraction.is_empty() || all(fraction, ""))
    });
    let is_float = is_fraction && all(mantissa, ".") && exponent.is_none_or(|exponent| all(exponent, ""));
    if !is_float {
        return Ok(Kind::Text(text.into()));
    }
    if exponent.is_some() {
        return refused("has an exponent, a number to some readers of YAML and a text to others");
    }
    if zero_first || signed || mantissa.starts_with('.') || mantissa.ends_with('.') {
        return refused("is a number that readers of YAML treat differently");
    }
    Ok(Kind::Float(text.into()))
}

fn is_sexagesimal(text: &str) -> bool {
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| {
        if fraction.chars().all(|c| c.is_ascii_digit() || c == '_') { whole } else { text }
    });
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit() || c == '_');
    let minutes = parts.all(|part| {
        count += 1;
        part.len() <= 2 && digits(part) && !part.contains('_') && part.parse().is_ok_and(|part: u8| part < 60)
    });
    digits(first) && minutes && count > 0
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| {
        let part = parts.next().unwrap_or_default();
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        lengths.contains(&digits).then(|| &part[digits..])
    };
    part(4..=4) == Some("")
        && part(1..=2) == Some("")
        && part(1..=2).is_some_and(|rest| rest.is_empty() || rest.starts_with(['T', 't', ' ']))
}
