//! `treeinfo.json`: which packages make up one flavour of the product.

use std::collections::{BTreeMap, BTreeSet};

use bake_host::{PackageName, Variant};

use super::buildinfo::variant;
use super::fields::{Fields, Report, join, parse, text};
use crate::Problem;

/// The keys of `treeinfo.json`.
const KEYS: [&str; 4] = ["exclude", "core_package_list", "bootstrap_package_list", "variants"];

/// One tree, as its `treeinfo.json` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeInfo {
    /// Never part of this tree.
    pub exclude: BTreeSet<PackageName>,
    /// The roots of the tree; when empty, every package that is not excluded.
    pub core_package_list: BTreeSet<PackageName>,
    /// The roots of the bootstrap tarball; when empty, the whole tree.
    pub bootstrap_package_list: BTreeSet<PackageName>,
    /// Which variant of a package this tree uses, where it is not the default one.
    pub variants: BTreeMap<PackageName, Variant>,
}

impl TreeInfo {
    /// Which variant of a package this tree uses.
    pub fn variant(&self, name: &PackageName) -> Variant {
        self.variants.get(name).cloned().unwrap_or_default()
    }
}

/// Reads `bytes` of the file called `file`. Of what is wrong, the description has nothing.
pub(super) fn treeinfo(bytes: &[u8], file: &str, problems: &mut Vec<Problem>) -> TreeInfo {
    let report = &mut Report::new(file, problems);
    let mut fields = report.object(bytes);
    fields.know(report, &KEYS);
    let exclude = names(report, &mut fields, "exclude", None);
    let core_package_list = names(report, &mut fields, "core_package_list", Some(&exclude));
    let bootstrap_package_list = names(report, &mut fields, "bootstrap_package_list", Some(&exclude));
    let variants = variants(report, &mut fields);
    TreeInfo { exclude, core_package_list, bootstrap_package_list, variants }
}

fn names(
    report: &mut Report<'_>,
    fields: &mut Fields,
    list: &str,
    exclude: Option<&BTreeSet<PackageName>>,
) -> BTreeSet<PackageName> {
    let mut names = BTreeSet::new();
    for (at, value) in fields.list(report, list).unwrap_or_default().into_iter().enumerate() {
        let key = format!("{list}[{at}]");
        let Some(name) = text(report, &key, value) else { continue };
        let Some(name) = report.check(&key, parse::<PackageName>(&name)) else { continue };
        if exclude.is_some_and(|exclude| exclude.contains(&name)) {
            report.add(&key, format!("`{name}` is in `exclude` too: remove it from one of the two"));
        }
        if names.contains(&name) {
            report.add(&key, format!("`{name}` is listed twice: remove one"));
        }
        names.insert(name);
    }
    names
}

fn variants(report: &mut Report<'_>, fields: &mut Fields) -> BTreeMap<PackageName, Variant> {
    let mut variants = BTreeMap::new();
    let Some(object) = fields.object(report, "variants") else { return variants };
    for (name, value) in object.rest() {
        let key = join("variants", &name);
        let name = report.check(&key, parse(&name));
        let variant = variant(report, &key, value);
        variants.extend(name.zip(variant));
    }
    variants
}

#[cfg(test)]
mod tests;
