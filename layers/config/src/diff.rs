//! What changes on hosts from one product to another.

mod read;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use bake_base::Digest;
use bake_host::product::Product;
use bake_host::{PackageId, PackageName};
use serde::Serialize;

use crate::configure::LIST_FLAG;
pub use read::read;

/// A product with the files of its configuration.
#[derive(Clone, Debug)]
pub struct Side {
    /// The document.
    pub product: Product,
    /// The files of the configuration's packages, by component and path; nothing secret is among them.
    pub files: BTreeMap<String, FileState>,
}

/// A file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Permissions as octal digits; `link` for symbolic links.
    pub mode: String,
    /// Its bytes, or where it points.
    pub content: Vec<u8>,
}

/// What changes on hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// The ids of both configurations.
    pub config_id: (String, String),
    /// The bootstrap tarball, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<(String, String)>,
    /// The program that unpacks on hosts, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkgpanda: Option<(Digest, Digest)>,
    /// Packages that differ, by component.
    pub packages: BTreeMap<PackageName, Change<String>>,
    /// Packages that are called the same and are not.
    pub rebuilt: BTreeSet<PackageId>,
    /// Files of the configuration's packages and of the host that differ: a line diff each.
    pub files: BTreeMap<String, Change<String>>,
    /// Secret files that come or go. Whether others differ cannot be told.
    pub secrets: BTreeMap<String, Change<String>>,
    /// Whether the ids differ for what is secret, or for the installer's own text: nothing else does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secrets_changed: bool,
}

/// Something that is only on one side, or differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change<T> {
    /// Only in the new product.
    Added(T),
    /// Only in the old one.
    Removed(T),
    /// In both.
    Changed(T),
}

impl Diff {
    /// What changes from `old` to `new`.
    pub fn between(old: &Side, new: &Side) -> Self {
        let (a, b) = (&old.product, &new.product);
        let pair = |a: &str, b: &str| (a != b).then(|| (a.to_owned(), b.to_owned()));
        let pkgpanda = (a.pkgpanda.sha256, b.pkgpanda.sha256);
        let same_ids = a
            .packages
            .iter()
            .filter(|(id, blob)| b.packages.get(*id).is_some_and(|other| other.sha256 != blob.sha256));
        let (before, after) = (all_files(old), all_files(new));
        let lines = |path: &String| text::change(path, before.get(path), after.get(path));
        let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut diff = Self {
            config_id: (a.config_id.clone(), b.config_id.clone()),
            bootstrap: pair(&a.bootstrap.id, &b.bootstrap.id)
                .or_else(|| pair(&a.bootstrap.blob.sha256.to_string(), &b.bootstrap.blob.sha256.to_string())),
            pkgpanda: (pkgpanda.0 != pkgpanda.1).then_some(pkgpanda),
            packages: packages(a, b),
            rebuilt: same_ids.map(|(id, _)| id.clone()).collect(),
            files: paths.into_iter().filter_map(|path| Some((path.clone(), lines(path)?))).collect(),
            secrets: secrets(a, b),
            secrets_changed: false,
        };
        diff.secrets_changed = !a.secrets.is_empty() && a.config_id != b.config_id && diff.is_only_of_ids();
        diff
    }

    /// Whether nothing differs but what is called after the id.
    fn is_only_of_ids(&self) -> bool {
        self.bootstrap.is_none()
            && self.pkgpanda.is_none()
            && self.packages.iter().all(|(name, change)| {
                crate::packages::NAMES.contains(&name.as_str()) && matches!(change, Change::Changed(_))
            })
            && self.rebuilt.is_empty()
            && self.files.keys().all(|path| path == LIST_FLAG)
            && self.secrets.is_empty()
    }

    /// Whether hosts would change.
    pub fn is_empty(&self) -> bool {
        self.config_id.0 == self.config_id.1
            && Self { config_id: (String::new(), String::new()), ..self.clone() } == Self::default()
    }
}

/// Files of packages as `COMPONENT:PATH`, those of hosts by their absolute path.
fn all_files(side: &Side) -> BTreeMap<String, FileState> {
    let host = side.product.files.iter().map(|(path, file)| {
        let state = FileState { mode: file.mode.clone(), content: file.content.clone().into_bytes() };
        (path.clone(), state)
    });
    host.chain(side.files.iter().map(|(path, state)| (path.clone(), state.clone()))).collect()
}

fn packages(old: &Product, new: &Product) -> BTreeMap<PackageName, Change<String>> {
    let by_name = |product: &Product| -> BTreeMap<PackageName, PackageId> {
        product.active.iter().map(|id| (id.name(), id.clone())).collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let change = |name: &PackageName| match (old.get(name), new.get(name)) {
        (Some(old), Some(new)) if old == new => None,
        (Some(old), Some(new)) => Some(Change::Changed(format!("{} -> {}", old.version(), new.version()))),
        (Some(old), None) => Some(Change::Removed(old.version().to_string())),
        (None, new) => Some(Change::Added(new?.version().to_string())),
    };
    names.into_iter().filter_map(|name| Some((name.clone(), change(name)?))).collect()
}

fn secrets(old: &Product, new: &Product) -> BTreeMap<String, Change<String>> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.secrets.iter().collect(), new.secrets.iter().collect());
    let change = |path: &&String| match (old.contains(path), new.contains(path)) {
        (true, true) => None,
        (true, false) => Some(((*path).clone(), Change::Removed(String::new()))),
        _ => Some(((*path).clone(), Change::Added(String::new()))),
    };
    old.union(&new).filter_map(change).collect()
}
