use std::fs;

use super::*;

fn roles(names: &[&str]) -> BTreeSet<Role> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn listed(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mirrored(root: &Path, names: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    mirror(&Root::open(root).unwrap(), &roles(names), None, &mut |line| said.push(line)).unwrap();
    said
}

#[test]
fn the_directory_says_what_the_generation_does() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("etc/mesosphere/roles");
    // A host without a role gets nothing to say so.
    assert!(mirrored(directory.path(), &[]).is_empty() && listed(directory.path()).is_empty());
    assert_eq!(mirrored(directory.path(), &["master", "a"]), ["wrote /etc/mesosphere/roles: a, master"]);
    assert_eq!(listed(&at), ["a", "master"]);
    assert!(mirrored(directory.path(), &["master", "a"]).is_empty(), "nothing to do");

    fs::write(at.join("master"), "kept").unwrap();
    fs::write(at.join(".hidden"), "hidden").unwrap();
    fs::write(at.join("no role~"), "other").unwrap();
    mirrored(directory.path(), &["master", "slave"]);
    assert_eq!(listed(&at), [".hidden", "master", "no role~", "slave"]);
    assert_eq!(fs::read_to_string(at.join("master")).unwrap(), "kept");
    assert_eq!(listed(at.parent().unwrap()), ["roles"], "nothing is left beside it");

    assert_eq!(mirrored(directory.path(), &[]), ["wrote /etc/mesosphere/roles: none"]);
    assert_eq!(listed(&at), [".hidden", "no role~"]);
    let named = named(&Root::open(directory.path()).unwrap()).unwrap();
    assert_eq!(named, Named { others: vec!["no role~".to_owned()], ..Named::default() });
}

#[test]
fn what_somebody_wrote_since_stays_for_the_next_setup() {
    for (there, seen, rewritten) in [
        (&["a"][..], &["a"][..], true),
        (&[], &["a"], true),
        (&["c"], &["a"], false),
        (&["a", "c"], &["a"], false),
        (&["c"], &[], false),
        (&["a", "b"], &["c"], false),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("etc/mesosphere/roles");
        fs::create_dir_all(&at).unwrap();
        for name in there {
            fs::write(at.join(name), "").unwrap();
        }
        let mut said = Vec::new();
        let root = Root::open(directory.path()).unwrap();
        mirror(&root, &roles(&["a", "b"]), Some(&roles(seen)), &mut |line| said.push(line)).unwrap();
        assert_eq!(!said.is_empty(), rewritten, "{there:?} {seen:?}");
        assert_eq!(listed(&at), if rewritten { vec!["a", "b"] } else { there.to_vec() });
    }
}

#[test]
fn a_run_that_was_killed_is_made_up_for() {
    // Before the exchange: a stage with some of the roles. After it: what was there before, with what is no role.
    for (stage, there) in
        [(vec!["slave"], vec!["master", ".mine"]), (vec!["master", ".mine"], vec!["slave", "x"])]
    {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("etc/mesosphere");
        for (place, names) in [(STAGE, stage), (NAME, there)] {
            fs::create_dir_all(at.join(place)).unwrap();
            for name in names {
                fs::write(at.join(place).join(name), name).unwrap();
            }
        }
        mirrored(directory.path(), &["slave", "x"]);
        assert_eq!(listed(&at.join(NAME)), [".mine", "slave", "x"]);
        assert_eq!(listed(&at), [NAME]);
    }
}

#[test]
fn where_directories_cannot_be_exchanged_a_mark_keeps_readers_away() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("etc/mesosphere/roles");
    fs::create_dir_all(&at).unwrap();
    for name in ["master", "slave", ".mine"] {
        fs::write(at.join(name), name).unwrap();
    }
    let handle = place::enter(rustix::fs::CWD, at.as_os_str().as_bytes()).unwrap();
    let found = names(&handle).unwrap();
    rewrite(&handle, &found, &roles(&["a", "slave"])).unwrap();
    assert_eq!(listed(&at), [".mine", "a", "slave"]);
    // Killed half way: nobody takes that for an operator's word, and the next run goes on.
    fs::write(at.join(STAGE), "").unwrap();
    fs::write(at.join("b"), "").unwrap();
    let root = Root::open(directory.path()).unwrap();
    assert_eq!(named(&root).unwrap(), Named { is_unfinished: true, ..Named::default() });
    mirrored(directory.path(), &["slave"]);
    assert_eq!(listed(&at), [".mine", "slave"]);
    assert!(!named(&root).unwrap().is_unfinished);
}

#[test]
fn what_is_no_directory_is_told() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("etc/mesosphere")).unwrap();
    fs::write(directory.path().join("etc/mesosphere/roles"), "").unwrap();
    let failed =
        mirror(&Root::open(directory.path()).unwrap(), &roles(&["a"]), None, &mut |_| {}).unwrap_err();
    assert!(failed.to_string().contains("roles` is no directory: put one in its place"), "{failed}");
}
