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
    let product = Some(&b"the record"[..]);
    assemble(&mut tree, &at, &[active.parse().unwrap()], &roles, product)?;
    Ok(tree)
}

fn link(tree: &Tree, name: &str) -> String {
    let name = name.split('/').fold(path("opt/mesosphere"), |at, part| at.join(part.as_bytes()));
    match &tree.inode(tree.lookup(&name, Follow::Parents).unwrap()).node {
        Node::Symlink(target) => String::from_utf8(target.to_vec()).unwrap(),
        other => panic!("{name} is {other:?}"),
    }
}

/// A path in the first generation.
fn first(name: &str) -> String {
    format!("generations/1/{name}")
}

#[test]
fn what_a_tarball_had_linked_gives_way_to_the_first_generation() {
    let tree = assembled("hello--1", &["master"]).unwrap();
    assert_eq!(link(&tree, "current"), "generations/1");
    for name in generation::SHOWN {
        assert_eq!(link(&tree, name), format!("current/{name}"));
    }
    assert_eq!(link(&tree, &first("active/hello")), "/opt/mesosphere/packages/hello--1");
    assert_eq!(link(&tree, &first("bin/hello")), "/opt/mesosphere/packages/hello--1/bin/hello");
    assert_eq!(link(&tree, &first("etc/hello")), "/opt/mesosphere/packages/hello--1/etc_master/hello");
    let there = |name: &str| tree.lookup(&path(&format!("opt/mesosphere/{name}")), Follow::Parents).is_some();
    assert!(!there("generations/1/active/old"), "it is not active");
    assert!(!there("generations/1/lib/deep") && !there("lib/deep"));
    assert!(there("packages/old--1/pkginfo.json"), "packages stay, active or not");
    let read = |name: &str| {
        tree.read(&path(&format!("opt/mesosphere/{name}")), 9_999).unwrap().expect("a file that is there")
    };
    // A process that lives long never loads from two generations.
    let environment = String::from_utf8(read("environment")).unwrap();
    assert!(environment.contains("LD_LIBRARY_PATH=/opt/mesosphere/generations/1/lib\n"), "{environment}");
    assert_eq!(read("product.json"), b"the record");
    let record = Generation::parse(&read(&first("generation.json"))).unwrap();
    assert_eq!(record.active.keys().map(PackageId::as_str).collect::<Vec<_>>(), ["hello--1"]);
    assert_eq!((record.roles.len(), record.before), (1, None));
}

#[test]
fn without_a_product_nothing_leads_to_one() {
    let (mut tree, at) = (Tree::new(), path("opt/mesosphere"));
    let blob = Blob { path: String::new(), sha256: bake_base::Digest::of(b""), size: 0 };
    let members = Layer { package: None, blob: &blob }.place(bootstrap(), &at).unwrap();
    tree.apply(members, Policy::TAR).unwrap();
    assemble(&mut tree, &at, &["hello--1".parse().unwrap()], &BTreeSet::new(), None).unwrap();
    for name in ["product.json", "generations/1/product.json"] {
        assert!(tree.lookup(&path(&format!("opt/mesosphere/{name}")), Follow::Parents).is_none(), "{name}");
    }
    assert_eq!(link(&tree, "bin"), "current/bin");
}

#[test]
fn the_record_names_the_lists_of_contents() {
    let (mut tree, at) = (Tree::new(), path("opt/mesosphere"));
    let blob = Blob { path: String::new(), sha256: bake_base::Digest::of(b""), size: 0 };
    let mut members = bootstrap();
    members.push(member("packages/hello--1/contents.json", file("a list")));
    let members = Layer { package: None, blob: &blob }.place(members, &at).unwrap();
    tree.apply(members, Policy::TAR).unwrap();
    let active = ["hello--1".parse().unwrap(), "old--1".parse().unwrap()];
    let (_, record) = assemble(&mut tree, &at, &active, &BTreeSet::new(), None).unwrap();
    let digests: Vec<_> = record.active.values().copied().collect();
    assert_eq!(digests, [Some(bake_base::Digest::of(b"a list")), None]);
}

#[test]
fn what_has_no_time_is_as_old_as_the_newest_that_has() {
    let tree = assembled("hello--1", &[]).unwrap();
    let top = tree.lookup(&path("opt/mesosphere"), Follow::Last).unwrap();
    for (name, id) in tree.walk_from(top) {
        assert_eq!(tree.inode(id).metadata.mtime.seconds, 1_000_000_000, "{name}");
    }
    let there = |name: &str| {
        tree.lookup(&path(&format!("opt/mesosphere/{}", first(name))), Follow::Parents).is_some()
    };
    assert!(there("bin/hello") && !there("etc/hello"), "no role");
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
