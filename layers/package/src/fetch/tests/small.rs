//! Small files without a digest, which are read whole or not at all.

use super::server::{Reply, Server};
use super::*;

fn read(scene: &Scene, options: FetchOptions, url: &str, limit: u64) -> Result<Vec<u8>, String> {
    let read = Fetcher::new(options).unwrap().read(url, limit, scene.scratch.path());
    assert!(!scene.path("transfer").exists());
    read.map_err(|problem| scene.plain(&problem.to_string()))
}

/// What is said of a server's file that may have ten bytes.
fn refused(scene: &Scene, server: &Server) -> String {
    server.plain(&read(scene, scene.options(), &server.url("a"), 10).unwrap_err())
}

#[test]
fn a_file_up_to_the_limit_is_read() {
    let (scene, server) = (Scene::new(), Server::of(b"0123456789"));
    assert_eq!(read(&scene, scene.options(), &server.url("a"), 10).unwrap(), b"0123456789");
    let path = scene.put("a", b"0123456789");
    let url = format!("file://{}", path.display());
    assert_eq!(read(&scene, scene.options(), &url, 10).unwrap(), b"0123456789");
    assert_eq!(
        read(&scene, scene.options(), &url, 9).unwrap_err(),
        "`file://SCRATCH/a` cannot be read: it is larger than the limit of 9 bytes"
    );
}

#[test]
fn a_file_above_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let scene = Scene::new();
    assert_eq!(
        refused(&scene, &Server::of(b"0123456789+")),
        "`http://server/a` is larger than the limit of 10 bytes: it has 11 bytes"
    );
    let endless = Server::new(|_, _| Reply::new("200 OK", &[], &vec![b'x'; 1 << 20]));
    assert_eq!(
        refused(&scene, &endless),
        "`http://server/a` is larger than the limit of 10 bytes: it goes on after that"
    );
}

#[test]
fn a_busy_server_is_asked_again_and_one_without_the_file_is_not() {
    let scene = Scene::new();
    let busy = Server::new(|number, _| match number {
        0 | 1 => Reply::status("503 Service Unavailable"),
        _ => Reply::file(b"bytes", &[]),
    });
    assert_eq!(read(&scene, scene.options(), &busy.url("a"), 10).unwrap(), b"bytes");
    assert_eq!(scene.waits(), [1, 2]);
    let without = Server::new(|_, _| Reply::status("404 Not Found"));
    assert_eq!(refused(&scene, &without), "`http://server/a` answers 404 Not Found");
    assert_eq!(without.requests().len(), 1);
}

#[test]
fn a_transfer_that_is_cut_is_never_taken_for_the_file() {
    let scene = Scene::new();
    let cut = Server::new(|_, _| Reply::part(b"0123456789", 5, &["ETag: \"one\""]));
    assert_eq!(refused(&scene, &cut), "`http://server/a` ended after 5 of 10 bytes (the last of 5 attempts)");
}

#[test]
fn mirrors_are_asked_first_and_without_network_local_ones_alone() {
    let scene = Scene::new();
    scene.put("mirror/a", b"bytes");
    let mirror = format!("http://server/={}", format_args!("file://{}/", scene.path("mirror").display()));
    let options = FetchOptions { offline: true, mirrors: vec![mirror.parse().unwrap()], ..scene.options() };
    assert_eq!(read(&scene, options.clone(), "http://server/a", 10).unwrap(), b"bytes");
    assert_eq!(
        read(&scene, options, "http://server/b", 10).unwrap_err(),
        "`file://SCRATCH/mirror/b` cannot be read: No such file or directory (os error 2); and \
         `http://server/b` is needed, and `--offline` forbids to fetch it"
    );
}
