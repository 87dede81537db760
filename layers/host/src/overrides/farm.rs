//! One package whose files have changed copies: the farm of links that stands for it, and what leads there.

use std::collections::{BTreeMap, BTreeSet};

use bake_tree::TreePath;

use super::{Inside, MERGED, Shape, link, place};
use crate::generation::{Number, PACKAGES};
use crate::{Entry, PackageId, ROOT};

/// How many symbolic links one path may lead through, as for the kernel.
const MAX_LINKS: u32 = 40;

/// A package and its changed copies.
pub(super) struct Farm<'a> {
    id: &'a PackageId,
    number: Number,
    shape: &'a Shape,
    /// Where the copies are, relative to the install root.
    copies: &'a BTreeMap<TreePath, TreePath>,
    /// Directories that have to be real; the top directory is always among them.
    real: BTreeSet<TreePath>,
    /// Links of the package, and the changed file or real directory that each of them leads to.
    aliases: BTreeMap<TreePath, TreePath>,
}

impl<'a> Farm<'a> {
    pub(super) fn new(
        id: &'a PackageId,
        number: Number,
        shape: &'a Shape,
        copies: &'a BTreeMap<TreePath, TreePath>,
    ) -> Result<Self, Vec<String>> {
        let (real, aliases) = (BTreeSet::from([TreePath::root()]), BTreeMap::new());
        let mut farm = Self { id, number, shape, copies, real, aliases };
        let mut problems = Vec::new();
        for path in copies.keys() {
            // What lies below something that is no directory is not in the shape.
            match shape.get(path) {
                Some(Inside::File) => farm.real.extend(above(path)),
                Some(_) => problems.push(format!("`{}` of `{id}` is no regular file", shown(path))),
                None => problems.push(format!("`{id}` has no file `{}`", shown(path))),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        farm.find_aliases();
        Ok(farm)
    }

    /// A directory that holds an alias becomes real, which may make an alias of a link to it: until nothing changes.
    fn find_aliases(&mut self) {
        let links = self.shape.iter().filter(|(_, inside)| matches!(inside, Inside::Symlink(_)));
        let mut links: BTreeMap<TreePath, TreePath> =
            links.filter_map(|(path, _)| Some((path.clone(), self.end(path)?))).collect();
        loop {
            let (found, others): (BTreeMap<_, _>, BTreeMap<_, _>) = links
                .into_iter()
                .partition(|(_, end)| self.copies.contains_key(end) || self.real.contains(end));
            if found.is_empty() {
                return;
            }
            self.real.extend(found.keys().flat_map(above));
            self.aliases.extend(found);
            links = others;
        }
    }

    /// What `path` leads to if every link on the way stays inside of the package.
    fn end(&self, path: &TreePath) -> Option<TreePath> {
        let own = format!("{ROOT}/{PACKAGES}/{}/", self.id);
        let mut ahead: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        ahead.reverse();
        let (mut at, mut links) = (TreePath::root(), 0);
        while let Some(name) = ahead.pop() {
            if name == b".." {
                at = at.split()?.0;
                continue;
            }
            let next = at.join(&name);
            match self.shape.get(&next)? {
                Inside::Directory => at = next,
                Inside::File => return ahead.is_empty().then_some(next),
                Inside::Special => return None,
                Inside::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    let mut target = &target[..];
                    if target.starts_with(b"/") {
                        target = target.strip_prefix(own.as_bytes())?;
                        at = TreePath::root();
                    }
                    let steps = target.split(|byte| *byte == b'/');
                    let steps = steps.filter(|step| !matches!(*step, b"" | b"."));
                    ahead.extend(steps.map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev());
                }
            }
        }
        Some(at)
    }

    /// A link to where `path` of the package is now.
    fn target(&self, path: &TreePath) -> Entry {
        let path = self.aliases.get(path).unwrap_or(path);
        if let Some(copy) = self.copies.get(path) {
            link(ROOT, copy)
        } else if self.real.contains(path) {
            let name = self.id.name();
            link(&format!("{ROOT}/{}/{MERGED}/{name}", self.number.directory()), path)
        } else {
            link(&format!("{ROOT}/{PACKAGES}/{}", self.id), path)
        }
    }

    /// Leads everything that led to the package to the copies, and adds the farm.
    pub(super) fn lead(&self, entries: &mut BTreeMap<TreePath, Entry>, active: &TreePath) {
        let own = format!("{ROOT}/{PACKAGES}/{}/", self.id);
        for entry in entries.values_mut() {
            if let Entry::Symlink(target) = entry
                && let Some(path) = target.strip_prefix(own.as_bytes())
                && let Ok(path) = TreePath::parse(path)
                && (self.copies.contains_key(&path) || self.aliases.contains_key(&path))
            {
                *entry = self.target(&path);
            }
        }
        entries.insert(active.clone(), self.target(&TreePath::root()));
        let top = place(MERGED).join(self.id.name().as_str().as_bytes());
        entries.insert(place(MERGED), Entry::Directory);
        entries.insert(top.clone(), Entry::Directory);
        for path in self.shape.keys() {
            if path.split().is_some_and(|(parent, _)| self.real.contains(&parent)) {
                let entry = if self.real.contains(path) { Entry::Directory } else { self.target(path) };
                entries.insert(path.components().fold(top.clone(), |at, name| at.join(name)), entry);
            }
        }
    }
}

/// The directories that `path` lies in, the top one among them.
fn above(path: &TreePath) -> impl Iterator<Item = TreePath> + use<> {
    let parent = |path: &TreePath| path.split().map(|(parent, _)| parent);
    std::iter::successors(parent(path), parent)
}

fn shown(path: &TreePath) -> String {
    path.as_bytes().escape_ascii().to_string()
}
