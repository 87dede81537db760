//! SELinux labels where the policy cannot be read: what layers bring gets the label of the directory that it lies in,
//! as the kernel would do for whoever makes it on the host.

use bake_tree::{LayerId, Tree, TreePath};

const LABEL: &[u8] = b"security.selinux";

/// Labels everything that is not the vendor's and has no label of its own, below directories that have one.
pub(super) fn inherit(tree: &mut Tree) {
    let entries: Vec<_> = tree.walk().collect();
    // The directories above, with their labels.
    let mut above: Vec<(TreePath, Option<Box<[u8]>>)> = Vec::new();
    for (path, id) in entries {
        while above.last().is_some_and(|(directory, _)| !path.starts_with(directory)) {
            above.pop();
        }
        let is_ours = tree.inode(id).layer() > LayerId(0);
        let inherited = above.last().and_then(|(_, label)| label.clone()).filter(|_| is_ours);
        let xattrs = &mut tree.metadata_mut(id).xattrs;
        if let (None, Some(label)) = (xattrs.get(LABEL), inherited) {
            xattrs.insert(LABEL.into(), label);
        }
        let label = xattrs.get(LABEL).cloned();
        if tree.inode(id).as_directory().is_some() {
            above.push((path, label));
        }
    }
}

#[cfg(test)]
mod tests {
    use bake_tree::{Content, Follow, Metadata, Node};

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::from_root(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_added_gets_the_label_of_its_directory() {
        let mut tree = Tree::new();
        let file = || Node::File(Content::empty());
        let label = |tree: &mut Tree, name: &str, label: &str| {
            let id = tree.make_directory(&path(name), Metadata::root(0o755)).unwrap();
            tree.metadata_mut(id).xattrs.insert(LABEL.into(), label.as_bytes().into());
        };
        label(&mut tree, "etc", "etc_t");
        label(&mut tree, "etc/systemd", "unit_t");
        tree.put(&path("etc/theirs"), Metadata::root(0o644), file()).unwrap();
        tree.seal();
        for name in ["etc/ours", "etc/systemd/system/a.service", "opt/x"] {
            tree.put(&path(name), Metadata::root(0o644), file()).unwrap();
        }
        inherit(&mut tree);
        for (name, expected) in [
            ("etc/theirs", None),
            ("etc/ours", Some("etc_t")),
            ("etc/systemd/system", Some("unit_t")),
            ("etc/systemd/system/a.service", Some("unit_t")),
            ("opt/x", None),
        ] {
            let id = tree.lookup(&path(name), Follow::Last).unwrap();
            let found = tree.inode(id).metadata.xattrs.get(LABEL);
            assert_eq!(found.map(|label| &**label), expected.map(str::as_bytes), "{name}");
        }
    }
}
