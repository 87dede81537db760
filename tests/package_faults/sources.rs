//! Servers that are wrong, from the recipe to the package. The unit tests of `fetch` have every way of it.

use std::fs;
use std::process::Command;

use bake_base::Digest;

use crate::server::{Reply, Server};
use crate::support::{output, run};
use crate::yard::{Yard, names, wait_until};

const SCRIPT: &str = "cp -r /pkg/src/app $PKG_PATH/source\n";

/// A package whose source is on `server`, and the source.
fn scene(server: impl Fn(&'static [u8]) -> Server) -> (Yard, Server) {
    let yard = Yard::empty();
    yard.put("app/text", &(0..100_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    run(Command::new("tar")
        .arg("-C")
        .arg(yard.path(""))
        .args(["-czf", "app.tar.gz", "app"])
        .current_dir(yard.path("")));
    let bytes = fs::read(yard.path("app.tar.gz")).unwrap();
    let sha256 = Digest::of(&bytes);
    let server = server(bytes.leak());
    let (kind, url) = ("url_extract", server.url("app.tar.gz"));
    let source =
        format!(r#"{{"single_source": {{"kind": "{kind}", "url": "{url}", "sha256": "{sha256}"}}}}"#);
    yard.recipe("app", SCRIPT, &source);
    (yard, server)
}

/// The package of a source from a server as it should be: the same recipe, and so the same id, for any other one.
fn expected(yard: &Yard, server: &Server) -> Digest {
    let mirror = format!("{}=file://{}/", server.url(""), yard.path("").display());
    let packages = yard.build(&["package", "app", "--mirror", &mirror]);
    yard.clear();
    *packages.values().next().unwrap()
}

/// Nothing lies under the name of the source, and no package was made.
fn refused(yard: &Yard) -> String {
    let said = yard.refused(&["package", "app"]);
    assert!(said.starts_with("error: package `app`: source `app`: "), "{said}");
    assert!(!yard.path("tree/cache/packages/app/app/app.tar.gz").exists(), "{said}");
    assert!(yard.packages().is_empty(), "{said}");
    said
}

#[test]
fn a_source_that_is_not_there_is_an_error() {
    let (yard, server) = scene(|_| Server::new(|_, _| Reply::status("404 Not Found")));
    let said = refused(&yard);
    assert!(said.contains(&format!("`{}` answers 404 Not Found", server.url("app.tar.gz"))), "{said}");
}

#[test]
fn a_source_that_is_redirected_in_a_circle_is_an_error() {
    let (yard, _server) = scene(|_| Server::new(|_, _| Reply::redirect("/app.tar.gz")));
    let said = refused(&yard);
    assert!(said.contains("is redirected in a circle"), "{said}");
}

#[test]
fn a_source_that_changed_is_kept_aside_and_never_used() {
    let (yard, _server) = scene(|bytes| {
        let mut changed = bytes.to_vec();
        changed[1000] ^= 1;
        Server::new(move |_, _| Reply::file(&changed, &[]))
    });
    let said = refused(&yard);
    let quarantine = yard.path("tree/cache/packages/app/quarantine");
    assert!(said.contains(quarantine.to_str().unwrap()) && said.contains("correct the digest"), "{said}");
    assert_eq!(names(&quarantine).len(), 1);
    // Not even once it lies where it would be found.
    let there = yard.path("tree/cache/packages/app/app/app.tar.gz");
    fs::copy(quarantine.join(names(&quarantine).first().unwrap()), &there).unwrap();
    assert!(yard.refused(&["package", "app", "--offline"]).contains("expected SHA-256"));
    assert!(!there.exists() && yard.packages().is_empty());
}

#[test]
fn a_source_that_breaks_off_is_asked_for_again() {
    let (yard, server) = scene(|bytes| {
        Server::new(move |number, _| match number {
            0 => Reply::part(bytes, 1000, &["ETag: \"one\""]),
            1 => Reply::new(
                "206 Partial Content",
                &[&format!("Content-Range: bytes 1000-{}/{0}", bytes.len())],
                b"",
            ),
            _ => Reply::rest(bytes, 1000),
        })
    });
    let expected = expected(&yard, &server);
    assert_eq!(yard.build(&["package", "app"]).into_values().collect::<Vec<_>>(), [expected]);
    assert!(server.requests()[2].contains("range: bytes=1000-"), "{:?}", server.requests());
}

#[test]
fn a_source_that_always_breaks_off_is_an_error() {
    let (yard, server) = scene(|bytes| Server::new(|_, _| Reply::part(bytes, 1000, &[])));
    let said = refused(&yard);
    assert!(said.contains("ended after 1000 of") && said.contains("the last of 5 attempts"), "{said}");
    assert_eq!(server.requests().len(), 5);
}

/// The server sends a part and falls silent; the user has no patience. The next run goes on where this one was.
#[test]
fn a_slow_source_is_gone_on_with_after_the_run_was_ended() {
    for signal in ["-INT", "-TERM", "-KILL"] {
        let (yard, server) = scene(|bytes| {
            Server::new(move |number, _| match number {
                0 => Reply::part(bytes, 1000, &["ETag: \"one\""]).stalling(),
                _ => Reply::rest(bytes, 1000),
            })
        });
        let expected = expected(&yard, &server);
        let mut child = yard.start(&["package", "app"]);
        let part = yard.path("tree/cache/packages/app/app/app.tar.gz.part");
        wait_until("a part", || fs::metadata(&part).is_ok_and(|part| part.len() == 1000));
        run(Command::new("kill").arg(signal).arg(child.id().to_string()));
        let began = std::time::Instant::now();
        assert!(!child.wait().unwrap().success());
        assert!(began.elapsed().as_secs() < 5, "{signal}: it went on for {:?}", began.elapsed());
        yard.is_quiet(signal);
        yard.is_whole(signal);
        assert_eq!(yard.build(&["package", "app"]).into_values().collect::<Vec<_>>(), [expected], "{signal}");
        assert!(server.requests()[1].contains("range: bytes=1000-"), "{:?}", server.requests());
    }
}

#[test]
fn a_source_in_the_cache_needs_no_server() {
    let (yard, server) = scene(Server::of);
    let packages = yard.build(&["package", "app"]);
    assert_eq!(server.requests().len(), 1);
    fs::remove_file(yard.path(&format!("tree/cache/packages/app/{}.json", packages.keys().next().unwrap())))
        .unwrap();
    drop(server);
    assert_eq!(yard.build(&["package", "app", "--offline"]), packages);
    let said = output(&mut yard.command(&["package", "app", "--offline", "--paranoid"]));
    assert!(said.status.success());
}
