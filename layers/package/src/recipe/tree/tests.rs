//! Whole trees on disk: what is found, what is refused, and what is chosen.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A tree whose recipes require what is written behind their names: `a: b c`, or `a/tiny: b/tiny`.
fn tree(recipes: &[&str]) -> TempDir {
    let scratch = tempfile::tempdir().unwrap();
    for line in recipes {
        let (recipe, needs) = line.split_once(':').unwrap();
        let (name, prefix) = match recipe.split_once('/') {
            Some((name, variant)) => (name, format!("{variant}.")),
            None => (recipe, String::new()),
        };
        let needs = needs.split_whitespace().map(|need| match need.split_once('/') {
            Some((name, variant)) => format!(r#"{{"name": "{name}", "variant": "{variant}"}}"#),
            None => format!("\"{need}\""),
        });
        let requires = needs.collect::<Vec<_>>().join(", ");
        write(
            &scratch,
            &format!("{name}/{prefix}buildinfo.json"),
            &format!(r#"{{"requires": [{requires}]}}"#),
        );
        script(&scratch, &format!("{name}/{prefix}build"));
    }
    scratch
}

fn write(tree: &TempDir, path: &str, content: &str) {
    let path = tree.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn script(tree: &TempDir, path: &str) {
    write(tree, path, "#!/bin/sh\n");
    fs::set_permissions(tree.path().join(path), Permissions::from_mode(0o755)).unwrap();
}

fn problems(tree: &TempDir) -> Vec<String> {
    let problems = RecipeTree::read(tree.path(), None).map(|_| ()).unwrap_err();
    problems.0.iter().map(ToString::to_string).collect()
}

fn read(tree: &TempDir) -> RecipeTree {
    RecipeTree::read(tree.path(), None).unwrap()
}

/// The names of recipes, with a slash before the variant.
fn shown(recipes: &[&Recipe]) -> String {
    let names = recipes.iter().map(|recipe| match recipe.variant.name() {
        Some(variant) => format!("{}/{variant}", recipe.name),
        None => recipe.name.to_string(),
    });
    names.collect::<Vec<_>>().join(" ")
}

/// What the default tree consists of, and its bootstrap tarball.
fn chosen(tree: &TempDir) -> (String, String) {
    let tree = read(tree);
    let selection = tree.select(&Variant::default()).unwrap();
    (shown(&selection.packages), shown(&selection.bootstrap))
}

#[test]
fn directories_with_a_buildinfo_are_packages_and_nothing_else_is() {
    let tree = tree(&["b:", "a/tiny:", "a/small:", "a:"]);
    write(&tree, "README", "");
    write(&tree, "docs/index", "");
    write(&tree, "cache/packages/buildinfo.json", "nonsense");
    write(&tree, "cache/buildinfo.json", "nonsense");
    symlink("nowhere", tree.path().join("link")).unwrap();
    let tree = read(&tree);
    assert_eq!(shown(&tree.recipes().iter().collect::<Vec<_>>()), "a/small a/tiny a b");
    assert_eq!(tree.recipes()[1].file, "a/tiny.buildinfo.json");
    assert_eq!(tree.recipes()[1].directory(), tree.directory().join("a"));
}

#[test]
fn all_problems_of_all_files_are_told_at_once() {
    let tree = tree(&["a: zlbi curl/x", "b: c", "c: b", "zlib:", "curl:", "curl/tiny:"]);
    write(&tree, "d/.buildinfo.json", "");
    write(&tree, "e/xbuildinfo.json", "");
    write(&tree, ".f/buildinfo.json", "");
    write(&tree, "g h/buildinfo.json", "");
    write(&tree, "i/buildinfo.json", "{,}");
    write(&tree, "j/buildinfo.json", r#"{"build_script": "../x", "nework": true}"#);
    write(&tree, "k/buildinfo.json/x", "");
    write(&tree, "l/buildinfo.json", r#"{"build_script": "extra"}"#);
    write(&tree, "l/extra", "");
    write(&tree, "m/.buildinfo.json/x", "");
    write(&tree, "n/a b.buildinfo.json", "");
    write(&tree, ".treeinfo.json", "{}");
    write(&tree, "xtreeinfo.json", "{}");
    write(&tree, "y.treeinfo.json", r#"{"core_package_list": ["z"], "exlude": []}"#);
    write(&tree, "o/buildinfo.json", &" ".repeat(1 + (1 << 20)));
    let rule = "expected letters, digits and `@._+-`, not beginning with `.` or `-`, without `--`";
    let expected = [
        format!(".f: `.f` is no package name: {rule}"),
        ".treeinfo.json: expected a variant before the dot, or `treeinfo.json` for the default one".to_owned(),
        "a/buildinfo.json: `requires`: `curl` has no variant `x`: choose one of `<default>`, `tiny`".to_owned(),
        "a/buildinfo.json: `requires`: there is no package `zlbi`: did you mean `zlib`?".to_owned(),
        "b/buildinfo.json: `requires`: goes in a circle: `b` requires `c`, `c` requires `b`: remove one of these"
            .to_owned(),
        "d/.buildinfo.json: expected a variant before the dot, or `buildinfo.json` for the default one".to_owned(),
        "e/xbuildinfo.json: expected a dot before `buildinfo.json`, as in `x.buildinfo.json`".to_owned(),
        format!("g h: `g h` is no package name: {rule}"),
        "i/buildinfo.json: is no JSON: key must be a string at line 1 column 2".to_owned(),
        "i/buildinfo.json: `build_script`: `build` does not exist in this directory: expected an executable script"
            .to_owned(),
        "j/buildinfo.json: `build_script`: `../x` is no path below this directory".to_owned(),
        "j/buildinfo.json: `nework`: unknown key: did you mean `network`?".to_owned(),
        "k/buildinfo.json: expected a regular file of at most 1048576 bytes".to_owned(),
        "l/buildinfo.json: `build_script`: `extra` is not executable: run `chmod +x` on it".to_owned(),
        "l/extra: is no directory: `/pkg/extra` is made from it".to_owned(),
        "m/.buildinfo.json: expected a variant before the dot, or `buildinfo.json` for the default one".to_owned(),
        format!("n/a b.buildinfo.json: `a b` is no variant: {rule}"),
        "o/buildinfo.json: expected a regular file of at most 1048576 bytes".to_owned(),
        "xtreeinfo.json: expected a dot before `treeinfo.json`, as in `x.treeinfo.json`".to_owned(),
        "y.treeinfo.json: `core_package_list`: there is no package `z`: expected one of a, b, c, curl, i, j, l, zlib"
            .to_owned(),
        "y.treeinfo.json: `exlude`: unknown key: did you mean `exclude`?".to_owned(),
    ];
    assert_eq!(problems(&tree), expected);
}

#[test]
fn a_build_script_can_be_run() {
    let tree = tree(&["a:", "b/tiny:", "c:"]);
    fs::set_permissions(tree.path().join("a/build"), Permissions::from_mode(0o644)).unwrap();
    fs::remove_file(tree.path().join("b/tiny.build")).unwrap();
    symlink("../build", tree.path().join("b/tiny.build")).unwrap();
    fs::remove_file(tree.path().join("c/build")).unwrap();
    fs::create_dir(tree.path().join("c/build")).unwrap();
    assert_eq!(
        problems(&tree),
        [
            "a/buildinfo.json: `build_script`: `build` is not executable: run `chmod +x` on it",
            "b/tiny.build: is a link out of the recipe's directory, to `../build`: make it in the build script, \
             or put a copy here",
            "b/tiny.buildinfo.json: `build_script`: `tiny.build` does not exist in this directory: expected an \
             executable script",
            "c/buildinfo.json: `build_script`: `build` is no file: expected an executable script",
        ]
    );
}

#[test]
fn variants_may_share_files_by_links() {
    let tree = tree(&["a:"]);
    symlink("build", tree.path().join("a/tiny.build")).unwrap();
    symlink("buildinfo.json", tree.path().join("a/tiny.buildinfo.json")).unwrap();
    assert_eq!(read(&tree).recipes().len(), 2);
}

#[test]
fn cycles_are_named_as_a_whole() {
    let tree = tree(&["a: b", "b: c", "c: a", "d: d", "e: a"]);
    assert_eq!(
        problems(&tree),
        [
            "a/buildinfo.json: `requires`: goes in a circle: `a` requires `b`, `b` requires `c`, `c` requires `a`: \
             remove one of these",
            "d/buildinfo.json: `requires`: goes in a circle: `d` requires `d`: remove one of these",
        ]
    );
}

#[test]
fn two_variants_of_a_package_do_not_come_together() {
    let tree =
        tree(&["a: b zlib", "b: c", "c: zlib/tiny", "zlib:", "zlib/tiny:", "over: a", "x/tiny: x", "x:"]);
    assert_eq!(
        problems(&tree),
        [
            "a/buildinfo.json: `requires`: brings two variants of `zlib`, `tiny` (through `b`) and `<default>`: \
             only one can be installed",
            "x/tiny.buildinfo.json: `requires`: brings two variants of `x`, `tiny` and `<default>`: only one can \
             be installed",
        ]
    );
}

#[test]
fn what_is_needed_is_built_first_in_sorted_order() {
    let tree = tree(&["a: z c", "b:", "c: d", "d:", "z: d"]);
    assert_eq!(chosen(&tree).0, "d c z a b");
    let tree = read(&tree);
    let recipe = |name: &str| {
        let required = Requirement { name: name.parse().unwrap(), variant: Variant::default() };
        tree.recipe(&required)
    };
    assert_eq!(shown(&tree.closure(recipe("a").unwrap())), "c d z");
    assert_eq!(shown(&tree.build_order([recipe("z").unwrap(), recipe("b").unwrap()])), "b d z");
    assert_eq!(
        recipe("e").unwrap_err().to_string(),
        ".: there is no package `e`: expected one of a, b, c, d, z"
    );
}

#[test]
fn a_tree_is_everything_that_is_not_excluded() {
    let tree = tree(&["a: b", "b:", "c:"]);
    assert_eq!(chosen(&tree), ("b a c".to_owned(), "b a c".to_owned()));
    write(&tree, "treeinfo.json", r#"{"exclude": ["c"], "bootstrap_package_list": ["b"]}"#);
    assert_eq!(chosen(&tree), ("b a".to_owned(), "b".to_owned()));
}

#[test]
fn a_tree_that_nobody_has_described_is_judged_when_it_is_asked_for() {
    let tree = tree(&["a/x:", "a/y:"]);
    write(&tree, "one.treeinfo.json", r#"{"variants": {"a": "y"}}"#);
    let tree = read(&tree);
    assert_eq!(shown(&tree.select(&Variant::named("one").unwrap()).unwrap().packages), "a/y");
    assert_eq!(
        tree.select(&Variant::default()).unwrap_err().to_string(),
        "treeinfo.json: `variants`: `a` has no default variant: choose one of `x`, `y`, or exclude it"
    );
}

#[test]
fn a_tree_is_the_closure_of_its_core() {
    let tree = tree(&["a: b/tiny", "b:", "b/tiny: d", "c:", "d:", "e:"]);
    let info =
        r#"{"core_package_list": ["a", "c"], "bootstrap_package_list": ["b"], "variants": {"b": "tiny"}}"#;
    write(&tree, "installer.treeinfo.json", info);
    write(&tree, "treeinfo.json", r#"{"variants": {"b": "tiny"}}"#);
    let tree = read(&tree);
    let variants: Vec<_> = tree.variants().map(ToString::to_string).collect();
    assert_eq!(variants, ["<default>", "installer"]);
    let selection = tree.select(&Variant::named("installer").unwrap()).unwrap();
    assert_eq!(
        (shown(&selection.packages), shown(&selection.bootstrap)),
        ("d b/tiny a c".into(), "d b/tiny".into())
    );
    let selection = tree.select(&Variant::default()).unwrap();
    assert_eq!(shown(&selection.packages), "d b/tiny a c e");
    assert_eq!(
        tree.select(&Variant::named("instaler").unwrap()).unwrap_err().to_string(),
        ".: there is no tree `instaler`: did you mean `installer`?"
    );
}

#[test]
fn a_description_that_cannot_be_followed_is_refused() {
    let cases: &[(&str, &[&str])] = &[
        (r#"{"exclude": ["b"]}"#, &["`exclude`: `b` is required by `a`: take it out"]),
        (
            r#"{"exclude": ["bb"], "core_package_list": ["d2", "a"], "bootstrap_package_list": ["cc"]}"#,
            &[
                "`bootstrap_package_list`: there is no package `cc`: did you mean `c`?",
                "`core_package_list`: there is no package `d2`: did you mean `d`?",
                "`exclude`: there is no package `bb`: did you mean `b`?",
            ],
        ),
        (
            r#"{"core_package_list": ["a"], "bootstrap_package_list": ["b", "c"]}"#,
            &["`bootstrap_package_list`: `c` is not part of this tree: add it to `core_package_list`"],
        ),
        (
            r#"{"variants": {"b": "tiny"}}"#,
            &["`variants.b`: this tree uses `tiny`, but `a` requires `<default>`"],
        ),
        (
            r#"{"variants": {"c": "tiny", "no": "x", "v": "x"}}"#,
            &[
                "`variants.c`: `c` has no variant `tiny`: choose one of `<default>`",
                "`variants.no`: there is no package `no`: expected one of a, b, c, d, v",
            ],
        ),
        ("{}", &["`variants`: `v` has no default variant: choose one of `x`, `y`, or exclude it"]),
    ];
    for (info, expected) in cases {
        let tree = tree(&["a: b", "b:", "b/tiny:", "c:", "d:", "v/x:", "v/y:"]);
        // `v` has no default variant, so that every tree that does not choose one of it is refused for that too.
        let v = r#""variants": {"v": "x""#;
        let info = match info.find(r#""variants": {"#) {
            _ if info.contains(r#""v""#) || *info == "{}" => (*info).to_owned(),
            Some(_) => info.replace(r#""variants": {"#, &format!("{v}, ")),
            None => info.replacen('{', &format!("{{{v}}}, "), 1),
        };
        write(&tree, "treeinfo.json", &info);
        let expected: Vec<_> = expected.iter().map(|line| format!("treeinfo.json: {line}")).collect();
        assert_eq!(problems(&tree), expected, "{info}");
    }
}

#[test]
fn a_tree_without_recipes_is_a_mistake() {
    let empty = tree(&[]);
    assert_eq!(problems(&empty), [".: holds no recipe: expected directories with a `buildinfo.json`"]);
    let gone = RecipeTree::read(&empty.path().join("gone"), None).unwrap_err().to_string();
    assert_eq!(gone, ".: the directory of recipes cannot be read: No such file or directory (os error 2)");
}

#[test]
fn an_upstream_stands_behind_the_tree() {
    let tree = tree(&["a: b"]);
    assert_eq!(RecipeTree::upstream(tree.path()).unwrap(), None);
    write(&tree, "upstream.json", r#"{"kind": "git_local", "rel_path": "../up"}"#);
    assert_eq!(
        RecipeTree::upstream(tree.path()).unwrap(),
        Some(Source::GitLocal { rel_path: "../up".to_owned() })
    );
    let up = tree.path().join("cache/upstream/checkout");
    for (path, content) in [
        // Hidden by the local one, and therefore never judged.
        ("a/buildinfo.json", "nonsense"),
        ("b/buildinfo.json", ""),
        ("treeinfo.json", "{}"),
        ("x.treeinfo.json", "{}"),
    ] {
        write(&tree, &format!("cache/upstream/checkout/packages/{path}"), content);
    }
    script(&tree, "cache/upstream/checkout/packages/b/build");
    let both = RecipeTree::read(tree.path(), Some(&up)).unwrap();
    assert_eq!(shown(&both.select(&Variant::default()).unwrap().packages), "b a");
    assert_eq!(both.recipes()[1].file, "cache/upstream/checkout/packages/b/buildinfo.json");
    assert_eq!(both.variants().count(), 1, "descriptions of an upstream are not used");
    write(&tree, "cache/upstream/checkout/packages/upstream.json", "{}");
    assert_eq!(
        RecipeTree::read(tree.path(), Some(&up)).unwrap_err().to_string(),
        "cache/upstream/checkout/packages/upstream.json: an upstream cannot have an upstream of its own: name \
         that one instead"
    );
}

#[test]
fn an_upstream_is_a_source() {
    for (document, expected) in [
        ("", "upstream.json: is no JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "upstream.json: expected an object, found a list"),
        (r#"{"kind": "gti"}"#, "upstream.json: `kind`: `gti` is no kind of source: did you mean `git`?"),
        (
            r#"{"kind": "git_local"}"#,
            "upstream.json: `rel_path`: is missing: expected the path of a repository",
        ),
    ] {
        let tree = tree(&["a:"]);
        write(&tree, "upstream.json", document);
        assert_eq!(RecipeTree::upstream(tree.path()).unwrap_err().to_string(), expected);
    }
}
