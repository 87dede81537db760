//! What lies in the cache before a fetch, and after it.

#![expect(clippy::disallowed_methods, reason = "one cache is used by several processes")]

use std::process::Command;
use std::{env, thread};

use super::server::{Reply, Server};
use super::*;

const BYTES: &[u8] = b"the bytes of a source";

fn offline(scene: &Scene) -> FetchOptions {
    FetchOptions { offline: true, ..scene.options() }
}

#[test]
fn a_file_that_was_put_into_the_cache_needs_no_network() {
    let scene = Scene::new();
    let place = scene.put("cache/src/a.tgz", BYTES);
    let fetched =
        scene.fetch_with(offline(&scene), &url_source("https://nowhere.invalid/a.tgz", BYTES)).unwrap();
    assert_eq!(path_of(&fetched), place);
    assert!(fetched.warnings.is_empty());
}

#[test]
fn a_complete_transfer_needs_no_network() {
    let scene = Scene::new();
    scene.put("cache/src/a.tgz.part", BYTES);
    scene.fetch_with(offline(&scene), &url_source("https://nowhere.invalid/a.tgz", BYTES)).unwrap();
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
}

#[test]
fn without_network_an_error_says_which_file_to_put_where() {
    let scene = Scene::new();
    let result =
        scene.fetch_with(offline(&scene), &url_source("https://me:secret@nowhere.invalid/a.tgz", BYTES));
    assert_eq!(
        scene.refused(result),
        format!(
            "package `zlib`: source `src`: `https://…@nowhere.invalid/a.tgz` is needed, and `--offline` forbids to \
             fetch it: put the file with SHA-256 {} at `SCRATCH/cache/src/a.tgz`, or run without `--offline`",
            hex(BYTES)
        )
    );
}

#[test]
fn a_mirror_of_files_works_without_network() {
    let scene = Scene::new();
    scene.put("usb/a.tgz", BYTES);
    let mirror = format!("https://nowhere.invalid/=file://{}/", scene.path("usb").display());
    let options = FetchOptions { mirrors: vec![mirror.parse().unwrap()], ..offline(&scene) };
    scene.fetch_with(options, &url_source("https://nowhere.invalid/a.tgz", BYTES)).unwrap();
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
}

#[test]
fn a_wrong_file_of_the_cache_is_moved_aside_and_fetched_again() {
    let (scene, server) = (Scene::new(), Server::of(BYTES));
    scene.put("cache/src/a.tgz", b"old");
    let fetched = scene.fetch(&url_source(server.url("a.tgz"), BYTES)).unwrap();
    let (expected, found) = (hex(BYTES), hex(b"old"));
    assert_eq!(
        scene.plain(&fetched.warnings.concat()),
        format!(
            "`SCRATCH/cache/src/a.tgz` had SHA-256 {found}, expected SHA-256 {expected}: it was moved to \
             `SCRATCH/cache/quarantine/{found}-a.tgz` and is fetched again"
        )
    );
    assert_eq!(fs::read(path_of(&fetched)).unwrap(), BYTES);
}

#[test]
fn a_wrong_file_of_the_cache_is_an_error_without_network() {
    let scene = Scene::new();
    scene.put("cache/src/a.tgz", b"old");
    let result = scene.fetch_with(offline(&scene), &url_source("https://nowhere.invalid/a.tgz", BYTES));
    let (expected, found) = (hex(BYTES), hex(b"old"));
    assert_eq!(
        scene.refused(result),
        format!(
            "package `zlib`: source `src`: `SCRATCH/cache/src/a.tgz` had SHA-256 {found}, expected SHA-256 {expected}; \
             it was moved to `SCRATCH/cache/quarantine/{found}-a.tgz`, and `--offline` forbids to fetch \
             `https://nowhere.invalid/a.tgz`: put the right file there, or run without `--offline`"
        )
    );
    assert_eq!(scene.cached(), [(format!("quarantine/{found}-a.tgz"), b"old".to_vec())]);
}

#[test]
fn a_file_that_changed_is_read_again_whatever_was_noted_of_it() {
    let scene = Scene::new();
    let place = scene.put("cache/src/a.tgz", BYTES);
    let source = url_source("https://nowhere.invalid/a.tgz", BYTES);
    for _ in 0..2 {
        scene.fetch_with(offline(&scene), &source).unwrap();
    }
    fs::write(&place, BYTES.to_ascii_uppercase()).unwrap();
    scene.fetch_with(offline(&scene), &source).unwrap_err();
    assert!(!place.exists());
}

#[test]
fn a_note_spares_reading_but_not_the_paranoid() {
    let scene = Scene::new();
    let place = scene.put("cache/src/a.tgz", BYTES);
    let note = scene.path("cache/src/a.tgz.json");
    let source = url_source("https://nowhere.invalid/a.tgz", BYTES);
    scene.fetch_with(offline(&scene), &source).unwrap();
    // A note that lies, as if made long after the file: only who believes it takes another digest for right.
    let lie = fs::read_to_string(&note).unwrap().replace(&hex(BYTES), &hex(b"other"));
    fs::write(&note, lie).unwrap();
    let note = fs::File::options().write(true).open(&note).unwrap();
    note.set_modified(fs::metadata(&place).unwrap().modified().unwrap() + Duration::from_hours(1)).unwrap();
    let other = url_source("https://nowhere.invalid/a.tgz", b"other");
    scene.fetch_with(offline(&scene), &other).unwrap();
    scene.fetch_with(FetchOptions { paranoid: true, ..offline(&scene) }, &other).unwrap_err();
}

#[test]
fn local_files_are_copied_relative_to_the_recipe() {
    let scene = Scene::new();
    scene.put("recipe/files/a.tgz", BYTES);
    let absolute = scene.put("b.tgz", BYTES);
    scene.fetch_with(offline(&scene), &url_source("file://files/a.tgz", BYTES)).unwrap();
    scene.fetch_with(offline(&scene), &url_source(format!("file://{}", absolute.display()), BYTES)).unwrap();
    assert_eq!(scene.cached().len(), 2);
}

#[test]
fn local_files_can_be_wrong_too() {
    let scene = Scene::new();
    scene.put("recipe/a.tgz", b"other");
    fs::create_dir(scene.path("recipe/directory")).unwrap();
    let refused = |url: &str| scene.refused(scene.fetch(&url_source(url, BYTES)));
    let begin = "package `zlib`: source `src`: ";
    let (expected, found) = (hex(BYTES), hex(b"other"));
    assert_eq!(
        refused("file://a.tgz"),
        format!(
            "{begin}`file://a.tgz` has SHA-256 {found}, expected SHA-256 {expected}: it is kept as \
             `SCRATCH/cache/quarantine/{found}-a.tgz`; if it is what it should be, correct the digest that it is pinned by"
        )
    );
    assert_eq!(refused("file://directory"), format!("{begin}`file://directory` is not a file"));
    assert_eq!(
        refused("file://absent"),
        format!("{begin}`file://absent` cannot be read: No such file or directory (os error 2)")
    );
    assert!(!scene.path("cache/src/a.tgz").exists());
}

#[test]
fn sources_that_cannot_be_stored_are_refused() {
    let scene = Scene::new();
    let refused = |url: &str| scene.refused(scene.fetch(&url_source(url, BYTES)));
    let begin = "package `zlib`: source `src`: ";
    assert_eq!(
        refused("https://host/a/"),
        format!(
            "{begin}`https://host/a/` has no file name at its end, which the source would be stored under"
        )
    );
    assert_eq!(
        refused("ftp://host/a"),
        format!("{begin}`ftp://host/a` has an unknown scheme: expected `http`, `https` or `file`")
    );
    assert_eq!(
        refused("host/a"),
        format!("{begin}`host/a` is no URL: expected `http://`, `https://` or `file://` at its beginning")
    );
    let long = format!("https://host/{}", "a".repeat(161));
    assert_eq!(refused(&long), format!("{begin}`{long}` has a file name of more than 160 bytes"));
    let none = Pin { sha256: None, sha1: None };
    assert_eq!(
        scene.refused(scene.fetch(&Source::Url(Download { url: "https://host/a".to_owned(), pin: none }))),
        format!("{begin}`https://host/a` has no digest: add `sha256` to the recipe")
    );
    let deb = Download { url: "https://host/a.deb".to_owned(), pin: pin(BYTES) };
    assert_eq!(
        scene.refused(scene.fetch(&Source::UrlExtract(deb))),
        format!(
            "{begin}`a.deb` is no archive that can be extracted: expected a name that ends in `.tgz`, `.tar`, \
             `.tar.*`, `.crate` or `.zip`; use `\"kind\": \"url\"` for a file that is taken as it is"
        )
    );
    let (recipe_dir, cache_dir, source) =
        (scene.path("recipe"), scene.path("cache"), url_source("file://a", b""));
    for name in ["", ".", "..", "a/b"] {
        let wanted =
            Wanted { package: "zlib", name, source: &source, recipe_dir: &recipe_dir, cache_dir: &cache_dir };
        assert_eq!(
            Fetcher::new(scene.options()).unwrap().ensure(&wanted).unwrap_err().to_string(),
            format!(
                "package `zlib`: source `{name}`: its name cannot be that of a directory: expected neither `/` \
                 nor `.` nor `..`"
            )
        );
    }
    assert!(scene.cached().is_empty());
}

#[test]
fn a_cache_that_takes_no_files_is_an_error_that_names_it() {
    let scene = Scene::new();
    scene.put("cache", b"not a directory");
    let result = scene.fetch(&url_source("https://host/a.tgz", BYTES));
    assert_eq!(
        scene.refused(result),
        "package `zlib`: source `src`: reading `SCRATCH/cache/src/a.tgz` failed: Not a directory (os error 20)"
    );
    let scene = Scene::new();
    fs::create_dir_all(scene.path("cache/src/a.tgz")).unwrap();
    let result = scene.fetch(&url_source("https://host/a.tgz", BYTES));
    assert_eq!(
        scene.refused(result),
        "package `zlib`: source `src`: reading `SCRATCH/cache/src/a.tgz` failed: it is not a file"
    );
}

#[test]
fn threads_that_want_the_same_file_fetch_it_once() {
    let (scene, server) = (Scene::new(), slow());
    let source = url_source(server.url("a.tgz"), BYTES);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| scene.fetch(&source).unwrap());
        }
    });
    assert_eq!(server.requests().len(), 1);
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
}

fn slow() -> Server {
    Server::new(|_, _| {
        thread::sleep(Duration::from_millis(200));
        Reply::file(BYTES, &[])
    })
}

const URL: &str = "BAKE_TEST_FETCH_URL";
const CACHE: &str = "BAKE_TEST_FETCH_CACHE";

#[test]
fn processes_that_want_the_same_file_fetch_it_once() {
    let (scene, server) = (Scene::new(), slow());
    let mut children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(env::current_exe().unwrap())
                .args(["--exact", "fetch::tests::cache::a_process_of_its_own", "--ignored"])
                .env(URL, server.url("a.tgz"))
                .env(CACHE, scene.path("cache"))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(server.requests().len(), 1);
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
}

#[test]
#[ignore = "is run by the test of two processes"]
fn a_process_of_its_own() {
    let (Ok(url), Some(cache)) = (env::var(URL), env::var_os(CACHE)) else { return };
    let (source, cache_dir) = (url_source(url, BYTES), PathBuf::from(cache));
    let wanted = Wanted {
        package: "zlib",
        name: "src",
        source: &source,
        recipe_dir: &cache_dir,
        cache_dir: &cache_dir,
    };
    Fetcher::new(FetchOptions::default()).unwrap().ensure(&wanted).unwrap();
}
