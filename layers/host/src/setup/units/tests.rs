use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use super::*;
use crate::InstallRoot;
use crate::generation::{Generation, Number};

/// A host with a generation 1 of these units in these roles, each a link to a file of a package.
fn host(root: &Path, units: &[(&str, &str)], roles: &[&str]) -> (Host, Present) {
    let home = root.join(HOME);
    let (wants, package) = (home.join("generations/1").join(WANTS), home.join("packages/p--1").join(WANTS));
    for directory in [&wants, &package] {
        let _ = fs::remove_dir_all(directory);
        fs::create_dir_all(directory).unwrap();
    }
    for (name, text) in units {
        fs::write(package.join(name), text).unwrap();
        symlink(format!("/{HOME}/packages/p--1/{WANTS}/{name}"), wants.join(name)).unwrap();
    }
    let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
    let generation = Generation::new(&InstallRoot::default(), &roles, &BTreeSet::new(), |_| None);
    let host = Host::open(root, true).unwrap();
    (host, Present { number: Number::FIRST, generation, product: None })
}

fn run(root: &Path, units: &[(&str, &str)], roles: &[&str]) -> Result<Vec<String>, Failure> {
    let (host, present) = host(root, units, roles);
    let mut said = Vec::new();
    let units = of(&host, &present)?;
    write(&host, &present, &units, &mut |line| said.push(line)).map(|()| said)
}

/// Every file below a directory with its text, or where it leads.
fn state(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Ok(target) = fs::read_link(&path) {
            found.push(format!("{name} -> {}", target.display()));
        } else if path.is_dir() {
            found.extend(state(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn units_are_copies_that_the_target_wants() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let units = [("a.service", "A"), ("t@.service", "T"), ("t@x.service", "X"), ("b.timer", "B")];
    fs::create_dir_all(root.join("run/systemd/system/dcos.target.wants")).unwrap();
    fs::write(root.join("run/systemd/system/foreign.service"), "foreign").unwrap();
    symlink("../foreign.service", root.join("run/systemd/system/dcos.target.wants/foreign.service")).unwrap();
    run(root, &units, &["master"]).unwrap();
    let foreign = ["dcos.target.wants/foreign.service -> ../foreign.service", "foreign.service: foreign"]
        .map(str::to_owned);
    // Of a template the target can want instances only.
    let mut expected = vec![
        "a.service: A",
        "b.timer: B",
        "dcos.target.wants/a.service -> ../a.service",
        "dcos.target.wants/b.timer -> ../b.timer",
        "dcos.target.wants/t@x.service -> ../t@x.service",
        "t@.service: T",
        "t@x.service: X",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(foreign.clone())
    .collect::<Vec<_>>();
    expected.sort();
    assert_eq!(state(&root.join("run/systemd/system")), expected);
    assert!(fs::symlink_metadata(root.join("run/systemd/system/a.service")).unwrap().is_file());

    // A second run writes nothing.
    let inode = |name: &str| fs::metadata(root.join("run/systemd/system").join(name)).unwrap().ino();
    let before = (inode("a.service"), inode("t@.service"), inode("../../dcos/units"));
    assert!(run(root, &units, &["master"]).unwrap().is_empty());
    assert_eq!((inode("a.service"), inode("t@.service"), inode("../../dcos/units")), before);

    // What this generation has not goes, and what others wrote stays.
    let said = run(root, &[("a.service", "other")], &["master"]).unwrap();
    assert_eq!(said, ["removing b.timer t@.service t@x.service", "wrote units: a.service"]);
    let now = state(&root.join("run/systemd/system"));
    assert!(now.contains(&"a.service: other".to_owned()) && now.len() == 4, "{now:?}");
    assert_eq!(fs::read_to_string(root.join(RECORD)).unwrap(), "a.service\n");
    assert!(!root.join(STALE).exists());

    // A host without a role runs nothing.
    run(root, &[("a.service", "other")], &[]).unwrap();
    assert_eq!(state(&root.join("run/systemd/system")), foreign);
}

#[test]
fn a_unit_that_cannot_be_read_keeps_no_other_from_running() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let units = [("a.service", "A"), ("b.service", "B")];
    let (host, present) = host(root, &units, &["master"]);
    fs::remove_file(root.join(HOME).join("packages/p--1").join(WANTS).join("a.service")).unwrap();
    let wanted = of(&host, &present).unwrap();
    let failed = write(&host, &present, &wanted, &mut |_| {}).unwrap_err().to_string();
    assert!(failed.contains("a.service` leads nowhere"), "{failed}");
    let now = state(&root.join("run/systemd/system"));
    assert_eq!(now, ["b.service: B", "dcos.target.wants/b.service -> ../b.service"]);
}

#[test]
fn what_systemd_has_not_read_is_known_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (host, present) = host(root, &[("a.service", "A")], &["master"]);
    let mut writer = Writer::new(&host).unwrap();
    assert!(!writer.changed);
    writer.unit("a.service", b"A".to_vec()).unwrap();
    // Killed here: before the reload.
    assert!(Writer::new(&host).unwrap().changed);
    let units = of(&host, &present).unwrap();
    write(&host, &present, &units, &mut |_| {}).unwrap();
    assert!(!Writer::new(&host).unwrap().changed);
}

#[test]
fn all_of_it_can_be_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let (host, present) = host(root, &[("a.service", "A")], &["master"]);
    watch(&host).unwrap();
    let units = of(&host, &present).unwrap();
    write(&host, &present, &units, &mut |_| {}).unwrap();
    assert!(root.join("run/systemd/system/dcos-roles.path").exists());
    withdraw(&host, &present, &mut |_| {}).unwrap();
    withdraw(&host, &present, &mut |_| {}).unwrap();
    assert_eq!(state(&root.join("run")), Vec::<String>::new());
}
