//! Settings of systemd's own daemons: `/etc/systemd/NAME.conf` and the drop-ins beside it (journald.conf(5)).

use std::collections::BTreeMap;

use bake_tree::{Follow, Tree, TreePath};

use super::{LIMIT, names};
use crate::error::{Error, path};

/// Where configuration lies; what comes first hides files of the same name in what comes later.
const PLACES: [&str; 3] = ["etc/systemd", "usr/local/lib/systemd", "usr/lib/systemd"];

/// The value that counts: the last one of the main file and then of all drop-ins by name. An empty one is none.
pub(super) fn setting(tree: &Tree, daemon: &str, section: &str, key: &str) -> Result<Option<String>, Error> {
    let mut files: Vec<TreePath> = Vec::new();
    for place in PLACES {
        let main = path(&format!("{place}/{daemon}.conf"))?;
        if tree.lookup(&main, Follow::Last).is_some() {
            files.push(main);
            break;
        }
    }
    files.extend(self::files(tree, &PLACES.map(|place| format!("{place}/{daemon}.conf.d")))?);
    let mut value = None;
    for file in files {
        // A link to /dev/null takes a drop-in away.
        if let Ok(Some(text)) = tree.read(&file, LIMIT) {
            value = last(&String::from_utf8_lossy(&text), section, key).or(value);
        }
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// The files `*.conf` of all these directories, by name. What is in an earlier one hides what is in a later one.
pub(super) fn files(tree: &Tree, directories: &[impl AsRef<str>]) -> Result<Vec<TreePath>, Error> {
    let mut files: BTreeMap<&[u8], TreePath> = BTreeMap::new();
    for directory in directories {
        let directory = path(directory.as_ref())?;
        for name in names(tree, &directory).filter(|name| name.ends_with(b".conf")) {
            files.entry(name).or_insert_with(|| directory.join(name));
        }
    }
    Ok(files.into_values().collect())
}

/// The last value in one file.
fn last(text: &str, section: &str, key: &str) -> Option<String> {
    let mut here = false;
    let mut value = None;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = name == section;
        } else if let Some((name, given)) = line.split_once('=').filter(|_| here)
            && name.trim() == key
        {
            value = Some(given.trim().to_owned());
        }
    }
    value
}
