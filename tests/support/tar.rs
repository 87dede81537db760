//! Tars by their raw header bytes, so that a test can say what no honest tool would write.

/// Bytes of a block.
const BLOCK: usize = 512;

/// A tar in the making. Members are owned by root, of mode 0644 or 0755, from 2020.
#[derive(Clone, Default)]
pub struct Tar(pub Vec<u8>);

/// One header, in the fields of the ustar format.
#[derive(Clone)]
pub struct Header(pub [u8; BLOCK]);

impl Header {
    /// A regular file of `size` bytes.
    pub fn new(name: &str, typeflag: u8, size: u64) -> Self {
        let mut header = Self([0; BLOCK]);
        let mode: &[u8] = if typeflag == b'5' { b"0000755\0" } else { b"0000644\0" };
        header.field(100, mode).field(108, b"0000000\0").field(116, b"0000000\0");
        header.field(136, b"13602774000\0").field(257, b"ustar\x0000");
        header.0[156] = typeflag;
        assert!(name.len() <= 100, "a test that needs longer names can say them in a record");
        header.field(0, name.as_bytes());
        header.size(size)
    }

    /// Puts bytes at an offset.
    pub fn field(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The size in octal, or in base 256 where octal digits do not suffice.
    pub fn size(mut self, size: u64) -> Self {
        if size < 1 << 33 {
            self.field(124, format!("{size:011o}\0").as_bytes());
        } else {
            let mut bytes = [0; 12];
            bytes[0] = 0x80;
            bytes[4..].copy_from_slice(&size.to_be_bytes());
            self.field(124, &bytes);
        }
        self
    }

    /// Where a link leads.
    pub fn link(mut self, target: &str) -> Self {
        self.field(157, target.as_bytes());
        self
    }

    /// Permissions.
    pub fn mode(mut self, mode: u32) -> Self {
        self.field(100, format!("{mode:07o}\0").as_bytes());
        self
    }

    /// With the sum that readers check.
    pub fn sealed(mut self) -> [u8; BLOCK] {
        self.field(148, b"        ");
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.field(148, format!("{sum:06o}\0 ").as_bytes());
        self.0
    }
}

impl Tar {
    /// A member as given, with what follows its header.
    pub fn member(mut self, header: Header, body: &[u8]) -> Self {
        self.0.extend(header.sealed());
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// A directory.
    pub fn directory(self, name: &str) -> Self {
        self.member(Header::new(name, b'5', 0), b"")
    }

    /// A regular file.
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.member(Header::new(name, b'0', bytes.len() as u64), bytes)
    }

    /// A symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.member(Header::new(name, b'2', 0).link(target), b"")
    }

    /// A hard link.
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.member(Header::new(name, b'1', 0).link(target), b"")
    }

    /// Extended records (pax) for the member that follows.
    pub fn records(self, records: &[(&str, &str)]) -> Self {
        let body: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.member(Header::new("PaxHeaders/x", b'x', body.len() as u64), body.as_bytes())
    }

    /// All of another tar that is not finished.
    pub fn and(mut self, other: &Self) -> Self {
        self.0.extend(&other.0);
        self
    }

    /// The bytes with the marker of the archive's end.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// `LENGTH KEY=VALUE`, the length counting itself.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let len = (1..10_000).find(|len: &usize| len.to_string().len() + rest.len() == *len).unwrap();
    format!("{len}{rest}")
}
