//! Bytes written as text: the notations that writers use for names and values of attributes.

/// `%XX` stands for those bytes that the writer escapes: libarchive everything but printable ASCII.
pub(super) fn percent_decoded(name: &[u8], is_escaped: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let byte = after.first_chunk().filter(|_| *first == b'%').and_then(|digits: &[u8; 2]| {
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|byte| is_escaped(*byte))
        });
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// RFC 4648 with or without padding: libarchive writes none.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            let value = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, a, b, c] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => bytes.extend([a, b, c]),
            3 => bytes.extend([a, b]),
            2 => bytes.push(a),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding() {
        for (text, bytes) in
            [("", ""), ("aA==", "h"), ("aA", "h"), ("aGU=", "he"), ("aGVs", "hel"), ("aGVsbG8", "hello")]
        {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes(), "{text}");
        }
        for nonsense in ["a", "a-b_", "aGVsb", "aA= ", "===="] {
            assert!(base64(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
    }

    #[test]
    fn only_what_a_writer_escapes_is_an_escape() {
        assert_eq!(percent_decoded(b"a%3Db%25%41%", |byte| byte != b'A'), b"a=b%%41%");
        assert_eq!(percent_decoded(b"%e2%82%ac%zz", |_| true), b"\xe2\x82\xac%zz");
    }
}
