//! The list of a seed's entries, by whose digest a seed is known.

use std::collections::BTreeMap;

use bake_base::{Timestamp, json};
use bake_tree::{Tree, TreePath};
use serde::{Deserialize, Serialize};

use crate::contents::{Contents, Entry, escape};

/// The revision of the list's format.
const SCHEMA: &str = "bake-seed-1";

/// Every entry of a seed's install root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    schema: String,
    /// When what [`List::times`] does not name was changed last, in seconds since 1970.
    pub time: i64,
    /// The times of all others, by paths that are escaped like those of the entries.
    pub times: BTreeMap<String, i64>,
    /// By their paths, as in `contents.json` of packages.
    pub entries: BTreeMap<String, Entry>,
}

/// A seed that cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("reading `{path}` failed")]
pub struct ListError {
    path: TreePath,
    source: std::io::Error,
}

impl List {
    /// What an install root holds. What has no time yet has that of the rest.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(tree: &Tree, threads: usize) -> Result<Self, ListError> {
        let contents = Contents::of(tree, threads).map_err(|(path, source)| ListError { path, source })?;
        let time = tree.newest_time().map_or(0, |time| time.seconds);
        let dated = |seconds: i64| seconds.min(time);
        let times = tree
            .walk()
            .map(|(path, id)| (escape(path.as_bytes()), dated(tree.inode(id).metadata.mtime.seconds)));
        let times = times.filter(|(_, seconds)| *seconds != time).collect();
        Ok(Self { schema: SCHEMA.to_owned(), time, times, entries: contents.entries })
    }

    /// Reads a list.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let list: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("is no list of a seed: {error}"))?;
        if list.schema == SCHEMA {
            return Ok(list);
        }
        Err(format!("has the schema `{}`: expected {SCHEMA}; take a newer pkgpanda", list.schema))
    }

    /// The list's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        json::to_canonical(self).expect("its keys are texts and its numbers integers")
    }

    /// When an entry was changed last.
    pub(super) fn time_of(&self, path: &TreePath) -> Timestamp {
        let seconds = self.times.get(&escape(path.as_bytes())).copied();
        Timestamp::from_seconds(seconds.unwrap_or(self.time))
    }

    /// What of `found` is not as listed, in words.
    pub(super) fn differences(&self, found: &BTreeMap<String, Entry>) -> Vec<String> {
        let listed = &self.entries;
        let paths = listed.keys().chain(found.keys().filter(|path| !listed.contains_key(*path)));
        let differs = |path: &String| match (listed.get(path), found.get(path)) {
            (Some(_), None) => Some(format!("`{path}` is missing")),
            (None, Some(_)) => Some(format!("`{path}` is not in the list")),
            (listed, found) => (listed != found).then(|| format!("`{path}` is not what it was")),
        };
        paths.filter_map(differs).collect()
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::{Content, Metadata, Node};

    use super::*;

    fn tree(entries: &[(&str, &str, i64)]) -> Tree {
        let mut tree = Tree::new();
        for (path, text, seconds) in entries {
            let metadata = Metadata { mtime: Timestamp::from_seconds(*seconds), ..Metadata::root(0o644) };
            let path = TreePath::parse(path.as_bytes()).unwrap();
            tree.put(&path, metadata, Node::File(Content::bytes(text.as_bytes()))).unwrap();
        }
        tree
    }

    #[test]
    fn a_list_has_every_time_and_names_those_that_are_not_the_newest() {
        let list = List::of(&tree(&[("a", "1", 7), ("b", "2", 9), ("c", "3", 9)]), 1).unwrap();
        assert_eq!((list.time, list.times.clone()), (9, BTreeMap::from([("a".to_owned(), 7)])));
        assert_eq!(List::parse(&list.to_json()).unwrap(), list);
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert_eq!(list.time_of(&path("a")), Timestamp::from_seconds(7));
        assert_eq!(list.time_of(&path("b")), Timestamp::from_seconds(9));
    }

    #[test]
    fn every_difference_is_told() {
        let list = List::of(&tree(&[("a", "1", 7), ("b", "2", 7)]), 1).unwrap();
        let other = List::of(&tree(&[("a", "x", 7), ("c", "3", 7)]), 1).unwrap();
        assert_eq!(
            list.differences(&other.entries),
            ["`a` is not what it was", "`b` is missing", "`c` is not in the list"]
        );
        assert!(list.differences(&list.entries).is_empty());
        assert!(List::parse(b"{}").unwrap_err().contains("no list"));
    }
}
