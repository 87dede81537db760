//! A whole tree of recipes, read and judged at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bake_host::{Requirement, Variant};

use super::buildinfo::Recipe;
use super::fields::{Report, suggestion};
use super::graph::Graph;
use super::json::Value;
use super::scan::{Place, document};
use super::selection::{Choice, Chosen};
use super::sources::source;
use super::treeinfo::TreeInfo;
use crate::source::Source;
use crate::{Problem, Problems};

/// What names another tree to fall back on.
const UPSTREAM: &str = "upstream.json";

/// All recipes of a directory, and of the upstream that it falls back on, without a single problem.
#[derive(Clone, Debug)]
pub struct RecipeTree {
    directory: PathBuf,
    /// By name; among the variants of a package, the default one comes last.
    recipes: Vec<Recipe>,
    numbers: BTreeMap<Requirement, usize>,
    graph: Graph,
    /// What each description chooses; the default one may be wrong as long as nobody has written it.
    trees: BTreeMap<Variant, Result<Chosen, Vec<Problem>>>,
}

/// What one tree description chooses, in build order: behind everything that a package needs.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// Every package of the tree.
    pub packages: Vec<&'a Recipe>,
    /// Those that the bootstrap tarball holds.
    pub bootstrap: Vec<&'a Recipe>,
}

impl RecipeTree {
    /// The source of the upstream tree that `directory` falls back on, if it has one. Whoever reads the tree
    /// checks it out first.
    ///
    /// # Errors
    /// When `upstream.json` is wrong.
    pub fn upstream(directory: &Path) -> Result<Option<Source>, Problems> {
        let path = directory.join(UPSTREAM);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let bytes = document(&path, UPSTREAM, &mut problems);
        let report = &mut Report::new(UPSTREAM, &mut problems);
        let upstream = bytes.and_then(|bytes| match serde_json::from_slice::<Value>(&bytes) {
            Ok(value) => source(report, String::new(), value),
            Err(error) => report.check("", Err(format!("is no JSON: {error}"))),
        });
        Problems::check(problems)?;
        Ok(upstream)
    }

    /// Reads the recipes of `directory`, and behind them those in `packages` of the checked-out `upstream`.
    ///
    /// # Errors
    /// With everything that is wrong in any file.
    pub fn read(directory: &Path, upstream: Option<&Path>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let own = Place { directory, label: "" }.scan(&BTreeSet::new(), &mut problems);
        let mut recipes = own.recipes;
        if let Some(upstream) = upstream {
            let hidden = recipes.iter().map(|recipe| recipe.name.clone()).collect();
            let label =
                format!("{}/packages/", upstream.strip_prefix(directory).unwrap_or(upstream).display());
            let packages = upstream.join("packages");
            if packages.join(UPSTREAM).symlink_metadata().is_ok() {
                let file = format!("{label}{UPSTREAM}");
                let message = "an upstream cannot have an upstream of its own: name that one instead";
                Report::new(&file, &mut problems).add("", message);
            }
            recipes
                .extend(Place { directory: &packages, label: &label }.scan(&hidden, &mut problems).recipes);
        }
        if recipes.is_empty() && problems.is_empty() {
            let message = "holds no recipe: expected directories with a `buildinfo.json`";
            Report::new(".", &mut problems).add("", message);
        }
        let key =
            |recipe: &Recipe| (recipe.name.clone(), recipe.variant.name().is_none(), recipe.variant.clone());
        recipes.sort_by_cached_key(key);
        let numbers =
            recipes.iter().enumerate().map(|(number, recipe)| (recipe.requirement(), number)).collect();
        let graph = connect(&recipes, &numbers, &mut problems);
        refuse_cycles(&recipes, &graph, &mut problems);
        refuse_two_variants(&recipes, &graph, &mut problems);
        let choice = Choice { recipes: &recipes, numbers: &numbers, graph: &graph };
        let mut trees = BTreeMap::new();
        for (variant, (file, info)) in own.trees {
            trees.insert(variant, Ok(choice.choose(&info, &file, &mut problems)));
        }
        trees.entry(Variant::default()).or_insert_with(|| {
            // Without a description, the tree is all of it.
            let mut problems = Vec::new();
            let chosen = choice.choose(&TreeInfo::default(), "treeinfo.json", &mut problems);
            if problems.is_empty() { Ok(chosen) } else { Err(problems) }
        });
        Problems::check(problems)?;
        Ok(Self { directory: directory.to_owned(), recipes, numbers, graph, trees })
    }

    /// The directory that was read.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All recipes by name; among the variants of a package, the default one comes last.
    pub fn recipes(&self) -> &[Recipe] {
        &self.recipes
    }

    /// The recipe of a package.
    ///
    /// # Errors
    /// When there is none; the nearest name is suggested.
    pub fn recipe(&self, required: &Requirement) -> Result<&Recipe, Problems> {
        let choice = Choice { recipes: &self.recipes, numbers: &self.numbers, graph: &self.graph };
        match self.numbers.get(required) {
            Some(number) => Ok(&self.recipes[*number]),
            None => Err(single(choice.missing(required))),
        }
    }

    /// Everything that a recipe of this tree needs, directly or not, by name.
    pub fn closure(&self, recipe: &Recipe) -> Vec<&Recipe> {
        let number = self.numbers.get(&recipe.requirement());
        let closure = number.map(|number| self.graph.closure(*number)).unwrap_or_default();
        closure.into_iter().map(|number| &self.recipes[number]).collect()
    }

    /// These recipes of this tree and all that they need, in the order in which they can be built.
    pub fn build_order<'r>(&self, roots: impl IntoIterator<Item = &'r Recipe>) -> Vec<&Recipe> {
        let roots: BTreeSet<_> =
            roots.into_iter().filter_map(|recipe| self.numbers.get(&recipe.requirement()).copied()).collect();
        self.graph.order(roots).into_iter().map(|number| &self.recipes[number]).collect()
    }

    /// The variants of the tree itself: one for each `[variant.]treeinfo.json`, and always the default one.
    pub fn variants(&self) -> impl Iterator<Item = &Variant> {
        self.trees.keys()
    }

    /// What a variant of the tree consists of.
    ///
    /// # Errors
    /// When there is no such variant, or when it is the default one, nobody has described it, and it cannot be
    /// all of the recipes.
    pub fn select(&self, variant: &Variant) -> Result<Selection<'_>, Problems> {
        let Some(chosen) = self.trees.get(variant) else {
            let known: Vec<_> = self.trees.keys().map(ToString::to_string).collect();
            let name = variant.to_string();
            let nearest = suggestion(&name, known.iter().map(String::as_str));
            return Err(single(format!("there is no tree `{name}`: {nearest}")));
        };
        let chosen = chosen.as_ref().map_err(|problems| Problems(problems.clone()))?;
        let recipes = |numbers: &[usize]| numbers.iter().map(|number| &self.recipes[*number]).collect();
        Ok(Selection { packages: recipes(&chosen.packages), bootstrap: recipes(&chosen.bootstrap) })
    }
}

/// A problem of the tree as a whole.
fn single(message: String) -> Problems {
    Problems(vec![Problem { file: ".".to_owned(), key: String::new(), message }])
}

/// Finds what each recipe requires.
fn connect(recipes: &[Recipe], numbers: &BTreeMap<Requirement, usize>, problems: &mut Vec<Problem>) -> Graph {
    let choice = Choice { recipes, numbers, graph: &Graph::default() };
    let mut needs = Vec::new();
    for recipe in recipes {
        let mut found = Vec::new();
        for required in &recipe.requires {
            match numbers.get(required) {
                Some(number) => found.push(*number),
                None => Report::new(&recipe.file, problems).add("requires", choice.missing(required)),
            }
        }
        needs.push(found);
    }
    Graph::new(needs)
}

fn refuse_cycles(recipes: &[Recipe], graph: &Graph, problems: &mut Vec<Problem>) {
    for cycle in graph.cycles() {
        let next = cycle.iter().cycle().skip(1);
        let steps = cycle.iter().zip(next).map(|(from, to)| {
            format!("{} requires {}", recipes[*from].requirement(), recipes[*to].requirement())
        });
        let steps = steps.collect::<Vec<_>>().join(", ");
        let message = format!("goes in a circle: {steps}: remove one of these");
        Report::new(&recipes[cycle[0]].file, problems).add("requires", message);
    }
}

/// Two variants of a package have the same place on a host, so no package may need both.
fn refuse_two_variants(recipes: &[Recipe], graph: &Graph, problems: &mut Vec<Problem>) {
    let conflict = |number: usize| {
        let mut all = graph.closure(number);
        all.insert(number);
        let pairs = all.iter().zip(all.iter().skip(1));
        // Recipes are sorted by name, so that variants are neighbours.
        let mut pairs = pairs.filter(|(one, other)| recipes[**one].name == recipes[**other].name);
        pairs.next().map(|(one, other)| (*one, *other))
    };
    let conflicts: Vec<_> = (0..recipes.len()).map(conflict).collect();
    for (number, recipe) in recipes.iter().enumerate() {
        let Some((one, other)) = conflicts[number] else { continue };
        // It is told once, where the two come together.
        if graph.needs(number).iter().any(|need| conflicts[*need].is_some()) {
            continue;
        }
        let through = |variant: usize| {
            let brings = |need: &&usize| **need == variant || graph.closure(**need).contains(&variant);
            let shown = format!("`{}`", recipes[variant].variant);
            match graph.needs(number).iter().find(brings) {
                Some(need) if *need != variant => {
                    format!("{shown} (through {})", recipes[*need].requirement())
                }
                _ => shown,
            }
        };
        let (one, other, name) = (through(one), through(other), &recipes[one].name);
        let message =
            format!("brings two variants of `{name}`, {one} and {other}: only one can be installed");
        Report::new(&recipe.file, problems).add("requires", message);
    }
}

#[cfg(test)]
mod tests;
