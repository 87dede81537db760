//! `pkginfo.json`: what a package tells the hosts that run it.

mod check;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bake_base::json;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{GroupName, PackageName, UserName, Variant};

/// Kernel settings: service (without `.service`), then key, then value.
pub type Sysctl = BTreeMap<String, BTreeMap<String, String>>;

/// What `pkginfo.json` says. The same type is written when a package is built.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PkgInfo {
    /// Variables for every process of a host.
    pub environment: BTreeMap<String, String>,
    /// Whether the package keeps data in `/var/lib/dcos/<name>`.
    pub state_directory: bool,
    /// What has to be active beside it.
    pub requires: BTreeSet<Requirement>,
    /// The user that its services run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<UserName>,
    /// That user's primary group, which is there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<GroupName>,
    /// Kernel settings that are made when a service starts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: Sysctl,
    /// Which variant of the component it is. Packages made elsewhere do not tell: they count as the default.
    #[serde(skip_serializing_if = "is_default", serialize_with = "variant")]
    pub variant: Variant,
}

impl PkgInfo {
    /// The file's bytes: the same for the same information.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::to_canonical(self).expect("every key is text and every value is text, a list or a boolean")
    }
}

/// A package that another one needs, by name and variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The component.
    pub name: PackageName,
    /// In which variant.
    pub variant: Variant,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant.name() {
            None => write!(f, "`{}`", self.name),
            Some(variant) => write!(f, "variant `{variant}` of `{}`", self.name),
        }
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(variant) = self.variant.name() else { return self.name.serialize(serializer) };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("variant", variant)?;
        map.end()
    }
}

/// One thing that is wrong in a `pkginfo.json`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct InfoProblem {
    /// Where in it, such as `environment.PATH`; empty for the file as a whole.
    pub key: String,
    /// What is wrong, what was expected, and the fix where there is one.
    pub message: String,
}

impl InfoProblem {
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}

impl fmt::Display for InfoProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "`{key}`: {}", self.message),
        }
    }
}

fn is_default(variant: &Variant) -> bool {
    variant.name().is_none()
}

fn variant<S: Serializer>(variant: &Variant, serializer: S) -> Result<S::Ok, S::Error> {
    variant.name().serialize(serializer)
}
