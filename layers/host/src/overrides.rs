//! Files of packages that an operator has changed: the store stays what was built, and a generation leads to the
//! changed copies instead.
//!
//! A copy lies in `overrides/NAME/ID/PATH`. A generation with overrides differs from one without in two things
//! ([`apply`]): links that led to the package's file, units among them, lead to the copy; and `active/PACKAGE`
//! leads to a farm of links in the generation, `merged/PACKAGE`, where directories on the way to copies are real
//! and all else leads into the store. Links of the package itself that end at a changed file are led there too.

mod farm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::{Follow, Node, Tree, TreePath};

use crate::generation::{Number, OVERRIDES, Overrides, PACKAGES};
use crate::{Entry, Failure, PackageId, ROOT};
use farm::Farm;

/// What an override is called that nobody gave a name; `repair` undoes those.
pub const LOCAL: &str = "local";
/// Where a generation has its farms of links.
pub const MERGED: &str = "merged";
/// What a name of an override has to be, for messages.
pub const NAME: &str = "letters, digits, `_` and `-`, at most 64";

/// What something in a package is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inside {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, and where it leads.
    Symlink(Box<[u8]>),
    /// Nothing that a package may have.
    Special,
}

/// Everything in a package but its top directory, by the path in it.
pub type Shape = BTreeMap<TreePath, Inside>;

/// The shape of the package that lies at `at` of a tree.
pub fn shape(tree: &Tree, at: &TreePath) -> Shape {
    let Some(top) = tree.lookup(at, Follow::Parents) else { return Shape::new() };
    let inside = tree.walk_from(top).skip(1).map(|(path, id)| {
        let inside = match &tree.inode(id).node {
            Node::Directory(_) => Inside::Directory,
            Node::File(_) => Inside::File,
            Node::Symlink(target) => Inside::Symlink(target.clone()),
            _ => Inside::Special,
        };
        (path, inside)
    });
    inside.collect()
}

/// Whether `text` may be the name of an override.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Where the copy of a package's file lies, relative to the install root.
///
/// # Errors
/// When the name is none, or the path is none inside of a package.
pub fn copy(name: &str, package: &PackageId, path: &str) -> Result<TreePath, Failure> {
    if !is_name(name) {
        let name = name.escape_debug();
        return Err(Failure::new(format!("`{name}` is no name of an override: expected {NAME}")));
    }
    let inside = TreePath::parse(path.as_bytes()).ok().filter(|inside| inside.as_bytes() == path.as_bytes());
    let Some(inside) = inside.filter(|inside| !inside.is_root()) else {
        let path = path.escape_debug();
        return Err(Failure::new(format!("`{path}` is no path of a file inside of `{package}`")));
    };
    let above = [OVERRIDES.as_bytes(), name.as_bytes(), package.as_str().as_bytes()];
    Ok(above.into_iter().chain(inside.components()).fold(TreePath::root(), |at, name| at.join(name)))
}

/// Leads a generation's entries, which know of no overrides, to `overrides`. `shape` is asked for each package that
/// has any.
///
/// # Errors
/// Every reason why an override cannot be: a bad name, a package that is not active, a path that is no regular file
/// of its package, and several overrides of one file. Nothing is changed then.
pub fn apply(
    entries: &mut BTreeMap<TreePath, Entry>,
    number: Number,
    overrides: &Overrides,
    shape: &mut dyn FnMut(&PackageId) -> Result<Shape, Failure>,
) -> Result<(), Failure> {
    let (mut problems, mut packages, mut farms) = (Vec::new(), Vec::new(), Vec::new());
    for (id, copies) in by_package(overrides, &mut problems) {
        let active = place("active").join(id.name().as_str().as_bytes());
        if entries.get(&active) == Some(&link(&format!("{ROOT}/{PACKAGES}/{id}"), &TreePath::root())) {
            packages.push((shape(&id)?, id, copies, active));
        } else {
            problems.push(format!("there is an override of a file of `{id}`, which is not active: drop it"));
        }
    }
    for (shape, id, copies, active) in &packages {
        match Farm::new(id, number, shape, copies) {
            Ok(farm) => farms.push((farm, active)),
            Err(found) => problems.extend(found),
        }
    }
    if !problems.is_empty() {
        return Err(Failure::each(problems));
    }
    for (farm, active) in farms {
        farm.lead(entries, active);
    }
    Ok(())
}

/// Where the copies of each package's files lie, relative to the install root.
fn by_package(
    overrides: &Overrides,
    problems: &mut Vec<String>,
) -> BTreeMap<PackageId, BTreeMap<TreePath, TreePath>> {
    let mut packages: BTreeMap<PackageId, BTreeMap<TreePath, TreePath>> = BTreeMap::new();
    let mut names: BTreeMap<(&PackageId, &str), &str> = BTreeMap::new();
    for (name, id, path) in each(overrides) {
        if let Some(first) = names.insert((id, path), name) {
            problems.push(format!(
                "`{path}` of `{id}` has both the override `{first}` and the override `{name}`: drop one of them"
            ));
        }
        match copy(name, id, path) {
            Ok(copy) => {
                let inside = TreePath::parse(path.as_bytes()).expect("the path of a copy has been checked");
                packages.entry(id.clone()).or_default().insert(inside, copy);
            }
            Err(failure) => problems.push(failure.to_string()),
        }
    }
    packages
}

/// Every override: its name, the package and the path in it.
pub fn each(overrides: &Overrides) -> impl Iterator<Item = (&str, &PackageId, &str)> {
    overrides.iter().flat_map(|(name, packages)| {
        let paths = packages.iter().flat_map(|(id, paths)| paths.iter().map(move |path| (id, path)));
        paths.map(move |(id, path)| (name.as_str(), id, path.as_str()))
    })
}

/// The overrides that are still there when these packages are the active ones.
pub fn carried(overrides: &Overrides, active: &BTreeSet<PackageId>) -> Overrides {
    let mut carried = Overrides::new();
    for (name, id, path) in each(overrides).filter(|(_, id, _)| active.contains(id)) {
        insert(&mut carried, name, id, path);
    }
    carried
}

/// What no longer has an effect when these packages are the active ones: a line for each override.
pub fn dropped(overrides: &Overrides, active: &BTreeSet<PackageId>) -> Vec<String> {
    let gone = each(overrides).filter(|(_, id, _)| !active.contains(id));
    let line = |(name, id, path): (&str, &PackageId, &str)| {
        let kept = format!("{ROOT}/{OVERRIDES}/{name}/{id}/{path}");
        format!(
            "drops the override `{name}` of `{path}` of `{id}`, which is not active any more: {kept} stays until gc"
        )
    };
    gone.map(line).collect()
}

/// Adds an override.
pub fn insert(overrides: &mut Overrides, name: &str, id: &PackageId, path: &str) {
    let paths = overrides.entry(name.to_owned()).or_default().entry(id.clone()).or_default();
    paths.insert(path.to_owned());
}

/// Takes an override away, and what is empty without it.
pub fn remove(overrides: &mut Overrides, name: &str, id: &PackageId, path: &str) {
    let Some(packages) = overrides.get_mut(name) else { return };
    if let Some(paths) = packages.get_mut(id) {
        paths.remove(path);
    }
    packages.retain(|_, paths| !paths.is_empty());
    overrides.retain(|_, packages| !packages.is_empty());
}

/// The name of the override of a file, if there is one.
pub fn name_of<'a>(overrides: &'a Overrides, id: &PackageId, path: &str) -> Option<&'a str> {
    each(overrides).find(|(_, its, file)| *its == id && *file == path).map(|(name, ..)| name)
}

/// A link to `path` below a directory.
fn link(directory: &str, path: &TreePath) -> Entry {
    let mut target = directory.as_bytes().to_vec();
    if !path.is_root() {
        target.push(b'/');
        target.extend_from_slice(path.as_bytes());
    }
    Entry::Symlink(target.into())
}

fn place(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).expect("a relative path without `..`")
}
