//! Builders and packages as directories, for builds to read: extracted once, by the digest of what they come from.
//!
//! A directory appears whole, by a rename, and beside it lies a digest of what tells whether anything in it was
//! touched since (inodes, sizes, modes, times of change). It is mounted read-only; whoever writes there from
//! outside makes it another directory, and it is made again.
//!
//! Builds in a chroot read it by hard links, which change link counts and so times of change. They share directories
//! of their own, which are judged without these two: a build there owns none of the files, and who changes one from
//! outside changes its time of modification, unless that is what they want to hide.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bake_archive::{ExtractOptions, extract, remove_tree};
use bake_base::{Digest, Hasher};
use bake_tree::ValidTree;

use crate::Error;
use crate::kept::{make_directory, write_bytes};
use crate::sandbox::{BUILD_ID, builds_as_nobody, hand_over, may_build_in_chroot};

/// Trees that were extracted.
#[derive(Clone, Debug)]
pub(crate) struct ExtractedTrees {
    directory: PathBuf,
    paranoid: bool,
    linked: bool,
}

impl ExtractedTrees {
    /// The trees in `directory`; with `paranoid`, each is extracted again.
    pub fn new(directory: PathBuf, paranoid: bool) -> Self {
        Self { directory, paranoid, linked: may_build_in_chroot() }
    }

    /// The directory with what has this digest, which `open` gives the tree of.
    pub fn get(
        &self,
        digest: &Digest,
        open: impl FnOnce() -> Result<ValidTree, Error>,
    ) -> Result<PathBuf, Error> {
        make_directory(&self.directory)?;
        let kind = if self.linked { ".linked" } else { "" };
        let at = |suffix: &str| self.directory.join(format!("{digest}{kind}{suffix}"));
        let (root, state, lock) = (at(""), at(".state"), at(".lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(Error::io("opening", &lock))?;
        file.lock().map_err(Error::io("locking", &lock))?;
        let noted = fs::read_to_string(&state).unwrap_or_default();
        if !self.paranoid && !noted.is_empty() && noted == census(&root, self.linked)?.to_string() {
            return Ok(root);
        }
        let unfinished = at(".unfinished");
        for left in [&root, &unfinished] {
            remove_tree(left)?;
        }
        if let Err(error) = lay_out(&open()?, &unfinished) {
            // On a full disk, nobody else would have space otherwise.
            let _ = remove_tree(&unfinished);
            return Err(error);
        }
        fs::rename(&unfinished, &root).map_err(Error::io("naming", &root))?;
        write_bytes(&state, census(&root, self.linked)?.to_string().as_bytes())?;
        Ok(root)
    }
}

fn lay_out(tree: &ValidTree, into: &Path) -> Result<(), Error> {
    extract(tree, into, ExtractOptions { readable: true })?;
    if builds_as_nobody() {
        hand_over(into, (BUILD_ID, BUILD_ID)).map_err(Error::io("handing over", into))?;
    }
    Ok(())
}

/// A digest of what changes when anything below `root` is touched; but for further names if it may be `linked`.
fn census(root: &Path, linked: bool) -> Result<Digest, Error> {
    let mut hasher = Hasher::new();
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        let mut entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result
                .and_then(Iterator::collect::<io::Result<Vec<_>>>)
                .map_err(Error::io("reading", &directory))?,
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let stat = entry.metadata().map_err(Error::io("reading", &path))?;
            let name = path.as_os_str().as_bytes();
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name);
            let (links, changed) =
                if linked { (0, (0, 0)) } else { (stat.nlink(), (stat.ctime(), stat.ctime_nsec())) };
            let numbers = [stat.ino(), stat.size(), u64::from(stat.mode()), links];
            let times = [stat.mtime(), stat.mtime_nsec(), changed.0, changed.1];
            for number in numbers {
                hasher.update(&number.to_le_bytes());
            }
            for time in times {
                hasher.update(&time.to_le_bytes());
            }
            if stat.is_dir() {
                ahead.push(path);
            }
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use bake_tree::{Content, Metadata, Node, Tree, TreePath};

    use super::*;

    /// A tree with the file `a/b`.
    fn tree() -> ValidTree {
        let mut tree = Tree::new();
        let file = Node::File(Content::bytes(b"text".as_slice()));
        tree.put(&TreePath::parse(b"a/b").unwrap(), Metadata::root(0o644), file).unwrap();
        tree.clamp_times(crate::EPOCH);
        tree.seal();
        ValidTree::new(tree).unwrap()
    }

    #[test]
    fn a_tree_of_builds_in_a_chroot_may_get_further_names_but_no_other_content() {
        let scratch = tempfile::tempdir().unwrap();
        let extracted = |linked, change: &dyn Fn(&Path)| {
            let mut trees = ExtractedTrees::new(scratch.path().join("extracted"), false);
            trees.linked = linked;
            let digest = Digest::of(b"of the archive");
            change(&trees.get(&digest, || Ok(tree())).unwrap());
            let opened = Cell::new(false);
            let open = || {
                opened.set(true);
                Ok(tree())
            };
            trees.get(&digest, open).unwrap();
            opened.get()
        };
        let more = |name: &'static str| {
            let more = scratch.path().join(name);
            move |root: &Path| fs::hard_link(root.join("a/b"), &more).unwrap()
        };
        assert!(extracted(false, &more("one")));
        assert!(!extracted(true, &more("two")));
        assert!(extracted(true, &|root| fs::write(root.join("a/b"), "evil").unwrap()));
    }

    #[test]
    fn a_tree_is_extracted_once_and_again_when_somebody_touched_it() {
        let scratch = tempfile::tempdir().unwrap();
        let trees = ExtractedTrees::new(scratch.path().join("extracted"), false);
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            Ok(tree())
        };
        let digest = Digest::of(b"of the archive");
        let root = trees.get(&digest, open).unwrap();
        assert_eq!(fs::read(root.join("a/b")).unwrap(), b"text");
        trees.get(&digest, open).unwrap();
        assert_eq!(opened.get(), 1);
        fs::write(root.join("a/b"), "evil").unwrap();
        trees.get(&digest, open).unwrap();
        assert_eq!((opened.get(), fs::read(root.join("a/b")).unwrap()), (2, b"text".to_vec()));
        fs::write(root.join("more"), "evil").unwrap();
        trees.get(&digest, open).unwrap();
        assert_eq!(opened.get(), 3);
        assert!(!root.join("more").exists());
    }
}
