//! `depmod.d(5)`: which directory's module wins where two have one name.

use std::collections::BTreeMap;

use bake_tree::{Directory, Follow, Tree, TreePath};

use super::DepmodError;

/// Where the files lie; of two with one name the earlier directory's counts.
const DIRECTORIES: [&str; 4] = ["etc/depmod.d", "run/depmod.d", "usr/local/lib/depmod.d", "lib/depmod.d"];
/// More than any of them has, in bytes.
const LIMIT: u64 = 1 << 20;

/// What the files say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Config {
    /// Directories in which modules are looked for, the last one given first: the later in this list, the
    /// higher its rank.
    pub search: Vec<Search>,
    /// Paths without extension that win over all others, the last one given first.
    pub overrides: Vec<String>,
    /// Names of directories that are not looked into.
    pub excludes: Vec<String>,
}

/// A place in the search order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// Everything that no other place names.
    BuiltIn,
    /// A directory below that of the kernel.
    Path(String),
}

/// Reads the configuration for a kernel version.
pub(super) fn read(tree: &Tree, version: &str) -> Result<Config, DepmodError> {
    let mut config = Config::default();
    for (_, path) in files(tree) {
        let text = tree.read(&path, LIMIT)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut continued = String::new();
        for (number, line) in text.lines().enumerate() {
            if let Some(line) = line.strip_suffix('\\') {
                continued.push_str(line);
                continue;
            }
            continued.push_str(line);
            let line = std::mem::take(&mut continued);
            let wrong = |reason: String| DepmodError::Config { path: path.clone(), line: number + 1, reason };
            config.line(&line, version).map_err(wrong)?;
        }
    }
    if config.search.is_empty() {
        config.search.push(Search::Path("updates".to_owned()));
    }
    Ok(config)
}

/// The configuration files by their names.
fn files(tree: &Tree) -> BTreeMap<Vec<u8>, TreePath> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        let directory = crate::path(directory);
        let Some(id) = tree.lookup(&directory, Follow::Last) else { continue };
        for (name, _) in tree.inode(id).as_directory().into_iter().flat_map(Directory::iter) {
            if name.ends_with(b".conf") && !name.starts_with(b".") && name.len() > 5 {
                files.entry(name.to_vec()).or_insert_with(|| directory.join(name));
            }
        }
    }
    files
}

impl Config {
    fn line(&mut self, line: &str, version: &str) -> Result<(), String> {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words.next() {
            Some("search") => {
                for word in words {
                    let search = match word {
                        "built-in" => Search::BuiltIn,
                        "external" => return Err(external()),
                        path => Search::Path(path.to_owned()),
                    };
                    self.search.insert(0, search);
                }
            }
            Some("override") => {
                let (Some(name), Some(pattern), Some(directory)) = (words.next(), words.next(), words.next())
                else {
                    return Err("expected `override NAME VERSION DIRECTORY`".to_owned());
                };
                if matches(pattern, version)? {
                    self.overrides.insert(0, format!("{directory}/{name}"));
                }
            }
            Some("exclude") => self.excludes.extend(words.map(str::to_owned)),
            Some("external") => return Err(external()),
            // Comments; commands of the past; what depmod does not know either and ignores.
            Some(_) | None => {}
        }
        Ok(())
    }
}

fn external() -> String {
    "modules outside of the kernel's directory (`external`) cannot be taken into an image: expected them below \
     `updates`"
        .to_owned()
}

/// Whether an override is for this kernel: `*`, or a regular expression that is found in the version. Only
/// those are understood that stand for a fixed text, which is what the tools of distributions write.
fn matches(pattern: &str, version: &str) -> Result<bool, String> {
    if pattern == "*" {
        return Ok(true);
    }
    // Found anywhere, so what may repeat or be missing at the end says nothing.
    let text = pattern.strip_suffix(".*").or(pattern.strip_suffix("-*")).unwrap_or(pattern);
    let (from_start, text) = text.strip_prefix('^').map_or((false, text), |text| (true, text));
    let (to_end, text) = text.strip_suffix('$').map_or((false, text), |text| (true, text));
    let literal = text.replace("\\.", ".");
    if literal.contains(['*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '\\', '^', '$']) {
        return Err(format!("the pattern `{pattern}` is not understood: expected a version or `*`"));
    }
    Ok(match (from_start, to_end) {
        (true, true) => version == literal,
        (true, false) => version.starts_with(&literal),
        (false, true) => version.ends_with(&literal),
        (false, false) => version.contains(&literal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_searches_rank_lower_and_overrides_are_for_a_version() {
        let mut config = Config::default();
        for line in [
            "# comment",
            "",
            "search updates ubuntu  built-in",
            "override kvm * weak-updates/x",
            "override old 5.14.0-* weak-updates",
            "override no ^6.1$ extra",
            "make_map_files no",
        ] {
            config.line(line, "5.14.0-70.el9").unwrap();
        }
        let path = |text: &str| Search::Path(text.to_owned());
        assert_eq!(config.search, [Search::BuiltIn, path("ubuntu"), path("updates")]);
        assert_eq!(config.overrides, ["weak-updates/old", "weak-updates/x/kvm"]);
        assert!(config.line("override a [56].* extra", "5").unwrap_err().contains("`[56].*`"));
        assert!(config.line("external * /opt", "5").is_err());
        assert!(config.line("override a", "5").is_err());
    }
}
