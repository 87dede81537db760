//! Finding modules: every file below the kernel's directory, one for each name.

use std::collections::BTreeMap;

use bake_tree::{Content, Directory, Follow, InodeId, LayerId, Node, Tree, TreePath};

use super::config::{Config, Search};
use super::hash;

/// More than any list of modules has, in bytes.
pub(super) const MAX_LIST: u64 = 64 << 20;
/// What the names of modules end with, longest first.
const EXTENSIONS: [&str; 4] = [".ko.zst", ".ko.gz", ".ko.xz", ".ko"];
/// Links that builders leave; they lead to sources.
const NEVER: [&str; 2] = ["build", "source"];
/// Buckets of kmod's table of modules by name.
const BUCKETS: u32 = 512;

/// A module's file.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its name as the kernel says it.
    pub name: String,
    /// Where it is, below the kernel's directory.
    pub relative: String,
    /// `relative` without what says how it is compressed.
    pub uncompressed: String,
    /// Where it is in the tree.
    pub path: TreePath,
    pub content: Content,
    /// The layer that brought it.
    pub layer: LayerId,
}

impl Found {
    /// `relative` without its extension.
    fn stem(&self) -> &str {
        self.uncompressed.strip_suffix(".ko").unwrap_or(&self.uncompressed)
    }
}

/// All modules, of each name the one that wins.
pub(super) fn search(tree: &Tree, directory: &TreePath, config: &Config) -> Vec<Found> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    let mut ahead = vec![(String::new(), tree.lookup(directory, Follow::Last))];
    while let Some((prefix, id)) = ahead.pop() {
        let entries = id.and_then(|id| tree.inode(id).as_directory()).into_iter().flat_map(Directory::iter);
        let mut below = Vec::new();
        for (name, child) in entries {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            if NEVER.contains(&name) || config.excludes.iter().any(|exclude| exclude == name) {
                continue;
            }
            let relative = format!("{prefix}{name}");
            let path = directory.join(relative.as_bytes());
            match file(tree, &path, child) {
                Some((content, layer)) => {
                    if let Some(new) = module(relative, path, content, layer) {
                        let old = found.get(&new.name);
                        if old.is_none_or(|old| !wins(config, old, &new)) {
                            found.insert(new.name.clone(), new);
                        }
                    }
                }
                None => below.push((format!("{relative}/"), Some(child))),
            }
        }
        ahead.extend(below.into_iter().rev());
    }
    found.into_values().collect()
}

/// The file that an entry is or links to. Links to directories are not followed: they could go in circles.
fn file(tree: &Tree, path: &TreePath, id: InodeId) -> Option<(Content, LayerId)> {
    let target = match &tree.inode(id).node {
        Node::Symlink(_) => tree.lookup(path, Follow::Last)?,
        _ => id,
    };
    match &tree.inode(target).node {
        Node::File(content) => Some((content.clone(), tree.inode(target).layer())),
        _ => None,
    }
}

fn module(relative: String, path: TreePath, content: Content, layer: LayerId) -> Option<Found> {
    let extension = EXTENSIONS.iter().find(|extension| relative.ends_with(*extension))?;
    let stem = relative.strip_suffix(extension)?;
    let file = stem.rsplit('/').next()?;
    // A name ends at the first dot (kmod, `modname_normalize`).
    let name = file.split('.').next()?.replace('-', "_");
    let uncompressed = format!("{stem}.ko");
    (!name.is_empty()).then_some(Found { name, relative, uncompressed, path, content, layer })
}

/// Whether `old` stays where `new` has the same name (kmod, `depmod_module_is_higher_priority`).
fn wins(config: &Config, old: &Found, new: &Found) -> bool {
    for path in &config.overrides {
        if path == new.stem() {
            return false;
        }
        if path == old.stem() {
            return true;
        }
    }
    let (mut builtin, mut old_rank, mut new_rank) = (-1, -1, -1);
    for (rank, search) in (0..).zip(&config.search) {
        match search {
            Search::BuiltIn => builtin = rank,
            // If both lie there, only the new one is seen: of two in `updates`, the later wins.
            Search::Path(path) if below(&new.relative, path) => new_rank = rank,
            Search::Path(path) if below(&old.relative, path) => old_rank = rank,
            Search::Path(_) => {}
        }
    }
    let or_builtin = |rank: i32| if rank < 0 { builtin } else { rank };
    or_builtin(new_rank) <= or_builtin(old_rank)
}

fn below(relative: &str, directory: &str) -> bool {
    relative.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Puts modules in order: those that `modules.order` lists come first, in its order; the others follow as
/// kmod's hash table gives them.
pub(super) fn order(mut found: Vec<Found>, order: Option<&[u8]>) -> Vec<Found> {
    hash::sort_by_key(&mut found, BUCKETS, |found| &found.name);
    // A list without a final newline counts as damaged, and then nothing is sorted.
    let Some(list) = order.and_then(|order| if order.is_empty() { None } else { order.strip_suffix(b"\n") })
    else {
        return found;
    };
    let mut ranks: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (rank, line) in list.split(|byte| *byte == b'\n').enumerate() {
        ranks.entry(line).or_insert(rank);
    }
    found.sort_by_key(|found| ranks.get(found.uncompressed.as_bytes()).copied().unwrap_or(usize::MAX));
    found
}
