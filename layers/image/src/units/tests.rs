use bake_tree::Content;

use super::*;

fn tree(units: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    for (name, text) in units {
        tree.write(&path(name).unwrap(), Metadata::root(0o644), Content::bytes(text.as_bytes())).unwrap();
    }
    tree
}

fn links(tree: &Tree) -> Vec<String> {
    let links = tree.walk().filter_map(|(path, id)| match &tree.inode(id).node {
        Node::Symlink(target) => Some(format!("{path} -> {}", target.escape_ascii())),
        _ => None,
    });
    links.map(|link| link.replace("/etc/systemd/system/", "")).collect()
}

fn units(enable: &[&str], disable: &[&str], mask: &[&str]) -> Units {
    let [enable, disable, mask] =
        [enable, disable, mask].map(|names| names.iter().map(ToString::to_string).collect());
    Units { enable, disable, mask }
}

#[test]
fn enabling_follows_the_install_section() {
    let mut tree = tree(&[
        (
            "usr/lib/systemd/system/a.service",
            "[Install]\nWantedBy=m.target \\\n n.target\nAlias=z.service\nAlso=b.socket\n",
        ),
        ("usr/lib/systemd/system/b.socket", "[Unit]\nWantedBy=no\n[Install]\nRequiredBy=s.target\n"),
        ("usr/lib/systemd/system/g@.service", "[Install]\nWantedBy=%i.target\nDefaultInstance=tty1\n"),
    ]);
    apply(&mut tree, &units(&["a.service", "g@.service", "g@x.service"], &[], &[])).unwrap();
    assert_eq!(
        links(&tree),
        [
            "m.target.wants/a.service -> /usr/lib/systemd/system/a.service",
            "n.target.wants/a.service -> /usr/lib/systemd/system/a.service",
            "s.target.requires/b.socket -> /usr/lib/systemd/system/b.socket",
            "tty1.target.wants/g@tty1.service -> /usr/lib/systemd/system/g@.service",
            "x.target.wants/g@x.service -> /usr/lib/systemd/system/g@.service",
            "z.service -> /usr/lib/systemd/system/a.service",
        ]
    );
    apply(&mut tree, &units(&[], &["a.service", "b.socket", "g@tty1.service", "g@x.service"], &[])).unwrap();
    assert_eq!(links(&tree), Vec::<String>::new());
}

#[test]
fn masking_hides_a_unit_for_good() {
    let mut tree = tree(&[("lib/systemd/system/tmp.mount", "")]);
    apply(&mut tree, &units(&[], &[], &["tmp.mount"])).unwrap();
    assert_eq!(links(&tree), ["tmp.mount -> /dev/null"]);
    apply(&mut tree, &units(&[], &[], &["tmp.mount"])).unwrap();
    let message = apply(&mut tree, &units(&["tmp.mount"], &[], &[])).unwrap_err().to_string();
    assert!(message.contains("masks it") && message.contains("units.enable"), "{message}");
}

#[test]
fn what_cannot_be_enabled_is_said() {
    for (units, reason) in [
        (units(&["none.service"], &[], &[]), "does not exist"),
        (units(&["static.service"], &[], &[]), "no [Install] section"),
        (units(&["a@.service"], &[], &[]), "name an instance"),
        (units(&["ok.service"], &[], &["ok.service"]), "choose one"),
        (units(&[], &["none.service"], &[]), "does not exist"),
        (units(&[], &[], &["none.service"]), "units.mask: unit `none.service` does not exist"),
        (units(&[], &[], &["../ok.service"]), "no name of a unit"),
        (units(&["ok.conf"], &[], &[]), "no name of a unit"),
        (units(&[], &["a.service/b.service"], &[]), "no name of a unit"),
        (units(&["host.service"], &[], &[]), "`%H`"),
    ] {
        let mut tree = tree(&[
            ("lib/systemd/system/static.service", "[Service]\nExecStart=/bin/true\n"),
            ("lib/systemd/system/a@.service", "[Install]\nWantedBy=x.target\n"),
            ("lib/systemd/system/ok.service", "[Install]\nWantedBy=x.target\n"),
            ("lib/systemd/system/host.service", "[Install]\nWantedBy=%H.target\n"),
        ]);
        let message = apply(&mut tree, &units).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
}

fn link(tree: &mut Tree, at: &str, target: &str) {
    let node = Node::Symlink(target.as_bytes().into());
    tree.put(&path(at).unwrap(), Metadata::root(0o777), node).unwrap();
}

#[test]
fn an_alias_stands_for_its_unit() {
    let text = "[Install]\nWantedBy=m.target\nAlias=sshd.service\n";
    let mut tree = tree(&[
        ("usr/lib/systemd/system/ssh.service", text),
        ("usr/lib/systemd/system/getty@.service", "[Install]\nWantedBy=getty.target\n"),
    ]);
    link(&mut tree, "lib", "usr/lib");
    link(&mut tree, "etc/systemd/system/sshd.service", "/lib/systemd/system/ssh.service");
    link(&mut tree, "usr/lib/systemd/system/autovt@.service", "getty@.service");
    link(&mut tree, "usr/lib/systemd/system/getty@tty2.service", "getty@.service");
    assert_eq!(find(&tree, "getty@tty2.service").unwrap().name, "getty@tty2.service");
    tree.remove(&path("usr/lib/systemd/system/getty@tty2.service").unwrap());
    apply(&mut tree, &units(&["sshd.service", "autovt@tty1.service"], &[], &[])).unwrap();
    assert_eq!(
        links(&tree)[..3],
        [
            "getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service",
            "m.target.wants/ssh.service -> /usr/lib/systemd/system/ssh.service",
            "sshd.service -> /lib/systemd/system/ssh.service",
        ]
    );
    for (units, reason) in [
        (units(&["sshd.service"], &["ssh.service"], &[]), "choose one"),
        (units(&[], &[], &["sshd.service"]), "mask `ssh.service`"),
    ] {
        let message = apply(&mut tree, &units).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    }
    apply(&mut tree, &units(&[], &["sshd.service", "getty@.service"], &[])).unwrap();
    assert_eq!(
        links(&tree),
        ["/lib -> usr/lib", "/usr/lib/systemd/system/autovt@.service -> getty@.service"]
    );
}

#[test]
fn a_link_without_end_is_no_unit() {
    let mut tree = tree(&[]);
    link(&mut tree, "etc/systemd/system/a.service", "/etc/systemd/system/a.service");
    let message = apply(&mut tree, &units(&["a.service"], &[], &[])).unwrap_err().to_string();
    assert!(message.contains("links to `/etc/systemd/system/a.service`"), "{message}");
}

#[test]
fn a_name_that_is_taken_is_not_linked_to_another_unit() {
    let mut tree = tree(&[
        ("usr/lib/systemd/system/a.service", "[Install]\nAlias=dm.service\n"),
        ("usr/lib/systemd/system/b.service", "[Install]\nAlias=dm.service b.service\n"),
    ]);
    apply(&mut tree, &units(&["a.service"], &[], &[])).unwrap();
    let message = apply(&mut tree, &units(&["b.service"], &[], &[])).unwrap_err().to_string();
    assert!(message.contains("`/etc/systemd/system/dm.service`"), "{message}");
    apply(&mut tree, &units(&["b.service"], &["a.service"], &[])).unwrap();
    assert_eq!(links(&tree), ["dm.service -> /usr/lib/systemd/system/b.service"]);
}

#[test]
fn what_vendors_link_can_only_be_masked() {
    let mut tree = tree(&[("usr/lib/systemd/system/a.service", "[Install]\nUpheldBy=m.target\n")]);
    link(&mut tree, "usr/lib/systemd/system/x.target.wants/a.service", "../a.service");
    apply(&mut tree, &units(&["a.service"], &[], &[])).unwrap();
    assert_eq!(links(&tree)[0], "m.target.upholds/a.service -> /usr/lib/systemd/system/a.service");
    let message = apply(&mut tree, &units(&[], &["a.service"], &[])).unwrap_err().to_string();
    assert!(message.contains("x.target.wants/a.service` starts it: mask it"), "{message}");
    apply(&mut tree, &units(&[], &["a.service"], &["a.service"])).unwrap();
    assert_eq!(links(&tree)[0], "a.service -> /dev/null");
}
