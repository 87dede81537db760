//! A generation: one activated set of packages, in a numbered directory of its own.
//!
//! ```text
//! /opt/mesosphere/packages/ID/           immutable, shared by all generations
//! /opt/mesosphere/generations/N/         bin etc include lib active environment … dcos.target.wants
//! /opt/mesosphere/generations/N/generation.json
//! /opt/mesosphere/generations/N/product.json
//! /opt/mesosphere/current -> generations/N        the commit point: replaced by one rename
//! /opt/mesosphere/bin -> current/bin, and so on for every name of SHOWN
//! /opt/mesosphere/overrides/NAME/ID/PATH          what an operator has changed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bake_base::{Digest, json};
use bake_tree::TreePath;
use serde::{Deserialize, Serialize};

use crate::{Entry, GroupName, InstallRoot, PackageId, PackageName, ROOT, Role, UserName};

/// The revision of the record's format.
const SCHEMA: &str = "bake-generation-1";
/// Where packages lie in an install root.
pub const PACKAGES: &str = "packages";
/// Where generations lie in an install root.
pub const GENERATIONS: &str = "generations";
/// The link to the current generation.
pub const CURRENT: &str = "current";
/// What an operator has changed.
pub const OVERRIDES: &str = "overrides";
/// The record in a generation.
pub const RECORD: &str = "generation.json";
/// The product that a generation was made from, byte by byte; not every generation has one.
pub const PRODUCT: &str = "product.json";
/// Names in an install root that lead through the current generation to what it has of the same name.
pub const SHOWN: [&str; 10] = [
    "active",
    "active.buildinfo.full.json",
    "bin",
    "dcos.target.wants",
    "environment",
    "environment.export",
    "etc",
    "include",
    "lib",
    PRODUCT,
];

/// The number of a generation, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(u32);

impl Number {
    /// That of a host's first generation.
    pub const FIRST: Self = Self(1);

    /// From the name of a directory or the target of [`CURRENT`]'s last component: decimal, without leading zeros.
    pub fn parse(name: &[u8]) -> Option<Self> {
        let number: u32 = std::str::from_utf8(name).ok()?.parse().ok()?;
        (number > 0 && number.to_string().as_bytes() == name).then_some(Self(number))
    }

    /// The number after this one.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The directory of the generation, relative to the install root; also what [`CURRENT`] links to.
    pub fn directory(self) -> String {
        format!("{GENERATIONS}/{self}")
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Files of packages that an operator has changed: by the name of the override, then by package, the paths in it.
pub type Overrides = BTreeMap<String, BTreeMap<PackageId, BTreeSet<String>>>;

/// `generation.json`: everything that a host derives from a generation without looking into packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    schema: String,
    /// The active packages with the digest of each one's `contents.json`; none for a package that has no such file.
    pub active: BTreeMap<PackageId, Option<Digest>>,
    /// What the host is.
    pub roles: BTreeSet<Role>,
    /// The roles that the host's own sources named when this generation was made: only other ones are news.
    pub seen: BTreeSet<Role>,
    /// Users of the packages, with their primary group if they have none of their own.
    pub users: BTreeMap<UserName, Option<GroupName>>,
    /// Packages with a directory in `/var/lib/dcos`, and who owns it.
    pub state_directories: BTreeMap<PackageName, Option<UserName>>,
    /// The generation that this one took the place of; none for a host's first. A rollback goes there, and never to
    /// one that was written and did not become current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Number>,
    /// The digest of [`PRODUCT`]; none if the generation was not made from a product, or by a program that did not
    /// write this down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<Digest>,
    /// What an operator has changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overrides: Overrides,
    /// Whether this generation is the end: whoever finds it goes on with the removal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removing: bool,
}

impl Generation {
    /// The record of `root` on a host with `roles`.
    pub fn new(
        root: &InstallRoot,
        roles: &BTreeSet<Role>,
        seen: &BTreeSet<Role>,
        contents: impl Fn(&PackageId) -> Option<Digest>,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            active: root.active.values().map(|id| (id.clone(), contents(id))).collect(),
            roles: roles.clone(),
            seen: seen.clone(),
            users: root.users.clone(),
            state_directories: root.state_directories.clone(),
            before: None,
            product: None,
            overrides: Overrides::new(),
            removing: false,
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let generation: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("is no record of a generation: {error}"))?;
        if generation.schema == SCHEMA {
            return Ok(generation);
        }
        let schema = generation.schema;
        Err(format!("has the schema `{schema}`: expected {SCHEMA}; take a newer pkgpanda"))
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts")
    }

    /// Everything in the directory of generation `number`, by paths relative to it, each directory before what it
    /// holds. The environment names that directory, so that a process that lives long never loads from two.
    pub fn entries(
        &self,
        number: Number,
        root: &InstallRoot,
        product: Option<&[u8]>,
    ) -> BTreeMap<TreePath, Entry> {
        let mut entries = root.entries(&format!("{ROOT}/{}", number.directory()));
        entries.extend(root.unit_entries());
        entries.insert(place(RECORD), Entry::File(self.to_json()));
        entries.extend(product.map(|bytes| (place(PRODUCT), Entry::File(bytes.to_owned()))));
        entries
    }
}

/// The links at the top of an install root that lead through [`CURRENT`], and [`CURRENT`] itself.
pub fn top_links(current: Number, has_product: bool) -> BTreeMap<TreePath, Entry> {
    let link = |target: String| Entry::Symlink(target.into_bytes().into());
    let shown = SHOWN.into_iter().filter(|name| has_product || *name != PRODUCT);
    let shown = shown.map(|name| (place(name), link(format!("{CURRENT}/{name}"))));
    shown.chain([(place(CURRENT), link(current.directory()))]).collect()
}

fn place(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a relative path without `..`")
}

#[cfg(test)]
mod tests;
