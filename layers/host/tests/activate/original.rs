//! Cases of the original's own tests and of its known defects (sections 10 and 22 of the reference), as they have to
//! come out here.

use std::os::unix::fs::symlink;

use super::*;

/// Which words a refusal has to have; the host is as it was.
fn refusal(packages: &[Package], words: &[&str]) {
    let yard = host();
    yard.add_all(packages);
    let before = listing::list(&yard.root());
    let ids: Vec<&str> = packages.iter().map(|package| package.id.as_str()).collect();
    let said = yard.refused(&[&["activate"], &ids[..]].concat());
    for word in words {
        assert!(said.contains(word), "{said} lacks {word}");
    }
    assert!(listing::list(&yard.root()) == before, "a refusal changes nothing: {said}");
}

/// 10.1: what makes a set invalid, in the original's order.
#[test]
fn sets_that_the_original_refuses_are_refused() {
    let with = |id: &str, info: &str| Package::new(id).info(info);
    refusal(&[with("a--1", "[]")], &["`a--1`: pkginfo.json"]);
    refusal(&[with("a--1", "{")], &["`a--1`: pkginfo.json"]);
    refusal(&[Package::new("a--1"), Package::new("a--2")], &["`a--1` and `a--2` are the same component"]);
    refusal(&[with("a--1", r#"{"group": "docker"}"#)], &["`a--1`: pkginfo.json", "group"]);
    refusal(&[with("a--1", r#"{"requires": ["b"]}"#)], &["`a--1` requires `b`"]);
    for name in ["PATH", "LD_LIBRARY_PATH"] {
        refusal(&[with("a--1", &format!(r#"{{"environment": {{"{name}": "/"}}}}"#))], &["`a--1`", name]);
    }
    let env = r#"{"environment": {"X": "1"}}"#;
    refusal(&[with("a--1", env), with("b--1", env)], &["`X`", "`a--1`", "`b--1`"]);
    // Over all services.
    let sysctl = |id: &str, service: &str, value: &str| {
        let info = format!(r#"{{"sysctl": {{"{service}": {{"vm.x": {value}}}}}}}"#);
        with(id, &info).file(&format!("x/{service}.service"), "")
    };
    refusal(&[sysctl("a--1", "a", "1"), sysctl("b--1", "b", "2")], &["vm.x", "a--1", "b--1"]);
    // The original compares types too and refuses 1 beside "1": to the kernel they are the same text.
    let yard = host();
    yard.add_all(&[sysctl("a--1", "a", "1"), sysctl("b--1", "b", r#""1""#)]);
    yard.done(&["activate", "a--1", "b--1"]);
    // Settings without a service. The original drops them silently if the package has any other service.
    let orphan = with("a--1", r#"{"sysctl": {"a": {"vm.x": 1}}}"#);
    refusal(std::slice::from_ref(&orphan), &["`a--1`", "`a.service`"]);
    refusal(&[orphan.file("x/b.service", "")], &["`a--1`", "`a.service`"]);
    // A unit that the installation itself brings.
    refusal(
        &[Package::new("a--1").file("dcos.target.wants/dcos-download.service", "")],
        &["dcos-download.service"],
    );
}

/// Where scripts call with nonsense, the original prints its usage and ends with 1; here as everywhere, that is 2.
#[test]
fn what_is_no_id_is_wrong_usage() {
    let yard = host();
    for arguments in
        [&["activate", "nonsense"][..], &["activate"], &["swap", "a--b--c"], &["role", "add", "a b"]]
    {
        assert_eq!(yard.run(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// 10.1, defect 7: the original ignores the variant that a package requires.
#[test]
fn a_variant_that_is_required_is_checked() {
    let wants = Package::new("a--1").info(r#"{"requires": [{"name": "b", "variant": "debug"}]}"#);
    let plain = Package::new("b--1");
    let debug = Package::new("b--1").info(r#"{"variant": "debug"}"#);
    refusal(&[wants.clone(), plain], &["`a--1` requires", "`b--1` is variant"]);
    let yard = host();
    yard.add_all([&wants, &debug]);
    yard.done(&["activate", "a--1", "b--1"]);
}

/// Defects 1 and 2: the original says "File exists", or writes into the other package.
#[test]
fn files_of_two_packages_are_never_merged() {
    let file = |id: &str, path: &str| Package::new(id).file(path, "");
    refusal(&[file("a--1", "bin/x"), file("b--1", "bin/x")], &["`bin/x`", "a--1", "b--1"]);
    refusal(&[file("a--1", "bin/x"), file("b--1", "bin_master/x")], &["`bin/x`", "a--1", "b--1"]);
    refusal(&[file("a--1", "lib/d/x"), file("b--1", "lib/d")], &["`lib/d`", "a--1", "b--1"]);
    let link = Package::new("a--1").file("share/real", "").link("lib/d", "../share");
    refusal(&[link.clone(), file("b--1", "lib/d/x")], &["`lib/d`", "a--1", "b--1"]);
    // Alone, a link to a directory is linked as it is, and nothing is ever written through it.
    let yard = host();
    yard.add(&link);
    yard.done(&["activate", "a--1"]);
    assert_eq!(yard.link("lib/d"), "/opt/mesosphere/packages/a--1/lib/d");
    assert_eq!(fs::read_dir(yard.home("packages/a--1/share")).unwrap().count(), 1);
}

/// 10.2, with 9.1: what a host has in the end.
#[test]
fn an_activation_makes_what_the_original_makes() {
    let yard = Yard::installed(&[world()], &["master"]);
    let info = r#"{"environment": {"B": "two words", "A": "$1"}, "sysctl": {"hello": {"vm.x": 1}}}"#;
    yard.add(
        &Package::new("hello--1")
            .info(info)
            .file("buildinfo.full.json", r#"{"kind": "git"}"#)
            .program("bin/hello", "")
            .file("bin_slave/only-there", "")
            .file("lib/deep/er/hello.so", "")
            .link("lib/deep/link", "er/hello.so")
            .file("include/hello.h", "")
            .file("share/private", "")
            .unit("dcos.target.wants/hello.service", "hello")
            .unit("dcos.target.wants_master/hello-master.service", "hello")
            .unit("dcos.target.wants_slave/hello-slave.service", "hello"),
    );
    yard.done(&["activate", "hello--1", "world--1"]);
    let at = yard.home("current/");
    let mut shown = String::new();
    for (path, entry) in listing::list(&at) {
        let name = listing::shown(&path);
        match entry.kind {
            listing::Kind::Directory => shown.push_str(&format!("{:o} {name}/\n", entry.mode)),
            listing::Kind::Link { target } => {
                let target = String::from_utf8(target).unwrap();
                shown.push_str(&format!(
                    "{name} -> {}\n",
                    target.strip_prefix("/opt/mesosphere/packages/").unwrap()
                ));
            }
            _ => shown.push_str(&format!("{:o} {name}\n", entry.mode)),
        }
    }
    assert_eq!(
        shown,
        "755 //\n\
         755 /active/\n\
         644 /active.buildinfo.full.json\n\
         /active/hello -> hello--1\n\
         /active/world -> world--1\n\
         755 /bin/\n\
         /bin/hello -> hello--1/bin/hello\n\
         /bin/world -> world--1/bin/world\n\
         755 /dcos.target.wants/\n\
         /dcos.target.wants/hello-master.service -> hello--1/dcos.target.wants_master/hello-master.service\n\
         /dcos.target.wants/hello.service -> hello--1/dcos.target.wants/hello.service\n\
         /dcos.target.wants/world.service -> world--1/dcos.target.wants/world.service\n\
         644 /environment\n\
         644 /environment.export\n\
         755 /etc/\n\
         644 /etc/dcos-service-configuration.json\n\
         644 /generation.json\n\
         755 /include/\n\
         /include/hello.h -> hello--1/include/hello.h\n\
         755 /lib/\n\
         755 /lib/deep/\n\
         755 /lib/deep/er/\n\
         /lib/deep/er/hello.so -> hello--1/lib/deep/er/hello.so\n\
         /lib/deep/link -> hello--1/lib/deep/link\n\
         644 /product.json\n"
    );
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    // The original names /opt/mesosphere/lib and bin: a process that lives long would load from two sets. It does
    // not quote values either, so that systemd and shells read different ones.
    assert_eq!(
        read("environment").split_once('\n').unwrap().1,
        "LD_LIBRARY_PATH=/opt/mesosphere/generations/2/lib\n\
         PATH=/opt/mesosphere/generations/2/bin:/usr/bin:/bin:/sbin\n\
         \n\
         # package: hello--1\n\
         A=\"\\$1\"\n\
         B=\"two words\"\n\
         \n\
         # package: world--1\n\
         \n"
    );
    assert_eq!(
        read("environment.export").split_once('\n').unwrap().1,
        "export LD_LIBRARY_PATH=/opt/mesosphere/generations/2/lib\n\
         export PATH=\"/opt/mesosphere/generations/2/bin:$PATH\"\n\
         \n\
         # package: hello--1\n\
         export A=\"\\$1\"\n\
         export B=\"two words\"\n\
         \n\
         # package: world--1\n\
         \n"
    );
    let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();
    assert_eq!(json("active.buildinfo.full.json"), json!({"hello": {"kind": "git"}, "world": null}));
    // Every value is text, which is what the kernel takes.
    assert_eq!(json("etc/dcos-service-configuration.json"), json!({"sysctl": {"hello": {"vm.x": "1"}}}));
}

/// Defect 3: what the original left of a swap half way is nothing that anybody has to recover from. Section 10.2
/// removes `.new` and `.old` first; here nobody makes them, and what is not ours stays.
#[test]
fn there_is_no_swap_to_be_half_way_in() {
    let yard = host();
    fs::create_dir(yard.home("bin.new")).unwrap();
    fs::write(yard.home("install_progress"), r#"{"stage": "move_new", "extension": ".new"}"#).unwrap();
    symlink("nowhere", yard.home("active.old")).unwrap();
    yard.done(&["swap", "hello--2"]);
    assert_eq!(yard.link("bin/hello"), "/opt/mesosphere/packages/hello--2/bin/hello");
    for name in ["bin.new", "install_progress", "active.old"] {
        assert!(fs::symlink_metadata(yard.home(name)).is_ok(), "{name}");
    }
}

/// Defect 4: a set without units.
#[test]
fn a_set_without_units_is_left_as_well_as_entered() {
    let yard = host();
    yard.done(&["activate", &config()]);
    assert_eq!(fs::read_dir(yard.home("dcos.target.wants")).unwrap().count(), 0);
    yard.done(&["activate", "hello--1", &config()]);
    assert_eq!(fs::read_dir(yard.home("dcos.target.wants")).unwrap().count(), 1);
}

/// Defect 5: the original drops the way back before it knows that the way ahead works.
#[test]
fn an_attempt_that_fails_leaves_the_way_back() {
    let yard = host();
    yard.done(&["swap", "hello--2"]);
    yard.add(&Package::new("hello--3").file("bin/world", ""));
    yard.refused(&["swap", "hello--3"]);
    yard.done(&["rollback"]);
    assert_eq!(yard.link("active/hello"), "/opt/mesosphere/packages/hello--1");
}

/// 9.4: sites that make users themselves say so, and the original's pre-check never looked at groups.
#[test]
fn users_that_nobody_makes_are_named_before_anything_changes() {
    let package = Package::new("a--1").info(r#"{"username": "dcos_a", "group": "nobodys_group"}"#);
    refusal(&[package], &["the group nobodys_group, which the user dcos_a is to have, is missing"]);
    let yard = host();
    yard.add(&Package::new("a--1").info(r#"{"username": "dcos_a"}"#));
    fs::write(yard.root().join("etc/mesosphere/manual_host_users"), "").unwrap();
    let before = listing::list(&yard.root());
    assert!(yard.refused(&["activate", "a--1"]).contains("the user dcos_a is missing"));
    assert!(listing::list(&yard.root()) == before);
    fs::write(yard.root().join("etc/passwd"), "dcos_a:x:990:990::/opt/mesosphere:/sbin/nologin\n").unwrap();
    yard.done(&["activate", "a--1"]);
}
