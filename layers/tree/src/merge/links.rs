//! Hard links: resolved last, when everything that they may point to is there.

use std::collections::BTreeMap;

use super::{Merge, MergeProblem, entry};
use crate::edit::Resolution;
use crate::{Follow, InodeId, Node, Tree, TreePath};

impl Merge<'_> {
    pub(super) fn place_links(&mut self, links: &[(TreePath, TreePath)]) {
        let places: Vec<_> =
            links.iter().map(|(path, target)| (self.whereabouts(path), self.whereabouts(target))).collect();
        // Two paths may be one place; a link to itself by another path says nothing about it.
        let real = places.iter().enumerate().filter(|(_, (path, target))| path != target);
        let by_place: BTreeMap<_, usize> = real.map(|(i, (path, _))| (path, i)).collect();
        let mut placed = vec![false; links.len()];
        for start in 0..links.len() {
            // A link may point to another link of the layer: place the far end of such a chain first.
            let mut chain = Vec::new();
            let mut next = Some(start);
            while let Some(i) = next.filter(|i| !std::mem::replace(&mut placed[*i], true)) {
                chain.push(i);
                next = by_place.get(&places[i].1).copied();
            }
            for i in chain.into_iter().rev() {
                let (path, target) = &links[i];
                if let Err(problem) = self.place_link(path, target) {
                    self.problems.push(problem);
                }
            }
        }
        self.problems.dedup();
    }

    /// Where a path is once links on the way to it are followed: the last directory that is there, and the
    /// names below it.
    fn whereabouts(&self, path: &TreePath) -> (InodeId, Vec<Box<[u8]>>) {
        if let Some((parents, name)) = path.split()
            && self.policy.through_links
            && let Ok(Resolution { directory, inode, mut missing, .. }) =
                self.tree.resolve(&parents, Follow::Last)
        {
            missing.push(name.into());
            return (inode.unwrap_or(directory), missing);
        }
        (Tree::ROOT, path.components().map(Box::from).collect())
    }

    fn place_link(&mut self, path: &TreePath, target: &TreePath) -> Result<(), MergeProblem> {
        let missing = || MergeProblem::NoTarget { path: path.clone(), target: target.clone() };
        let resolution = self.tree.resolve(target, Follow::Parents).map_err(|_| missing())?;
        let id = resolution.inode.filter(|_| !resolution.escaped).ok_or_else(missing)?;
        if matches!(self.tree.inode(id).node, Node::Directory(_)) {
            return Err(MergeProblem::LinkToDirectory { path: path.clone(), target: target.clone() });
        }
        let (_, name) = path.split().ok_or(MergeProblem::Root("a hard link"))?;
        let parent = match self.lexical_parent(path)? {
            Some(parent) => parent,
            None => self.parent_through_links(path)?,
        };
        let generation = self.tree.generation;
        let entry = entry(self.tree, parent, name);
        match entry.and_then(|entry| entry.inode) {
            Some(there) if there == id => {}
            Some(_) if entry.is_some_and(|entry| entry.generation == generation) => {
                let difference = "different types: a hard link and something of its own".to_owned();
                return Err(MergeProblem::Contradiction { path: path.clone(), difference });
            }
            Some(there) if self.policy.through_links && self.tree.inode(there).as_directory().is_some() => {
                let found = "a hard link";
                return Err(MergeProblem::ReplacesDirectory { path: path.clone(), found });
            }
            _ => {}
        }
        self.tree.link(parent, name, id, generation);
        Ok(())
    }
}
