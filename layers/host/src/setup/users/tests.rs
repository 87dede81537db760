use std::fs;

use super::*;
use crate::InstallRoot;

fn generation(users: &[(&str, Option<&str>)]) -> Generation {
    let users =
        users.iter().map(|(user, group)| (user.parse().unwrap(), group.map(|group| group.parse().unwrap())));
    let root = InstallRoot { users: users.collect(), ..InstallRoot::default() };
    Generation::new(&root, &BTreeSet::new(), &BTreeSet::new(), |_| None)
}

/// What a host with these accounts has against a user with this group.
fn problems(passwd: &str, group: &str, wanted: (&str, Option<&str>), manual: bool) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("etc/mesosphere")).unwrap();
    fs::write(directory.path().join("etc/passwd"), passwd).unwrap();
    fs::write(directory.path().join("etc/group"), group).unwrap();
    if manual {
        fs::write(directory.path().join("etc/mesosphere/manual_host_users"), "").unwrap();
    }
    let root = Root::open(directory.path()).unwrap();
    check(&root, &generation(&[wanted])).err().unwrap_or_default()
}

const THERE: &str = "root:x:0:0::/root:/bin/sh\ndcos_a:x:900:900::/opt/mesosphere:/sbin/nologin\n";

/// The original's cases of users and groups (`test_user_management`, `validate_group`, `validate_user`), and the
/// rule of each.
#[test]
fn a_user_that_is_there_is_taken_if_it_fits() {
    let none: Vec<String> = Vec::new();
    // Without a group, any user of that name does.
    assert_eq!(problems(THERE, "", ("dcos_a", None), false), none);
    // With one, it is the primary group,
    assert_eq!(problems(THERE, "docker:x:900:\n", ("dcos_a", Some("docker")), false), none);
    // or lists the user.
    assert_eq!(problems(THERE, "docker:x:5:x,dcos_a\n", ("dcos_a", Some("docker")), false), none);
    for group in ["docker:x:5:\n", "docker:x:5:dcos_ab,xdcos_a\n", "", "docker\n", "other:x:900:dcos_a\n"] {
        let found = problems(THERE, group, ("dcos_a", Some("docker")), false);
        assert!(
            found.len() == 1 && found[0].contains("dcos_a is there and not in the group docker"),
            "{found:?}"
        );
    }
}

#[test]
fn a_user_that_is_missing_can_be_made_in_a_group_that_is_there() {
    let none: Vec<String> = Vec::new();
    assert_eq!(problems("", "", ("dcos_a", None), false), none);
    assert_eq!(problems("", "docker:x:5:\n", ("dcos_a", Some("docker")), false), none);
    let found = problems("", "", ("dcos_a", Some("docker")), false);
    assert!(found[0].contains("the group docker, which the user dcos_a is to have, is missing"), "{found:?}");
}

#[test]
fn where_people_make_users_a_missing_one_is_an_error() {
    assert!(problems(THERE, "", ("dcos_a", None), true).is_empty());
    let found = problems("", "", ("dcos_a", None), true);
    assert!(found.len() == 1 && found[0].contains("the user dcos_a is missing: make it"), "{found:?}");
    assert!(found[0].contains("/etc/mesosphere/manual_host_users"), "{found:?}");
}

#[test]
fn every_problem_is_told_and_lists_may_be_anything() {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::open(directory.path()).unwrap();
    let wanted = generation(&[("dcos_a", Some("g")), ("dcos_b", Some("h")), ("dcos_c", None)]);
    assert_eq!(check(&root, &wanted).unwrap_err().len(), 2, "no lists at all");
    fs::create_dir(directory.path().join("etc")).unwrap();
    fs::write(directory.path().join("etc/group"), b"g\xff:x:1:\ng:x:many:\n::::\n\n\0\ng:x:7:\ng:x:8:\n")
        .unwrap();
    fs::write(
        directory.path().join("etc/passwd"),
        "dcos_a:x:1\n+::::::\ndcos_a:x:1:7::/:\ndcos_a:x:1:9::/:\n",
    )
    .unwrap();
    let found = check(&root, &wanted).unwrap_err();
    assert!(found.len() == 1 && found[0].contains("the group h"), "{found:?}");
    let accounts = Accounts::of(&root, &wanted).unwrap();
    assert_eq!(accounts.users, BTreeMap::from([("dcos_a".to_owned(), User { uid: 1, gid: 7 })]));
    // What would be nobody's at all is read through a link as everything else is.
    fs::rename(directory.path().join("etc/passwd"), directory.path().join("there")).unwrap();
    std::os::unix::fs::symlink("/there", directory.path().join("etc/passwd")).unwrap();
    assert_eq!(Accounts::of(&root, &wanted).unwrap(), accounts);
}
