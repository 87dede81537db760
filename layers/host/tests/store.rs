//! The packages of a host: how they come, go, and tell whether the host is well.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)] // a test stops where it fails

#[path = "store/check.rs"]
mod check;
#[path = "store/fetch.rs"]
mod fetch;
#[path = "store/server.rs"]
mod server;
#[allow(dead_code)]
#[path = "support/yard.rs"]
mod yard;

use std::fs;
use std::path::PathBuf;

use yard::{CONFIG, Package, Yard};

/// The file of a package that nobody serves yet.
fn packed(yard: &Yard, package: &Package) -> PathBuf {
    let directory = yard.at("packed").join(&package.id);
    package.make(&directory);
    let archive = yard.at("packed").join(format!("{}.tar.xz", package.id));
    yard::pack(&directory, &archive);
    archive
}

fn installed() -> Yard {
    Yard::installed(&[Package::new("hello--1").program("bin/hello", "#!/bin/sh\n")], &["master"])
}

/// What is in the store, hidden things too.
fn names(yard: &Yard) -> Vec<String> {
    let names = fs::read_dir(yard.home("packages")).unwrap();
    let mut names: Vec<_> = names.map(|name| name.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_package_comes_whole_and_stays_as_it_is() {
    let yard = installed();
    let two = Package::new("hello--2").program("bin/hello", "#!/bin/sh\nexit 2\n").link("lib", "bin");
    let archive = packed(&yard, &two);
    let archive = archive.to_str().unwrap();
    assert_eq!(yard.done(&["add", archive]), "Added: hello--2\n");
    assert_eq!(fs::read(yard.home("packages/hello--2/bin/hello")).unwrap(), b"#!/bin/sh\nexit 2\n");
    assert_eq!(yard.done(&["add", archive]), "Package already added.\n");
    assert_eq!(yard.done(&["list"]), format!("dcos-config--setup_{CONFIG}\nhello:\n  1\n  2\n"));
    let ids = yard.json(&["list"]);
    assert_eq!(ids, serde_json::json!([format!("dcos-config--setup_{CONFIG}"), "hello--1", "hello--2"]));

    fs::write(yard.home("packages/hello--2/bin/hello"), "changed").unwrap();
    let said = yard.refused(&["add", archive]);
    assert!(said.contains("`hello--2` is damaged") && said.contains("`pkgpanda repair`"), "{said}");
}

#[test]
fn what_is_no_package_leaves_nothing() {
    let yard = installed();
    let before = names(&yard);
    let good = packed(&yard, &Package::new("new--1").file("file", "text"));
    let renamed = |name: &str| {
        let to = yard.at("packed").join(name);
        fs::copy(&good, &to).unwrap();
        to.display().to_string()
    };
    for (name, expected) in [
        ("new.tar.xz", "expected a file called ID.tar.xz"),
        ("new--1.tar", "expected a file called ID.tar.xz"),
        ("a--b--c.tar.xz", "expected a file called ID.tar.xz"),
    ] {
        let said = yard.refused(&["add", &renamed(name)]);
        assert!(said.contains(expected), "{name}: {said}");
    }
    // Each is broken in another way, after its list was made.
    let directory = yard.at("packed/new--1");
    let pack = || {
        yard::pack(&directory, &good);
        yard.refused(&["add", good.to_str().unwrap()])
    };
    fs::write(directory.join("file"), "other").unwrap();
    assert!(pack().contains("`file` is not what it was"));
    fs::write(directory.join("file"), "text").unwrap();
    fs::write(directory.join("more"), "").unwrap();
    assert!(pack().contains("`more` is not in contents.json"));
    fs::remove_file(directory.join("more")).unwrap();
    fs::remove_file(directory.join("file")).unwrap();
    assert!(pack().contains("`file` is missing"));
    fs::write(&good, "no archive").unwrap();
    assert!(yard.refused(&["add", good.to_str().unwrap()]).contains("expected"));
    let said = yard.refused(&["add", good.to_str().unwrap(), "--sha256", &"0".repeat(64)]);
    assert!(said.contains(&"0".repeat(64)), "{said}");
    assert!(yard.refused(&["add", "/nowhere/new--1.tar.xz"]).contains("opening `/nowhere/new--1.tar.xz`"));
    assert_eq!(names(&yard), before);
}

#[test]
fn a_package_comes_under_its_own_name_if_it_says_it() {
    let yard = installed();
    let build = r#"{"name": "good", "package_version": "1"}"#;
    let good = packed(&yard, &Package::new("good--1").file("buildinfo.full.json", build));
    for name in ["other--1", "good--2"] {
        let other = good.with_file_name(format!("{name}.tar.xz"));
        fs::copy(&good, &other).unwrap();
        let said = yard.refused(&["add", other.to_str().unwrap()]);
        let expected = format!("this is `good--1`, as its buildinfo.full.json says: expected `{name}`");
        assert!(said.contains(&expected), "{said}");
        assert!(!yard.home(&format!("packages/{name}")).exists());
    }
    yard.done(&["add", good.to_str().unwrap()]);
}

#[test]
fn what_cannot_be_written_is_told_by_its_place_and_is_not_the_fault_of_the_file() {
    let yard = installed();
    let text: String =
        (0..40_000).map(|n| bake_base::Digest::of(format!("{n}").as_bytes()).to_string()).collect();
    let package = Package::new("new--1").file("data", &text);
    let archive = packed(&yard, &package).display().to_string();
    fs::create_dir_all(yard.at("serve/packages/new")).unwrap();
    fs::copy(&archive, yard.at("serve/packages/new/new--1.tar.xz")).unwrap();
    let url = format!("--repository-url=file://{}", yard.at("serve").display());
    let (sum, opt) =
        (bake_base::Digest::of(&fs::read(&archive).unwrap()).to_string(), yard.root().join("opt"));
    let add = ["add", &archive, "--sha256", &sum];
    let fetch = ["fetch", &url, "new--1", "--unverified"];
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    // Too small for what comes, or only for what it decodes to.
    let tmpfs = |size: &str| {
        format!("cp -a \"$0\" \"$1\" && mount -t tmpfs -o size={size} none \"$0\" && cp -a \"$1/.\" \"$0\"")
    };
    for (number, (make, command)) in [
        (mount.to_owned(), &add[..]),
        (mount.to_owned(), &fetch),
        (tmpfs("1m"), &add),
        (tmpfs("1m"), &fetch),
        (tmpfs("2m"), &fetch),
    ]
    .into_iter()
    .enumerate()
    {
        let mut enter = std::process::Command::new("unshare");
        enter.args(["--mount", "--map-root-user", "sh", "-c", &format!("{make} && shift && exec \"$@\"")]);
        enter.arg(&opt).arg(yard.at(&format!("copy{number}"))).arg(env!("CARGO_BIN_EXE_pkgpanda-dynamic"));
        let output = enter.arg("--root").arg(yard.root()).args(command).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("No space left") || said.contains("Read-only"), "{make} {command:?}: {said}");
        assert!(
            said.contains(opt.to_str().unwrap()) || said.contains(&archive),
            "{make} {command:?}: {said}"
        );
        assert!(!said.contains("/proc/") && !said.contains("sha256"), "{make} {command:?}: {said}");
    }
}

#[test]
fn a_package_without_a_top_directory_of_its_own_has_a_time_of_its_own() {
    let yard = installed();
    let directory = yard.at("packed/flat--1");
    Package::new("flat--1").file("etc/flat", "flat").make(&directory);
    let archive = yard.at("packed/flat--1.tar.xz");
    let tar = "cd \"$0\" && tar --owner=0 --group=0 --mtime=@1000000000 -cJf \"$1\" *";
    let packed = std::process::Command::new("sh").args(["-c", tar]).arg(&directory).arg(&archive).status();
    assert!(packed.unwrap().success());
    let archive = archive.to_str().unwrap();
    yard.done(&["add", archive]);
    let into = yard.at("unpacked").display().to_string();
    let told = yard.json(&["unpack", archive, &into]);
    assert_eq!(told, serde_json::json!({ "unpacked": into }));
    for path in [yard.home("packages/flat--1"), yard.at("unpacked")] {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs::metadata(&path).unwrap().mtime(), 1_000_000_000, "{path:?}");
    }
}

#[test]
fn an_unlisted_package_is_taken_with_a_note() {
    let yard = installed();
    let archive = packed(&yard, &Package::new("old--1").unlisted());
    let output = yard.run(&["add", archive.to_str().unwrap()]);
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("note: `old--1` has no contents.json"), "{said}");
}

#[test]
fn what_a_killed_run_has_left_is_in_nobodys_way() {
    let yard = installed();
    fs::create_dir_all(yard.home("packages/.new--1.unfinished/bin")).unwrap();
    let archive = packed(&yard, &Package::new("new--1"));
    yard.done(&["add", archive.to_str().unwrap()]);
    assert!(names(&yard).iter().all(|name| !name.starts_with('.')), "{:?}", names(&yard));
}

#[test]
fn only_what_nobody_needs_is_removed() {
    let yard = installed();
    yard.add(&Package::new("hello--2"));
    yard.add(&Package::new("spare--1"));
    assert_eq!(
        yard.done(&["remove", "spare--1", "gone--1"]),
        concat!("\rRemoving: gone--1\rRemoved: gone--1\n", "\rRemoving: spare--1\rRemoved: spare--1\n",)
    );
    assert!(!yard.home("packages/spare--1").exists());
    let said = yard.refused(&["remove", "hello--2", "hello--1"]);
    assert!(said.contains("`hello--1` is active"), "{said}");
    assert!(yard.home("packages/hello--2").exists(), "all or nothing");

    yard.done(&["swap", "hello--2"]);
    let said = yard.refused(&["remove", "hello--1"]);
    assert!(
        said.contains("a rollback to generation 1 needs `hello--1`") && said.contains("--force"),
        "{said}"
    );
    yard.done(&["remove", "--force", "hello--1"]);
    assert!(!yard.home("packages/hello--1").exists());
    assert!(yard.refused(&["rollback"]).contains("hello--1"));
}

#[test]
fn one_run_at_a_time() {
    let yard = installed();
    let parent = fs::File::open(yard.root().join("opt")).unwrap();
    parent.lock().unwrap();
    assert!(yard.refused(&["remove", "spare--1"]).contains("another run is at work"));
}
