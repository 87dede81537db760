use super::*;

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn id(text: &str) -> PackageId {
    text.parse().unwrap()
}

/// A shape from lines: `a/` is a directory, `a -> b` a link, `a!` something special, and all else a file.
fn shape_of(lines: &[&str]) -> Shape {
    let line = |line: &&str| {
        if let Some((at, to)) = line.split_once(" -> ") {
            (path(at), Inside::Symlink(to.as_bytes().into()))
        } else if let Some(at) = line.strip_suffix('/') {
            (path(at), Inside::Directory)
        } else if let Some(at) = line.strip_suffix('!') {
            (path(at), Inside::Special)
        } else {
            (path(line), Inside::File)
        }
    };
    lines.iter().map(line).collect()
}

fn overrides(each: &[(&str, &str, &str)]) -> Overrides {
    let mut overrides = Overrides::new();
    for (name, package, path) in each {
        insert(&mut overrides, name, &id(package), path);
    }
    overrides
}

/// A generation's entries as far as they matter here: `active/NAME`, and a link for each path given.
fn generation(package: &str, paths: &[(&str, &str)]) -> BTreeMap<TreePath, Entry> {
    let store = format!("{ROOT}/{PACKAGES}/{package}");
    let active = path(&format!("active/{}", id(package).name()));
    let links = paths.iter().map(|(at, to)| (path(at), link(&store, &path(to))));
    links.chain([(active, link(&store, &TreePath::root()))]).collect()
}

fn listed(entries: &BTreeMap<TreePath, Entry>) -> String {
    let line = |(path, entry): (&TreePath, &Entry)| match entry {
        Entry::Directory => format!("{path}/\n"),
        Entry::Symlink(target) => {
            format!("{path} -> {}\n", target.escape_ascii().to_string().replace(ROOT, "~"))
        }
        Entry::File(_) => format!("{path} file\n"),
    };
    entries.iter().map(line).collect()
}

fn failure(overrides: &Overrides, shape: &[&str]) -> String {
    let mut entries = generation("a--1", &[]);
    let before = entries.clone();
    let result = apply(&mut entries, Number::FIRST, overrides, &mut |_| Ok(shape_of(shape)));
    assert_eq!(entries, before);
    result.unwrap_err().to_string()
}

#[test]
fn links_units_and_the_active_package_lead_to_copies() {
    let shape = [
        "bin/",
        "bin/tool",
        "bin/other",
        "dcos.target.wants/",
        "dcos.target.wants/a.service",
        "lib/",
        "lib/deep/",
        "lib/deep/more/",
        "lib/deep/more/data",
        "lib/deep/rest",
        "lib/so",
        "pkginfo.json",
    ];
    let mut entries = generation(
        "a--1",
        &[
            ("bin/tool", "bin/tool"),
            ("bin/other", "bin/other"),
            ("dcos.target.wants/a.service", "dcos.target.wants/a.service"),
        ],
    );
    let wanted = overrides(&[
        ("local", "a--1", "bin/tool"),
        ("local", "a--1", "dcos.target.wants/a.service"),
        ("site", "a--1", "lib/deep/more/data"),
    ]);
    apply(&mut entries, Number::FIRST, &wanted, &mut |_| Ok(shape_of(&shape))).unwrap();
    assert_eq!(
        listed(&entries),
        "/active/a -> ~/generations/1/merged/a\n\
         /bin/other -> ~/packages/a--1/bin/other\n\
         /bin/tool -> ~/overrides/local/a--1/bin/tool\n\
         /dcos.target.wants/a.service -> ~/overrides/local/a--1/dcos.target.wants/a.service\n\
         /merged/\n\
         /merged/a/\n\
         /merged/a/bin/\n\
         /merged/a/bin/other -> ~/packages/a--1/bin/other\n\
         /merged/a/bin/tool -> ~/overrides/local/a--1/bin/tool\n\
         /merged/a/dcos.target.wants/\n\
         /merged/a/dcos.target.wants/a.service -> ~/overrides/local/a--1/dcos.target.wants/a.service\n\
         /merged/a/lib/\n\
         /merged/a/lib/deep/\n\
         /merged/a/lib/deep/more/\n\
         /merged/a/lib/deep/more/data -> ~/overrides/site/a--1/lib/deep/more/data\n\
         /merged/a/lib/deep/rest -> ~/packages/a--1/lib/deep/rest\n\
         /merged/a/lib/so -> ~/packages/a--1/lib/so\n\
         /merged/a/pkginfo.json -> ~/packages/a--1/pkginfo.json\n"
    );
}

#[test]
fn links_of_the_package_that_end_at_a_copy_lead_there_wherever_they_are() {
    let shape = [
        "bin/",
        "bin/run -> ../lib64/x",
        "bin/self -> run",
        "bin/out -> ../../b--1/x",
        "bin/away -> /bin/sh",
        "bin/own -> /opt/mesosphere/packages/a--1/lib/x",
        "bin/loop -> loop",
        "bin/gone -> nothing",
        "here -> .",
        "lib/",
        "lib/x",
        "lib/y",
        "lib64 -> lib",
        "share/",
        "share/y -> ../lib/y",
    ];
    let mut entries = generation(
        "a--1",
        &[
            ("bin/run", "bin/run"),
            ("bin/self", "bin/self"),
            ("bin/away", "bin/away"),
            ("lib/all", "lib64"),
            ("lib/y", "lib/y"),
        ],
    );
    let wanted = overrides(&[("local", "a--1", "lib/x")]);
    apply(&mut entries, Number::FIRST, &wanted, &mut |_| Ok(shape_of(&shape))).unwrap();
    assert_eq!(
        listed(&entries),
        "/active/a -> ~/generations/1/merged/a\n\
         /bin/away -> ~/packages/a--1/bin/away\n\
         /bin/run -> ~/overrides/local/a--1/lib/x\n\
         /bin/self -> ~/overrides/local/a--1/lib/x\n\
         /lib/all -> ~/generations/1/merged/a/lib\n\
         /lib/y -> ~/packages/a--1/lib/y\n\
         /merged/\n\
         /merged/a/\n\
         /merged/a/bin/\n\
         /merged/a/bin/away -> ~/packages/a--1/bin/away\n\
         /merged/a/bin/gone -> ~/packages/a--1/bin/gone\n\
         /merged/a/bin/loop -> ~/packages/a--1/bin/loop\n\
         /merged/a/bin/out -> ~/packages/a--1/bin/out\n\
         /merged/a/bin/own -> ~/overrides/local/a--1/lib/x\n\
         /merged/a/bin/run -> ~/overrides/local/a--1/lib/x\n\
         /merged/a/bin/self -> ~/overrides/local/a--1/lib/x\n\
         /merged/a/here -> ~/generations/1/merged/a\n\
         /merged/a/lib/\n\
         /merged/a/lib/x -> ~/overrides/local/a--1/lib/x\n\
         /merged/a/lib/y -> ~/packages/a--1/lib/y\n\
         /merged/a/lib64 -> ~/generations/1/merged/a/lib\n\
         /merged/a/share -> ~/packages/a--1/share\n"
    );
}

#[test]
fn every_reason_against_an_override_is_told_at_once() {
    let wanted = overrides(&[
        ("local", "a--1", "bin"),
        ("local", "a--1", "bin/link"),
        ("local", "a--1", "bin/none"),
        ("local", "a--1", "bin/tool/below"),
    ]);
    assert_eq!(
        failure(&wanted, &["bin/", "bin/link -> tool", "bin/tool"]),
        "`bin` of `a--1` is no regular file\n\
         `bin/link` of `a--1` is no regular file\n\
         `a--1` has no file `bin/none`\n\
         `a--1` has no file `bin/tool/below`"
    );
    let wanted = overrides(&[
        ("local", "a--1", "x"),
        ("site", "a--1", "x"),
        ("local", "a--2", "x"),
        ("..", "a--1", "y"),
        ("local", "a--1", "../a--1/x"),
        ("local", "a--1", "b//c"),
    ]);
    assert_eq!(
        failure(&wanted, &["x", "y"]),
        "`..` is no name of an override: expected letters, digits, `_` and `-`, at most 64\n\
         `../a--1/x` is no path of a file inside of `a--1`\n\
         `b//c` is no path of a file inside of `a--1`\n\
         `x` of `a--1` has both the override `local` and the override `site`: drop one of them\n\
         there is an override of a file of `a--2`, which is not active: drop it"
    );
}

#[test]
fn overrides_go_with_their_packages() {
    let all = overrides(&[("local", "a--1", "x"), ("local", "b--1", "y"), ("site", "a--1", "z")]);
    let active = BTreeSet::from([id("a--2"), id("b--1")]);
    assert_eq!(carried(&all, &active), overrides(&[("local", "b--1", "y")]));
    assert_eq!(
        dropped(&all, &active),
        [
            "drops the override `local` of `x` of `a--1`, which is not active any more: \
             /opt/mesosphere/overrides/local/a--1/x stays until gc",
            "drops the override `site` of `z` of `a--1`, which is not active any more: \
             /opt/mesosphere/overrides/site/a--1/z stays until gc",
        ]
    );
    assert_eq!(dropped(&all, &BTreeSet::from([id("a--1"), id("b--1")])), Vec::<String>::new());
    let mut fewer = all.clone();
    remove(&mut fewer, "site", &id("a--1"), "z");
    remove(&mut fewer, "local", &id("a--1"), "x");
    assert_eq!(fewer, carried(&all, &active));
    assert_eq!(name_of(&all, &id("a--1"), "z"), Some("site"));
    assert_eq!(name_of(&all, &id("a--2"), "z"), None);
}

#[test]
fn a_name_is_like_that_of_a_role() {
    for right in ["local", "Site-2_x", &"a".repeat(64)] {
        assert!(is_name(right), "{right}");
    }
    for wrong in ["", ".", "..", "a/b", "a b", "ä", ".local", &"a".repeat(65)] {
        assert!(!is_name(wrong), "{wrong}");
    }
}
