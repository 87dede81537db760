//! What builds find in `/pkg/src`.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::repositories::{TIME, commit, git, has_git, repository, source};
use super::server::Server;
use super::*;

fn materialise(scene: &Scene, fetched: &Fetched) -> Result<PathBuf, String> {
    let into = scene.path("into");
    let fetcher = Fetcher::new(scene.options()).unwrap();
    fetcher.materialise(fetched, &into).map(|_| into).map_err(|error| scene.plain(&error.to_string()))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn time(path: &Path) -> i64 {
    fs::symlink_metadata(path).unwrap().mtime()
}

#[test]
fn a_file_is_copied_with_the_modes_and_times_of_all_packages() {
    let (scene, server) = (Scene::new(), Server::of(b"bytes"));
    let fetched = scene.fetch(&url_source(server.url("a.bin"), b"bytes")).unwrap();
    let into = materialise(&scene, &fetched).unwrap();
    let file = into.join("a.bin");
    assert_eq!(fs::read(&file).unwrap(), b"bytes");
    assert_eq!((mode(&file), time(&file)), (0o644, 315_619_200));
    assert_eq!((mode(&into), time(&into)), (0o755, 315_619_200));
    let message = materialise(&scene, &fetched).unwrap_err();
    assert_eq!(message, "package `zlib`: source `src`: creating `SCRATCH/into` failed");
}

#[test]
fn a_file_that_changed_since_it_was_checked_is_refused() {
    let (scene, server) = (Scene::new(), Server::of(b"bytes"));
    let fetched = scene.fetch(&url_source(server.url("a.bin"), b"bytes")).unwrap();
    fs::write(path_of(&fetched), b"other").unwrap();
    assert_eq!(
        materialise(&scene, &fetched).unwrap_err(),
        "package `zlib`: source `src`: `SCRATCH/cache/src/a.bin` changed while it was used: run again when nothing \
         writes to it"
    );
    assert!(!scene.path("into").exists());
}

/// A tar with a directory, a program in it, and a symbolic link.
fn archive() -> Vec<u8> {
    let mut tar = tar_of("pkg-1.0/bin/run", 0o700, b"#!/bin/sh\n");
    tar.extend(header("pkg-1.0/link", 0o777, b'2', "bin/run", 0));
    tar.extend([0; 1024]);
    tar
}

fn tar_of(name: &str, mode: u32, bytes: &[u8]) -> Vec<u8> {
    let mut tar = header(name, mode, b'0', "", bytes.len());
    tar.extend(bytes);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar
}

fn header(name: &str, mode: u32, kind: u8, link: &str, size: usize) -> Vec<u8> {
    let mut header = vec![0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, &format!("{TIME:011o}"));
    put(148, "        ");
    put(157, link);
    put(257, "ustar\u{0}00");
    header[156] = kind;
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn extracted(scene: &Scene, bytes: &[u8]) -> Result<PathBuf, String> {
    scene.put("recipe/a.tar", bytes);
    let download = Download { url: "file://a.tar".to_owned(), pin: pin(bytes) };
    materialise(scene, &scene.fetch(&Source::UrlExtract(download)).unwrap())
}

#[test]
fn an_archive_is_extracted_without_its_top_directory() {
    let scene = Scene::new();
    let into = extracted(&scene, &archive()).unwrap();
    let run = into.join("bin/run");
    assert_eq!((fs::read(&run).unwrap(), mode(&run), time(&run)), (b"#!/bin/sh\n".to_vec(), 0o700, TIME));
    assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("bin/run"));
    assert_eq!((mode(&into), time(&into)), (0o755, 315_619_200));
}

#[test]
fn what_is_no_archive_inside_leaves_nothing() {
    let scene = Scene::new();
    assert_eq!(
        extracted(&scene, b"plain text").unwrap_err(),
        "package `zlib`: source `src`: it cannot be extracted"
    );
    assert!(!scene.path("into").exists());
    let mut outside = tar_of("pkg/../../evil", 0o644, b"evil");
    outside.extend([0; 1024]);
    let scene = Scene::new();
    extracted(&scene, &outside).unwrap_err();
    assert!(!scene.path("into").exists() && !scene.path("evil").exists());
}

#[test]
fn an_archive_that_changed_since_it_was_checked_is_refused() {
    let scene = Scene::new();
    scene.put("recipe/a.tar", &archive());
    let download = Download { url: "file://a.tar".to_owned(), pin: pin(&archive()) };
    let fetched = scene.fetch(&Source::UrlExtract(download)).unwrap();
    fs::write(path_of(&fetched), [tar_of("pkg/other", 0o644, b"other"), vec![0; 1024]].concat()).unwrap();
    assert_eq!(
        materialise(&scene, &fetched).unwrap_err(),
        "package `zlib`: source `src`: `SCRATCH/cache/src/a.tar` changed while it was used: run again when nothing \
         writes to it"
    );
    assert!(!scene.path("into").exists());
}

#[test]
fn a_commit_is_checked_out_with_its_own_time_and_a_clean_state() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    git(&path, &["tag", "v1"]);
    scene.put("origin/later", b"not in this commit");
    commit(&path);
    let into = materialise(&scene, &scene.fetch(&source(&path, &first, "main")).unwrap()).unwrap();
    assert_eq!(fs::read(into.join("lib/file")).unwrap(), b"a file\n");
    assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new("lib/file"));
    assert!(!into.join("later").exists());
    for (name, expected) in [("", 0o755), ("lib", 0o755), ("lib/file", 0o644), ("program", 0o755)] {
        assert_eq!((mode(&into.join(name)), time(&into.join(name))), (expected, TIME), "{name}");
    }
    assert_eq!(time(&into.join("link")), TIME);
    assert_eq!(git(&into, &["rev-parse", "HEAD"]), first.as_str());
    assert_eq!(git(&into, &["status", "--porcelain"]), "");
    assert_eq!(git(&into, &["tag", "--list"]), "");
    // Nothing in it says where it was made.
    let config = fs::read_to_string(into.join(".git/config")).unwrap();
    assert!(!config.contains(scene.path("").to_str().unwrap()), "{config}");
}

#[test]
fn a_local_repository_is_checked_out_as_it_was_committed() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (_, first) = repository(&scene, "local");
    scene.put("local/untracked", b"is not taken");
    let fetched = scene.fetch(&Source::GitLocal { rel_path: "../local".to_owned() }).unwrap();
    let into = materialise(&scene, &fetched).unwrap();
    assert_eq!(git(&into, &["rev-parse", "HEAD"]), first.as_str());
    assert!(!into.join("untracked").exists());
}

#[test]
fn the_digest_of_a_commits_files_is_checked() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    let entries = [
        ("lib/file", "0644", hex(b"a file\n")),
        ("link", "link", hex(b"lib/file")),
        ("program", "0755", hex(b"#!/bin/sh\n")),
    ];
    let entries = entries.map(|(path, mode, sha256)| {
        format!("  \"{path}\": {{\n    \"mode\": \"{mode}\",\n    \"sha256\": \"{sha256}\"\n  }}")
    });
    let right = Digest::of(format!("{{\n{}\n}}\n", entries.join(",\n")).as_bytes());
    let pinned = |digest| {
        let Source::Git { url, commit, ref_origin, .. } = source(&path, &first, "main") else { panic!() };
        let fetched = scene.fetch(&Source::Git { url, commit, ref_origin, sha256: Some(digest) }).unwrap();
        materialise(&scene, &fetched)
    };
    let wrong = Digest::of(b"");
    assert_eq!(
        pinned(wrong).unwrap_err(),
        format!(
            "package `zlib`: source `src`: the files of commit {first} have SHA-256 {right}, expected SHA-256 \
             {wrong}: correct `sha256` if they are what they should be"
        )
    );
    assert!(!scene.path("into").exists());
    pinned(right).unwrap();
}
