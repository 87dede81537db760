//! Ids of an image: stable, because they derive from its name, profile and base, never from its content.

use uuid::Uuid;

/// Namespace of every id that this tool derives (RFC 9562, section 6.5: any constant will do).
const NAMESPACE: Uuid = Uuid::from_u128(0x8f1d_2c6e_57a4_5b0e_9c3a_62f0_41d7_a5be);

/// Derives the ids of one image.
///
/// They must survive a change of content, or one changed byte would change every checksummed
/// metadata block; so they come from what the image *is*, not from what is in it.
#[derive(Clone, Debug)]
pub struct Ids(Uuid);

impl Ids {
    /// `name` of the image, `profile` that shapes it, `base` that it stands on (such as the text of its
    /// `os-release`).
    pub fn new(name: &str, profile: &str, base: &[u8]) -> Self {
        let by_name = Uuid::new_v5(&NAMESPACE, name.as_bytes());
        let by_profile = Uuid::new_v5(&by_name, profile.as_bytes());
        Self(Uuid::new_v5(&by_profile, base))
    }

    /// The id for one purpose, such as `disk` or `root file system`.
    pub fn uuid(&self, purpose: &str) -> Uuid {
        Uuid::new_v5(&self.0, purpose.as_bytes())
    }

    /// A 32-bit id, such as a FAT serial number. Never zero, which means "none".
    pub fn serial(&self, purpose: &str) -> u32 {
        (self.uuid(purpose).as_u128() as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_by_every_input_and_by_nothing_else() {
        let ids = Ids::new("web", "debian", b"ID=debian");
        assert_eq!(ids.uuid("disk"), Ids::new("web", "debian", b"ID=debian").uuid("disk"));
        let others = [
            Ids::new("web2", "debian", b"ID=debian").uuid("disk"),
            Ids::new("web", "ubuntu", b"ID=debian").uuid("disk"),
            Ids::new("web", "debian", b"ID=ubuntu").uuid("disk"),
            ids.uuid("root"),
        ];
        for other in others {
            assert_ne!(ids.uuid("disk"), other);
        }
    }
}
