//! What holds for every set of packages, and packages read from trees.

use bake_tree::{Content, Device, Metadata, Node, Tree};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// A package that is likely to meet others: few names, in every role.
fn any_package() -> impl Strategy<Value = Package> {
    let top = select(vec![
        "bin",
        "bin_m",
        "etc",
        "etc_m",
        "lib",
        "lib_s",
        "dcos.target.wants",
        "dcos.target.wants_m",
        "share",
        "bin_",
    ]);
    let rest = select(vec![
        "",
        "/a",
        "/b",
        "/a/b",
        "/a/b/c",
        "/a.service",
        "/dcos.target",
        "/dcos-service-configuration.json",
        "/\u{ff}",
    ]);
    let kind = select(vec![Kind::Directory, Kind::File, Kind::File, Kind::Symlink, Kind::Special]);
    let listing = prop::collection::vec((top, rest, kind), 0..6);
    let info = select(vec![
        json!({}),
        json!({"requires": ["a", {"name": "b", "variant": "x"}]}),
        json!({"variant": "x", "environment": {"V": "$x `y`"}}),
        json!({"environment": {"V": "1", "W": ""}}),
        json!({"username": "dcos_a", "group": "g", "state_directory": true}),
        json!({"username": "dcos_a", "group": "h"}),
        json!({"sysctl": {"a": {"vm.x": 1}}}),
        json!({"sysctl": {"a": {"vm.x": "2"}}}),
    ]);
    let id = select(vec!["a--1", "a--2", "b--1", "c--1", "d--1", "e--1"]);
    (id, info, listing).prop_map(|(id, info, listing)| {
        let listing = listing.into_iter().map(|(top, rest, kind)| (place(&format!("{top}{rest}")), kind));
        Package { listing: listing.collect(), ..super::info(id, info) }
    })
}

proptest! {
    #[test]
    fn the_order_of_packages_changes_nothing(
        packages in prop::collection::vec(any_package(), 0..5),
        swaps in prop::collection::vec((any::<Index>(), any::<Index>()), 0..5),
        master in any::<bool>(),
    ) {
        let roles = if master { roles(&["m"]) } else { roles(&[]) };
        let mut shuffled = packages.clone();
        for (one, other) in swaps.iter().filter(|_| !packages.is_empty()) {
            shuffled.swap(one.index(packages.len()), other.index(packages.len()));
        }
        let (one, other) = (InstallRoot::resolve(&packages, &roles), InstallRoot::resolve(&shuffled, &roles));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(InstallRoot::check_every_role(&packages), InstallRoot::check_every_role(&shuffled));
        if let Ok(root) = one {
            prop_assert_eq!(root.entries(ROOT), other.unwrap().entries(ROOT));
        }
    }

    #[test]
    fn every_entry_lies_in_a_directory_that_is_made_before_it(
        packages in prop::collection::vec(any_package(), 0..4),
    ) {
        if let Ok(root) = InstallRoot::resolve(&packages, &roles(&["m", "s"])) {
            let mut entries = root.entries(ROOT);
            entries.extend(root.unit_entries());
            for path in entries.keys() {
                let (parent, _) = path.split().unwrap();
                prop_assert!(parent.is_root() || entries[&parent] == Entry::Directory, "{}", path);
            }
            let mut tree = Tree::new();
            prop_assert!(crate::apply::apply(&root, &mut tree).is_ok());
            prop_assert!(bake_tree::ValidTree::new(tree).is_ok());
        }
    }

    #[test]
    fn any_names_are_taken_or_refused(
        listing in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), any::<bool>()), 0..6),
        top in select(vec!["bin", "etc_ma", "dcos.target.wants", ""]),
    ) {
        let listing = listing.into_iter().filter_map(|(bytes, file)| {
            let path = TreePath::from_root(&[top.as_bytes(), b"/", &bytes].concat()).ok()?;
            Some((path, if file { Kind::File } else { Kind::Directory }))
        });
        let package = Package { listing: listing.collect(), ..files("a--1", &[]) };
        if let Err(problems) = InstallRoot::check_every_role(&[package]) {
            prop_assert!(!problems.to_string().contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}

fn put(tree: &mut Tree, at: &str, node: Node) {
    tree.put(&place(at), Metadata::root(0o644), node).unwrap();
}

fn text(text: &str) -> Node {
    Node::File(Content::bytes(text.as_bytes()))
}

#[test]
fn a_package_is_read_from_a_tree() {
    let mut tree = Tree::new();
    put(&mut tree, "packages/a--1/pkginfo.json", text(r#"{"sysctl": {"x": {"vm.x": 1}}}"#));
    put(&mut tree, "packages/a--1/buildinfo.full.json", text(r#"{"name": "a"}"#));
    put(&mut tree, "packages/a--1/bin/a", text(""));
    put(&mut tree, "packages/a--1/share/x.service", text(""));
    put(&mut tree, "packages/b--1/bin/b", text(""));
    let read = Package::read("a--1".parse().unwrap(), &tree, &place("packages/a--1")).unwrap();
    let mut expected =
        package("a--1", json!({"sysctl": {"x": {"vm.x": "1"}}}), &["bin/", "bin/a", "share/x.service"]);
    expected.buildinfo = Some(json!({"name": "a"}));
    assert_eq!(read, expected);
}

#[test]
fn a_package_whose_files_are_wrong_is_refused_by_name() {
    let read = |tree: &Tree| {
        let problems = Package::read("a--1".parse().unwrap(), tree, &place("a")).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let mut tree = Tree::new();
    assert_eq!(read(&tree), "`a--1`: its directory is not there: expected a directory `/a`");
    put(&mut tree, "a/bin/x", text(""));
    assert_eq!(read(&tree), "`a--1`: `pkginfo.json` is missing: expected an object, if only `{}`");
    put(&mut tree, "a/pkginfo.json", text(r#"{"x": 1, "group": 2}"#));
    put(&mut tree, "a/buildinfo.full.json", text("{"));
    assert_eq!(
        read(&tree),
        "`a--1`: pkginfo.json: `group`: is a number: expected text\n\
         `a--1`: pkginfo.json: `x`: is no key of this file: expected one of environment, group, requires, \
         state_directory, sysctl, username, variant\n\
         `a--1`: `buildinfo.full.json` is no JSON: EOF while parsing an object at line 1 column 1"
    );
    put(&mut tree, "a/pkginfo.json", Node::Symlink(Box::from(&b"/secret"[..])));
    put(&mut tree, "a/buildinfo.full.json", Node::CharDevice(Device { major: 1, minor: 3 }));
    assert_eq!(
        read(&tree),
        "`a--1`: `pkginfo.json` is a symbolic link: expected a regular file\n\
         `a--1`: `buildinfo.full.json` is a character device: expected a regular file"
    );
}
