//! Profiles: what must be known of a distribution family, as data in `profiles/`.

use bake_boot::{Architecture, OsRelease};
use serde::{Deserialize, Deserializer};

use crate::Error;

/// Every profile that comes with the tool: name and text.
const BUILT_IN: [(&str, &str); 1] = [("debian", include_str!("../../../profiles/debian.toml"))];

/// A distribution family.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Revision of the profile format; 1.
    pub format_revision: u32,
    /// What it is called.
    pub name: String,
    /// Values of `ID` or `ID_LIKE` in `os-release` that it is for.
    pub os_release: Vec<String>,
    /// The disk around the root file system.
    pub disk: DiskProfile,
    /// The root file system.
    pub root: RootProfile,
    /// How it boots.
    pub boot: BootProfile,
    /// What is taken out of a root file system.
    pub normalise: Vec<Rule>,
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
    /// The loader when nothing else is asked for.
    pub loader: Loader,
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
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Profile {
    /// The built-in profile of this name.
    ///
    /// # Errors
    /// When there is none.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        let text = BUILT_IN.iter().find(|(other, _)| *other == name).map(|(_, text)| *text);
        text.map(Self::parse).ok_or_else(|| Error::UnknownProfile {
            name: name.to_owned(),
            known: BUILT_IN.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The profile for a root file system, by the `ID` and `ID_LIKE` of its `os-release`.
    ///
    /// # Errors
    /// When no profile is for it.
    pub fn for_os_release(os_release: &OsRelease) -> Result<Self, Error> {
        let all: Vec<_> = BUILT_IN.iter().map(|(_, text)| Self::parse(text)).collect();
        let like = os_release.get("ID_LIKE").unwrap_or_default().split_whitespace();
        let ids: Vec<_> = os_release.get("ID").into_iter().chain(like).map(str::to_owned).collect();
        let found = ids.iter().find_map(|id| all.iter().find(|profile| profile.os_release.contains(id)));
        found.cloned().ok_or_else(|| Error::NoProfile { id: ids.join(" ") })
    }

    fn parse(text: &str) -> Self {
        toml::from_str(text).expect("built-in profiles are parsed by a test")
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::{Content, Metadata, Tree, TreePath};

    use super::*;

    #[test]
    fn every_built_in_profile_is_complete() {
        for (name, text) in BUILT_IN {
            let profile: Profile = toml::from_str(text).unwrap();
            assert_eq!((profile.name.as_str(), profile.format_revision), (name, 1));
            assert!(profile.disk.esp_size.0 >= 512 << 20 && profile.root.journal.0 >= 64 << 20);
            for architecture in [Architecture::X86_64, Architecture::Arm64] {
                assert!(!profile.boot.kernel_args.of(architecture).is_empty());
                assert!(!profile.boot.drivers.of(architecture).is_empty());
            }
        }
    }

    #[test]
    fn a_profile_is_found_by_the_family_of_the_root_file_system() {
        let found = |text: &str| {
            let mut tree = Tree::new();
            let path = TreePath::from_root(b"usr/lib/os-release").unwrap();
            tree.write(&path, Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
            Profile::for_os_release(&OsRelease::read(&tree).unwrap()).map(|profile| profile.name)
        };
        assert_eq!(found("NAME=x\nID=debian\n").unwrap(), "debian");
        assert_eq!(found("ID=raspbian\nID_LIKE='other debian'\n").unwrap(), "debian");
        assert!(found("ID=\"plan9\"\n").unwrap_err().to_string().contains("plan9"));
        assert!(Profile::by_name("debain").unwrap_err().to_string().contains("debian"));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!("512M".parse::<Size>().unwrap(), Size(512 << 20));
        assert_eq!("7GiB".parse::<Size>().unwrap(), Size(7 << 30));
        for wrong in ["", "M", "1.5G", "-1G", "9999999999T", "1X", "1g"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
