use super::*;
use crate::{Content, Follow, Metadata};

const BASE: &str = "/etc/selinux/targeted/contexts/files/file_contexts";

fn at(text: &str) -> TreePath {
    TreePath::from_root(text.as_bytes()).unwrap()
}

fn put(tree: &mut Tree, name: &str, text: &str) -> InodeId {
    tree.put(&at(name), Metadata::root(0o644), Node::File(Content::bytes(text.as_bytes()))).unwrap()
}

/// A tree that enforces the policy of these files, by their suffixes.
fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new();
    put(&mut tree, "/etc/selinux/config", "SELINUX=enforcing\n");
    for (suffix, text) in files {
        put(&mut tree, &format!("{BASE}{suffix}"), text);
    }
    tree
}

fn labels(files: &[(&str, &str)]) -> Labels {
    Labels::read(&tree(files)).unwrap().unwrap()
}

fn refusal(files: &[(&str, &str)]) -> String {
    Labels::read(&tree(files)).unwrap_err().to_string()
}

/// The types of files.
fn types<'a>(labels: &'a Labels, paths: &[&str]) -> Vec<&'a str> {
    let label = |path: &&str| labels.of(&at(path), Kind::File);
    paths.iter().map(|path| label(path).map_or("", |label| label.split(':').nth(2).unwrap())).collect()
}

#[test]
fn a_tree_without_selinux_has_no_labels() {
    assert!(Labels::read(&Tree::new()).unwrap().is_none());
    let mut tree = tree(&[("", "/.* u:r:x\n")]);
    put(&mut tree, "/etc/selinux/config", "SELINUX=disabled\n");
    assert!(Labels::read(&tree).unwrap().is_none());
}

#[test]
fn selinux_without_its_policy_is_refused_with_advice() {
    let error = refusal(&[(".local", "")]);
    assert!(
        error.contains(BASE) && error.contains("SELINUX=enforcing") && error.contains("install"),
        "{error}"
    );
    let mut tree = Tree::new();
    put(&mut tree, "/etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=../x\n");
    assert!(matches!(Labels::read(&tree), Err(LabelError::Type(_))));
    let mut tree = Tree::new();
    put(&mut tree, "/etc/selinux/config", "SELINUX=permissive\n");
    tree.make_directory(&at(BASE), Metadata::root(0o755)).unwrap();
    assert!(matches!(Labels::read(&tree), Err(LabelError::Tree(_))));
}

#[test]
fn the_last_rule_counts_but_plain_paths_are_strongest() {
    let labels = labels(&[
        (
            "",
            "/etc/plain u:r:plain:s0\n/.* u:r:any:s0\n\n  # note\n/etc/.*\t--\tu:r:etc:s0 extra words\n/usr/x <<none>>",
        ),
        (".homedirs", "/home/[^/]+/.* u:r:home:s0\n/etc/h.* u:r:homedirs:s0\n"),
        (".local", "/etc/h\\.conf u:r:local:s0\n/etc/plain u:r:local:s0\n"),
    ]);
    assert_eq!(
        types(
            &labels,
            &["/etc/plain", "/etc/x", "/etc/host", "/etc/h.conf", "/home/a/b", "/x", "/", "/usr/x"]
        ),
        ["local", "etc", "homedirs", "local", "home", "any", "any", ""]
    );
    assert_eq!(labels.of(&at("/etc/x"), Kind::Directory), Some("u:r:any:s0"));
}

#[test]
fn every_kind_has_its_flag() {
    let flags = ["--", "-d", "-l", "-c", "-b", "-p", "-s"];
    let kinds = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::CharDevice,
        Kind::BlockDevice,
        Kind::Fifo,
        Kind::Socket,
    ];
    let lines: String = flags.iter().zip(0..).map(|(flag, n)| format!("/x {flag} u:r:t{n}\n")).collect();
    let labels = labels(&[("", &lines)]);
    for (kind, n) in kinds.into_iter().zip(0..) {
        assert_eq!(labels.of(&at("/x"), kind), Some(&*format!("u:r:t{n}")));
    }
}

#[test]
fn substitutions_replace_whole_names_local_ones_first() {
    let labels = labels(&[
        ("", "/usr/lib(/.*)? u:r:lib:s0\n/var/lock(/.*)? u:r:lock:s0\n/run(/.*)? u:r:run:s0\n/x u:r:x:s0\n"),
        (
            ".subs_dist",
            "# aliases\n/lib /usr/lib\n/var/run /run\n/run/lock\t/var/lock # note\n/alone\n/top /\n",
        ),
        (".subs", "/srv/lib /lib\n/lib /run\n  /lib  /usr/lib\n"),
    ]);
    assert_eq!(
        types(
            &labels,
            &["/lib", "/lib/a", "/libx", "/srv/lib/a", "/run/lock/a", "/var/run/lock/a", "/top/x"]
        ),
        ["lib", "lib", "", "lib", "lock", "run", "x"],
        "each list is applied once"
    );
}

#[test]
fn what_libselinux_refuses_is_refused_with_its_line() {
    for (line, reason) in [
        ("/x", "has one field"),
        ("/x -x u:r:t", "kind `-x`"),
        ("/x u:r:t # note", "kind `u:r:t`"),
        ("/x u:r", "has no context"),
        ("/x :r:t:s0", "has no context"),
        ("/\u{e4} u:r:t", "not ASCII"),
        ("/x u:r:t\u{0}", "not ASCII"),
        ("/(?=x) u:r:t", "`/(?=x)` uses `(?=x`"),
        ("/y -d u:r:other", "otherwise than line 1"),
    ] {
        let error = refusal(&[("", &format!("/y u:r:t\n# note\n{line}\n"))]);
        assert!(error.starts_with(&format!("line 3 of `{BASE}` ")) && error.contains(reason), "{error}");
    }
    let error = refusal(&[("", ""), (".local", "/x\n")]);
    assert!(error.starts_with(&format!("line 1 of `{BASE}.local`")), "{error}");
}

#[test]
fn equal_rules_and_later_files_are_no_contradiction() {
    let labels =
        labels(&[("", "/x u:r:t\n/x u:r:t\n/y -- u:r:a\n/y -d u:r:b\n"), (".local", "/x u:r:l\n/x u:r:m\n")]);
    assert_eq!(types(&labels, &["/x", "/y"]), ["m", "a"]);
}

#[test]
fn a_policy_beyond_all_policies_is_refused() {
    let many = "/x u:r:t\n".repeat(50_001);
    assert!(matches!(Labels::read(&tree(&[("", &many)])), Err(LabelError::TooMany(_))));
    let large: String = (0..1000).map(|n| format!("/{n}(a{{9000}})? u:r:t\n")).collect();
    assert!(matches!(Labels::read(&tree(&[("", &large)])), Err(LabelError::TooMany(_))));
}

#[test]
fn labels_are_attributes_that_end_with_nul() {
    let mut tree = tree(&[("", "/.* u:r:any:s0\n/etc/.* u:r:etc:s0\n/none.* <<none>>\n")]);
    let old: (Box<[u8]>, Box<[u8]>) = (ATTRIBUTE.into(), b"old\0"[..].into());
    for name in ["/none/x", "/etc/x"] {
        let id = put(&mut tree, name, "");
        tree.metadata_mut(id).xattrs.extend([old.clone()]);
    }
    let labels = Labels::read(&tree).unwrap().unwrap();
    let report = labels.apply(&mut tree);
    let label = |path: &str| {
        let id = tree.lookup(&at(path), Follow::Parents).unwrap();
        tree.inode(id).metadata.xattrs.get(ATTRIBUTE).map(|value| value.escape_ascii().to_string())
    };
    assert_eq!(label("/").unwrap(), r"u:r:any:s0\x00");
    assert_eq!(label("/etc/x").unwrap(), r"u:r:etc:s0\x00");
    assert_eq!((label("/none"), label("/none/x")), (None, Some(r"old\x00".to_owned())));
    let all = tree.walk().count() as u64;
    assert_eq!((report.labelled, report.unlabelled, report.conflicts.len()), (all - 2, 2, 0));
}

#[test]
fn the_first_name_of_a_file_decides_and_the_others_are_told() {
    let mut tree = tree(&[("", "/a.* <<none>>\n/b.* u:r:b:s0\n/c.* u:r:c:s0\n")]);
    let id = put(&mut tree, "/b1", "");
    for name in [&b"a1"[..], b"b2", b"c1"] {
        tree.link(Tree::ROOT, name, id, 0);
    }
    let report = Labels::read(&tree).unwrap().unwrap().apply(&mut tree);
    assert_eq!(&*tree.inode(id).metadata.xattrs[ATTRIBUTE], b"u:r:b:s0\0");
    let told: Vec<_> = report.conflicts.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`/c1` is the same file as `/b1`, so it has the label `u:r:b:s0`, not `u:r:c:s0`"]);
    assert_eq!(report.labelled, 1);
}

#[test]
fn names_are_bytes() {
    let labels = labels(&[("", "/.* u:r:any\n/x. u:r:x\n/y u:r:y\n")]);
    let label = |bytes: &[u8]| labels.of(&TreePath::from_root(bytes).unwrap(), Kind::File).unwrap();
    assert_eq!(
        (label(b"/x\xff"), label(b"/x\n"), label(b"/y\n"), label(b"/\xff")),
        ("u:r:x", "u:r:x", "u:r:y", "u:r:any")
    );
}
