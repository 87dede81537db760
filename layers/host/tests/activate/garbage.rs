//! What goes when nobody needs it.

use super::*;

fn names(yard: &Yard, directory: &str) -> Vec<String> {
    let Ok(directory) = fs::read_dir(yard.home(directory)) else { return Vec::new() };
    let mut names: Vec<_> =
        directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Three generations, with hello in three versions.
fn old() -> Yard {
    let yard = host();
    yard.add(&hello("3"));
    yard.add(&Package::new("never--1"));
    yard.done(&["swap", "hello--2"]);
    yard.done(&["swap", "hello--3"]);
    yard
}

#[test]
fn generations_go_with_the_packages_that_only_they_have() {
    let yard = old();
    let gone = "generations/1\npackages/hello--1\npackages/never--1\n";
    let before = listing::list(&yard.root());
    let lines = |verb: &str| gone.lines().map(|line| format!("{verb} {line}\n")).collect::<String>();
    assert_eq!(yard.done(&["gc", "--plan"]), lines("would remove"));
    assert!(listing::list(&yard.root()) == before, "not even a time has changed");
    assert_eq!(yard.done(&["gc"]), lines("removed"));
    assert_eq!(names(&yard, "generations"), ["2", "3"]);
    assert_eq!(names(&yard, "packages"), [&config(), "hello--2", "hello--3", "world--1"]);
    assert_eq!(yard.done(&["gc"]), "nothing to remove\n");
    yard.done(&["rollback"]);
    assert_eq!(yard.link("current"), "generations/2");
}

#[test]
fn what_is_kept_is_where_rollbacks_go() {
    let yard = old();
    yard.done(&["rollback"]);
    // From the second one a rollback leads to the first: the third is what nobody goes back to.
    assert_eq!(
        yard.json(&["gc", "--plan"]),
        json!({"generations": [3], "packages": ["hello--3", "never--1"], "overrides": [], "leftovers": []})
    );
    assert_eq!(yard.json(&["gc", "--plan", "--keep", "0"])["generations"], json!([1, 3]));
    let yard = old();
    assert_eq!(yard.json(&["gc", "--keep", "2"])["generations"], json!([]));
    assert_eq!(yard.json(&["gc", "--keep", "0"])["generations"], json!([1, 2]));
    assert_eq!(names(&yard, "packages"), [&config(), "hello--3", "world--1"]);
    let said = yard.refused(&["rollback"]);
    assert!(said.contains("there is no generation before 3"), "{said}");
}

#[test]
fn leftovers_and_changed_files_go_that_no_generation_names() {
    let yard = old();
    fs::create_dir_all(yard.home("packages/.x--1.unfinished/bin")).unwrap();
    fs::create_dir_all(yard.home("overrides/local/hello--1/bin")).unwrap();
    fs::write(yard.home("overrides/local/hello--1/bin/hello"), "changed").unwrap();
    let garbage = yard.json(&["gc"]);
    assert_eq!(garbage["overrides"], json!(["overrides/local/hello--1/bin/hello"]));
    assert_eq!(garbage["leftovers"], json!(["packages/.x--1.unfinished"]));
    assert!(fs::symlink_metadata(yard.home("overrides")).is_err());
    assert_eq!(names(&yard, "packages"), [&config(), "hello--2", "hello--3", "world--1"]);
}
