use bake_tree::Policy;

use super::*;

fn path(name: &str) -> TreePath {
    TreePath::parse(name.as_bytes()).unwrap()
}

fn member(name: &str, kind: MemberKind) -> Member {
    Member { path: path(name), metadata: Metadata::root(0o755), kind }
}

fn file(text: &str) -> MemberKind {
    MemberKind::File(Content::bytes(text.as_bytes()))
}

/// What packages a bootstrap tarball brings, and what somebody had linked there for an older set.
fn bootstrap() -> Vec<Member> {
    let link = |target: &str| MemberKind::Symlink(Box::from(target.as_bytes()));
    let mut dated = member("packages/hello--1/bin/hello", file("#!/bin/sh\n"));
    dated.metadata.mtime.seconds = 1_000_000_000;
    vec![
        member("packages/hello--1/pkginfo.json", file("{}")),
        dated,
        member("packages/hello--1/etc_master/hello", file("master")),
        member("packages/old--1/pkginfo.json", file("{}")),
        member("active/hello", link("/opt/mesosphere/packages/hello--0")),
        member("active/old", link("/opt/mesosphere/packages/old--1")),
        member("lib/deep/gone", link("/opt/mesosphere/packages/old--1/lib/deep/gone")),
        member("environment", file("of the tarball")),
        member("bin/hello", link("/opt/mesosphere/packages/hello--1/bin/hello")),
    ]
}

fn assembled(active: &str, roles: &[&str]) -> Result<Tree, AssembleError> {
    let (mut tree, at) = (Tree::new(), path("opt/mesosphere"));
    let blob = Blob { path: String::new(), sha256: bake_base::Digest::of(b""), size: 0 };
    let layer = Layer { package: None, blob: &blob };
    tree.apply(layer.place(bootstrap(), &at)?, Policy::TAR).unwrap();
    let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
    assemble(&mut tree, &at, &[active.parse().unwrap()], &roles, b"the record")?;
    Ok(tree)
}

fn link(tree: &Tree, name: &str) -> String {
    let name = name.split('/').fold(path("opt/mesosphere"), |at, part| at.join(part.as_bytes()));
    match &tree.inode(tree.lookup(&name, Follow::Parents).unwrap()).node {
        Node::Symlink(target) => String::from_utf8(target.to_vec()).unwrap(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn what_a_tarball_had_linked_gives_way_to_the_active_set() {
    let tree = assembled("hello--1", &["master"]).unwrap();
    assert_eq!(link(&tree, "active/hello"), "/opt/mesosphere/packages/hello--1");
    assert_eq!(link(&tree, "bin/hello"), "/opt/mesosphere/packages/hello--1/bin/hello");
    assert_eq!(link(&tree, "etc/hello"), "/opt/mesosphere/packages/hello--1/etc_master/hello");
    let old = path("opt/mesosphere/active/old");
    assert!(tree.lookup(&old, Follow::Parents).is_none(), "it is not active");
    assert!(tree.lookup(&path("opt/mesosphere/lib/deep"), Follow::Parents).is_none());
    let packages = path("opt/mesosphere/packages/old--1/pkginfo.json");
    assert!(tree.lookup(&packages, Follow::Last).is_some(), "packages stay, active or not");
    let read = |name: &str| tree.read(&path(name), 9_999).unwrap().unwrap();
    assert_ne!(read("opt/mesosphere/environment"), b"of the tarball");
    assert_eq!(read("opt/mesosphere/product.json"), b"the record");
}

#[test]
fn what_has_no_time_is_as_old_as_the_newest_that_has() {
    let tree = assembled("hello--1", &[]).unwrap();
    let top = tree.lookup(&path("opt/mesosphere"), Follow::Last).unwrap();
    for (name, id) in tree.walk_from(top) {
        assert_eq!(tree.inode(id).metadata.mtime.seconds, 1_000_000_000, "{name}");
    }
    assert!(tree.lookup(&path("opt/mesosphere/bin/hello"), Follow::Parents).is_some());
    assert!(tree.lookup(&path("opt/mesosphere/etc/hello"), Follow::Parents).is_none(), "no role");
}

#[test]
fn a_package_that_is_missing_is_named() {
    let refused = assembled("absent--1", &[]).unwrap_err().to_string();
    assert!(refused.contains("absent--1"), "{refused}");
}

#[test]
fn packages_of_the_configuration_come_last_and_go_into_directories_of_their_own() {
    let id = "0".repeat(40);
    let blob = || Blob { path: String::new(), sha256: bake_base::Digest::of(b""), size: 0 };
    let configured: PackageId = format!("a-config--setup_{id}").parse().unwrap();
    let plain: PackageId = "zebra--1".parse().unwrap();
    let product = Product {
        schema: crate::product::SCHEMA.to_owned(),
        config_id: id,
        bootstrap: crate::product::Bootstrap { id: "b".to_owned(), packages: BTreeMap::new(), blob: blob() },
        packages: BTreeMap::from([(configured.clone(), blob()), (plain.clone(), blob())]),
        active: Vec::new(),
        files: BTreeMap::new(),
        secrets: Vec::new(),
        pkgpanda: blob(),
    };
    let layers = layers(&product);
    let order: Vec<_> = layers.iter().map(|layer| layer.package).collect();
    assert_eq!(order, [None, Some(&plain), Some(&configured)]);
    let mut theirs = member("etc/x", file(""));
    (theirs.metadata.uid, theirs.metadata.gid) = (7, 7);
    let placed = layers[1].place(vec![theirs], &path("opt/mesosphere")).unwrap();
    assert_eq!(placed[0].path, path("opt/mesosphere/packages/zebra--1/etc/x"));
    assert_eq!((placed[0].metadata.uid, placed[0].metadata.gid), (0, 0));
}

#[test]
fn what_no_package_may_have_is_named() {
    let blob = Blob { path: String::new(), sha256: bake_base::Digest::of(b""), size: 0 };
    let layer = Layer { package: None, blob: &blob };
    let members = vec![
        member("link", MemberKind::Symlink(Box::from(&b"/etc"[..]))),
        member("link/shadow", file("")),
        member("pipe", MemberKind::Fifo),
    ];
    let refused = layer.place(members, &path("opt/mesosphere")).unwrap_err().to_string();
    assert!(refused.contains("lies below") && refused.contains("`/pipe`"), "{refused}");
}
