//! Which profiles there are, which stands on which, and which one a root file system gets.
//!
//! A profile `inherits` another one: its tables are merged into the other's, key by key; lists take the place of the
//! other's, but for the rules (`normalise`, `require`), which come after them.

use std::collections::BTreeMap;

use bake_boot::OsRelease;
use toml::{Table, Value};

use super::{Profile, VendorRoot};
use crate::Error;

/// Every profile that comes with the tool: name and text.
const BUILT_IN: [(&str, &str); 5] = [
    ("debian", include_str!("../../../../profiles/debian.toml")),
    ("fedora-coreos", include_str!("../../../../profiles/fedora-coreos.toml")),
    ("flatcar", include_str!("../../../../profiles/flatcar.toml")),
    ("rhel", include_str!("../../../../profiles/rhel.toml")),
    ("ubuntu", include_str!("../../../../profiles/ubuntu.toml")),
];
/// What belongs to one profile alone.
const NOT_INHERITED: [&str; 3] = ["name", "inherits", "os-release"];
/// Lists to which a profile adds.
const ADDED_TO: [&str; 2] = ["normalise", "require"];

/// The profiles that come with the tool and those of a specification.
#[derive(Clone, Debug)]
pub struct Profiles {
    /// In the order in which one is looked for by `os-release`: a specification's own come first.
    tables: Vec<(String, Table)>,
}

impl Profiles {
    /// With the tables of a specification, by name.
    ///
    /// # Errors
    /// When one has the name of a profile that comes with the tool.
    pub fn new(own: &BTreeMap<String, Table>) -> Result<Self, Error> {
        let mut tables = Vec::new();
        for (name, table) in own {
            if BUILT_IN.iter().any(|(other, _)| other == name) {
                let reason = "comes with the tool: choose another name and inherit it";
                return Err(Error::Profile { name: name.clone(), reason: reason.to_owned() });
            }
            let mut table = table.clone();
            table.insert("name".to_owned(), Value::String(name.clone()));
            tables.push((name.clone(), table));
        }
        let built_in = BUILT_IN.iter().map(|(name, text)| {
            let table = text.parse::<Table>().expect("built-in profiles are parsed by a test");
            ((*name).to_owned(), table)
        });
        tables.extend(built_in);
        Ok(Self { tables })
    }

    /// The profile of this name.
    ///
    /// # Errors
    /// When there is none, or it is wrong or incomplete.
    pub fn by_name(&self, name: &str) -> Result<Profile, Error> {
        let wrong = |reason: String| Error::Profile { name: name.to_owned(), reason };
        let mut chain = vec![self.table(name)?];
        while let Some(parent) = inherits(chain[chain.len() - 1]).map_err(wrong)? {
            if chain.len() > self.tables.len() {
                let reason =
                    format!("inherits from itself, by way of `{parent}`: have one of them inherit another");
                return Err(wrong(reason));
            }
            chain
                .push(self.table(parent).map_err(|error| wrong(format!("has a wrong `inherits`: {error}")))?);
        }
        let mut merged = Table::new();
        for table in chain.into_iter().rev() {
            for key in NOT_INHERITED {
                merged.remove(key);
            }
            merge(&mut merged, table);
        }
        merged.remove("inherits");
        let profile: Profile = merged
            .try_into()
            .map_err(|error: toml::de::Error| wrong(format!("is wrong: {}", error.message())))?;
        if profile.format_revision != 1 {
            return Err(wrong(format!("has format-revision {}: expected 1", profile.format_revision)));
        }
        Ok(profile)
    }

    /// The profile for a root file system, by the `ID:VARIANT_ID`, `ID` and `ID_LIKE` of its `os-release`, in this order.
    ///
    /// # Errors
    /// When no profile is for it, or that one is wrong.
    pub fn for_os_release(&self, os_release: &OsRelease) -> Result<Profile, Error> {
        let like = os_release.get("ID_LIKE").unwrap_or_default().split_whitespace();
        let id = os_release.get("ID");
        let variant = os_release.get("VARIANT_ID");
        let variant = id.zip(variant).map(|(id, variant)| format!("{id}:{variant}"));
        let ids: Vec<&str> = variant.as_deref().into_iter().chain(id).chain(like).collect();
        let is_for = |table: &Table, id: &str| {
            let listed = table.get("os-release").and_then(Value::as_array);
            listed.is_some_and(|listed| listed.iter().any(|other| other.as_str() == Some(id)))
        };
        let found = ids.iter().find_map(|id| self.tables.iter().find(|(_, table)| is_for(table, id)));
        let (name, _) = found.ok_or_else(|| Error::NoProfile { id: ids.join(" ") })?;
        self.by_name(name)
    }

    /// The profile for a vendor's disk, by the partition that is written anew.
    ///
    /// # Errors
    /// When no profile is for it, or one is wrong.
    pub fn for_disk(&self, has: impl Fn(&VendorRoot) -> bool) -> Result<Profile, Error> {
        for (name, _) in &self.tables {
            let profile = self.by_name(name)?;
            if profile.vendor.as_ref().is_some_and(|vendor| has(&vendor.root)) {
                return Ok(profile);
            }
        }
        Err(Error::NoVendorProfile)
    }

    fn table(&self, name: &str) -> Result<&Table, Error> {
        let found = self.tables.iter().find(|(other, _)| other == name).map(|(_, table)| table);
        found.ok_or_else(|| {
            let mut known: Vec<_> = self.tables.iter().map(|(name, _)| name.as_str()).collect();
            known.sort_unstable();
            Error::UnknownProfile { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

fn inherits(table: &Table) -> Result<Option<&str>, String> {
    table
        .get("inherits")
        .map(|value| value.as_str().ok_or_else(|| "inherits: expected the name of a profile".to_owned()))
        .transpose()
}

/// Puts `from` over `into`.
fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (Some(Value::Array(into)), Value::Array(from)) if ADDED_TO.contains(&key.as_str()) => {
                into.extend(from.iter().cloned());
            }
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use bake_boot::Architecture;
    use bake_tree::{Content, Metadata, Tree, TreePath};

    use super::*;

    fn own(text: &str) -> Result<Profiles, Error> {
        let table: Table = text.parse().unwrap();
        let tables = table.into_iter().map(|(name, value)| (name, value.try_into().unwrap()));
        Profiles::new(&tables.collect())
    }

    fn os_release(text: &str) -> OsRelease {
        let mut tree = Tree::new();
        let path = TreePath::from_root(b"usr/lib/os-release").unwrap();
        tree.write(&path, Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
        OsRelease::read(&tree).unwrap()
    }

    #[test]
    fn every_built_in_profile_is_complete() {
        let profiles = own("").unwrap();
        for (name, _) in BUILT_IN {
            let profile = profiles.by_name(name).unwrap();
            assert_eq!((profile.name.as_str(), profile.format_revision), (name, 1));
            assert!(profile.disk.esp_size.0 >= 512 << 20 && profile.root.journal.0 >= 64 << 20, "{name}");
            assert!(!profile.os_release.is_empty() && !profile.boot.loaders.is_empty(), "{name}");
            for architecture in [Architecture::X86_64, Architecture::Arm64] {
                assert!(!profile.boot.kernel_args.of(architecture).is_empty(), "{name}");
                assert!(!profile.boot.drivers.of(architecture).is_empty(), "{name}");
            }
            let mut names: Vec<_> = profile.requirements.iter().map(|rule| &rule.name).collect();
            names.sort();
            let count = names.len();
            names.dedup();
            assert_eq!(names.len(), count, "{name}: each requirement has a name of its own");
        }
    }

    #[test]
    fn a_profile_is_found_by_the_family_of_the_root_file_system() {
        let profiles = own("site = { inherits = 'ubuntu', os-release = ['site-linux'] }").unwrap();
        let found = |text: &str| profiles.for_os_release(&os_release(text)).map(|profile| profile.name);
        assert_eq!(found("NAME=x\nID=debian\n").unwrap(), "debian");
        assert_eq!(found("ID=raspbian\nID_LIKE='other debian'\n").unwrap(), "debian");
        assert_eq!(found("ID=ubuntu\nID_LIKE=debian\n").unwrap(), "ubuntu");
        assert_eq!(found("ID=rocky\nID_LIKE='rhel centos fedora'\n").unwrap(), "rhel");
        assert_eq!(found("ID=fedora\n").unwrap(), "rhel");
        assert_eq!(found("ID=fedora\nVARIANT_ID=server\n").unwrap(), "rhel");
        assert_eq!(found("ID=fedora\nVARIANT_ID=coreos\n").unwrap(), "fedora-coreos");
        assert_eq!(found("ID=rhel\nID_LIKE=fedora\nVARIANT_ID=coreos\n").unwrap(), "fedora-coreos");
        assert_eq!(found("ID='rhcos'\nID_LIKE='rhel fedora'\n").unwrap(), "fedora-coreos");
        assert_eq!(found("ID=site-linux\nID_LIKE=debian\n").unwrap(), "site", "not the one it resembles");
        assert!(found("ID=\"plan9\"\n").unwrap_err().to_string().contains("plan9"));
        assert!(profiles.by_name("debain").unwrap_err().to_string().contains("debian"));
    }

    #[test]
    fn what_a_profile_says_lies_over_what_it_inherits() {
        let profiles = own(
            "[site]\ninherits = 'debian'\n[site.root]\nlabel = 'site'\n[site.boot.kernel-args]\nx86-64 = ['quiet']\n\
             [[site.normalise]]\npaths = ['/srv/seed']\naction = 'remove'\nwhy = 'ours'\n",
        );
        let (site, debian) =
            (profiles.unwrap().by_name("site").unwrap(), own("").unwrap().by_name("debian").unwrap());
        assert_eq!((site.root.label.as_str(), site.root.flex_bg), ("site", debian.root.flex_bg));
        assert_eq!(site.boot.kernel_args.of(Architecture::X86_64), ["quiet"]);
        assert_eq!(
            site.boot.kernel_args.of(Architecture::Arm64),
            debian.boot.kernel_args.of(Architecture::Arm64)
        );
        assert_eq!(site.normalise.len(), debian.normalise.len() + 1);
        assert_eq!(site.normalise.last().unwrap().paths, ["/srv/seed"]);
        assert!(site.os_release.is_empty(), "nobody gets it unasked");
    }

    #[test]
    fn a_profile_that_makes_no_sense_is_refused_by_name() {
        let refused =
            |text: &str| own(text).and_then(|profiles| profiles.by_name("a")).unwrap_err().to_string();
        assert!(refused("a = { inherits = 'a' }").contains("inherits from itself"));
        assert!(refused("a = { inherits = 'b' }\nb = { inherits = 'a' }").contains("inherits from itself"));
        assert!(
            refused("a = { inherits = 'none' }")
                .contains("`a` has a wrong `inherits`: there is no profile `none`")
        );
        assert!(refused("a = { inherits = 1 }").contains("expected the name"));
        assert!(refused("a = { inherits = 'debian', colour = 'red' }").contains("colour"));
        assert!(refused("a = { inherits = 'debian', root = { label = 1 } }").contains("string"));
        assert!(refused("a = {}").contains("missing field"));
        assert!(refused("debian = {}").contains("choose another name"));
        assert!(refused("a = { inherits = 'debian', format-revision = 2 }").contains("expected 1"));
    }
}
