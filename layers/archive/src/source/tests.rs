#![expect(clippy::disallowed_methods, reason = "archives come from tar, zip and Python")]

use std::fs;
use std::process::Command;

use bake_tree::{Follow, Policy, Tree};

use super::*;

/// A directory in which `script` has run.
fn made(script: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new("sh").arg("-ec").arg(script).current_dir(scratch.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scratch
}

fn open(scratch: &tempfile::TempDir, name: &str) -> Result<SourceArchive, ArchiveError> {
    let options = OpenOptions { scratch: scratch.path().to_owned(), ..OpenOptions::default() };
    open_source_archive(&scratch.path().join(name), &options)
}

fn stripped_of(scratch: &tempfile::TempDir, name: &str) -> Result<Vec<String>, String> {
    let archive = open(scratch, name).and_then(SourceArchive::strip_top_directory);
    let archive = archive.map_err(|error| error.to_string())?;
    let mut names: Vec<_> = archive.members.iter().map(|member| member.path.to_string()).collect();
    names.sort();
    Ok(names)
}

const SOURCE: &str = "mkdir -p pkg-1.0/sub; printf it >pkg-1.0/sub/file; ln pkg-1.0/sub/file pkg-1.0/link; ";

#[test]
fn tars_of_every_compression_and_zips_are_recognised_and_stripped_alike() {
    let scratch = made(&format!(
        "{SOURCE} tar cf plain pkg-1.0; for tool in gzip xz zstd bzip2; do $tool -c <plain >$tool; done
         zip -qry zipped pkg-1.0; mv zipped.zip zip"
    ));
    for name in ["plain", "gzip", "xz", "zstd", "bzip2", "zip"] {
        let kind = open(&scratch, name).unwrap().kind;
        assert_eq!(kind == SourceKind::Zip, name == "zip");
        assert_eq!(stripped_of(&scratch, name).unwrap(), ["/link", "/sub", "/sub/file"], "{name}");
        let archive = open(&scratch, name).unwrap().strip_top_directory().unwrap();
        let mut tree = Tree::new();
        tree.apply(archive.members, Policy::TAR).unwrap();
        let content = tree.read(&TreePath::parse(b"link").unwrap(), 10).unwrap();
        assert_eq!(content.unwrap(), b"it");
        assert!(tree.lookup(&TreePath::parse(b"sub").unwrap(), Follow::Last).is_some());
        archive.digest.wait().unwrap();
    }
}

#[test]
fn a_tar_is_stripped_as_gnu_tar_does() {
    let scratch = made(&format!(
        "{SOURCE} mkdir other; touch beside other/z; tar cf it.tar pkg-1.0 beside other
         mkdir out; tar -xf it.tar -C out --strip-components=1
         cd out; find . -mindepth 1 | sed 's/^.//' | LC_ALL=C sort >../expected; stat -c %h link >>../expected"
    ));
    let expected = fs::read_to_string(scratch.path().join("expected")).unwrap();
    let mut expected: Vec<_> = expected.lines().collect();
    assert_eq!(expected.pop(), Some("2"), "a hard link to a name that was stripped too");
    assert_eq!(stripped_of(&scratch, "it.tar").unwrap(), expected);
}

#[test]
fn a_zip_has_exactly_one_directory_at_its_top() {
    let scratch = made(
        "mkdir a b; touch a/x b/y c; zip -qr two.zip a b; zip -qr beside.zip a c; zip -q file.zip c; zip -q -d file.zip c || :
         zip -q file.zip c",
    );
    for (name, found) in [("two.zip", "`a`, `b`"), ("beside.zip", "`a`, `c`"), ("file.zip", "`c`")] {
        let error = stripped_of(&scratch, name).unwrap_err();
        assert!(error.contains(&format!("has {found} at its top: expected exactly one")), "{error}");
    }
}

#[test]
fn what_would_be_empty_or_dangling_is_refused() {
    let scratch = made(
        "touch a; ln a z; tar cf flat.tar a; mkdir d; ln a d/l; tar cf link.tar a d; printf nothing >text; mkdir none
         tar cf none.tar none",
    );
    for (name, reason) in [
        ("flat.tar", "has nothing in it"),
        ("none.tar", "has nothing in it"),
        ("link.tar", "the hard link `/d/l` is to `/a`"),
        ("text", "expected a tar"),
        ("d", "no regular file"),
        ("missing", "opening"),
    ] {
        let error = stripped_of(&scratch, name).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
}
