//! Any archive into a directory.

use std::path::{Path, PathBuf};

use bake_archive::{ExtractOptions, OpenOptions, extract, open_overlay, remove_tree};
use bake_base::Digest;
use bake_tree::{Tree, ValidTree};

use crate::Failure;

/// Unpacks `archive`, which is to have this digest, into `into`, which is not there yet or empty: all of it or
/// nothing.
///
/// # Errors
/// When the archive is another one or damaged, or the directory cannot be made.
pub fn unpack(archive: &Path, into: &Path, sha256: Option<Digest>) -> Result<(), Failure> {
    let shown = archive.display();
    let name = into.file_name().ok_or_else(|| Failure::new(format!("`{}` has no name", into.display())))?;
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let options = OpenOptions { scratch: parent.to_owned(), preserve: true, ..OpenOptions::default() };
    let opened = open_overlay(archive, &options).map_err(|error| Failure::of(&error))?;
    let mut tree = Tree::new();
    for (members, policy) in opened.layers {
        tree.apply(members, policy)
            .map_err(|found| Failure::new(format!("`{shown}`: {}", Failure::each(found))))?;
    }
    let tree = ValidTree::new(tree).map_err(Failure::each)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".unfinished");
    let stage: PathBuf = parent.join(hidden);
    remove_tree(&stage).map_err(|error| Failure::of(&error))?;
    let unpacked = extract(&tree, &stage, ExtractOptions::default());
    let unpacked = unpacked.map_err(|error| Failure::of(&error)).and_then(|_| {
        for input in opened.inputs {
            let found = input.digest.wait().map_err(|error| Failure::of(&error))?;
            if let Some(expected) = sha256.filter(|expected| *expected != found) {
                return Err(Failure::new(format!("`{shown}` has the digest {found}: expected {expected}")));
            }
        }
        std::fs::rename(&stage, into).map_err(Failure::io("making", into.display()))
    });
    if unpacked.is_err() {
        // The first failure is the one to tell.
        let _ = remove_tree(&stage);
    }
    unpacked
}
