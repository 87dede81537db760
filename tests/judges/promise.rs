//! What a manifest promises of an image: its inputs, except for what it lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::listing::{Entry, Kind, Listing, at, same_content, shown};

/// The entries that an image has to have.
pub struct Promise {
    /// What is the same as in the inputs, but for the changes that the manifest spells out.
    kept: Listing,
    /// What the manifest says was added or replaced.
    added: BTreeSet<String>,
}

impl Promise {
    /// Applies what `manifest` lists to `inputs`. Whatever it lists must make a difference to them.
    pub fn new(inputs: &Listing, manifest: &Value) -> Self {
        let normalised = &manifest["normalised"];
        let epoch = (manifest["epoch"].as_i64().unwrap(), 0);
        let added = normalised["added"].as_array().unwrap();
        let added: BTreeSet<_> = added.iter().map(|path| path.as_str().unwrap().to_owned()).collect();
        let mut kept = inputs.clone();
        for change in normalised["entries"].as_array().unwrap() {
            let listed = change["path"].as_str().unwrap();
            assert!(!change["why"].as_str().unwrap().is_empty(), "{change}");
            if change["action"] == "empty" {
                empty(&mut kept, listed, epoch);
            } else {
                remove(&mut kept, listed);
            }
        }
        for listed in normalised["removed"].as_array().unwrap() {
            remove(&mut kept, listed.as_str().unwrap());
        }
        let mut clamped = BTreeSet::new();
        for (path, entry) in &mut kept {
            if entry.time > epoch && !added.contains(&shown(path)) {
                entry.time = epoch;
                clamped.insert(entry.first_name.clone());
            }
        }
        assert_eq!(normalised["clamped-times"], clamped.len());
        // Every ext4 file system has it.
        let lost_and_found = Entry {
            kind: Kind::Directory,
            mode: 0o700,
            owner: (0, 0),
            time: epoch,
            xattrs: BTreeMap::new(),
            first_name: b"lost+found".to_vec(),
            links: 2,
        };
        kept.insert(b"lost+found".to_vec(), lost_and_found);
        Self { kept, added }
    }

    /// Looks for differences between the promise and what was found; `adjust` takes out of an entry what one
    /// of both sides cannot show, `same` compares a file's content. What differs has to be exactly what the
    /// manifest lists as added or replaced.
    pub fn check(&self, found: &Listing, adjust: impl Fn(&Entry) -> Entry, same: impl Fn(&[u8]) -> bool) {
        // Link counts and first names follow from other entries; `check_links` judges them.
        let plain = |entry: &Entry| Entry { first_name: Vec::new(), links: 0, ..adjust(entry) };
        let mut different = BTreeSet::new();
        let mut compared = 0;
        for path in self.kept.keys().chain(found.keys()) {
            let (ours, theirs) = (self.kept.get(path).map(plain), found.get(path).map(plain));
            let is_file = ours.as_ref().is_some_and(|entry| matches!(entry.kind, Kind::File { size: 1.. }));
            if ours != theirs || is_file && !same(path) {
                different.insert(shown(path));
            }
            compared += u32::from(is_file);
        }
        assert!(compared > 1000, "only {compared} files were compared");
        let only = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| {
            ours.difference(theirs).cloned().collect::<Vec<_>>().join("\n")
        };
        assert_eq!(only(&different, &self.added), "", "differ, and the manifest does not list them");
        assert_eq!(only(&self.added, &different), "", "are listed by the manifest, and do not differ");
    }

    /// The names that stand for one inode are those of the inputs, and the kernel counts them right.
    pub fn check_links(&self, found: &Listing) {
        let implied = crate::support::listing::implied_links(found);
        for (path, entry) in found {
            assert_eq!(entry.links, implied[&path[..]], "links of {}", shown(path));
        }
        assert_eq!(self.groups(&self.kept), self.groups(found));
    }

    /// Names that share an inode, but for those that were replaced.
    fn groups(&self, listing: &Listing) -> BTreeSet<BTreeSet<Vec<u8>>> {
        let mut groups: BTreeMap<&[u8], BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (path, entry) in listing {
            if !self.added.contains(&shown(path)) {
                groups.entry(&entry.first_name).or_default().insert(path.clone());
            }
        }
        groups.into_values().filter(|names| names.len() > 1).collect()
    }
}

/// Takes an entry away with all below it.
fn remove(kept: &mut Listing, listed: &str) {
    let below = format!("{listed}/");
    let before = kept.len();
    kept.retain(|path, _| shown(path) != listed && !shown(path).starts_with(&below));
    assert!(kept.len() < before, "{listed} is listed as removed and was not there");
}

/// Takes the content of a file away.
fn empty(kept: &mut Listing, listed: &str, epoch: (i64, i64)) {
    let found = kept.iter_mut().find(|(path, _)| shown(path) == listed);
    let (_, entry) = found.unwrap_or_else(|| panic!("{listed} is listed as emptied and was not there"));
    assert!(matches!(entry.kind, Kind::File { size: 1.. }), "{listed} is listed as emptied: {entry:?}");
    entry.kind = Kind::File { size: 0 };
    entry.time = epoch;
}

/// Whether a file has the same bytes below both directories.
pub fn same_below<'a>(one: &'a Path, other: &'a Path) -> impl Fn(&[u8]) -> bool + 'a {
    |path| same_content(&at(one, path), &at(other, path))
}
