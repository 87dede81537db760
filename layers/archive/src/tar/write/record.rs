//! The records of an extended header, written.

/// Records in the making; empty where a header says everything.
#[derive(Default)]
pub(super) struct Records {
    bytes: Vec<u8>,
    /// Whether a name is no UTF-8, which is what records are in unless one says otherwise.
    binary: bool,
}

impl Records {
    /// A record of text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        push(&mut self.bytes, key.as_bytes(), value.as_bytes());
    }

    /// A record that holds a name.
    pub(super) fn name(&mut self, key: &str, value: &[u8]) {
        self.binary |= std::str::from_utf8(value).is_err();
        push(&mut self.bytes, key.as_bytes(), value);
    }

    /// An extended attribute, its value as it is. The two bytes that would end the key or begin an escape are
    /// escaped in its name, as GNU tar does.
    pub(super) fn xattr(&mut self, name: &[u8], value: &[u8]) {
        let mut key = b"SCHILY.xattr.".to_vec();
        for byte in name {
            match byte {
                b'=' => key.extend(b"%3D"),
                b'%' => key.extend(b"%25"),
                other => key.push(*other),
            }
        }
        push(&mut self.bytes, &key, value);
    }

    /// All of them.
    pub(super) fn finish(self) -> Vec<u8> {
        if !self.binary {
            return self.bytes;
        }
        // Concerns what follows it (POSIX; `hdrcharset=BINARY` is what bsdtar and GNU pax write).
        let mut bytes = Vec::new();
        push(&mut bytes, b"hdrcharset", b"BINARY");
        bytes.extend(self.bytes);
        bytes
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn push(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    // At most one more digit than the digits alone would need.
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    bytes.extend(len.to_string().as_bytes());
    bytes.push(b' ');
    bytes.extend(key);
    bytes.push(b'=');
    bytes.extend(value);
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_digits() {
        for value in (0..12).chain(90..102).chain(980..1000) {
            let mut bytes = Vec::new();
            push(&mut bytes, b"key", &vec![b'v'; value]);
            let space = bytes.iter().position(|byte| *byte == b' ').unwrap();
            let said: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().unwrap();
            assert_eq!(said, bytes.len(), "{value}");
        }
    }

    #[test]
    fn only_names_outside_of_utf8_need_a_charset() {
        let mut records = Records::default();
        records.xattr(b"user.=%", b"\xff");
        records.name("path", "é".as_bytes());
        assert_eq!(records.finish(), b"30 SCHILY.xattr.user.%3D%25=\xff\n11 path=\xc3\xa9\n");
        let mut records = Records::default();
        records.name("path", b"\xff");
        assert_eq!(records.finish(), b"21 hdrcharset=BINARY\n9 path=\xff\n");
    }
}
