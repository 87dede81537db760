//! The order of versions: which kernel is newer.
//!
//! The order is that of the UAPI group's version format specification (UAPI.10), which the boot loader
//! specification prescribes and systemd-boot sorts its menu by: so that the kernel taken here is the one that
//! the loader would take.

use std::cmp::Ordering;

/// Compares two versions; the greater is the newer.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        // Characters that mean nothing are skipped.
        a = skip(a, |byte| !(byte.is_ascii_alphanumeric() || b"-.~^".contains(&byte)));
        b = skip(b, |byte| !(byte.is_ascii_alphanumeric() || b"-.~^".contains(&byte)));

        // `~` marks what comes before a release: it is older than even the end.
        if let Some(order) = separator(&mut a, &mut b, b'~') {
            return order;
        }
        match (a.is_empty(), b.is_empty()) {
            (false, false) => {}
            (a_ends, b_ends) => return b_ends.cmp(&a_ends),
        }
        for mark in [b'-', b'^', b'.'] {
            if let Some(order) = separator(&mut a, &mut b, mark) {
                return order;
            }
        }
        let digit = |bytes: &[u8]| bytes.first().is_some_and(u8::is_ascii_digit);
        let (order, rest) = if digit(a) || digit(b) { numbers(a, b) } else { words(a, b) };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = rest;
    }
}

/// Takes a separator off both; where only one has it, that one is the older.
fn separator(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Option<Ordering> {
    match (a.strip_prefix(&[mark]), b.strip_prefix(&[mark])) {
        (Some(rest_of_a), Some(rest_of_b)) => {
            (*a, *b) = (rest_of_a, rest_of_b);
            None
        }
        (None, None) => None,
        (Some(_), None) => Some(Ordering::Less),
        (None, Some(_)) => Some(Ordering::Greater),
    }
}

fn skip(bytes: &[u8], condition: impl Fn(u8) -> bool) -> &[u8] {
    let count = bytes.iter().take_while(|byte| condition(**byte)).count();
    &bytes[count..]
}

/// Compares leading numbers of any length: by value, and newer than no number at all.
fn numbers<'a>(a: &'a [u8], b: &'a [u8]) -> (Ordering, (&'a [u8], &'a [u8])) {
    let (rest_of_a, rest_of_b) = (skip(a, |b| b.is_ascii_digit()), skip(b, |b| b.is_ascii_digit()));
    let (a, b) = (&a[..a.len() - rest_of_a.len()], &b[..b.len() - rest_of_b.len()]);
    let value = |digits| skip(digits, |byte| byte == b'0');
    let order = a.is_empty().cmp(&b.is_empty()).reverse();
    let order = order.then(value(a).len().cmp(&value(b).len())).then_with(|| value(a).cmp(value(b)));
    (order, (rest_of_a, rest_of_b))
}

/// Compares leading letters: by byte, the longer is the newer.
fn words<'a>(a: &'a [u8], b: &'a [u8]) -> (Ordering, (&'a [u8], &'a [u8])) {
    let (rest_of_a, rest_of_b) = (skip(a, |b| b.is_ascii_alphabetic()), skip(b, |b| b.is_ascii_alphabetic()));
    let (a, b) = (&a[..a.len() - rest_of_a.len()], &b[..b.len() - rest_of_b.len()]);
    (a.cmp(b), (rest_of_a, rest_of_b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specification_s_examples_hold() {
        // From older to newer (UAPI.10, "Examples"), and kernels of real distributions.
        for chain in [
            &[
                "122.1",
                "123~rc1-1",
                "123",
                "123-a",
                "123-a.1",
                "123-1",
                "123-1.1",
                "123^post1",
                "123.a-1",
                "123.1-1",
                "123a-1",
                "124-1",
            ][..],
            &["5.10.0-9-amd64", "5.10.0-28-amd64", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-56-cloud-amd64"],
            &["5.14.0-70.el9.x86_64", "5.14.0-362.8.1.el9_3.x86_64", "5.14.0-362.13.1.el9_3.x86_64"],
            &["6.8.0-31-generic", "6.8.0-101-generic", "6.11.0-8-generic"],
        ] {
            for (i, older) in chain.iter().enumerate() {
                assert_eq!(compare(older, older), Ordering::Equal);
                for newer in &chain[i + 1..] {
                    assert_eq!(compare(older, newer), Ordering::Less, "{older} {newer}");
                    assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
                }
            }
        }
        assert_eq!(compare("007", "7"), Ordering::Equal);
        assert_eq!(compare("1_2", "12"), compare("1", "12"));
    }
}
