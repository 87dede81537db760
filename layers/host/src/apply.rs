//! An install root as entries of a tree.

use bake_tree::{Content, EditError, Follow, Metadata, Node, Tree, TreePath};

use crate::{Entry, InstallRoot, ROOT};

/// The empty file that makes a host set itself up at its next boot.
const MARKER: &[u8] = b"bootstrap";

/// Makes `root` in a tree that holds nothing but `packages/`, as a bootstrap tarball does: no units, the marker
/// of a host that is not set up yet, everything owned by root and dated by the epoch.
///
/// # Errors
/// When the tree holds something else that is in the way. Nothing has been changed then.
pub fn apply(root: &InstallRoot, tree: &mut Tree) -> Result<(), EditError> {
    let mut entries = root.entries(ROOT);
    entries.insert(TreePath::root().join(MARKER), Entry::File(Vec::new()));
    for path in entries.keys() {
        if let Some(id) = tree.lookup(path, Follow::Parents) {
            let found = tree.inode(id).node.describe();
            return Err(EditError::WrongKind { path: path.clone(), found, expected: "nothing there yet" });
        }
    }
    for (path, entry) in entries {
        let (mode, node) = match entry {
            Entry::Directory => (0o755, None),
            Entry::Symlink(target) => (0o777, Some(Node::Symlink(target))),
            Entry::File(bytes) => (0o644, Some(Node::File(Content::bytes(bytes)))),
        };
        match node {
            None => tree.make_directory(&path, Metadata::root(mode))?,
            Some(node) => tree.put(&path, Metadata::root(mode), node)?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Package, PackageId};

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes()).unwrap()
    }

    fn store() -> Tree {
        let mut tree = Tree::new();
        for (at, text) in [
            ("packages/hello--1/pkginfo.json", r#"{"environment": {"HELLO": "a b"}}"#),
            ("packages/hello--1/bin/hello", "#!/bin/sh"),
            ("packages/hello--1/bin_master/more", "#!/bin/sh"),
            ("packages/hello--1/dcos.target.wants/hello.service", "[Unit]"),
            ("packages/hello--1/share/doc", "private"),
        ] {
            let file = Node::File(Content::bytes(text.as_bytes()));
            tree.put(&path(at), Metadata::root(0o644), file).unwrap();
        }
        tree
    }

    fn root(tree: &Tree) -> InstallRoot {
        let id: PackageId = "hello--1".parse().unwrap();
        let package = Package::read(id, tree, &path("packages/hello--1")).unwrap();
        InstallRoot::resolve(&[package], &BTreeSet::new()).unwrap()
    }

    #[test]
    fn a_bootstrap_tarball_holds_links_texts_and_a_marker_but_no_units() {
        let mut tree = store();
        let root = root(&tree);
        apply(&root, &mut tree).unwrap();
        let mut listing = String::new();
        for (path, id) in tree.walk().filter(|(path, _)| !path.starts_with(&self::path("packages"))) {
            let inode = tree.inode(id);
            assert_eq!(inode.metadata, Metadata::root(inode.metadata.mode), "{path}");
            let to = match &inode.node {
                Node::Symlink(target) => format!(" -> {}", target.escape_ascii()),
                Node::File(content) => format!(" ({} bytes)", content.len()),
                _ => String::new(),
            };
            listing.push_str(&format!("{:o} {path}{to}\n", inode.metadata.mode));
        }
        assert_eq!(
            listing,
            "755 /\n\
             755 /active\n\
             777 /active/hello -> /opt/mesosphere/packages/hello--1\n\
             644 /active.buildinfo.full.json (20 bytes)\n\
             755 /bin\n\
             777 /bin/hello -> /opt/mesosphere/packages/hello--1/bin/hello\n\
             644 /bootstrap (0 bytes)\n\
             644 /environment (199 bytes)\n\
             644 /environment.export (208 bytes)\n\
             755 /etc\n\
             644 /etc/dcos-service-configuration.json (19 bytes)\n\
             755 /include\n\
             755 /lib\n"
        );
    }

    #[test]
    fn what_is_there_already_is_not_merged_with() {
        for at in ["lib", "bootstrap", "etc/other/file"] {
            let mut tree = store();
            let root = root(&tree);
            tree.put(&path(at), Metadata::root(0o644), Node::Symlink(Box::from(&b"x"[..]))).unwrap();
            let before = tree.walk().count();
            let error = apply(&root, &mut tree).unwrap_err().to_string();
            let top = at.split('/').next().unwrap();
            let found = if at == top { "a symbolic link" } else { "a directory" };
            assert_eq!(error, format!("`/{top}` is {found}: expected nothing there yet"));
            assert_eq!(tree.walk().count(), before);
        }
    }
}
