use std::collections::BTreeMap;

use bake_base::Timestamp;

use super::*;
use crate::{Content, Xattrs};

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

/// A member from shorthand: `d/` is a directory, `a -> b` a symbolic link, `a = b` a hard link, `-a` a
/// whiteout, `a: text` a file.
fn member(text: &str) -> Member {
    let metadata =
        Metadata { mode: 0o755, uid: 1, gid: 2, mtime: Timestamp::from_seconds(5), xattrs: Xattrs::new() };
    let (name, kind) = if let Some(name) = text.strip_suffix("/*") {
        (name, MemberKind::Opaque)
    } else if let Some(name) = text.strip_suffix('/') {
        (name, MemberKind::Directory)
    } else if let Some((name, target)) = text.split_once(" -> ") {
        (name, MemberKind::Symlink(target.as_bytes().into()))
    } else if let Some((name, target)) = text.split_once(" = ") {
        (name, MemberKind::HardLink(path(target)))
    } else if let Some((name, content)) = text.split_once(": ") {
        (name, MemberKind::File(Content::bytes(content.as_bytes())))
    } else {
        (text.strip_prefix('-').expect("a whiteout"), MemberKind::Whiteout)
    };
    Member { path: path(name), metadata, kind }
}

fn members(texts: &[&str]) -> Vec<Member> {
    texts.iter().map(|text| member(text)).collect()
}

/// The tree in the same shorthand, without the root.
fn listing(tree: &Tree) -> Vec<String> {
    let mut first: BTreeMap<InodeId, TreePath> = BTreeMap::new();
    let entries = tree.walk().skip(1).map(|(path, id)| {
        let text = path.to_string();
        if let Some(name) = first.get(&id) {
            return format!("{text} = {name}");
        }
        first.insert(id, path.clone());
        match &tree.inode(id).node {
            Node::Directory(_) => format!("{text}/"),
            Node::File(content) => format!("{text}: {}", content.read_all(99).unwrap().escape_ascii()),
            Node::Symlink(target) => format!("{text} -> {}", target.escape_ascii()),
            other => other.describe().to_owned(),
        }
    });
    entries.collect()
}

fn merged(layers: &[&[&str]], policy: Policy) -> Result<Vec<String>, Vec<MergeProblem>> {
    let mut tree = Tree::new();
    for layer in layers {
        let forwards = members(layer);
        let mut reversed = tree.clone();
        let result = tree.apply(forwards.clone(), policy);
        let backwards = reversed.apply(forwards.into_iter().rev().collect(), policy);
        assert_eq!(result.is_ok(), backwards.is_ok(), "the order of members matters: {layer:?}");
        result?;
        assert_eq!(listing(&tree), listing(&reversed), "the order of members matters: {layer:?}");
    }
    Ok(listing(&tree))
}

fn refused(layers: &[&[&str]], policy: Policy) -> Vec<String> {
    merged(layers, policy).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_tar_goes_through_the_links_of_its_own_tree() {
    let layers: [&[&str]; 2] =
        [&["lib -> usr/lib", "usr/lib/", "lib/a: 1", "usr/lib/a: 1"], &["lib/b: 2", "lib/", "lib/d/c: 3"]];
    let expected = [
        "/lib -> usr/lib",
        "/usr/",
        "/usr/lib/",
        "/usr/lib/a: 1",
        "/usr/lib/b: 2",
        "/usr/lib/d/",
        "/usr/lib/d/c: 3",
    ];
    assert_eq!(merged(&layers, Policy::TAR).unwrap(), expected);
}

#[test]
fn an_oci_layer_replaces_links_and_types() {
    let layers: [&[&str]; 2] =
        [&["lib -> usr/lib", "usr/lib/a: 1", "x/y: 1", "z: 1"], &["lib/b: 2", "x: 2", "z/q: 3"]];
    let expected = ["/lib/", "/lib/b: 2", "/usr/", "/usr/lib/", "/usr/lib/a: 1", "/x: 2", "/z/", "/z/q: 3"];
    assert_eq!(merged(&layers, Policy::OCI).unwrap(), expected);
}

#[test]
fn whiteouts_concern_the_layers_below_only() {
    let layers: [&[&str]; 2] =
        [&["a/x: 1", "a/y: 1", "b/x: 1", "c: 1"], &["a/*", "a/z: 2", "-b", "b/new: 2", "-c", "-none"]];
    assert_eq!(merged(&layers, Policy::OCI).unwrap(), ["/a/", "/a/z: 2", "/b/", "/b/new: 2"]);
}

#[test]
fn hard_links_join_across_layers_and_chains() {
    let layers: [&[&str]; 2] = [&["c: x", "a = b", "b = c"], &["d = a", "c: y"]];
    assert_eq!(merged(&layers, Policy::OCI).unwrap(), ["/a: x", "/b = /a", "/c: y", "/d = /a"]);
}

#[test]
fn hard_links_find_each_other_through_links_of_directories() {
    let below: &[&str] = &["lib -> usr/lib", "usr/lib/X: x", "usr/lib/X2: x2"];
    let overlay: &[&str] =
        &["aa/z = lib/A2", "usr/lib/A2 = usr/lib/X2", "ab = usr/lib/B", "lib/B = usr/lib/X"];
    let expected = [
        "/aa/",
        "/aa/z: x2",
        "/ab: x",
        "/lib -> usr/lib",
        "/usr/",
        "/usr/lib/",
        "/usr/lib/A2 = /aa/z",
        "/usr/lib/B = /ab",
        "/usr/lib/X = /ab",
        "/usr/lib/X2 = /aa/z",
    ];
    assert_eq!(merged(&[below, overlay], Policy::TAR).unwrap(), expected);
    // One place by two names, one of which points to the other.
    let itself: &[&str] = &["aa = lib/a", "lib/a = usr/lib/X", "usr/lib/a = lib/a"];
    assert_eq!(
        merged(&[below, itself], Policy::TAR).unwrap()[..2],
        ["/aa: x".to_owned(), "/lib -> usr/lib".to_owned()]
    );
}

#[test]
fn whiteouts_follow_no_links() {
    let below: &[&str] = &["lib -> usr/lib", "usr/lib/a: 1", "usr/lib/d/b: 1"];
    for whiteouts in [&["-lib/a", "lib/x: 2"][..], &["lib/d/*", "lib/x: 2"], &["lib/*", "lib/x: 2"]] {
        let expected =
            ["/lib/", "/lib/x: 2", "/usr/", "/usr/lib/", "/usr/lib/a: 1", "/usr/lib/d/", "/usr/lib/d/b: 1"];
        assert_eq!(merged(&[below, whiteouts], Policy::OCI).unwrap(), expected, "{whiteouts:?}");
    }
    assert_eq!(merged(&[below, &["-lib"]], Policy::OCI).unwrap()[0], "/usr/");
}

#[test]
fn only_the_root_file_system_has_a_say_about_the_root() {
    let mut tree = Tree::new();
    let root = |mode| {
        let mut root = member("./");
        root.metadata.mode = mode;
        vec![root]
    };
    // Layers of an image are one layer here.
    for mode in [0o700, 0o711] {
        tree.apply(root(mode), Policy::OCI).unwrap();
    }
    tree.seal();
    tree.apply(root(0o1777), Policy::TAR).unwrap();
    assert_eq!(tree.inode(Tree::ROOT).metadata.mode, 0o711);
}

#[test]
fn symbolic_links_have_the_mode_that_linux_gives_them() {
    let mut again = member("l -> x");
    again.metadata.mode = 0o644;
    let mut tree = Tree::new();
    tree.apply(vec![member("l -> x"), again], Policy::TAR).unwrap();
    let put = tree.put(&path("p"), Metadata::root(0), Node::Symlink(Box::from(&b"x"[..]))).unwrap();
    let id = tree.lookup(&path("l"), Follow::Parents).unwrap();
    assert_eq!([id, put].map(|id| tree.inode(id).metadata.mode), [0o777; 2]);
}

#[test]
fn members_given_twice_identically_pass() {
    let layers: [&[&str]; 1] =
        [&["./", "./", "d/", "d/", "d/f: 1", "d/f: 1", "l -> d", "l -> d", "h = d/f", "h = d/f"]];
    assert_eq!(merged(&layers, Policy::TAR).unwrap(), ["/d/", "/d/f: 1", "/h = /d/f", "/l -> d"]);
    let mut later = member("d/");
    later.metadata.mtime.seconds = 9;
    let mut tree = Tree::new();
    tree.apply(vec![member("d/"), later], Policy::TAR).unwrap();
    let id = tree.lookup(&path("d"), Follow::Last).unwrap();
    assert_eq!(tree.inode(id).metadata.mtime.seconds, 9);
}

#[test]
fn contradictions_within_a_layer_are_all_named() {
    let problems =
        refused(&[&["a: 1", "a: 2", "b: 1", "b/", "c -> x", "c -> y", "h: 1", "h = a"]], Policy::TAR);
    assert_eq!(
        problems,
        [
            "`/a` is given twice by one layer, with different content",
            "`/b` is given twice by one layer, with different types: a regular file and a directory",
            "`/c` is given twice by one layer, with different content",
            "`/h` is given twice by one layer, with different types: a hard link and something of its own",
        ]
    );
    for change in [
        |metadata: &mut Metadata| metadata.mode = 0o700,
        |metadata: &mut Metadata| metadata.gid = 9,
        |metadata: &mut Metadata| metadata.mtime.nanoseconds = 9,
        |metadata: &mut Metadata| drop(metadata.xattrs.insert(Box::from(&b"user.x"[..]), Box::default())),
    ] {
        let mut second = member("a: 1");
        change(&mut second.metadata);
        assert!(Tree::new().apply(vec![member("a: 1"), second], Policy::TAR).is_err());
    }
}

#[test]
fn links_that_lead_astray_are_refused() {
    for (layer, reason) in [
        (["out -> ../..", "out/x: 1"], "leads out of the tree"),
        (["e -> ../../etc", "e/passwd: 1"], "leads out of the tree"),
        (["a -> a", "a/x: 1"], "form a loop"),
        (["a -> b", "a/x: 1"], "leads nowhere"),
        (["a: 1", "a/x: 1"], "no directory"),
        (["a = none", "b: 1"], "does not exist"),
        (["a = a", "b: 1"], "does not exist"),
        (["a = b", "b = a"], "does not exist"),
        (["d/", "a = d"], "directories have one name"),
    ] {
        let problems = refused(&[&layer], Policy::TAR);
        assert!(problems.iter().all(|problem| problem.contains(reason)), "{layer:?}: {problems:?}");
    }
}

#[test]
fn an_overlay_never_hides_a_directory_by_accident() {
    for overlay in ["d: 1", "d -> x", "d = e"] {
        let problems = refused(&[&["d/f: 1", "e: 1"], &[overlay]], Policy::TAR);
        assert!(problems[0].contains("is a directory in a layer below"), "{problems:?}");
    }
}

#[test]
fn a_checkouts_directories_leave_the_modes_of_existing_ones() {
    let mut tree = Tree::new();
    let mut tmp = member("tmp/");
    tmp.metadata.mode = 0o1777;
    tree.apply(vec![tmp], Policy::TAR).unwrap();
    tree.apply(members(&["./", "tmp/", "tmp/new/"]), Policy::CHECKOUT).unwrap();
    let mode = |name| tree.inode(tree.lookup(&path(name), Follow::Last).unwrap()).metadata.mode;
    assert_eq!((mode("tmp"), mode("tmp/new")), (0o1777, 0o755));
}
