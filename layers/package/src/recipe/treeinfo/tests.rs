//! Every rule of `treeinfo.json` by itself, with what is said when it is broken.

use super::*;

fn read(document: &str) -> (TreeInfo, Vec<String>) {
    let mut problems = Vec::new();
    let info = treeinfo(document.as_bytes(), "treeinfo.json", &mut problems);
    let lines = problems.iter().map(ToString::to_string);
    let lines = lines.map(|line| line.strip_prefix("treeinfo.json: ").unwrap().to_owned());
    (info, lines.collect())
}

#[test]
fn a_description_names_packages_and_variants() {
    let document = r#"{
        "exclude": ["x"], "core_package_list": ["b", "a"], "bootstrap_package_list": ["a"],
        "variants": {"a": "tiny", "b": null}
    }"#;
    let (info, problems) = read(document);
    assert_eq!(problems, [""; 0]);
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let variants = [("a", Variant::named("tiny").unwrap()), ("b", Variant::default())];
    let expected = TreeInfo {
        exclude: names(&["x"]),
        core_package_list: names(&["a", "b"]),
        bootstrap_package_list: names(&["a"]),
        variants: variants.map(|(name, variant)| (name.parse().unwrap(), variant)).into(),
    };
    assert_eq!(info, expected);
    assert_eq!(info.variant(&"c".parse().unwrap()), Variant::default());
    assert_eq!(read("{}").0, TreeInfo::default());
}

#[test]
fn every_mistake_is_told_at_once() {
    let cases: &[(&str, &[&str])] = &[
        ("", &["is no JSON: EOF while parsing a value at line 1 column 0"]),
        ("[1]", &["expected an object, found a list"]),
        (
            r#"{"excludes": [], "core_packages": []}"#,
            &[
                "`core_packages`: unknown key: did you mean `core_package_list`?",
                "`excludes`: unknown key: did you mean `exclude`?",
            ],
        ),
        (
            r#"{"exclude": "a", "core_package_list": [1, "..", null], "bootstrap_package_list": {}, "variants": []}"#,
            &[
                "`exclude`: expected a list, found text",
                "`core_package_list[0]`: expected text, found the number 1: put it in quotes",
                "`core_package_list[1]`: `..` is no package name: expected letters, digits and `@._+-`, not \
                 beginning with `.` or `-`, without `--`",
                "`core_package_list[2]`: expected text, found `null`",
                "`bootstrap_package_list`: expected a list, found an object",
                "`variants`: expected an object, found a list",
            ],
        ),
        (
            r#"{"exclude": ["a"], "core_package_list": ["a", "b", "b"], "bootstrap_package_list": ["a"]}"#,
            &[
                "`core_package_list[0]`: `a` is in `exclude` too: remove it from one of the two",
                "`core_package_list[2]`: `b` is listed twice: remove one",
                "`bootstrap_package_list[0]`: `a` is in `exclude` too: remove it from one of the two",
            ],
        ),
        (
            r#"{"variants": {"a": "", "b/c": "x", "d": 1, "e": "x y", "f": null, "f": null}}"#,
            &[
                "`variants.f`: is given twice: JSON readers would silently take the last one",
                "`variants.a`: is empty: for the default variant, write `null`",
                "`variants.b/c`: `b/c` is no package name: expected letters, digits and `@._+-`, not beginning \
                 with `.` or `-`, without `--`",
                "`variants.d`: expected text, found the number 1: put it in quotes",
                "`variants.e`: `x y` is no variant: expected letters, digits and `@._+-`, not beginning with `.` \
                 or `-`, without `--`",
            ],
        ),
    ];
    for (document, expected) in cases {
        assert_eq!(read(document).1, *expected, "{document}");
    }
}
