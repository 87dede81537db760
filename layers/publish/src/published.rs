//! The published manifest: which AMI an image is, region by region. `bake publish` writes it for those who launch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bake_base::Digest;
use serde::{Deserialize, Serialize};

use crate::{BootMode, Error};

/// What `schema` says.
pub const SCHEMA: &str = "bake-published-1";
/// The most that is read, in bytes.
const LIMIT: u64 = 1 << 20;
/// Characters of the name of an AMI (Amazon EC2 API Reference, `RegisterImage`).
const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=128;
/// What is in it beside letters and digits.
const NAME_SIGNS: &[u8] = b"()[] ./-'@_";
/// The longest name of a region, with room.
const LONGEST_REGION: usize = 32;
/// Digits of ids: today's, and those of old.
const ID_DIGITS: [usize; 2] = [17, 8];

/// An image that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PublishedImage {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the AMIs.
    pub name: String,
    /// The disk digest.
    pub disk: Digest,
    /// Architecture of the machines, as EC2 calls it.
    pub architecture: String,
    /// What the firmware does.
    pub boot_mode: BootMode,
    /// What the root volume is called, as in `/dev/xvda`: mappings that change it have to name it.
    pub root_device: String,
    /// The AMI of every region.
    pub regions: BTreeMap<String, RegionIds>,
}

/// What an image is called in a region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegionIds {
    /// The AMI.
    pub ami: String,
    /// The snapshot of its root volume.
    pub snapshot: String,
}

impl PublishedImage {
    /// Reads a published manifest.
    ///
    /// # Errors
    /// When it cannot be read, or a value is none that AWS has.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file("opening", path))?;
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes).map_err(Error::file("reading", path))?;
        Self::parse(&bytes, &path.display().to_string())
    }

    /// Takes the published manifest that `name` holds.
    ///
    /// # Errors
    /// All values that AWS does not have.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, Error> {
        let unfit = |problem: String| Error::unfit(format_args!("published manifest `{name}`"), problem);
        let image: Self = serde_json::from_slice(bytes)
            .map_err(|error| unfit(format!("{error}; expected what `bake publish` wrote")))?;
        let problems = image.problems();
        if problems.is_empty() { Ok(image) } else { Err(unfit(problems.join("\n  "))) }
    }

    /// Values go into templates, names and host names: what is not of its form is refused, all of it at once.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut expect = |is_right: bool, field: &str, value: &str, expected: &str| {
            if !is_right {
                problems.push(format!("{field} is {value:?}: expected {expected}"));
            }
        };
        expect(self.schema == SCHEMA, "schema", &self.schema, SCHEMA);
        let is_name = NAME_LENGTHS.contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || NAME_SIGNS.contains(&byte));
        expect(is_name, "name", &self.name, "3 to 128 letters, digits, spaces and ()[]./-'@_");
        let is_known = ["x86_64", "arm64"].contains(&self.architecture.as_str());
        expect(is_known, "architecture", &self.architecture, "x86_64 or arm64");
        let boots = self.architecture != "arm64" || self.boot_mode == BootMode::Uefi;
        expect(boots, "boot-mode", self.boot_mode.name(), "uefi, which is what arm64 machines have");
        expect(is_device(&self.root_device), "root-device", &self.root_device, "a device such as /dev/xvda");
        if self.regions.is_empty() {
            problems.push("regions is empty: expected one region at least".to_owned());
        }
        for (region, ids) in &self.regions {
            if !is_region(region) {
                problems.push(format!("regions has {region:?}: expected a region such as eu-central-1"));
            }
            for (field, value, prefix) in [("ami", &ids.ami, "ami-"), ("snapshot", &ids.snapshot, "snap-")] {
                if !is_id(value, prefix) {
                    problems.push(format!(
                        "regions.{region:?}.{field} is {value:?}: expected {prefix} and 17 hex digits"
                    ));
                }
            }
        }
        problems
    }
}

fn is_device(text: &str) -> bool {
    let is_plain = |name: &str| {
        (1..=16).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.strip_prefix("/dev/").is_some_and(is_plain)
}

fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= LONGEST_REGION
        && words.len() >= 2
        && words.iter().all(is_word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        ID_DIGITS.contains(&digits.len())
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn text() -> String {
        serde_json::json!({
            "schema": "bake-published-1", "name": "tiny-0123456789ab", "disk": Digest::of(b"disk"),
            "architecture": "x86_64", "boot-mode": "uefi", "root-device": "/dev/xvda",
            "regions": {
                "eu-central-1": {"ami": "ami-0123456789abcdef0", "snapshot": "snap-0123456789abcdef0"},
                "us-gov-west-1": {"ami": "ami-01234567", "snapshot": "snap-01234567"},
            },
        })
        .to_string()
    }

    #[test]
    fn a_published_manifest_is_read_as_it_was_written() {
        let image = PublishedImage::parse(text().as_bytes(), "p").unwrap();
        let again = serde_json::to_vec(&image).unwrap();
        assert_eq!(PublishedImage::parse(&again, "p").unwrap(), image);
    }

    #[test]
    fn values_that_aws_does_not_have_are_refused_with_what_was_expected() {
        for (from, to, expected) in [
            (
                "bake-published-1",
                "bake-published-2",
                "schema is \"bake-published-2\": expected bake-published-1",
            ),
            ("tiny-", "${x}", "name is \"${x}0123456789ab\": expected 3 to 128"),
            ("tiny-", "a\\n", "name is \"a\\n0123456789ab\""),
            ("x86_64", "mips", "architecture is \"mips\": expected x86_64 or arm64"),
            ("\"uefi\"", "\"bios\"", "unknown variant `bios`"),
            ("/dev/xvda", "/dev/../x", "root-device is \"/dev/../x\": expected a device"),
            ("eu-central-1", "eu-central-1.evil.example", "expected a region such as eu-central-1"),
            ("eu-central-1", "eu\\n  Evil: 1", "regions has \"eu\\n  Evil: 1\""),
            ("eu-central-1", "EU-CENTRAL-1", "regions has \"EU-CENTRAL-1\""),
            ("ami-0123456789abcdef0", "ami-0123456789ABCDEF0", "expected ami- and 17 hex digits"),
            ("ami-0123456789abcdef0", "ami-!Ref", "regions.\"eu-central-1\".ami is \"ami-!Ref\""),
            ("snap-01234567\"", "vol-01234567\"", "snapshot is \"vol-01234567\": expected snap-"),
            ("\"disk\"", "\"disc\"", "unknown field `disc`"),
        ] {
            assert!(text().contains(from), "{from}");
            let error = PublishedImage::parse(text().replacen(from, to, 1).as_bytes(), "p").unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("published manifest `p`: ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let mut image = PublishedImage::parse(text().as_bytes(), "p").unwrap();
        (image.architecture, image.boot_mode, image.name) =
            ("arm64".into(), BootMode::LegacyBios, "x".into());
        image.regions.clear();
        let bytes = serde_json::to_vec(&image).unwrap();
        let error = PublishedImage::parse(&bytes, "p").unwrap_err().to_string();
        for expected in ["name is", "boot-mode is \"legacy-bios\"", "regions is empty"] {
            assert!(error.contains(expected), "{error}");
        }
    }
}
