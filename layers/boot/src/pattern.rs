//! Shell patterns, as aliases of modules, names of firmware and `include` lines have them (`fnmatch(3)` without
//! flags): `*`, `?`, `[…]` with ranges, negated by `!` or `^`, and `\`.

/// Whether all of `text` fits `pattern`. Time is bounded by the product of their lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: one byte further.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => (p, t) = (p + used, t + 1),
            None => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether `text` is a pattern and no plain name.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// How long the first element of a pattern is, if it stands for `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [b'[', rest @ ..] => match set(rest, byte) {
            Some((within, used)) => within.then_some(used + 1),
            // Without its end, the bracket is a bracket.
            None => (byte == b'[').then_some(1),
        },
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

/// Whether `byte` is in a set, given from behind its `[`, and where it ends.
fn set(set: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(set.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut within = false;
    loop {
        let first = *set.get(at)?;
        if first == b']' && at > start {
            return Some((within != negated, at + 1));
        }
        match set.get(at + 1..at + 3) {
            Some([b'-', last]) if *last != b']' => {
                within |= (first..=*last).contains(&byte);
                at += 3;
            }
            _ => {
                within |= first == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_shell_does() {
        for (pattern, text) in [
            ("crc32c", "crc32c"),
            ("pci:v*d0000[0-9A]*", "pci:v8086d0000A1"),
            ("*.conf", "a.conf"),
            ("a*b*c", "aXbXbXc"),
            ("[!a]?", "bc"),
            ("[]x]", "]"),
            ("a\\*", "a*"),
            ("[x", "[x"),
            ("**", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("crc32", "crc32c"),
            ("*.conf", "a.con"),
            ("[^a]", "a"),
            ("[a-c]", "d"),
            ("?", ""),
            ("a\\*", "ab"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        assert!(!matches(&"*a".repeat(500), &"b".repeat(5000)), "and in no time");
    }
}
