//! Ids: every input changes them, nothing else does.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;

const APP: &str = r#"{
    "requires": ["lib"],
    "sources": {
        "archive": {"kind": "url_extract", "url": "https://host/a.tar.gz", "sha256": "SHA256", "sha1": "SHA1"},
        "file": {"kind": "url", "url": "https://host/a.txt", "sha1": "SHA1"},
        "git": {"kind": "git", "git": "https://host/a.git", "ref": "SHA1", "ref_origin": "main"},
        "local": {"kind": "git_local", "rel_path": ".."}
    },
    "docker": "golang:1.16",
    "environment": {"A": "1"},
    "state_directory": true,
    "username": "dcos_app",
    "group": "adm",
    "sysctl": {"dcos-app": {"vm.swappiness": 1}},
    "network": true
}"#;

/// A tree in which `app` requires `lib`, `lib` requires `base`, and nothing requires `other`.
fn sample(tree: &Path) {
    fs::create_dir_all(tree.join("app/extra/empty")).unwrap();
    fs::write(tree.join("app/extra/unit.service"), "[Unit]\n").unwrap();
    symlink("unit.service", tree.join("app/extra/alias.service")).unwrap();
    recipe(tree, "app", APP);
    recipe(tree, "lib", r#"{"requires": ["base"]}"#);
    recipe(tree, "base", "");
    recipe(tree, "other", "");
}

fn recipe(tree: &Path, name: &str, buildinfo: &str) {
    let directory = tree.join(name);
    fs::create_dir_all(&directory).unwrap();
    let (sha1, sha256) = ("01234567".repeat(5), "89abcdef".repeat(8));
    let buildinfo = buildinfo.replace("SHA256", &sha256).replace("SHA1", &sha1);
    fs::write(directory.join("buildinfo.json"), buildinfo).unwrap();
    fs::write(directory.join("build"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(directory.join("build"), Permissions::from_mode(0o755)).unwrap();
}

fn head(_: &Recipe, _: &str) -> Result<Commit, String> {
    Commit::parse(&"5".repeat(40)).ok_or_else(|| "is no commit".to_owned())
}

fn builder(name: Option<&str>) -> Result<Digest, String> {
    match name {
        Some("") => Err("has no name".to_owned()),
        name => Ok(Digest::of(name.unwrap_or("default").as_bytes())),
    }
}

/// The version of every package of a tree.
fn versions(tree: &Path) -> BTreeMap<String, Version> {
    let tree = RecipeTree::read(tree, None).unwrap();
    let ids = tree.ids(tree.recipes(), head, builder).unwrap();
    ids.iter().map(|identified| (identified.id.name().to_string(), identified.id.version())).collect()
}

/// Those whose version is not the same.
fn changed(before: &BTreeMap<String, Version>, after: &BTreeMap<String, Version>) -> Vec<String> {
    before.keys().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[test]
fn a_document_says_all_that_went_in() {
    let scratch = tempfile::tempdir().unwrap();
    sample(scratch.path());
    let tree = RecipeTree::read(scratch.path(), None).unwrap();
    let ids = tree.ids(tree.recipes(), head, builder).unwrap();
    let names: Vec<_> = ids.iter().map(|identified| identified.recipe.name.as_str()).collect();
    assert_eq!(names, ["base", "lib", "app", "other"]);
    let app = &ids[2];
    assert_eq!(app.requires, [ids[0].id.clone(), ids[1].id.clone()]);
    let file = |executable, path: &str| {
        let sha256 = Digest::of(&fs::read(scratch.path().join(path)).unwrap());
        serde_json::json!({"kind": "file", "executable": executable, "sha256": sha256})
    };
    let (sha1, sha256) = ("01234567".repeat(5), "89abcdef".repeat(8));
    let expected = serde_json::json!({
        "format_revision": 1,
        "name": "app",
        "variant": "",
        "files": {
            "build": file(true, "app/build"),
            "buildinfo.json": file(false, "app/buildinfo.json"),
            "extra": {"kind": "directory"},
            "extra/alias.service": {"kind": "link", "target": "unit.service"},
            "extra/empty": {"kind": "directory"},
            "extra/unit.service": file(false, "app/extra/unit.service"),
        },
        "sources": {
            "archive": {"kind": "url_extract", "archive": "tar", "downloaded_sha256": sha256},
            "file": {"kind": "url", "file_name": "a.txt", "downloaded_sha1": sha1},
            "git": {"kind": "git", "commit": sha1},
            "local": {"kind": "git_local", "commit": "5".repeat(40)},
        },
        "builder": Digest::of(b"golang:1.16"),
        "environment": {"A": "1"},
        "state_directory": true,
        "requires": [ids[0].id, ids[1].id],
        "username": "dcos_app",
        "group": "adm",
        "sysctl": {"dcos-app": {"vm.swappiness": "1"}},
        "network": true,
    });
    assert_eq!(serde_json::to_value(&app.document).unwrap(), expected);
    let digest = Digest::of(&json::to_canonical(&app.document).unwrap()).to_string();
    assert_eq!(app.id.to_string(), format!("app--{}", &digest[..40]));
}

#[test]
fn the_id_of_a_recipe_is_the_same_for_ever() {
    let scratch = tempfile::tempdir().unwrap();
    sample(scratch.path());
    let versions = versions(scratch.path());
    // Computed by another implementation, from the description of the document alone.
    assert_eq!(versions["base"].as_str(), "6c69e52f9f0b3402de45ed5f74ec9dc8a824396c");
    assert_eq!(versions["app"].as_str(), "46bd206f0fc7fddbe4249af250237b5f2f052e8d");
}

#[test]
fn every_change_of_a_recipe_changes_its_id_and_those_of_what_requires_it() {
    type Change = fn(&Path);
    let edit = |from: &'static str, to: &'static str| {
        move |tree: &Path| {
            assert!(APP.contains(from), "{from}");
            recipe(tree, "app", &APP.replacen(from, to, 1));
        }
    };
    let edits = [
        ("\"A\": \"1\"", "\"A\": \"2\""),
        ("\"A\"", "\"B\""),
        ("dcos_app", "dcos_ape"),
        ("\"adm\"", "\"sys\""),
        ("swappiness\": 1", "swappiness\": 2"),
        ("dcos-app", "dcos-ape"),
        ("\"state_directory\": true", "\"state_directory\": false"),
        ("\"network\": true", "\"network\": false"),
        ("[\"lib\"]", "[]"),
        ("[\"lib\"]", "[\"lib\", \"other\"]"),
        ("golang:1.16", "golang:1.17"),
        ("a.txt", "b.txt"),
        ("a.tar.gz", "a.zip"),
        ("SHA256", "0000000000000000000000000000000000000000000000000000000000000000"),
        ("SHA1\"}", "0000000000000000000000000000000000000000\"}"),
        ("\"ref\": \"SHA1\"", "\"ref\": \"1111111111111111111111111111111111111111\""),
        ("\"local\"", "\"lokal\""),
        // The recipe's own bytes count, whether they mean anything or not.
        ("{\n", "{ \n"),
    ];
    let changes: [(&[&str], Change); 11] = [
        (&["app"], |tree| fs::write(tree.join("app/build"), "#!/bin/sh\n\n").unwrap()),
        (&["app"], |tree| fs::write(tree.join("app/extra/unit.service"), "[unit]\n").unwrap()),
        (&["app"], |tree| {
            fs::set_permissions(tree.join("app/extra/unit.service"), Permissions::from_mode(0o755)).unwrap();
        }),
        (&["app"], |tree| fs::remove_dir(tree.join("app/extra/empty")).unwrap()),
        (&["app"], |tree| fs::create_dir(tree.join("app/docker")).unwrap()),
        (&["app"], |tree| fs::rename(tree.join("app/extra/empty"), tree.join("app/extra/full")).unwrap()),
        (&["app"], |tree| fs::remove_file(tree.join("app/extra/alias.service")).unwrap()),
        (&["app"], |tree| {
            fs::remove_file(tree.join("app/extra/alias.service")).unwrap();
            symlink("./unit.service", tree.join("app/extra/alias.service")).unwrap();
        }),
        (&["app", "base", "lib"], |tree| fs::write(tree.join("base/README"), "").unwrap()),
        (&["app", "lib"], |tree| fs::write(tree.join("lib/README"), "").unwrap()),
        (&["other"], |tree| fs::write(tree.join("other/README"), "").unwrap()),
    ];
    let before = tempfile::tempdir().unwrap();
    sample(before.path());
    let before = versions(before.path());
    let mut seen: BTreeSet<_> = before.values().cloned().collect();
    let mut check = |change: &dyn Fn(&Path), expected: &[&str], what: &str| {
        let scratch = tempfile::tempdir().unwrap();
        sample(scratch.path());
        change(scratch.path());
        let after = versions(scratch.path());
        assert_eq!(changed(&before, &after), expected, "{what}");
        for name in expected {
            assert!(seen.insert(after[*name].clone()), "{what}: an id of something else");
        }
    };
    for (from, to) in edits {
        check(&edit(from, to), &["app"], from);
    }
    for (at, (expected, change)) in changes.iter().enumerate() {
        check(change, expected, &format!("change {at}"));
    }
}

#[test]
fn what_a_document_is_made_from_counts_even_where_the_recipe_is_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    sample(scratch.path());
    let tree = RecipeTree::read(scratch.path(), None).unwrap();
    let ids = |head: &dyn Fn(&Recipe, &str) -> Result<Commit, String>,
               builder: &dyn Fn(Option<&str>) -> _| {
        let ids = tree.ids(tree.recipes(), head, builder).unwrap();
        let versions = ids.iter().map(|one| (one.id.name().to_string(), one.id.version()));
        versions.collect::<BTreeMap<_, _>>()
    };
    let before = ids(&head, &builder);
    let moved = |_: &Recipe, _: &str| Ok(Commit::parse(&"6".repeat(40)).unwrap());
    assert_eq!(changed(&before, &ids(&moved, &builder)), ["app"]);
    let other = |name: Option<&str>| {
        if name.is_some() { Ok(Digest::of(b"other")) } else { builder(name) }
    };
    assert_eq!(changed(&before, &ids(&head, &other)), ["app"]);
    let default = |name: Option<&str>| {
        if name.is_none() { Ok(Digest::of(b"other")) } else { builder(name) }
    };
    assert_eq!(changed(&before, &ids(&head, &default)), ["app", "base", "lib", "other"]);
}

#[test]
fn a_package_and_its_variant_never_share_an_id() {
    let scratch = tempfile::tempdir().unwrap();
    recipe(scratch.path(), "a", "");
    symlink("buildinfo.json", scratch.path().join("a/tiny.buildinfo.json")).unwrap();
    symlink("build", scratch.path().join("a/tiny.build")).unwrap();
    let tree = RecipeTree::read(scratch.path(), None).unwrap();
    let ids = tree.ids(tree.recipes(), head, builder).unwrap();
    assert_ne!(ids[0].id, ids[1].id);
}

#[test]
fn everything_that_cannot_be_found_is_told_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    sample(scratch.path());
    let tree = RecipeTree::read(scratch.path(), None).unwrap();
    let head = |_: &Recipe, path: &str| Err(format!("`{path}` is no repository"));
    let builder = |name: Option<&str>| match name {
        Some(name) => Err(format!("`{name}` is no builder")),
        None => Ok(Digest::of(b"")),
    };
    assert_eq!(
        tree.ids(tree.recipes(), head, builder).unwrap_err().to_string(),
        "app/buildinfo.json: `docker`: `golang:1.16` is no builder\n\
         app/buildinfo.json: `sources.local`: `..` is no repository"
    );
}

/// A file of a random recipe.
#[derive(Clone, Debug, PartialEq)]
struct Extra {
    content: Vec<u8>,
    executable: bool,
}

type Extras = BTreeMap<String, Extra>;

fn extras() -> impl Strategy<Value = Extras> {
    let extra = (prop::collection::vec(any::<u8>(), 0..20), any::<bool>());
    let extra = extra.prop_map(|(content, executable)| Extra { content, executable });
    prop::collection::btree_map("[a-z]{1,3}", extra, 1..6)
}

/// Writes a recipe with these files in an order, with modes and at times of its own.
fn write(tree: &Path, extras: &Extras, reverse: bool, private: bool, age: u64) {
    recipe(tree, "a", "");
    fs::create_dir(tree.join("a/extra")).unwrap();
    let mut extras: Vec<_> = extras.iter().collect();
    if reverse {
        extras.reverse();
    }
    for (name, Extra { content, executable }) in extras {
        let path = tree.join("a/extra").join(name);
        fs::write(&path, content).unwrap();
        let mode = if *executable { 0o711 } else { 0o644 } & if private { 0o700 } else { 0o777 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
        File::open(&path).unwrap().set_modified(time).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn two_recipes_share_an_id_exactly_when_their_files_are_the_same(one in extras(), change in extras(), which in 0..3) {
        let mut other = one.clone();
        match which {
            // Some, none or all of the files change.
            0 => other.extend(change),
            1 => {}
            _ => other = change,
        }
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(here.path(), &one, false, false, 1_000_000_000);
        write(there.path(), &other, true, true, 1_500_000_000);
        let same = versions(here.path()) == versions(there.path());
        prop_assert_eq!(same, one == other);
    }

    #[test]
    fn one_changed_file_changes_the_id(extras in extras(), which in any::<prop::sample::Index>(), how in 0..4) {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(here.path(), &extras, false, false, 0);
        write(there.path(), &extras, false, false, 0);
        prop_assert_eq!(versions(here.path()), versions(there.path()));
        let names: Vec<_> = extras.keys().collect();
        let name = names[which.index(names.len())];
        let path = there.path().join("a/extra").join(name);
        match how {
            0 => fs::write(&path, [&extras[name].content[..], b"\n"].concat()).unwrap(),
            1 => {
                let mode = if extras[name].executable { 0o644 } else { 0o755 };
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
            2 => fs::rename(&path, path.with_extension("renamed")).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        prop_assert_ne!(versions(here.path()), versions(there.path()));
    }

    #[test]
    fn no_text_of_one_field_looks_like_another(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}") {
        let document = |environment: &[(&str, &str)]| {
            let scratch = Recipe {
                environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
                ..empty()
            };
            version(&id_document(&scratch, &RecipeFiles::default(), BTreeMap::new(), &Digest::of(b""), &[]))
        };
        let joined = format!("{b}\",\"{c}");
        prop_assert_ne!(document(&[("A", &a), ("B", &b), ("C", &c)]), document(&[("A", &a), ("B", &joined)]));
    }

    #[test]
    fn the_order_in_which_requirements_are_given_is_nothing(mut ids in prop::collection::btree_set("[a-z]{1,4}--[0-9]{2}", 2..6).prop_map(Vec::from_iter).prop_shuffle()) {
        let version = |ids: &[String]| {
            let ids: Vec<PackageId> = ids.iter().map(|id| id.parse().unwrap()).collect();
            version(&id_document(&empty(), &RecipeFiles::default(), BTreeMap::new(), &Digest::of(b""), &ids))
        };
        let shuffled = version(&ids);
        ids.sort();
        prop_assert_eq!(version(&ids), shuffled.clone());
        ids.pop();
        prop_assert_ne!(version(&ids), shuffled);
    }
}

/// A recipe that says nothing.
fn empty() -> Recipe {
    let (name, variant) = ("a".parse().unwrap(), bake_host::Variant::default());
    super::super::buildinfo::recipe(b"", &name, &variant, "", &mut Vec::new())
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of speed measures it")]
fn eighty_recipes_are_read_and_identified_in_a_moment() {
    let scratch = tempfile::tempdir().unwrap();
    for number in 0..80_u32 {
        let needs: Vec<_> = (1..=6).filter_map(|back| number.checked_sub(back * back)).collect();
        let needs: Vec<_> = needs.iter().map(|need| format!("\"p{need}\"")).collect();
        recipe(scratch.path(), &format!("p{number}"), &format!(r#"{{"requires": [{}]}}"#, needs.join(",")));
        let extra = scratch.path().join(format!("p{number}/extra"));
        fs::create_dir(&extra).unwrap();
        for file in 0..6 {
            fs::write(extra.join(file.to_string()), vec![b'x'; 4000]).unwrap();
        }
    }
    let time = || {
        let begin = std::time::Instant::now();
        assert_eq!(versions(scratch.path()).len(), 80);
        begin.elapsed()
    };
    let best = (0..5).map(|_| time()).min().unwrap();
    assert!(best < Duration::from_millis(100), "{best:?}");
}
