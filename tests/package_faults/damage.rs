//! A cache that somebody, or a disk, changed since.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::ground::failed_well;
use crate::support::{is_root, output, run, text};
use crate::yard::{Yard, names};

/// Flips one bit of a file in place. Its time tells, unless `in_secret`, as a bad disk does it.
fn flip(path: &Path, in_secret: bool) {
    let times = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    if in_secret {
        let times = FileTimes::new().set_modified(times.modified().unwrap());
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }
}

fn one(yard: &Yard, component: &str, suffix: &str) -> PathBuf {
    let directory = yard.path("tree/cache/packages").join(component);
    let name = names(&directory).into_iter().find(|name| name.ends_with(suffix)).unwrap();
    directory.join(name)
}

#[test]
fn a_damaged_package_is_an_error_that_says_what_to_do() {
    for arguments in
        [&["package", "--recursive", "app"][..], &["tree"], &["tree", "--plan"], &["tree", "--paranoid"]]
    {
        let yard = Yard::new();
        let expected = yard.build(&["tree"]);
        for component in ["base", "app"] {
            let path = one(&yard, component, ".tar.xz");
            flip(&path, false);
            let said = text(&output(yard.command(arguments).args(["--offline"])).stderr);
            assert!(
                said.starts_with(&format!("error: `{}` is damaged: its digest is ", path.display())),
                "{arguments:?}: {said}"
            );
            assert!(said.contains("delete it to have it made again"), "{said}");
            fs::remove_file(&path).unwrap();
            assert_eq!(yard.build(&["tree"]), expected);
        }
    }
}

/// Time and size are as they were; the time of change cannot be, so it is found all the same.
#[test]
fn damage_that_hides_is_found_too() {
    let yard = Yard::new();
    yard.build(&["tree"]);
    flip(&one(&yard, "app", ".tar.xz"), true);
    for arguments in [&["tree"][..], &["tree", "--paranoid"]] {
        let said = text(&output(&mut yard.command(arguments)).stderr);
        assert!(said.contains("is damaged"), "{said}");
    }
}

/// A record that vouches for the state in which the damaged file is now: what a disk does behind everybody's back.
#[test]
fn paranoia_finds_what_nothing_else_can() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let (package, record) = (one(&yard, "app", ".tar.xz"), one(&yard, "app", ".json"));
    let digest = expected.iter().find(|(id, _)| id.starts_with("app")).unwrap().1.to_string();
    let good = fs::read(&package).unwrap();
    flip(&package, false);
    let bad = bake_base::Digest::of(&fs::read(&package).unwrap()).to_string();
    let text_of = |path: &Path| fs::read_to_string(path).unwrap();
    // The record is made to believe it, looks at it, and is made to remember what it was.
    fs::write(&record, text_of(&record).replace(&digest, &bad)).unwrap();
    run(&mut yard.command(&["package", "app", "--plan"]));
    fs::write(&record, text_of(&record).replace(&bad, &digest)).unwrap();
    run(&mut yard.command(&["package", "app"]));
    let said = text(&output(&mut yard.command(&["package", "app", "--paranoid"])).stderr);
    assert!(said.contains("is damaged: its digest is"), "{said}");
    fs::write(&package, good).unwrap();
    assert_eq!(yard.build(&["tree", "--paranoid"]), expected);
}

#[test]
fn a_damaged_record_is_an_error_that_says_what_to_do() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let record = one(&yard, "app", ".json");
    let bytes = fs::read(&record).unwrap();
    for damaged in [&b""[..], b"{}", b"\0\0\0\0", &bytes[..bytes.len() / 2], b"[1, 2"] {
        fs::write(&record, damaged).unwrap();
        let said = text(&output(&mut yard.command(&["tree"])).stderr);
        assert!(said.starts_with(&format!("error: `{}` is damaged: ", record.display())), "{said}");
        assert!(said.contains("delete it to have it made again"), "{said}");
    }
    fs::remove_file(&record).unwrap();
    assert_eq!(yard.build(&["tree"]), expected);
}

#[test]
fn a_damaged_bootstrap_tarball_is_an_error_that_says_what_to_do() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let directory = yard.path("tree/cache/bootstrap");
    let name = names(&directory).into_iter().find(|name| name.ends_with(".tar.xz")).unwrap();
    let path = directory.join(name);
    let good = fs::read(&path).unwrap();
    flip(&path, false);
    let said = text(&output(&mut yard.command(&["tree"])).stderr);
    assert!(said.starts_with(&format!("error: `{}` is damaged: ", path.display())), "{said}");
    fs::remove_file(&path).unwrap();
    assert_eq!(yard.build(&["tree"]), expected);
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn extracted_builders_and_dependencies_that_were_touched_are_made_again() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let extracted = yard.path("tree/cache/extracted");
    let directories: Vec<_> = names(&extracted).into_iter().filter(|name| !name.contains('.')).collect();
    assert_eq!(directories.len(), 2, "the builder and a dependency");
    let damages: [&dyn Fn(&Path); 4] = [
        &|root| drop(run(Command::new("find").arg(root).args(["-type", "f", "-name", "base", "-delete"]))),
        &|root| fs::write(root.join("more"), "more").unwrap(),
        &|root| fs::remove_dir_all(root).unwrap(),
        &|root| {
            let spoil = ["-type", "f", "-exec", "sh", "-c", "echo evil > \"$1\"", "-", "{}", ";"];
            run(Command::new("find").arg(root).args(spoil));
        },
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        for name in &directories {
            damage(&extracted.join(name));
        }
        fs::remove_file(one(&yard, "app", ".json")).unwrap();
        assert_eq!(yard.build(&["tree"]), expected, "damage {number}");
        assert!(!directories.iter().any(|name| extracted.join(name).join("more").exists()));
    }
}

#[test]
fn what_a_killed_run_left_half_extracted_is_cleared_away() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let extracted = yard.path("tree/cache/extracted");
    for name in names(&extracted).into_iter().filter(|name| !name.contains('.')) {
        run(Command::new("chmod").args(["-R", "u+w"]).arg(extracted.join(&name)));
        fs::rename(extracted.join(&name), extracted.join(format!("{name}.unfinished"))).unwrap();
        fs::write(extracted.join(format!("{name}.unfinished/half")), "half").unwrap();
    }
    fs::remove_file(one(&yard, "app", ".json")).unwrap();
    assert_eq!(yard.build(&["tree"]), expected);
    assert!(!names(&extracted).iter().any(|name| name.ends_with(".unfinished")));
}

#[test]
fn sources_that_were_touched_are_fetched_again() {
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    flip(&one(&yard, "app", "app").join("app-1.tar.gz"), false);
    fs::remove_file(one(&yard, "app", ".json")).unwrap();
    assert_eq!(yard.build(&["tree"]), expected);
}

#[test]
fn a_cache_that_cannot_be_written_is_a_clear_error_and_can_be_read() {
    if !is_root("a read-only mount") {
        return;
    }
    let yard = Yard::new();
    let expected = yard.build(&["tree"]);
    let cache = yard.path("tree/cache");
    let read_only = |script: &str| {
        let script = format!(
            "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && {script}",
            cache.display()
        );
        ["unshare", "--mount", "sh", "-c", &script, "-"].map(str::to_owned)
    };
    // Nothing is to be done, so nothing is to be written.
    let through = read_only("exec \"$@\"");
    run(&mut yard.through(&through, &["package", "--recursive", "app"]));
    run(&mut yard.through(&through, &["tree", "--plan"]));
    yard.recipe("app", "echo another\n", "{}");
    let failed = output(&mut yard.through(&through, &["package", "app"]));
    let said = failed_well(&failed, "a read-only cache");
    assert!(said.contains("Read-only file system") && said.contains(cache.to_str().unwrap()), "{said}");
    assert_eq!(yard.packages(), expected);
}
