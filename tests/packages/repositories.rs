//! Packages that somebody made already.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::ground::{Ground, Package, as_everybody};
use crate::support::run;

/// A web server for the files of a directory.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn new(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, directory) = (Arc::clone(&server.asked), directory.to_owned());
        // It ends with the process of the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let Some(first) = lines.next() else { continue };
                for _ in lines.take_while(|line| !line.is_empty()) {}
                let path = first.split(' ').nth(1).unwrap_or("/").to_owned();
                let (status, body) = match fs::read(directory.join(path.trim_start_matches('/'))) {
                    Ok(bytes) => ("200 OK", bytes),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                asked.lock().unwrap().push(path);
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // Whoever asked may have seen enough.
                let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
            }
        });
        server
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The paths that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A tree of two packages, built, locked and delivered to `out`.
fn delivered(ground: &Ground) {
    ground.recipe("zlib", &json!({}), "mkdir $PKG_PATH/lib; echo z >$PKG_PATH/lib/z");
    ground.recipe("application", &json!({ "requires": ["zlib"] }), "cp /opt/mesosphere/lib/z $PKG_PATH/copy");
    // Whoever runs `bake` makes it, so that it is theirs.
    run(&mut ground.tree_command(&["--lock", "--out=out"]));
    fs::remove_dir_all(ground.tree("cache")).unwrap();
}

fn packages(directory: &Path) -> BTreeMap<String, PathBuf> {
    let found = run(Command::new("find").arg(directory).args(["-name", "*--*.tar.xz"]));
    let paths = found.lines().map(PathBuf::from);
    paths
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().split_once("--").unwrap().0.to_owned(), path)
        })
        .collect()
}

#[test]
fn what_a_tree_delivers_is_a_repository_with_sums() {
    as_everybody(|ground| {
        delivered(ground);
        run(Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(ground.at("out")));
        let listed = fs::read_to_string(ground.at("out/SHA256SUMS")).unwrap();
        assert_eq!(
            listed.lines().count(),
            5,
            "two packages, the program, the bootstrap tarball, the manifest: {listed}"
        );
        let before = fs::read(ground.at("out/SHA256SUMS")).unwrap();

        run(&mut ground.tree_command(&["--repository=out", "--out=again"]));
        assert_eq!(ground.logged(), Vec::<String>::new(), "all was taken");
        assert_eq!(fs::read(ground.at("again/SHA256SUMS")).unwrap(), before);
    });
}

#[test]
fn packages_are_taken_from_a_web_server_and_others_are_built() {
    as_everybody(|ground| {
        delivered(ground);
        let server = Server::new(&ground.at("out"));
        let repository = format!("--repository={}", server.url(""));
        let application = packages(&ground.at("out"))["application"].clone();
        fs::remove_file(&application).unwrap();
        run(&mut ground.tree_command(&[&repository]));
        assert_eq!(ground.logged(), ["application"]);
        let asked = server.asked();
        assert_eq!(asked.len(), 2, "{asked:?}");
        let suffix = application.strip_prefix(ground.at("out")).unwrap().to_str().unwrap().to_owned();
        assert!(asked.contains(&format!("/{suffix}")), "{asked:?}");
        // There is nothing to take any more.
        run(&mut ground.tree_command(&[&repository]));
        assert_eq!(server.asked().len(), 2);
    });
}

#[test]
fn the_first_repository_that_has_a_package_gives_it() {
    let ground = Ground::new();
    delivered(&ground);
    fs::create_dir(ground.at("empty")).unwrap();
    let server = Server::new(&ground.at("out"));
    let url = format!("--repository={}", server.url(""));
    run(&mut ground.tree_command(&["--repository=empty", "--repository=out", &url]));
    assert_eq!((ground.logged(), server.asked()), (vec![], vec![]));
}

#[test]
fn the_spec_file_can_name_repositories_too() {
    let ground = Ground::new();
    delivered(&ground);
    fs::write(ground.at("bake.toml"), "format-revision = 1\n[build]\nrepositories = [\"out\"]\n").unwrap();
    run(&mut ground.tree_command(&[]));
    assert_eq!(ground.logged(), Vec::<String>::new());
}

#[test]
fn without_its_digest_in_the_lock_a_package_is_never_taken() {
    let ground = Ground::new();
    delivered(&ground);
    let server = Server::new(&ground.at("out"));
    let repository = format!("--repository={}", server.url(""));
    let lock = fs::read(ground.tree("bake.lock")).unwrap();
    let mut without: Value = serde_json::from_slice(&lock).unwrap();
    without["packages"].as_object_mut().unwrap().retain(|id, _| id.starts_with("application--"));
    fs::write(ground.tree("bake.lock"), without.to_string()).unwrap();
    run(&mut ground.tree_command(&[&repository]));
    assert_eq!(ground.logged(), ["zlib"]);
    fs::remove_dir_all(ground.tree("cache")).unwrap();
    fs::remove_file(ground.tree("bake.lock")).unwrap();
    run(&mut ground.tree_command(&[&repository]));
    assert_eq!(ground.logged(), ["application", "zlib"]);
    assert_eq!(server.asked().len(), 1, "{:?}", server.asked());
}

#[test]
fn a_package_that_is_not_what_the_lock_says_is_refused_and_not_built_instead() {
    as_everybody(|ground| {
        delivered(ground);
        let server = Server::new(&ground.at("out"));
        let zlib = packages(&ground.at("out"))["zlib"].clone();
        let mut bytes = fs::read(&zlib).unwrap();
        let digest = Package(zlib.clone()).digest();
        *bytes.last_mut().unwrap() ^= 1;
        for (what, bytes) in [("changed", &bytes[..]), ("cut short", &bytes[..100]), ("empty", b"")] {
            fs::write(&zlib, bytes).unwrap();
            for repository in ["out".to_owned(), server.url("")] {
                let said = ground.tree_refused(&[&format!("--repository={repository}")]);
                let name = zlib.file_name().unwrap().to_str().unwrap();
                assert!(said.contains(name) && said.contains(&digest), "{what}, {repository}: {said}");
                assert_eq!(ground.logged(), Vec::<String>::new(), "{what}, {repository}");
                assert!(!ground.has_package("zlib"), "{what}, {repository}");
            }
        }
    });
}

#[test]
fn a_lock_lists_what_may_move_and_a_second_one_says_what_did() {
    let ground = Ground::new();
    ground.file("zlib/plain.txt", "plain");
    let digest = Package(ground.tree("zlib/plain.txt")).digest();
    let source = json!({ "kind": "url", "url": "file://plain.txt", "sha256": digest });
    ground.recipe("zlib", &json!({ "single_source": source }), ":");
    ground.recipe("application", &json!({ "requires": ["zlib"] }), ":");
    ground.recipe("other", &json!({}), ":");
    let first = run(&mut ground.tree_command(&["--lock"]));
    let lock = || -> Value { serde_json::from_slice(&fs::read(ground.tree("bake.lock")).unwrap()).unwrap() };
    let before = lock();
    assert_eq!(before["schema"], "bake-lock-1");
    assert_eq!(before["builders"]["default"], Package(ground.at("builder.tar")).digest());
    assert_eq!(before["sources"], json!({ "zlib/zlib": { "sha256": digest } }));
    let ids = ground.plan(&[]);
    let locked: BTreeMap<String, String> = serde_json::from_value(before["packages"].clone()).unwrap();
    assert_eq!(locked.keys().collect::<Vec<_>>(), {
        let mut ids: Vec<_> = ids.iter().collect();
        ids.sort();
        ids
    });
    for (name, path) in packages(&ground.tree("cache/packages")) {
        let id = Package(path);
        if name == "pkgpanda" {
            assert!(!locked.contains_key(id.id()), "it changes with the tool");
            continue;
        }
        assert_eq!(locked[id.id()], id.digest(), "{name}");
    }

    let bytes = fs::read(ground.tree("bake.lock")).unwrap();
    assert_eq!(run(&mut ground.tree_command(&["--lock"])), first, "nothing moved");
    assert_eq!(fs::read(ground.tree("bake.lock")).unwrap(), bytes);

    ground.recipe("application", &json!({ "requires": ["zlib"] }), "true");
    fs::remove_dir_all(ground.tree("other")).unwrap();
    ground.recipe("new", &json!({}), ":");
    let said = run(&mut ground.tree_command(&["--lock"]));
    let version = |ids: &[String], name: &str| {
        let id = ids.iter().find_map(|id| id.strip_prefix(&format!("{name}--")));
        id.unwrap().to_owned()
    };
    let now = ground.plan(&[]);
    let moved = [
        format!("package application: {} -> {}", version(&ids, "application"), version(&now, "application")),
        format!("package new: new, {}", version(&now, "new")),
        "package other: gone".to_owned(),
    ];
    let lines: Vec<_> = said.lines().filter(|line| line.starts_with("package ")).collect();
    assert_eq!(lines, moved);
    assert!(!said.contains("zlib"), "{said}");
}

#[test]
fn a_package_that_is_not_the_one_of_the_lock_is_refused_until_the_tree_is_locked_again() {
    let ground = Ground::new();
    ground.recipe("chance", &json!({}), "echo $RANDOM$RANDOM$RANDOM >$PKG_PATH/x");
    run(&mut ground.tree_command(&["--lock"]));
    fs::remove_dir_all(ground.tree("cache")).unwrap();
    let said = ground.tree_refused(&[]);
    assert!(said.contains("chance--") && said.contains("bake.lock says "), "{said}");
    assert!(said.contains("`bake package --check chance`") && said.contains("`bake tree --lock`"), "{said}");
    run(&mut ground.tree_command(&["--lock"]));
    run(&mut ground.tree_command(&[]));
}
