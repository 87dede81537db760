//! Tars by real writers, compared with what GNU tar extracts from them, entry by entry.

#![allow(clippy::unwrap_used)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bake_archive::{OpenOptions, Opened, open_overlay, open_rootfs};
use common::{Compare, assert_same, is_root, lines_of_directory, lines_of_tree, merge, run};

/// What formats before pax keep.
const OLD: Compare = Compare { nanoseconds: false, xattrs: false, ..Compare::ALL };

fn open(path: &Path) -> Opened {
    let scratch = path.parent().unwrap().to_owned();
    open_rootfs(path, &OpenOptions { scratch, ..OpenOptions::default() }).unwrap()
}

/// What every format can hold.
fn plain_tree(top: &Path) {
    fs::create_dir_all(top.join("etc/empty")).unwrap();
    fs::write(top.join("etc/file"), "content\n").unwrap();
    fs::write(top.join("etc/nothing"), "").unwrap();
    fs::write(top.join("etc/block"), [7; 512]).unwrap();
    fs::write(top.join("etc/large"), (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>())
        .unwrap();
    fs::write(top.join(OsStr::from_bytes(b"etc/\xff\xfe name\n")), "odd").unwrap();
    symlink("../etc/file", top.join("etc/link")).unwrap();
    fs::hard_link(top.join("etc/file"), top.join("etc/also")).unwrap();
    fs::set_permissions(top.join("etc/nothing"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(top.join("etc/empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    date(&top.join("etc/file"), 1_500_000_000, 0);
}

fn date(path: &Path, seconds: i64, nanoseconds: u32) {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
    File::open(path).unwrap().set_modified(whole + Duration::from_nanos(nanoseconds.into())).unwrap();
}

/// What only later formats can hold.
fn hard_tree(top: &Path) {
    plain_tree(top);
    let deep = top.join(["a-name-of-forty-bytes-as-tools-make-them-"; 5].join("/"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("x".repeat(255)), "long").unwrap();
    fs::write(deep.join("n".repeat(100)), "exactly").unwrap();
    symlink("target/".repeat(200), deep.join("far")).unwrap();
    fs::hard_link(deep.join("x".repeat(255)), top.join("short")).unwrap();
    run(top, &["mkfifo", "fifo"]);
    if is_root() {
        run(top, &["mknod", "console", "c", "5", "1"]);
        run(top, &["mknod", "disk", "b", "259", "1048575"]);
        fs::write(top.join("given"), "away").unwrap();
        std::os::unix::fs::chown(top.join("given"), Some(4_000_000_000), Some(70_000)).unwrap();
    }
}

/// What only pax can hold.
fn pax_tree(top: &Path) {
    hard_tree(top);
    for (name, seconds, nanoseconds) in
        [("fraction", 1_600_000_000, 123_456_789), ("before", -5, 250_000_000), ("early", -86_400, 0)]
    {
        fs::write(top.join(name), name).unwrap();
        date(&top.join(name), seconds, nanoseconds);
    }
    run(top, &["setfattr", "-n", "user.plain", "-v", "some value", "fraction"]);
    run(top, &["setfattr", "-n", "user.empty", "fraction"]);
    run(top, &["setfattr", "-n", "user.binary", "-v", "0x000aff3d00", "before"]);
    run(top, &["setfattr", "-n", "user.on-directory", "-v", "yes", "etc"]);
    run(top, &["setfacl", "-m", "u:12345:rw,g:777:r", "early"]);
    run(top, &["setfacl", "-d", "-m", "u:12345:rwx", "etc/empty"]);
    if is_root() {
        run(top, &["setcap", "cap_net_raw+ep", "given"]);
    }
}

fn sparse_tree(top: &Path) {
    fs::create_dir_all(top).unwrap();
    for (name, len, runs) in [
        ("middle", 12_u64 << 20, &[(7_u64 << 20, 5000_usize)][..]),
        ("hole", 9 << 20, &[]),
        ("tail", (5 << 20) + 77, &[(0, 10), (5 << 20, 77)]),
        ("head", 3 << 20, &[(0, 4096)]),
    ] {
        let mut file = File::create(top.join(name)).unwrap();
        file.set_len(len).unwrap();
        for (offset, count) in runs {
            file.seek(SeekFrom::Start(*offset)).unwrap();
            file.write_all(&vec![b'x'; *count]).unwrap();
        }
    }
    // More runs than fit into one header of any format.
    let mut file = File::create(top.join("many")).unwrap();
    for i in 0..200_u64 {
        file.seek(SeekFrom::Start(i * 16384)).unwrap();
        file.write_all(&i.to_le_bytes()).unwrap();
    }
}

/// A tree, the tar that a writer makes of it, and what GNU tar extracts from that.
fn compare(make: fn(&Path), writer: &[&str], compare: Compare) {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().join("tree");
    fs::create_dir(&top).unwrap();
    make(&top);
    let tar = scratch.path().join("it.tar");
    run(&top, &[writer, &["../it.tar", "."]].concat());
    let extracted = scratch.path().join("extracted");
    fs::create_dir(&extracted).unwrap();
    let options = ["tar", "-xpf", "../it.tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner"];
    run(&extracted, &options);
    let comparison = Compare { owners: is_root(), ..compare };
    let ours = lines_of_tree(&merge(open(&tar).layers.remove(0).0), comparison);
    assert_same(&ours, &lines_of_directory(&extracted, comparison));
    assert_same(&ours, &lines_of_directory(&top, comparison));
}

#[test]
fn v7() {
    compare(plain_tree, &["tar", "--format=v7", "-cf"], OLD);
}

#[test]
fn ustar() {
    compare(plain_tree, &["tar", "--format=ustar", "-cf"], OLD);
    // Prefixes: names of more than a hundred bytes that can be split.
    let long = |top: &Path| {
        let deep = top.join(["a-name-of-thirty-two-bytes-or-so"; 5].join("/"));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("y".repeat(60)), "prefixed").unwrap();
    };
    compare(long, &["tar", "--format=ustar", "-cf"], OLD);
}

#[test]
fn old_gnu_and_gnu() {
    compare(hard_tree, &["tar", "--format=oldgnu", "-cf"], OLD);
    compare(hard_tree, &["tar", "--format=gnu", "-cf"], OLD);
}

#[test]
fn pax() {
    let writer = ["tar", "--format=pax", "--xattrs", "--acls", "-cf"];
    compare(pax_tree, &writer, Compare::ALL);
    let plain = ["tar", "--format=pax", "-cf"];
    compare(pax_tree, &plain, Compare { xattrs: false, ..Compare::ALL });
    let global = ["tar", "--format=pax", "--pax-option=globexthdr.name=g,comment=x,delete=atime", "-cf"];
    compare(hard_tree, &global, Compare { xattrs: false, ..Compare::ALL });
}

#[test]
fn sparse_in_every_version() {
    for format in [
        &["--format=gnu"][..],
        &["--format=oldgnu"],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let writer = [&["tar", "--sparse"], format, &["-cf"]].concat();
        compare(sparse_tree, &writer, Compare { xattrs: false, ..OLD });
    }
}

#[test]
fn incremental_and_labelled() {
    let snapshot = ["tar", "--format=gnu", "-g", "../snapshot", "-V", "a label", "-cf"];
    compare(plain_tree, &snapshot, OLD);
}

#[test]
fn every_compression_gives_the_same_members() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().join("tree");
    fs::create_dir(&top).unwrap();
    plain_tree(&top);
    let path = |end: &str| -> PathBuf { scratch.path().join(format!("it.tar{end}")) };
    run(&top, &["tar", "-cf", "../it.tar", "."]);
    let expected = lines_of_tree(&merge(open(&path("")).layers.remove(0).0), Compare::ALL);
    for (end, tool) in [
        (".gz", "gzip -k"),
        (".xz", "xz -k -0"),
        (".zst", "zstd -q -k"),
        (".bz2", "bzip2 -k"),
        (".lz4", "lz4 -q -k -m"),
        (".lzma", "xz -k -0 --format=lzma"),
    ] {
        run(scratch.path(), &["sh", "-c", &format!("{tool} it.tar")]);
        let opened = open(&path(end));
        let digest = bake_base::Digest::of(&fs::read(path(end)).unwrap());
        assert_same(
            &lines_of_tree(&merge(opened.layers.into_iter().next().unwrap().0), Compare::ALL),
            &expected,
        );
        assert_eq!(opened.inputs.into_iter().next().unwrap().digest.wait().unwrap(), digest, "{end}");
    }
    let left: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 8, "nothing else stays behind: {left:?}");
}

#[test]
fn directories_are_read_as_they_are_or_as_checkouts() {
    let scratch = tempfile::tempdir().unwrap();
    let top = scratch.path().join("tree");
    fs::create_dir(&top).unwrap();
    pax_tree(&top);
    sparse_tree(&top.join("sparse"));
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    let opened = open(&top);
    assert_eq!(opened.notes, ["the socket `/socket` is left out"]);
    let ours = lines_of_tree(&merge(opened.layers.into_iter().next().unwrap().0), Compare::ALL);
    let mut theirs = lines_of_directory(&top, Compare::ALL);
    theirs.remove(&b"socket"[..]);
    assert_same(&ours, &theirs);

    // A second checkout elsewhere, with other times, owners and modes, is the same.
    let again = scratch.path().join("again");
    run(scratch.path(), &["cp", "-r", "--preserve=mode,links", "tree/etc", "again"]);
    fs::set_permissions(again.join("block"), fs::Permissions::from_mode(0o600)).unwrap();
    let overlay = |path: &Path| open_overlay(path, &OpenOptions::default()).unwrap();
    let (one, two) = (overlay(&top.join("etc")), overlay(&again));
    let lines: Vec<_> = [&one, &two]
        .map(|opened| lines_of_tree(&merge(opened.layers[0].0.clone()), Compare::ALL))
        .into_iter()
        .collect();
    assert_same(&lines[0], &lines[1]);
    assert!(lines[0][&b"file"[..]].contains(" first /file 0644 0:0 "), "{}", lines[0][&b"file"[..]]);
    assert!(lines[0][&b"nothing"[..]].contains(" 0755 0:0 "));
    let digests = [one, two].map(|mut opened| opened.inputs.remove(0).digest.wait().unwrap());
    assert_eq!(digests[0], digests[1]);
    fs::write(again.join("block"), [8; 512]).unwrap();
    assert_ne!(overlay(&again).inputs.remove(0).digest.wait().unwrap(), digests[0]);
}

#[test]
fn a_tar_that_changes_while_it_is_used_is_an_error() {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("tree")).unwrap();
    fs::write(scratch.path().join("tree/file"), "x").unwrap();
    run(scratch.path(), &["tar", "-cf", "it.tar", "tree"]);
    let path = scratch.path().join("it.tar");
    let cache = scratch.path().join("cache");
    let options = OpenOptions { cache: Some(cache), ..OpenOptions::default() };
    let digest = || open_rootfs(&path, &options).unwrap().inputs.remove(0).digest;
    let before = digest().wait().unwrap();
    assert_eq!(digest().wait().unwrap(), before);
    let pending = digest();
    File::options().append(true).open(&path).unwrap().write_all(&[0; 512]).unwrap();
    let error = pending.wait().unwrap_err().to_string();
    assert!(error.contains("it.tar` changed while it was read"), "{error}");
    assert_ne!(digest().wait().unwrap(), before);
}
