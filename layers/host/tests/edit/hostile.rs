//! What cannot be edited: each is refused in words, and nothing has changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::ground::{copies, from, host, read};
use crate::yard::Package;

#[test]
fn what_is_no_file_of_an_active_package_is_refused_by_its_reason() {
    let yard = host();
    yard.add(&Package::new("idle--1").file("etc/idle", "idle\n"));
    fs::create_dir_all(yard.root().join("etc")).unwrap();
    fs::write(yard.root().join("etc/outside"), "secret\n").unwrap();
    let store = |path: &str| yard.home(&format!("packages/app--1/{path}"));
    assert!(Command::new("mkfifo").arg(store("share/fifo")).status().unwrap().success());
    symlink("loop", store("share/loop")).unwrap();
    symlink("/", store("share/top")).unwrap();
    symlink("../../../../../../../../etc/outside", store("share/climb")).unwrap();
    fs::File::create(store("share/huge")).unwrap().set_len((1 << 30) + 1).unwrap();
    let long = "x/".repeat(3000);
    for (path, reason) in [
        ("environment", "environment is made from `environment` of every package's pkginfo.json"),
        ("environment.export", "is made from `environment` of every package"),
        ("active.buildinfo.full.json", "is made from every package's buildinfo.full.json"),
        ("current/generation.json", "is the record that the generation is known by"),
        ("product.json", "is the document that the host was installed from"),
        ("etc/dcos-service-configuration.json", "is made from `sysctl` of every package"),
        ("active/app/pkginfo.json", "is what `app--1` is known by"),
        ("active/app/contents.json", "is what `app--1` is known by"),
        ("packages/idle--1/etc/idle", "belongs to `idle--1`, which is not active"),
        ("bin", "belongs to generation 1 and to no package"),
        ("active/app", "is a directory"),
        ("active/app/share", "is a directory"),
        ("bin/none", "is not there"),
        ("etc/app.conf/below", "is not there"),
        ("none.service", "is not there"),
        ("dcos.target", "is not there"),
        ("", "is no path"),
        ("created.json", "belongs to no package"),
        ("bin/../../../etc/outside", "contains `..`"),
        ("/etc/outside", "does not lie in /opt/mesosphere"),
        ("/", "does not lie in /opt/mesosphere"),
        (
            "bin/out",
            "leads out of the install root: the link `/opt/mesosphere/packages/app--1/bin/out` leads to `/etc/outside`",
        ),
        (
            "active/app/share/climb",
            "leads out of the install root: the link `/opt/mesosphere/packages/app--1/share/climb`",
        ),
        ("active/app/share/top/etc/outside", "leads out of the install root"),
        ("active/app/share/loop", "leads through more than 40 links"),
        ("active/app/share/fifo", "is a special file"),
        ("active/app/share/huge", "it has more than 1073741824 bytes"),
        (&long, "too long"),
    ] {
        let error = yard.refused(&["edit", path, "--no-editor"]);
        assert!(error.contains(reason), "{path}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    assert_eq!(copies(&yard), Vec::<String>::new());
    assert!(!yard.home("generations/2").exists());
    assert_eq!(fs::read_to_string(yard.root().join("etc/outside")).unwrap(), "secret\n");
}

#[test]
fn content_has_to_be_that_of_a_file_and_bounded() {
    let yard = host();
    let huge = yard.at("huge");
    fs::File::create(&huge).unwrap().set_len((1 << 30) + 1).unwrap();
    let directory = yard.at("root");
    for (path, reason) in [
        ("/dev/zero", "is no regular file"),
        (directory.to_str().unwrap(), "is no regular file"),
        (huge.to_str().unwrap(), "has more than 1073741824 bytes"),
        ("/none", "opening `/none` failed"),
    ] {
        let error = yard.refused(&["edit", "bin/app", "--from", path]);
        assert!(error.contains(reason), "{path}: {error}");
    }
    assert_eq!(copies(&yard), Vec::<String>::new());
    assert!(!yard.home("generations/2").exists());
}

#[test]
fn a_name_of_an_override_is_a_plain_word() {
    let yard = host();
    for name in ["", "..", "a/b", ".hidden", "a b", "\u{fc}", &"a".repeat(65)] {
        let output = yard.run(&["edit", "bin/app", "--no-editor", "--keep", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_taught = error.contains("expected letters, digits, `_` and `-`, at most 64");
        assert!(is_taught || (name.is_empty() && error.contains("value is required")), "{name}: {error}");
    }
    for wrong in
        [&["edit"][..], &["edit", "--list", "bin/app"], &["edit", "--drop", "bin/app", "--keep", "x"]]
    {
        assert_eq!(yard.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(copies(&yard), Vec::<String>::new());
}

#[test]
fn links_in_the_place_of_copies_are_not_followed() {
    let yard = host();
    let outside = yard.at("outside");
    fs::create_dir(&outside).unwrap();
    for at in ["overrides", "overrides/local", "overrides/local/app--1", "overrides/local/app--1/bin"] {
        let _ = fs::remove_dir_all(yard.home("overrides"));
        fs::create_dir_all(yard.home(at).parent().unwrap()).unwrap();
        symlink(&outside, yard.home(at)).unwrap();
        let error = yard.refused(&["edit", "bin/app", "--from", &from(&yard, "new\n")]);
        assert!(error.contains("making"), "{at}: {error}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{at}");
        fs::remove_file(yard.home(at)).unwrap();
    }
    // A link in the place of the file itself is replaced.
    fs::write(outside.join("file"), "theirs\n").unwrap();
    fs::create_dir_all(yard.home("overrides/local/app--1/bin")).unwrap();
    symlink(outside.join("file"), yard.home("overrides/local/app--1/bin/app")).unwrap();
    yard.done(&["edit", "bin/app", "--from", &from(&yard, "new\n")]);
    assert_eq!(read(&yard, "bin/app"), "new\n");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "theirs\n");
}
