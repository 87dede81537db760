//! Commits of real repositories, which git makes in a scratch directory.

#![expect(clippy::disallowed_methods, clippy::print_stderr, reason = "git is run, and its absence told")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// When every commit of these tests was made.
pub const TIME: i64 = 1_000_000_000;

/// Whether there is a git; if not, the test says that it did nothing.
pub fn has_git() -> bool {
    let there = Command::new("git").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: git is not installed");
    }
    there
}

pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "init.defaultBranch=main", "-c", "user.name=A", "-c", "user.email=a@example.com", "-C"])
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_COMMITTER_DATE", format!("@{TIME} +0000"))
        .env("GIT_AUTHOR_DATE", "@1 +0000")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with one commit of a file, a program and a link.
pub fn repository(scene: &Scene, path: &str) -> (PathBuf, Commit) {
    scene.put(&format!("{path}/lib/file"), b"a file\n");
    let program = scene.put(&format!("{path}/program"), b"#!/bin/sh\n");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = scene.path(path);
    symlink("lib/file", path.join("link")).unwrap();
    git(&path, &["init", "--quiet"]);
    (path.clone(), commit(&path))
}

pub fn commit(path: &Path) -> Commit {
    git(path, &["add", "--all"]);
    git(path, &["commit", "--quiet", "--message", "a commit"]);
    Commit::parse(&git(path, &["rev-parse", "HEAD"])).unwrap()
}

pub fn source(path: &Path, commit: &Commit, ref_origin: &str) -> Source {
    let url = format!("file://{}", path.display());
    Source::Git { url, commit: commit.clone(), ref_origin: ref_origin.to_owned(), sha256: None }
}

fn refused(scene: &Scene, result: Result<Fetched, FetchError>) -> String {
    scene.refused(result).strip_prefix("package `zlib`: source `src`: ").unwrap().to_owned()
}

#[test]
fn a_commit_is_mirrored_once_and_found_without_network_later() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    let fetched = scene.fetch(&source(&path, &first, "main")).unwrap();
    assert_eq!(path_of(&fetched), scene.path("cache/src/cache.git"));
    assert_eq!((fetched.warnings.len(), fetched.moved), (0, None));
    fs::remove_dir_all(&path).unwrap();
    scene.fetch(&source(&path, &first, "main")).unwrap();
    let url = "https://nowhere.invalid/r".to_owned();
    let elsewhere = Source::Git { url, commit: first, ref_origin: "main".to_owned(), sha256: None };
    scene.fetch_with(FetchOptions { offline: true, ..scene.options() }, &elsewhere).unwrap();
}

#[test]
fn a_branch_that_moved_is_a_warning_with_its_commit() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    scene.put("origin/more", b"more");
    let second = commit(&path);
    let fetched = scene.fetch(&source(&path, &first, "main")).unwrap();
    assert_eq!(fetched.moved.as_ref(), Some(&second));
    assert_eq!(
        scene.plain(&fetched.warnings.concat()),
        format!(
            "`ref_origin`: `main` of `file://SCRATCH/origin` is at {second} now, the recipe stays at {first}"
        )
    );
    // The commit is there, so that nobody asks where the branch is, unless told to.
    assert_eq!(scene.fetch(&source(&path, &first, "main")).unwrap().moved, None);
    let options = FetchOptions { refresh: true, ..scene.options() };
    assert_eq!(scene.fetch_with(options, &source(&path, &first, "main")).unwrap().moved, Some(second));
}

#[test]
fn tags_and_rewritten_history_lead_to_commits_too() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    git(&path, &["tag", "--annotate", "--message", "a tag", "v1"]);
    scene.put("origin/more", b"more");
    git(&path, &["add", "--all"]);
    git(&path, &["commit", "--quiet", "--amend", "--message", "another"]);
    assert_eq!(scene.fetch(&source(&path, &first, "v1")).unwrap().moved, None);
    let scene = Scene::new();
    git(&path, &["tag", "--delete", "v1"]);
    let fetched = scene.fetch(&source(&path, &first, "main")).unwrap();
    assert_eq!(fetched.moved.unwrap().as_str(), git(&path, &["rev-parse", "HEAD"]));
}

#[test]
fn repositories_that_lack_something_are_refused() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "origin");
    assert_eq!(
        refused(&scene, scene.fetch(&source(&path, &first, "release"))),
        format!(
            "`ref_origin`: `file://SCRATCH/origin` has no branch or tag `release`: name the one that holds commit \
             {first}"
        )
    );
    let scene = Scene::new();
    let absent = Commit::parse(&"1".repeat(40)).unwrap();
    let message = scene.fetch(&source(&path, &absent, "main")).unwrap_err().to_string();
    let message = message.replace(path.to_str().unwrap(), "PATH");
    assert_eq!(
        message,
        format!(
            "package `zlib`: source `src`: `ref`: `file://PATH` has no commit {absent}, neither in a branch or tag \
             nor by itself"
        )
    );
    let scene = Scene::new();
    let message = refused(&scene, scene.fetch(&source(&scene.path("none"), &first, "main")));
    assert!(
        message.starts_with("`git fetch file://SCRATCH/none` failed: fatal: ") && scene.waits().is_empty(),
        "{message}"
    );
}

#[test]
fn without_network_or_git_an_error_says_what_to_do() {
    let scene = Scene::new();
    let commit = Commit::parse(&"1".repeat(40)).unwrap();
    let source = |url: &str| {
        let (url, commit) = (url.to_owned(), commit.clone());
        Source::Git { url, commit, ref_origin: "main".to_owned(), sha256: None }
    };
    let options = FetchOptions { offline: true, ..scene.options() };
    assert_eq!(
        refused(&scene, scene.fetch_with(options, &source("https://nowhere.invalid/r"))),
        format!(
            "commit {commit} of `https://nowhere.invalid/r` is needed, and `--offline` forbids to fetch it: put a \
             bare clone that has it at `SCRATCH/cache/src/cache.git`, or run without `--offline`"
        )
    );
    let options = FetchOptions { git: PathBuf::from("no-git-here"), ..scene.options() };
    assert_eq!(
        refused(&scene, scene.fetch_with(options, &source("https://nowhere.invalid/r"))),
        "`no-git-here` is needed to read repositories, and it is not installed: install git"
    );
    for url in ["--upload-pack=evil", "relative/path", "ext::sh"] {
        assert_eq!(
            refused(&scene, scene.fetch(&source(url))),
            format!(
                "`{url}` is no repository's URL: expected one with `://`, an absolute path, or `user@host:path`"
            )
        );
    }
}

#[test]
fn protocols_that_run_commands_are_refused() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (url, commit) = ("ext::touch SCRATCH/evil ://".to_owned(), Commit::parse(&"1".repeat(40)).unwrap());
    let url = url.replace("SCRATCH", scene.path("").to_str().unwrap());
    let source = Source::Git { url, commit, ref_origin: "main".to_owned(), sha256: None };
    let message = refused(&scene, scene.fetch(&source));
    assert!(message.contains("transport 'ext' not allowed"), "{message}");
    assert!(!scene.path("evil").exists());
}

fn local(scene: &Scene, rel_path: &str) -> Result<Option<Commit>, String> {
    let source = Source::GitLocal { rel_path: rel_path.to_owned() };
    let (recipe_dir, cache_dir) = (scene.path("recipe"), scene.path("cache"));
    let wanted = Wanted {
        package: "zlib",
        name: "src",
        source: &source,
        recipe_dir: &recipe_dir,
        cache_dir: &cache_dir,
    };
    Fetcher::new(scene.options()).unwrap().source_id(&wanted).map_err(|error| {
        scene
            .plain(&error.to_string())
            .strip_prefix("package `zlib`: source `src`: `rel_path`: ")
            .unwrap()
            .to_owned()
    })
}

#[test]
fn a_clean_local_repository_stands_for_its_commit() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    let (path, first) = repository(&scene, "local");
    scene.put("local/untracked", b"does not matter");
    assert_eq!(local(&scene, "../local"), Ok(Some(first.clone())));
    assert!(!scene.path("cache").exists());
    let fetched = scene.fetch(&Source::GitLocal { rel_path: "../local".to_owned() }).unwrap();
    let Content::Repository { git_directory, commit, .. } = fetched.content else { panic!() };
    assert_eq!((git_directory, commit), (path.join(".git").canonicalize().unwrap(), first));
}

#[test]
fn local_repositories_in_any_other_state_are_refused() {
    if !has_git() {
        return;
    }
    let scene = Scene::new();
    repository(&scene, "local");
    scene.put("local/lib/file", b"changed");
    assert_eq!(
        local(&scene, "../local").unwrap_err(),
        "`../local` has changes that are not committed: ` M lib/file`; commit or undo them (files that git does \
         not track don't matter)"
    );
    assert_eq!(
        local(&scene, "../local/lib").unwrap_err(),
        "`../local/lib` lies inside of a git repository: expected the repository's top directory"
    );
    assert_eq!(
        local(&scene, "../none").unwrap_err(),
        "`../none` is not a directory: expected a git repository"
    );
    assert_eq!(
        local(&scene, "/local").unwrap_err(),
        "`/local` is absolute: expected a path relative to the recipe's directory"
    );
    assert_eq!(local(&scene, ".").unwrap_err(), "`.` is not a git repository with files");
    fs::create_dir(scene.path("empty")).unwrap();
    git(&scene.path("empty"), &["init", "--quiet"]);
    assert_eq!(local(&scene, "../empty").unwrap_err(), "`../empty` has no commit yet");
}
