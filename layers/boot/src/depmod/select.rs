//! A part of a kernel's modules that can stand by itself: some modules, and whatever those need.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Content, TreePath};

use super::{DepmodError, Loaded, Modules, graph};
use crate::initrd::canonical;
use crate::pattern::matches;

/// A module of a selection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selected<'a>(&'a Loaded);

impl<'a> Selected<'a> {
    /// As the kernel says it.
    pub(crate) fn name(self) -> &'a str {
        &self.0.found.name
    }

    /// Below the kernel's directory.
    pub(crate) fn relative(self) -> &'a str {
        &self.0.found.relative
    }

    /// In the tree.
    pub(crate) fn path(self) -> &'a TreePath {
        &self.0.found.path
    }

    /// The file as it is in the tree.
    pub(crate) fn content(self) -> &'a Content {
        &self.0.found.content
    }

    /// All values of a key of its `.modinfo`.
    pub(crate) fn values(self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.module.values(key)
    }

    /// Whether something will ask for it by itself when it is needed: `udev` for a device, the kernel for a file
    /// system, an algorithm, a target of the device mapper.
    pub(crate) fn is_asked_for(self) -> bool {
        self.values("alias").next().is_some()
    }
}

impl Modules {
    /// All modules in the order of `modules.order`.
    pub(crate) fn each(&self) -> impl Iterator<Item = Selected<'_>> {
        self.all.iter().map(Selected)
    }

    /// Keeps the modules that `names` stand for (names or aliases; those that stand for none are none), with
    /// everything that they need, soft and weak dependencies included. `soft` are such dependencies that modules do
    /// not know of themselves, by module.
    pub(crate) fn select(
        self,
        names: &[&str],
        soft: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, DepmodError> {
        let by_name: BTreeMap<&str, usize> =
            self.all.iter().enumerate().map(|(index, loaded)| (&*loaded.found.name, index)).collect();
        let stands_for = |name: &str| -> Vec<usize> {
            let name = canonical(name);
            if let Some(index) = by_name.get(&*name) {
                return vec![*index];
            }
            let has = |loaded: &Loaded| {
                loaded.module.values("alias").any(|alias| matches(&canonical(alias), &name))
            };
            self.all.iter().enumerate().filter(|(_, loaded)| has(loaded)).map(|(index, _)| index).collect()
        };
        let mut kept = BTreeSet::new();
        let mut ahead: Vec<usize> = names.iter().flat_map(|name| stands_for(name)).collect();
        while let Some(index) = ahead.pop() {
            if !kept.insert(index) {
                continue;
            }
            ahead.extend(self.graph.all_dependencies(index));
            let Loaded { found, module } = &self.all[index];
            let own = module.values("softdep").flat_map(soft_names);
            let weak = module.values("weakdep").flat_map(str::split_whitespace);
            let told = soft.get(&found.name).into_iter().flatten().map(String::as_str);
            ahead.extend(own.chain(weak).chain(told).flat_map(stands_for));
        }
        let all: Vec<Loaded> = self
            .all
            .into_iter()
            .enumerate()
            .filter(|(index, _)| kept.contains(index))
            .map(|(_, loaded)| loaded)
            .collect();
        let graph = graph::Graph::new(&all)?;
        Ok(Self { all, graph, ..self })
    }

    /// The directory of the modules in the tree.
    pub(crate) fn directory(&self) -> &TreePath {
        &self.directory
    }
}

/// The modules of `pre: a b post: c`.
pub(crate) fn soft_names(value: &str) -> impl Iterator<Item = &str> {
    value.split_whitespace().filter(|word| !matches!(*word, "pre:" | "post:"))
}
