//! Directories of recipes: what is listed, what is refused, and what a copy holds.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;

/// A recipe's directory with a script, a data file, an empty directory and links.
fn sample(directory: &Path) {
    fs::create_dir_all(directory.join("extra/empty")).unwrap();
    fs::write(directory.join("buildinfo.json"), "{}").unwrap();
    fs::write(directory.join("build"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(directory.join("build"), Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.join("extra/data"), vec![7; 200_000]).unwrap();
    symlink("../build", directory.join("extra/script")).unwrap();
    symlink("nowhere", directory.join("extra/dangling")).unwrap();
}

fn read(directory: &Path) -> (RecipeFiles, Vec<String>) {
    let mut problems = Vec::new();
    let files = RecipeFiles::read(directory, "zlib", &mut problems);
    (files, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_listing_is_sorted_and_complete() {
    let scratch = tempfile::tempdir().unwrap();
    sample(scratch.path());
    let (files, problems) = read(scratch.path());
    assert_eq!(problems, [""; 0]);
    let file = |executable, content: &[u8]| Entry::File {
        executable,
        size: content.len() as u64,
        sha256: Digest::of(content),
    };
    let link = |target: &str| Entry::Link { target: target.to_owned() };
    let expected = [
        ("build", file(true, b"#!/bin/sh\n")),
        ("buildinfo.json", file(false, b"{}")),
        ("extra", Entry::Directory),
        ("extra/dangling", link("nowhere")),
        ("extra/data", file(false, &vec![7; 200_000])),
        ("extra/empty", Entry::Directory),
        ("extra/script", link("../build")),
    ];
    let found: Vec<_> = files.entries().iter().map(|(path, entry)| (path.as_str(), entry.clone())).collect();
    assert_eq!(found, expected);
    assert_eq!(files.document("buildinfo.json"), Some(&b"{}"[..]));
    assert_eq!(files.entry("extra/script"), Some(&file(true, b"#!/bin/sh\n")));
    assert_eq!(files.entry("extra/dangling"), None);
    assert_eq!(files.entry("build/x"), None);
}

#[test]
fn what_is_no_plain_file_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let _socket = UnixListener::bind(at("socket")).unwrap();
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    fs::write(scratch.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    symlink(OsStr::from_bytes(b"caf\xe9"), at("link")).unwrap();
    let (files, problems) = read(scratch.path());
    assert!(files.entries().is_empty());
    assert_eq!(
        problems,
        [
            "zlib: holds a file whose name is not UTF-8: `caf\u{fffd}`",
            "zlib/link: leads to a path that is not UTF-8",
            "zlib/pipe: is a named pipe: recipes hold files, directories and symbolic links",
            "zlib/socket: is a socket: recipes hold files, directories and symbolic links",
        ]
    );
}

#[test]
fn links_lead_nowhere_outside() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("deep/deeper")).unwrap();
    let cases = [
        ("absolute", "/etc/passwd", false),
        ("up", "../other/build", false),
        ("deep/up", "../../x", false),
        ("deep/deeper/top", "../..", true),
        // By its text this one stays inside; through the link before it does not.
        ("deep/deeper/sly", "top/../x", false),
        ("deep/inside", "../deep/./deeper/", true),
        ("loop", "loop", true),
    ];
    for (link, target, _) in cases {
        symlink(target, scratch.path().join(link)).unwrap();
    }
    let mut expected: Vec<_> = (cases.into_iter().filter(|(_, _, inside)| !inside))
        .map(|(link, target, _)| {
            format!(
                "zlib/{link}: is a link out of the recipe's directory, to `{target}`: make it in the build \
                 script, or put a copy here"
            )
        })
        .collect();
    expected.sort();
    assert_eq!(read(scratch.path()).1, expected);
}

#[test]
fn a_directory_that_is_too_deep_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir_all(scratch.path().join("d/".repeat(DEPTH_MAX + 2))).unwrap();
    let (_, problems) = read(scratch.path());
    let path = ["d"; DEPTH_MAX + 1].join("/");
    assert_eq!(problems, [format!("zlib/{path}: lies deeper than {DEPTH_MAX} directories")]);
}

#[test]
fn a_directory_that_is_too_large_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    // A hole: nothing of it is stored.
    File::create(scratch.path().join("a")).unwrap().set_len(BYTES_MAX + 5).unwrap();
    fs::write(scratch.path().join("b"), "").unwrap();
    let (files, problems) = read(scratch.path());
    assert_eq!(problems, ["zlib: holds more than 1073741824 bytes: fetch large files as sources"]);
    assert!(files.entries().is_empty());
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let (_, problems) = read(Path::new("/nonexistent/zlib"));
    assert_eq!(problems, ["zlib: cannot be opened: No such file or directory (os error 2)"]);
}

#[test]
fn a_snapshot_is_what_was_listed_in_modes_and_times_of_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, into) = (scratch.path().join("zlib"), scratch.path().join("snapshot"));
    sample(&from);
    fs::set_permissions(from.join("extra/data"), Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(from.join("build"), Permissions::from_mode(0o700)).unwrap();
    let (files, _) = read(&from);
    // What nobody has listed is not there.
    fs::write(from.join("later"), "").unwrap();
    files.snapshot(&into).unwrap();
    let (copy, _) = read(&into);
    assert_eq!(copy.entries(), files.entries());
    let modes =
        [("", 0o755), ("build", 0o755), ("extra", 0o755), ("extra/data", 0o644), ("extra/empty", 0o755)];
    for (path, mode) in modes {
        assert_eq!(into.join(path).metadata().unwrap().permissions().mode() & 0o7777, mode, "{path}");
    }
    for path in copy.entries().keys().map(String::as_str).chain([""]) {
        let metadata = into.join(path).symlink_metadata().unwrap();
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (crate::EPOCH.timestamp().seconds, 0),
            "{path}"
        );
    }
    let again = files.snapshot(&into).unwrap_err().to_string();
    assert_eq!(again, format!("creating `{}` failed", into.display()));
}

#[test]
fn a_snapshot_fails_when_anything_has_changed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 9] = [
        ("build", |path| fs::write(path, "#!/bin/ls\n").unwrap()),
        ("build", |path| fs::write(path, "#!/bin/sh\n\n").unwrap()),
        ("build", |path| fs::write(path, "").unwrap()),
        ("build", |path| fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap()),
        ("build", |path| fs::remove_file(path).unwrap()),
        ("build", |path| {
            fs::rename(path, path.with_file_name("moved")).unwrap();
            symlink("moved", path).unwrap();
        }),
        ("build", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("extra/script", |path| {
            fs::remove_file(path).unwrap();
            symlink("../buildinfo.json", path).unwrap();
        }),
        ("extra/script", |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "").unwrap();
        }),
    ];
    for (at, (path, change)) in changes.into_iter().enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        let from = scratch.path().join("zlib");
        sample(&from);
        let (files, _) = read(&from);
        change(&from.join(path));
        let error = files.snapshot(&scratch.path().join("snapshot")).unwrap_err().to_string();
        let changed = from.join(path);
        let expected = format!(
            "`{}` has changed since it was read: run it again when nobody edits it",
            changed.display()
        );
        assert_eq!(error, expected, "change {at}");
    }
}
