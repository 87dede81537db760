//! What goes where, decided and checked before the first byte: the folders, and the order of what is in them.

use std::collections::BTreeMap;

use bake_base::{Epoch, Timestamp};
use bake_tree::{Content, TreePath};

use super::time::DosTime;
use super::{Directory, Error, File, Unfit, name};

/// Largest file, in bytes (FAT specification, section 6: `DIR_FileSize` has 32 bits).
const MAX_FILE: u64 = u32::MAX as u64;

/// All folders, each after its parent.
#[derive(Debug)]
pub(super) struct Plan {
    pub folders: Vec<Folder>,
}

/// A directory and what it holds, in the order of its slots on disk.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub entries: Vec<Entry>,
}

/// A name in a directory.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub path: TreePath,
    pub time: DosTime,
    pub child: Child,
}

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Child {
    File(Content),
    /// Index of a folder.
    Folder(usize),
}

impl Plan {
    /// Index of the root directory.
    pub(super) const ROOT: usize = 0;

    /// Sorts and checks.
    pub(super) fn new(files: &[File], directories: &[Directory], epoch: Epoch) -> Result<Self, Error> {
        let mut unfit = Vec::new();
        let mut plan = Self { folders: vec![Folder::default()] };
        let mut folders = BTreeMap::from([(TreePath::root(), Self::ROOT)]);
        for (path, (mtime, content)) in collect(files, directories, epoch, &mut unfit) {
            let Some((parent, name)) = path.split() else { continue };
            let mut refuse = |reason| unfit.push(Unfit { path: path.clone(), reason });
            let Some(parent) = folders.get(&parent).copied() else {
                refuse("lies below something that is no directory".to_owned());
                continue;
            };
            if let Some(content) = content.as_ref().filter(|content| content.len() > MAX_FILE) {
                refuse(format!(
                    "has {} bytes: expected at most {MAX_FILE}, the most that FAT holds",
                    content.len()
                ));
            }
            let name = match name::check(name) {
                Ok(name) => name.to_owned(),
                Err(reason) => {
                    refuse(reason);
                    // What lies below is judged all the same.
                    String::new()
                }
            };
            let child = if let Some(content) = content {
                Child::File(content)
            } else {
                folders.insert(path.clone(), plan.folders.len());
                plan.folders.push(Folder::default());
                Child::Folder(plan.folders.len() - 1)
            };
            let time = DosTime::new(mtime, epoch);
            plan.folders[parent].entries.push(Entry { name, path, time, child });
        }
        for folder in &mut plan.folders {
            collisions(folder, &mut unfit);
            folder.entries.sort_by_key(|entry| !name::is_short(&entry.name));
        }
        if unfit.is_empty() { Ok(plan) } else { Err(Error::Entries(unfit)) }
    }
}

/// Everything by its path, with the directories that are only implied.
fn collect(
    files: &[File],
    directories: &[Directory],
    epoch: Epoch,
    unfit: &mut Vec<Unfit>,
) -> BTreeMap<TreePath, (Timestamp, Option<Content>)> {
    let mut entries = BTreeMap::new();
    for Directory { path, mtime } in directories {
        entries.insert(path.clone(), (*mtime, None));
    }
    for File { path, content, mtime } in files {
        if path.is_root() || entries.insert(path.clone(), (*mtime, Some(content.clone()))).is_some() {
            unfit.push(Unfit { path: path.clone(), reason: "is given twice: expected one file".to_owned() });
        }
    }
    let given: Vec<TreePath> = entries.keys().cloned().collect();
    for path in given {
        let mut path = path;
        while let Some((parent, _)) = path.split() {
            if entries.contains_key(&parent) {
                break;
            }
            entries.insert(parent.clone(), (epoch.timestamp(), None));
            path = parent;
        }
    }
    entries
}

/// Names that differ for a tree and not for FAT.
fn collisions(folder: &Folder, unfit: &mut Vec<Unfit>) {
    let mut seen: BTreeMap<String, &TreePath> = BTreeMap::new();
    for Entry { name, path, .. } in folder.entries.iter().filter(|entry| !entry.name.is_empty()) {
        if let Some(other) = seen.insert(name::folded(name), path) {
            let reason = format!("and `{other}` have one name for FAT, which does not know case");
            unfit.push(Unfit { path: path.clone(), reason });
        }
    }
}
