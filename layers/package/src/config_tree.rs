//! What a tree of recipes adds to configurations: parameters, templates and lists of files, in its `config/`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use crate::Error;

/// Its directory in a tree of recipes, and in what a tree was built into.
const DIRECTORY: &str = "config";
/// The largest of these files, in bytes: they are written by people.
const LARGEST: u64 = 1 << 20;

/// The files in a tree's `config/` with their paths, which begin with `config/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigTree(pub(crate) BTreeMap<String, Vec<u8>>);

impl ConfigTree {
    /// Reads what the tree in `directory` has; nothing when it has no `config/`.
    ///
    /// # Errors
    /// When something in it is no plain file or directory, too large, or cannot be read.
    pub fn read(directory: &Path) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        let top = directory.join(DIRECTORY);
        match fs::symlink_metadata(&top) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            result => result.map_err(Error::io("reading", &top))?,
        };
        collect(&top, DIRECTORY, &mut files)?;
        Ok(Self(files))
    }

    /// The files in a directory that is laid out like one in `config/`, by their paths in it.
    ///
    /// # Errors
    /// As [`ConfigTree::read`], and when there is no such directory.
    pub fn read_one(directory: &Path) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut files = BTreeMap::new();
        collect(directory, "", &mut files)?;
        Ok(files)
    }

    /// The files by their paths, which begin with `config/`.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }
}

fn collect(directory: &Path, shown: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("reading", directory))? {
        let entry = entry.map_err(Error::io("reading", directory))?;
        let path = entry.path();
        let wrong = |expected: &str| {
            let message = format!("it cannot be delivered: expected {expected}");
            Err(Error::ConfigTree { path: path.clone(), message })
        };
        let metadata = entry.metadata().map_err(Error::io("reading", &path))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            return wrong("a name that is UTF-8");
        };
        if name.contains(['\n', '\\']) {
            // `sha256sum` would have to escape it.
            return wrong("a name without line breaks and backslashes");
        }
        let shown = if shown.is_empty() { name } else { format!("{shown}/{name}") };
        match metadata.file_type() {
            kind if kind.is_dir() => collect(&path, &shown, files)?,
            kind if !kind.is_file() => return wrong("a regular file or a directory"),
            _ if metadata.len() > LARGEST => return wrong("at most 1 MiB"),
            _ => {
                files.insert(shown, fs::read(&path).map_err(Error::io("reading", &path))?);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_a_config_directory_adds_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(ConfigTree::read(scratch.path()).unwrap(), ConfigTree::default());
    }

    #[test]
    fn files_are_found_by_their_paths_and_links_are_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join("config").join(name);
        fs::create_dir_all(at("b/templates")).unwrap();
        fs::write(at("b/templates/x"), "1").unwrap();
        fs::write(at("b/parameters.toml"), "2").unwrap();
        let tree = ConfigTree::read(scratch.path()).unwrap();
        assert_eq!(tree.0.keys().collect::<Vec<_>>(), ["config/b/parameters.toml", "config/b/templates/x"]);
        std::os::unix::fs::symlink("parameters.toml", at("b/link")).unwrap();
        let error = ConfigTree::read(scratch.path()).unwrap_err().to_string();
        assert!(error.contains("b/link") && error.contains("expected a regular file"), "{error}");
    }
}
