//! Taking out of a root file system what machines must not share and what its build left behind.

use bake_tree::{Content, Follow, InodeId, Metadata, Node, Tree, TreePath};
use serde::Serialize;

use crate::Error;
use crate::profile::{Action, Rule};

/// One change, for the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The entry that was changed.
    pub path: String,
    /// What was done to it.
    pub action: Action,
    /// Why.
    pub why: String,
}

/// Applies `rules` in order and gives every change that they made.
///
/// # Errors
/// When a pattern is no path.
pub fn normalise(tree: &mut Tree, rules: &[Rule]) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for rule in rules {
        for pattern in &rule.paths {
            let pattern = TreePath::from_root(pattern.as_bytes()).map_err(Error::Path)?;
            for path in matches(tree, &pattern) {
                let done = act(tree, &path, rule.action)?;
                changes.extend(done.into_iter().map(|path| Change {
                    path: path.to_string(),
                    action: rule.action,
                    why: rule.why.clone(),
                }));
            }
        }
    }
    Ok(changes)
}

/// Carries out one action and gives the entries that it changed.
fn act(tree: &mut Tree, path: &TreePath, action: Action) -> Result<Vec<TreePath>, Error> {
    let Some(id) = tree.lookup(path, Follow::Parents) else { return Ok(Vec::new()) };
    let gone = match (action, &tree.inode(id).node) {
        (Action::Remove, _) => vec![path.clone()],
        (Action::Empty, Node::File(content)) if !content.is_empty() => {
            tree.write(path, Metadata::root(0o644), Content::empty())?;
            return Ok(vec![path.clone()]);
        }
        (Action::Clear, Node::Directory(directory)) => {
            directory.iter().map(|(name, _)| path.join(name)).collect()
        }
        (Action::ClearFiles, Node::Directory(_)) => files_below(tree, path, id),
        // A rule is for one type of entry; what is something else (a link to another place, say) is left alone.
        _ => Vec::new(),
    };
    for path in &gone {
        tree.remove(path);
    }
    Ok(gone)
}

fn files_below(tree: &Tree, path: &TreePath, id: InodeId) -> Vec<TreePath> {
    let mut files = Vec::new();
    let mut ahead = vec![(path.clone(), id)];
    while let Some((path, id)) = ahead.pop() {
        match tree.inode(id).as_directory() {
            Some(directory) => ahead.extend(directory.iter().map(|(name, id)| (path.join(name), id))),
            None => files.push(path),
        }
    }
    files.sort();
    files
}

/// The entries that match a pattern, in order. Links on the way are not followed.
fn matches(tree: &Tree, pattern: &TreePath) -> Vec<TreePath> {
    let mut found = vec![(TreePath::root(), Tree::ROOT)];
    for component in pattern.components() {
        let mut next = Vec::new();
        for (path, id) in &found {
            let Some(directory) = tree.inode(*id).as_directory() else { continue };
            if component.contains(&b'*') {
                let names = directory.iter().filter(|(name, _)| name_matches(component, name));
                next.extend(names.map(|(name, id)| (path.join(name), id)));
            } else if let Some(id) = directory.get(component) {
                next.push((path.join(component), id));
            }
        }
        found = next;
    }
    found.into_iter().map(|(path, _)| path).collect()
}

/// Whether `name` is made of the parts between the stars of `pattern`, in order.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = (0..=rest.len()).find(|at| rest[*at..].starts_with(part)) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    fn rule(pattern: &str, action: Action) -> Rule {
        Rule { paths: vec![pattern.to_owned()], action, why: "test".to_owned() }
    }

    #[test]
    fn stars_stand_for_any_part_of_one_name() {
        for (pattern, name, expected) in [
            ("ssh_host_*_key", "ssh_host_rsa_key", true),
            ("ssh_host_*_key", "ssh_host_key", false),
            ("*", "", true),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
            ("a", "ab", false),
            ("a*", "a", true),
            ("aa*aa", "aaa", false),
        ] {
            assert_eq!(name_matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn each_action_does_what_it_says_and_reports_it() {
        let mut tree = Tree::new();
        for name in ["etc/machine-id", "etc/ssh/a_key", "etc/ssh/config", "tmp/d/x", "log/d/x", "log/y"] {
            tree.put(&path(name), Metadata::root(0o640), Node::File(Content::bytes(&b"x"[..]))).unwrap();
        }
        tree.put(&path("run"), Metadata::root(0o777), Node::Symlink(Box::from(&b"tmp"[..]))).unwrap();
        let rules = [
            rule("/etc/machine-id", Action::Empty),
            rule("/etc/ssh/*_key", Action::Remove),
            rule("/tmp", Action::Clear),
            rule("/log", Action::ClearFiles),
            rule("/run", Action::Clear),
            rule("/none/x", Action::Remove),
        ];
        let changes = normalise(&mut tree, &rules).unwrap();
        let changed: Vec<_> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(changed, ["/etc/machine-id", "/etc/ssh/a_key", "/tmp/d", "/log/d/x", "/log/y"]);
        let left: Vec<_> = tree.walk().map(|(path, _)| path.to_string()).collect();
        assert_eq!(
            left,
            ["/", "/etc", "/etc/machine-id", "/etc/ssh", "/etc/ssh/config", "/log", "/log/d", "/run", "/tmp"]
        );
        assert!(tree.file(&path("etc/machine-id")).unwrap().unwrap().is_empty());
        assert!(normalise(&mut tree, &rules).unwrap().is_empty(), "a second time changes nothing");
    }
}
