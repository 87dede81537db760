//! Builders and packages as directories, for builds to read: extracted once, by the digest of what they come from.
//!
//! A directory appears whole, by a rename, and beside it lies a digest of what tells whether anything in it was
//! touched since (inodes, sizes, modes, times of change). It is mounted read-only; whoever writes there from
//! outside makes it another directory, and it is made again.

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
use crate::sandbox::{BUILD_ID, builds_as_nobody, hand_over};

/// Trees that were extracted.
#[derive(Clone, Debug)]
pub(crate) struct ExtractedTrees {
    directory: PathBuf,
    paranoid: bool,
}

impl ExtractedTrees {
    /// The trees in `directory`; with `paranoid`, each is extracted again.
    pub fn new(directory: PathBuf, paranoid: bool) -> Self {
        Self { directory, paranoid }
    }

    /// The directory with what has this digest, which `open` gives the tree of.
    pub fn get(
        &self,
        digest: &Digest,
        open: impl FnOnce() -> Result<ValidTree, Error>,
    ) -> Result<PathBuf, Error> {
        make_directory(&self.directory)?;
        let at = |suffix: &str| self.directory.join(format!("{digest}{suffix}"));
        let (root, state, lock) = (at(""), at(".state"), at(".lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(Error::io("opening", &lock))?;
        file.lock().map_err(Error::io("locking", &lock))?;
        let noted = fs::read_to_string(&state).unwrap_or_default();
        if !self.paranoid && !noted.is_empty() && noted == census(&root)?.to_string() {
            return Ok(root);
        }
        let unfinished = at(".unfinished");
        for left in [&root, &unfinished] {
            remove_tree(left)?;
        }
        extract(&open()?, &unfinished, ExtractOptions { readable: true })?;
        if builds_as_nobody() {
            hand_over(&unfinished, (BUILD_ID, BUILD_ID)).map_err(Error::io("handing over", &unfinished))?;
        }
        fs::rename(&unfinished, &root).map_err(Error::io("naming", &root))?;
        write_bytes(&state, census(&root)?.to_string().as_bytes())?;
        Ok(root)
    }
}

/// A digest of what changes when anything below `root` is touched.
fn census(root: &Path) -> Result<Digest, Error> {
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
            let numbers = [stat.ino(), stat.size(), u64::from(stat.mode()), stat.nlink()];
            let times = [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()];
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

    #[test]
    fn a_tree_is_extracted_once_and_again_when_somebody_touched_it() {
        let scratch = tempfile::tempdir().unwrap();
        let trees = ExtractedTrees::new(scratch.path().join("extracted"), false);
        let opened = Cell::new(0);
        let open = || {
            opened.set(opened.get() + 1);
            let mut tree = Tree::new();
            let file = Node::File(Content::bytes(b"text".as_slice()));
            tree.put(&TreePath::parse(b"a/b").unwrap(), Metadata::root(0o644), file).unwrap();
            tree.clamp_times(crate::EPOCH);
            tree.seal();
            Ok(ValidTree::new(tree).unwrap())
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
