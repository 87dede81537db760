//! Ids of a machine's own: a keyed hash of what an image had, with the machine id as the key.
//!
//! The same machine gives the same id for the same purpose, so that a run that was cut off is done again by doing the
//! same again. The machine id is confidential (machine-id(5)): nothing of it can be learnt from what is derived.

use bake_base::{Digest, Hasher, Uuid};

/// What SHA-256 takes at once, in bytes (FIPS 180-4).
const BLOCK: usize = 64;

/// HMAC-SHA-256 (RFC 2104) with a key of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> Digest {
    let pad = |byte: u8| {
        let mut pad = [byte; BLOCK];
        pad.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        pad
    };
    let hash = |pad: [u8; BLOCK], message: &[u8]| {
        let mut hasher = Hasher::new();
        hasher.update(&pad);
        hasher.update(message);
        hasher.finish()
    };
    hash(pad(0x5c), hash(pad(0x36), message).as_bytes())
}

/// The id of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MachineId(u128);

impl MachineId {
    /// 32 hexadecimal digits and a line end, not all of them zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let digits = text.strip_suffix('\n').unwrap_or(text);
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if digits.len() != 32 || !digits.bytes().all(is_digit) {
            return None;
        }
        u128::from_str_radix(digits, 16).ok().filter(|id| *id != 0).map(Self)
    }

    /// The machine's own id in the place of `old`, for something called `purpose`: a UUID of version 8, whose bits
    /// are a vendor's (RFC 9562, section 5.8).
    pub fn uuid(self, purpose: &str, old: Uuid) -> Uuid {
        let digest = self.digest(purpose, &old.to_string());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid::from_bytes(bytes)
    }

    /// The same for the id of a FAT file system, of which neither 0 nor all ones is one.
    pub fn serial(self, purpose: &str, old: u32) -> u32 {
        let digest = self.digest(purpose, &format!("{old:08x}"));
        let (words, _) = digest.as_bytes().as_chunks::<4>();
        let mut serials = words.iter().map(|word| u32::from_le_bytes(*word));
        serials.find(|serial| ![0, u32::MAX, old].contains(serial)).unwrap_or(1)
    }

    fn digest(self, purpose: &str, old: &str) -> Digest {
        hmac(&self.0.to_be_bytes(), format!("bake-identity-1\n{purpose}\n{old}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyed_hash_is_the_one_of_the_standard() {
        // RFC 4231, test cases 1 and 2.
        let first = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7";
        assert_eq!(hmac(&[0x0b; 20], b"Hi There").to_string(), first);
        let second = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hmac(b"Jefe", b"what do ya want for nothing?").to_string(), second);
    }

    #[test]
    fn ids_differ_by_machine_purpose_and_old_id_and_are_uuids() {
        let machine = MachineId::parse(b"0123456789abcdef0123456789abcdef\n").unwrap();
        let other = MachineId::parse(b"0123456789abcdef0123456789abcdee").unwrap();
        let old = Uuid::from_u128(7);
        let id = machine.uuid("disk", old);
        assert_eq!(id, machine.uuid("disk", old));
        assert_eq!(id.get_version_num(), 8);
        assert_eq!(id.as_bytes()[8] >> 6, 2);
        for different in
            [other.uuid("disk", old), machine.uuid("root", old), machine.uuid("disk", Uuid::from_u128(8))]
        {
            assert_ne!(id, different);
        }
        assert_ne!(machine.serial("esp", 7), other.serial("esp", 7));
        assert_ne!(machine.serial("esp", 7), 7);
    }

    #[test]
    fn what_is_no_machine_id_yet_is_none() {
        for text in ["", "uninitialized\n", "0123", "00000000000000000000000000000000\n"] {
            assert_eq!(MachineId::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(MachineId::parse(b"0123456789ABCDEF0123456789ABCDEF\n"), None);
        assert_eq!(MachineId::parse(b"0123456789abcdef0123456789abcdef\n\n"), None);
    }
}
