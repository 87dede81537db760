//! Profiles: what must be known of a distribution family, as data in `profiles/` and in specifications.

mod catalogue;

use bake_base::Uuid;
use bake_boot::{Architecture, grub};
use serde::{Deserialize, Deserializer};

use crate::immutable::{ReadOnly, ReadOnlyFormat};
use crate::require::Requirement;

pub use catalogue::Profiles;

/// A distribution family.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Revision of the profile format; 1.
    pub format_revision: u32,
    /// What it is called.
    pub name: String,
    /// Values of `ID:VARIANT_ID`, `ID` or `ID_LIKE` in `os-release` that it is for.
    #[serde(default)]
    pub os_release: Vec<String>,
    /// The disk around the root file system.
    pub disk: DiskProfile,
    /// The root file system.
    pub root: RootProfile,
    /// How it boots.
    pub boot: BootProfile,
    /// What clouds are told of its disks.
    #[serde(default)]
    pub cloud: CloudProfile,
    /// What is taken out of a root file system.
    pub normalise: Vec<Rule>,
    /// What a host of a product has to have.
    #[serde(default, rename = "require")]
    pub requirements: Vec<Requirement>,
    /// The vendor's disk that is baked into, for families whose system nobody else can put together.
    #[serde(default)]
    pub vendor: Option<VendorProfile>,
    /// What a layer on the vendor's container image may be, for families whose hosts are made of such images.
    #[serde(default)]
    pub layer: Option<LayerProfile>,
}

/// What clouds are told of a family's disks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CloudProfile {
    /// What the root volume is called on AWS.
    pub aws_root_device: String,
    /// Type of the root volume on AWS.
    pub aws_volume_type: String,
}

impl Default for CloudProfile {
    fn default() -> Self {
        Self { aws_root_device: "/dev/xvda".to_owned(), aws_volume_type: "gp3".to_owned() }
    }
}

/// A layer on the container image that hosts are made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LayerProfile {
    /// Labels of which one says that hosts can be made of an image.
    pub bootable: Vec<String>,
    /// What the layer may not change.
    pub forbidden: Vec<Forbidden>,
}

/// Where a layer may not have anything.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forbidden {
    /// Absolute paths; everything below them is meant.
    pub paths: Vec<String>,
    /// Why.
    pub why: String,
    /// What helps instead.
    pub fix: String,
}

/// A vendor's disk, of which one file system is written anew and everything else stays.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VendorProfile {
    /// The partition whose file system that is; it is ext4.
    pub root: VendorRoot,
    /// What the vendor mounts over it from elsewhere, or has links to there.
    pub read_only: Vec<String>,
    /// The content of `/etc/machine-id` that stands for none.
    pub blank_machine_id: String,
    /// What is on the EFI system partition as long as the disk has not been booted.
    pub first_boot: String,
}

/// How a vendor's root partition is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VendorRoot {
    /// Its number.
    pub number: u32,
    /// Its name, which its file system has too.
    pub label: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_guid: Uuid,
}

/// The disk around the root file system.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskProfile {
    /// Size of the EFI system partition.
    pub esp_size: Size,
    /// Its volume label, up to 11 characters.
    pub esp_label: String,
    /// Where hosts mount it.
    pub esp_mount: String,
    /// Which part is read-only when nobody asks for anything else; nothing by default.
    #[serde(default)]
    pub read_only: Option<ReadOnly>,
    /// What file system that is; EROFS by default.
    #[serde(default)]
    pub read_only_format: Option<ReadOnlyFormat>,
}

/// The root file system: constants that never derive from content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RootProfile {
    /// Volume label, up to 16 characters.
    pub label: String,
    /// Inodes in every block group.
    pub inodes_per_group: u32,
    /// Block groups whose metadata lie together.
    pub flex_bg: u32,
    /// Blocks reserved for the descriptors of a grown file system.
    pub reserved_gdt_blocks: u32,
    /// Size of the journal.
    pub journal: Size,
    /// Whether checksums have a seed of their own, so that the UUID may change.
    pub metadata_csum_seed: bool,
}

/// How a family boots.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootProfile {
    /// The loaders that the family's packages maintain: the first one that a root file system has is taken.
    pub loaders: Vec<Loader>,
    /// How GRUB is laid out.
    #[serde(deserialize_with = "grub_style")]
    pub grub: grub::Style,
    /// Kernel arguments by architecture.
    pub kernel_args: PerArchitecture,
    /// Drivers that must be in the initrd or the kernel, by architecture.
    pub drivers: PerArchitecture,
}

/// Words that differ between architectures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerArchitecture {
    #[serde(rename = "x86-64")]
    x86_64: Vec<String>,
    arm64: Vec<String>,
}

impl PerArchitecture {
    /// Those of one architecture.
    pub fn of(&self, architecture: Architecture) -> &[String] {
        match architecture {
            Architecture::X86_64 => &self.x86_64,
            Architecture::Arm64 => &self.arm64,
        }
    }
}

/// What the firmware starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// systemd-boot with one entry for each kernel, as `kernel-install` lays it out.
    SystemdBoot,
    /// One unified kernel image.
    Unified,
    /// GRUB, started by BIOS or by the distribution's signed shim.
    Grub,
}

/// What happens to paths of a root file system.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Patterns of absolute paths; `*` stands for any part of one name.
    pub paths: Vec<String>,
    /// What is done.
    pub action: Action,
    /// Why, for the manifest.
    pub why: String,
}

/// What a [`Rule`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// The entry goes, with all below it.
    Remove,
    /// The regular file stays, without content.
    Empty,
    /// The directory stays, all below it goes.
    Clear,
    /// The directory stays with the directories in it; everything else below it goes.
    ClearFiles,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Remove => "remove",
            Self::Empty => "empty",
            Self::Clear => "clear",
            Self::ClearFiles => "clear files of",
        })
    }
}

/// The names that profiles have for GRUB's layouts.
fn grub_style<'de, D: Deserializer<'de>>(deserializer: D) -> Result<grub::Style, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "debian" => Ok(grub::Style::Debian),
        "red-hat" => Ok(grub::Style::RedHat),
        other => Err(serde::de::Error::custom(format!("`{other}`: expected `debian` or `red-hat`"))),
    }
}

/// A number of bytes, written with a binary unit: `512M`, `1.5G` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("`{text}` is no size: expected a whole number and one of K, M, G, T (such as `512M`)");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u64 = match text[digits.len()..].trim_end_matches("iB") {
            "" => 1,
            "K" => 1 << 10,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            _ => return Err(wrong()),
        };
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wrong());
        }
        let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(|| format!("`{text}` is too large: expected less than 16777216T"))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!("512M".parse::<Size>().unwrap(), Size(512 << 20));
        assert_eq!("7GiB".parse::<Size>().unwrap(), Size(7 << 30));
        for wrong in ["", "M", "1.5G", "-1G", "9999999999T", "1X", "1g"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        assert!("9999999999T".parse::<Size>().unwrap_err().contains("is too large"));
    }
}
