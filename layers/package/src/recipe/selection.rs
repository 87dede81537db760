//! Which recipes a tree description chooses.

use std::collections::{BTreeMap, BTreeSet};

use bake_host::{PackageName, Requirement};

use super::buildinfo::Recipe;
use super::fields::{Report, join, suggestion};
use super::graph::Graph;
use super::treeinfo::TreeInfo;
use crate::Problem;

/// Recipes by number, with what is needed to find them.
pub(super) struct Choice<'a> {
    pub(super) recipes: &'a [Recipe],
    pub(super) numbers: &'a BTreeMap<Requirement, usize>,
    pub(super) graph: &'a Graph,
}

/// What a tree consists of, in build order.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    pub(super) packages: Vec<usize>,
    pub(super) bootstrap: Vec<usize>,
}

impl Choice<'_> {
    /// Applies the description that is in `file`.
    pub(super) fn choose(&self, info: &TreeInfo, file: &str, problems: &mut Vec<Problem>) -> Chosen {
        let report = &mut Report::new(file, problems);
        self.check_names(info, report);
        let roots = self.roots(info, report);
        let members = self.members(info, roots, report);
        let packages = self.graph.order(members.iter().copied());
        let in_bootstrap = self.bootstrap(info, &members, report);
        let bootstrap = packages.iter().copied().filter(|number| in_bootstrap.contains(number)).collect();
        Chosen { packages, bootstrap }
    }

    fn check_names(&self, info: &TreeInfo, report: &mut Report<'_>) {
        let lists = [
            ("exclude", &info.exclude),
            ("core_package_list", &info.core_package_list),
            ("bootstrap_package_list", &info.bootstrap_package_list),
        ];
        for (list, name) in lists.iter().flat_map(|(list, names)| names.iter().map(move |name| (list, name)))
        {
            if !self.exists(name) {
                report.add(list, self.unknown(name));
            }
        }
        for (name, variant) in &info.variants {
            let key = join("variants", name.as_str());
            let required = Requirement { name: name.clone(), variant: variant.clone() };
            if !self.numbers.contains_key(&required) {
                report.add(&key, self.missing(&required));
            }
        }
    }

    /// The recipes that the tree starts from.
    fn roots(&self, info: &TreeInfo, report: &mut Report<'_>) -> Vec<usize> {
        let all: BTreeSet<_> = self.numbers.keys().map(|required| &required.name).collect();
        let core = info.core_package_list.iter().filter(|name| all.contains(name)).collect();
        let names: BTreeSet<_> = if info.core_package_list.is_empty() { all } else { core };
        let mut roots = Vec::new();
        for name in names.into_iter().filter(|name| !info.exclude.contains(name)) {
            let required = Requirement { name: name.clone(), variant: info.variant(name) };
            match self.numbers.get(&required) {
                Some(number) => roots.push(*number),
                // A variant that is written there was judged where it is written.
                None if info.variants.contains_key(name) => {}
                None => report.add("variants", format!("{}, or exclude it", self.missing(&required))),
            }
        }
        roots
    }

    /// The roots and all that they need, as far as the description allows it.
    fn members(&self, info: &TreeInfo, mut ahead: Vec<usize>, report: &mut Report<'_>) -> BTreeSet<usize> {
        let mut members = BTreeSet::new();
        while let Some(number) = ahead.pop() {
            if !members.insert(number) {
                continue;
            }
            let by = self.recipes[number].requirement();
            for need in self.graph.needs(number) {
                let required = self.recipes[*need].requirement();
                let used = info.variant(&required.name);
                if info.exclude.contains(&required.name) {
                    report.add("exclude", format!("`{}` is required by {by}: take it out", required.name));
                } else if required.variant != used {
                    let key = join("variants", required.name.as_str());
                    let message =
                        format!("this tree uses `{used}`, but {by} requires `{}`", required.variant);
                    report.add(&key, message);
                } else {
                    ahead.push(*need);
                }
            }
        }
        members
    }

    fn bootstrap(
        &self,
        info: &TreeInfo,
        members: &BTreeSet<usize>,
        report: &mut Report<'_>,
    ) -> BTreeSet<usize> {
        if info.bootstrap_package_list.is_empty() {
            return members.clone();
        }
        let mut bootstrap = BTreeSet::new();
        for name in info.bootstrap_package_list.iter().filter(|name| self.exists(name)) {
            let required = Requirement { name: name.clone(), variant: info.variant(name) };
            match self.numbers.get(&required).filter(|number| members.contains(number)) {
                Some(number) => {
                    bootstrap.insert(*number);
                    bootstrap.extend(self.graph.closure(*number));
                }
                None => report.add(
                    "bootstrap_package_list",
                    format!("`{name}` is not part of this tree: add it to `core_package_list`"),
                ),
            }
        }
        bootstrap
    }

    /// Whether there is any variant of the package.
    pub(super) fn exists(&self, name: &PackageName) -> bool {
        self.variants(name).next().is_some()
    }

    /// The variants of a package.
    fn variants(&self, name: &PackageName) -> impl Iterator<Item = String> {
        let first = Requirement { name: name.clone(), variant: bake_host::Variant::default() };
        let from = self.numbers.range(first..);
        from.map(|(required, _)| required)
            .take_while(move |required| required.name == *name)
            .map(|required| format!("`{}`", required.variant))
    }

    /// Says that nothing is called `name`.
    fn unknown(&self, name: &PackageName) -> String {
        let mut names: Vec<_> = self.numbers.keys().map(|required| required.name.as_str()).collect();
        names.dedup();
        format!("there is no package `{name}`: {}", suggestion(name.as_str(), names.into_iter()))
    }

    /// Says that a package, or the variant of it, does not exist.
    pub(super) fn missing(&self, required: &Requirement) -> String {
        let variants = self.variants(&required.name).collect::<Vec<_>>().join(", ");
        match required.variant.name() {
            _ if variants.is_empty() => self.unknown(&required.name),
            None => format!("`{}` has no default variant: choose one of {variants}", required.name),
            Some(variant) => {
                format!("`{}` has no variant `{variant}`: choose one of {variants}", required.name)
            }
        }
    }
}
