//! What keeps a host from changing: everything at once, both packages by name, and nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

/// What is refused leaves a host as it was, to the last time.
fn refused(yard: &Yard, arguments: &[&str]) -> String {
    let before = listing::list(&yard.root());
    let said = yard.refused(arguments);
    assert!(listing::list(&yard.root()) == before, "a refusal changes nothing: {said}");
    said
}

fn complaints(packages: &[Package]) -> String {
    let yard = host();
    yard.add_all(packages);
    let (ids, config) = (packages.iter().map(|package| package.id.as_str()), config());
    refused(&yard, &["activate", "hello--1", &config].into_iter().chain(ids).collect::<Vec<_>>())
}

#[test]
fn packages_that_do_not_fit_together_are_named_before_anything_changes() {
    let plain = |id: &str, path: &str| Package::new(id).file(path, "");
    let cases = [
        (vec![plain("a--1", "bin/x"), plain("b--1", "bin/x")], "bin/x"),
        (vec![plain("a--1", "etc/x"), plain("b--1", "etc_master/x")], "etc/x"),
        (vec![plain("a--1", "lib/x/y"), Package::new("b--1").link("lib/x", "/usr")], "lib/x"),
        (vec![plain("a--1", "lib/x/y"), plain("b--1", "lib/x")], "lib/x"),
        (
            vec![
                plain("a--1", "dcos.target.wants/x.service"),
                plain("b--1", "dcos.target.wants_master/x.service"),
            ],
            "x.service",
        ),
        (
            vec![
                Package::new("a--1").info(r#"{"environment": {"X": "1"}}"#),
                Package::new("b--1").info(r#"{"environment": {"X": "1"}}"#),
            ],
            "`X`",
        ),
        (
            vec![
                plain("a--1", "x/a.service").info(r#"{"sysctl": {"a": {"vm.x": 1}}}"#),
                plain("b--1", "x/b.service").info(r#"{"sysctl": {"b": {"vm.x": 2}}}"#),
            ],
            "vm.x",
        ),
    ];
    for (packages, what) in cases {
        let said = complaints(&packages);
        for word in ["a--1", "b--1", what] {
            assert!(said.contains(word), "{said} lacks {word}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn the_program_that_starts_a_host_stays_on_it() {
    let program = "pkgpanda--0123456789012345678901234567890123456789";
    let yard =
        Yard::installed(&[hello("1"), Package::new(program).program("bin/pkgpanda", "#!/bin/sh\n")], &[]);
    let said = refused(&yard, &["activate", "hello--1", &config()]);
    assert!(said.contains(&format!("`{program}` is what starts this host at boot")), "{said}");
    yard.done(&["activate", "hello--1", program]);
}

#[test]
fn packages_that_fit_nowhere_are_told_with_the_reason() {
    let wants = Package::new("a--1").info(r#"{"requires": ["b"]}"#);
    let said = complaints(&[wants]);
    assert!(said.contains("`a--1` requires `b`, which is not among the packages: add it"), "{said}");

    let wants = Package::new("a--1").info(r#"{"requires": [{"name": "b", "variant": "debug"}]}"#);
    let said = complaints(&[wants, Package::new("b--1").info(r#"{"variant": "small"}"#)]);
    assert!(said.contains("`a--1` requires") && said.contains("variant"), "{said}");

    let said = complaints(&[Package::new("a--1").file("dcos.target.wants/dcos-setup.service", "")]);
    assert!(said.contains("`a--1`") && said.contains("dcos-setup.service"), "{said}");

    let said = complaints(&[hello("3")]);
    assert!(said.contains("`hello--1` and `hello--3` are the same component"), "{said}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let yard = host();
    yard.add(&Package::new("broken--1").info("[]"));
    yard.add(&hello("3"));
    fs::write(yard.home("packages/hello--3/bin/hello"), "changed").unwrap();
    let said = refused(&yard, &["activate", "gone--1", "broken--1", "hello--3", "world--1"]);
    for (line, word) in said.lines().zip([
        "`broken--1`: pkginfo.json",
        "`gone--1` is not on this host",
        "`hello--3` is damaged",
    ]) {
        assert!(line.contains(word), "{said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");

    let said = complaints(&[
        Package::new("a--1").info(r#"{"requires": ["b"]}"#).file("bin/hello", ""),
        Package::new("c--1").file("dcos.target.wants/dcos.target", ""),
    ]);
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn damage_of_a_package_is_found_before_it_becomes_active() {
    type Damage = fn(&Yard);
    let at = |yard: &Yard, path: &str| yard.home("packages/hello--2").join(path);
    let cases: [(Damage, &str); 6] = [
        (
            |yard| fs::write(yard.home("packages/hello--2/bin/hello"), "#!/bin/sh\necho 3\n").unwrap(),
            "`bin/hello` is not what it was",
        ),
        (
            |yard| fs::remove_file(yard.home("packages/hello--2/etc_master/hello")).unwrap(),
            "`etc_master/hello` is missing",
        ),
        (
            |yard| fs::write(yard.home("packages/hello--2/bin/more"), "").unwrap(),
            "`bin/more` is not in contents.json",
        ),
        (
            |yard| {
                let path = yard.home("packages/hello--2/bin/hello");
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
            },
            "`bin/hello` is not what it was",
        ),
        (
            |yard| fs::write(yard.home("packages/hello--2/contents.json"), "{}").unwrap(),
            "contents.json is no list of contents",
        ),
        (
            |yard| {
                for number in 0..9 {
                    fs::write(yard.home(&format!("packages/hello--2/{number}")), "").unwrap();
                }
            },
            "`4` is not in contents.json, 4 more",
        ),
    ];
    for (damage, what) in cases {
        let yard = host();
        damage(&yard);
        let said = refused(&yard, &["swap", "hello--2"]);
        assert!(said.contains("`hello--2` is damaged") && said.contains(what), "{said}");
        fs::remove_dir_all(at(&yard, "")).unwrap();
        yard.add(&hello("2"));
        yard.done(&["swap", "hello--2"]);
    }
}

#[test]
fn a_list_of_contents_that_was_changed_with_its_package_is_found() {
    let yard = host();
    yard.done(&["swap", "hello--2"]);
    yard.done(&["swap", "hello--1"]);
    fs::remove_dir_all(yard.home("packages/hello--2")).unwrap();
    yard.add(&Package { id: "hello--2".to_owned(), ..hello("9") });
    let said = refused(&yard, &["swap", "hello--2"]);
    assert!(said.contains("contents.json is not the one that a generation was made with"), "{said}");
}

#[test]
fn a_host_that_somebody_else_changes_is_left_alone() {
    let yard = host();
    let opt = fs::File::open(yard.root().join("opt")).unwrap();
    rustix::fs::flock(&opt, rustix::fs::FlockOperation::LockExclusive).unwrap();
    for arguments in [&["swap", "hello--2"][..], &["rollback", "1"], &["role", "add", "slave"], &["gc"]] {
        let said = refused(&yard, arguments);
        assert!(
            said.contains("another run is at work") && said.contains("wait until it has ended"),
            "{said}"
        );
    }
    // Who only looks need not wait.
    yard.done(&["active"]);
    yard.done(&["swap", "hello--2", "--plan"]);
    drop(opt);
    yard.done(&["swap", "hello--2"]);
}

#[test]
fn as_root_a_full_disk_leaves_the_host_as_it_was() {
    let yard = Yard::new(&[hello("1"), world()]);
    let opt = yard.root().join("opt");
    fs::create_dir(&opt).unwrap();
    let mount = |arguments: &[&str]| {
        assert!(Command::new("mount").args(arguments).arg(&opt).status().unwrap().success());
    };
    mount(&["-t", "tmpfs", "-o", "size=4m,nr_inodes=400", "tmpfs"]);
    let unmount = Unmount(opt.clone());
    yard.install(&["master"]);
    yard.add(&hello("2"));
    let state = || {
        let list = listing::list(&yard.root()).into_iter();
        // Directories that something was made and removed in are newer.
        list.map(|(path, entry)| (path, format!("{:?} {:o}", entry.kind, entry.mode)))
            .collect::<BTreeMap<_, _>>()
    };
    let fill = |number: usize| opt.join(format!("fill-{number}"));
    let count = (0..10_000).take_while(|number| fs::File::create(fill(*number)).is_ok()).count();
    // From no room at all to enough: a generation needs about 15 inodes.
    let mut refusals = 0;
    loop {
        let before = state();
        let output = yard.run(&["swap", "hello--2"]);
        if output.status.success() {
            break;
        }
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("No space left on device"), "{said}");
        assert_eq!(state(), before, "{said}");
        assert_eq!(yard.link("current"), "generations/1");
        refusals += 1;
        fs::remove_file(fill(count - refusals)).unwrap();
    }
    assert!(refusals > 10, "{refusals}");
    assert_eq!(yard.link("current"), "generations/2");
    drop(unmount);
}

/// A file system that goes again whatever happens.
struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
