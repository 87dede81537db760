//! Downloads from servers that are slow, broken, busy or false.

use super::server::{Reply, Server};
use super::*;

const BYTES: &[u8] = b"0123456789 the bytes of a source 0123456789";
const ETAG: &str = "ETag: \"one\"";

/// What a failed download says, and that it left nothing under a valid name.
fn refused(scene: &Scene, server: &Server) -> String {
    let message = scene.refused(scene.fetch(&url_source(server.url("a.tgz"), BYTES)));
    assert!(!scene.path("cache/src/a.tgz").exists());
    server.plain(&message)
}

fn fetched(scene: &Scene, server: &Server) -> Fetched {
    let fetched = scene.fetch(&url_source(server.url("a.tgz"), BYTES)).unwrap();
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
    fetched
}

#[test]
fn a_download_is_verified_and_reported_and_lies_under_its_name() {
    let (scene, server) = (Scene::new(), Server::of(BYTES));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let options = FetchOptions {
        progress: Arc::new(move |progress| {
            let Progress { package, name, done, total } = *progress;
            noted.lock().unwrap().push((package.to_owned(), name.to_owned(), done, total));
        }),
        user_agent: "Bake-Test".to_owned(),
        ..scene.options()
    };
    let source = url_source(server.url("a.tgz?x=y"), BYTES);
    let fetched = scene.fetch_with(options, &source).unwrap();
    assert_eq!(path_of(&fetched), scene.path("cache/src/a.tgz"));
    assert_eq!(scene.cached(), [("src/a.tgz".to_owned(), BYTES.to_vec())]);
    let all = BYTES.len() as u64;
    assert_eq!(seen.lock().unwrap().first().unwrap(), &("zlib".into(), "src".into(), 0, Some(all)));
    assert_eq!(seen.lock().unwrap().last().unwrap(), &("zlib".into(), "src".into(), all, Some(all)));
    let request = server.requests().concat();
    assert!(
        request.contains("user-agent: bake-test\r\n") && request.contains("accept-encoding: identity\r\n")
    );
}

#[test]
fn a_length_need_not_be_told() {
    let chunked = |_: usize, _: &str| {
        let body = format!("b\r\n{}\r\n20\r\n{}\r\n0\r\n\r\n", &text()[..11], &text()[11..]);
        Reply::new("200 OK", &["Transfer-Encoding: chunked"], body.as_bytes())
    };
    fetched(&Scene::new(), &Server::new(chunked));
    fetched(&Scene::new(), &Server::new(|_, _| Reply::new("200 OK", &[], BYTES)));
}

fn text() -> &'static str {
    std::str::from_utf8(BYTES).unwrap()
}

#[test]
fn redirections_are_followed() {
    let server = Server::new(|number, _| match number {
        0 => Reply::redirect("/elsewhere/b"),
        _ => Reply::file(BYTES, &[]),
    });
    fetched(&Scene::new(), &server);
    assert!(server.requests()[1].starts_with("get /elsewhere/b http/1.1\r\n"));
}

#[test]
fn a_file_that_is_not_there_is_not_asked_for_twice() {
    let (scene, server) = (Scene::new(), Server::new(|_, _| Reply::status("404 Not Found")));
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` answers 404 Not Found"
    );
    assert_eq!((server.requests().len(), scene.waits().len()), (1, 0));
    assert_eq!(scene.cached(), []);
}

#[test]
fn a_busy_server_is_asked_again_after_growing_times() {
    let server = Server::new(|number, _| match number {
        0..4 => Reply::status("503 Service Unavailable"),
        _ => Reply::file(BYTES, &[]),
    });
    let scene = Scene::new();
    fetched(&scene, &server);
    assert_eq!(scene.waits(), [1, 2, 4, 8]);
}

#[test]
fn a_server_that_stays_busy_is_given_up() {
    let (scene, server) = (Scene::new(), Server::new(|_, _| Reply::status("500 Internal Server Error")));
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` answers 500 Internal Server Error \
         (the last of 5 attempts)"
    );
    assert_eq!(scene.waits(), [1, 2, 4, 8]);
}

#[test]
fn a_server_says_how_long_to_wait_within_bounds() {
    let server = Server::new(|number, _| {
        let after = |seconds: &str| {
            Reply::new(
                "429 Too Many Requests",
                &[&format!("Retry-After: {seconds}"), "Content-Length: 0"],
                b"",
            )
        };
        match number {
            0 => after("7"),
            1 => after("100000"),
            2 => after("0"),
            3 => after("Fri, 31 Dec 1999 23:59:59 GMT"),
            _ => Reply::file(BYTES, &[]),
        }
    });
    let scene = Scene::new();
    fetched(&scene, &server);
    assert_eq!(scene.waits(), [7, 60, 4, 8]);
}

#[test]
fn a_circle_of_redirections_is_named() {
    let server = Server::new(|_, request| {
        Reply::redirect(if request.starts_with("get /there") { "/a.tgz" } else { "/there" })
    });
    let scene = Scene::new();
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` is redirected in a circle: \
         http://server/a.tgz -> http://server/there -> http://server/a.tgz"
    );
    assert!(scene.waits().is_empty());
}

#[test]
fn redirections_without_end_have_one() {
    let server = Server::new(|number, _| Reply::redirect(&format!("/{number}")));
    let message = refused(&Scene::new(), &server);
    assert!(
        message.starts_with(
            "package `zlib`: source `src`: `http://server/a.tgz` is redirected more than 10 times: \
             http://server/a.tgz -> http://server/0 -> "
        ),
        "{message}"
    );
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn wrong_bytes_are_moved_aside_and_named() {
    let (scene, server) = (Scene::new(), Server::of(b"something else"));
    let (expected, found) = (hex(BYTES), hex(b"something else"));
    assert_eq!(
        refused(&scene, &server),
        format!(
            "package `zlib`: source `src`: `http://server/a.tgz` has SHA-256 {found}, expected SHA-256 {expected}: \
             it is kept as `SCRATCH/cache/quarantine/{found}-a.tgz`; if it is what it should be, correct the \
             digest that it is pinned by"
        )
    );
    assert_eq!(scene.cached(), [(format!("quarantine/{found}-a.tgz"), b"something else".to_vec())]);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn both_digests_are_checked() {
    let (scene, server) = (Scene::new(), Server::of(BYTES));
    let with = |sha256, sha1: String| {
        let pin = Pin { sha256, sha1: Some(sha1) };
        scene.fetch(&Source::Url(Download { url: server.url("a.tgz"), pin }))
    };
    let (right, wrong) = (sha1(BYTES), "0".repeat(40));
    let message = server.plain(&scene.refused(with(Some(Digest::of(BYTES)), wrong.clone())));
    let digest = hex(BYTES);
    assert!(
        message.contains(&format!(
            "has SHA-256 {digest} and SHA-1 {right}, expected SHA-256 {digest} and SHA-1 {wrong}: it is kept"
        )),
        "{message}"
    );
    let message = scene.refused(with(None, wrong.clone()));
    assert!(message.contains(&format!("has SHA-1 {right}, expected SHA-1 {wrong}: it is kept")), "{message}");
    with(None, right.clone()).unwrap();
    with(Some(Digest::of(BYTES)), right).unwrap();
}

#[test]
fn a_transfer_that_is_cut_goes_on_where_it_was() {
    let server = Server::new(|number, _| match number {
        0 => Reply::part(BYTES, 10, &[ETAG]),
        _ => Reply::rest(BYTES, 10),
    });
    let scene = Scene::new();
    fetched(&scene, &server);
    let request = &server.requests()[1];
    assert!(
        request.contains("range: bytes=10-\r\n") && request.contains("if-range: \"one\"\r\n"),
        "{request}"
    );
    assert_eq!(scene.waits(), [1]);
}

#[test]
fn another_run_goes_on_where_a_failed_one_was() {
    let scene = Scene::new();
    let server = Server::new(|number, _| match number {
        0 => Reply::part(BYTES, 10, &["ETag: W/\"weak\"", "Last-Modified: Fri, 31 Dec 1999 23:59:59 GMT"]),
        1 => Reply::status("403 Forbidden"),
        _ => Reply::rest(BYTES, 10),
    });
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` answers 403 Forbidden (the last of 2 attempts)"
    );
    assert_eq!(scene.cached(), [("src/a.tgz.part".to_owned(), BYTES[..10].to_vec())]);
    fetched(&scene, &server);
    let request = &server.requests()[2];
    assert!(request.contains("if-range: fri, 31 dec 1999 23:59:59 gmt\r\n"), "{request}");
}

#[test]
fn a_transfer_that_cannot_go_on_begins_anew() {
    // The server has no ranges; or the file is another than before.
    for second in [&["ETag: \"one\""][..], &["ETag: \"two\""], &[]] {
        let headers: Vec<String> = second.iter().map(ToString::to_string).collect();
        let server = Server::new(move |number, _| {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            match number {
                0 => Reply::part(b"another file that is longer than the right one", 10, &[ETAG]),
                _ => Reply::file(BYTES, &headers),
            }
        });
        fetched(&Scene::new(), &server);
    }
    // Nothing tells states of the file apart.
    let server = Server::new(|number, _| match number {
        0 => Reply::part(BYTES, 10, &[]),
        _ => Reply::file(BYTES, &[]),
    });
    fetched(&Scene::new(), &server);
    assert!(!server.requests()[1].contains("range"));
}

#[test]
fn a_server_that_goes_on_wrongly_gets_a_second_chance() {
    let wrong: [fn() -> Reply; 4] = [
        // From another place; of another file without saying so; beyond its end; about nothing at all.
        || Reply::rest(BYTES, 5),
        || Reply::rest(&[b'x'; 40], 10),
        || Reply::status("416 Range Not Satisfiable"),
        || Reply::new("206 Partial Content", &["Content-Length: 0"], b""),
    ];
    for wrong in wrong {
        let scene = Scene::new();
        let server = Server::new(move |number, _| match number {
            0 => Reply::part(BYTES, 10, &[ETAG]),
            1 => wrong(),
            _ => Reply::file(BYTES, &[]),
        });
        fetched(&scene, &server);
        assert!(!server.requests()[2].contains("range"));
    }
}

#[test]
fn a_server_that_goes_on_wrongly_forever_is_given_up() {
    let server = Server::new(|_, request| {
        if request.contains("range: ") { Reply::rest(BYTES, 5) } else { Reply::part(BYTES, 10, &[ETAG]) }
    });
    let scene = Scene::new();
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` goes on elsewhere than asked (the last of 3 attempts)"
    );
}

#[test]
fn a_transfer_that_is_always_cut_is_given_up() {
    let (scene, server) = (Scene::new(), Server::new(|_, _| Reply::part(BYTES, 10, &[])));
    assert_eq!(
        refused(&scene, &server),
        "package `zlib`: source `src`: `http://server/a.tgz` ended after 10 of 43 bytes (the last of 5 attempts)"
    );
    assert_eq!(scene.cached(), []);
    // Chunks have an end of their own.
    let cut = Server::new(|_, _| Reply::new("200 OK", &["Transfer-Encoding: chunked"], b"20\r\n0123456789"));
    assert_eq!(
        refused(&scene, &cut),
        "package `zlib`: source `src`: `http://server/a.tgz` ended after 10 bytes, which are not all \
         (the last of 5 attempts)"
    );
    assert_eq!(scene.cached(), []);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let silent: [fn() -> Reply; 2] =
        [|| Reply::part(BYTES, 10, &[]).stalling(), || Reply::part(BYTES, 0, &[]).stalling()];
    for silent in silent {
        let scene = Scene::new();
        let server = Server::new(move |_, _| silent());
        let options = FetchOptions { retries: 1, ..scene.options() };
        let result = scene.fetch_with(options, &url_source(server.url("a.tgz"), BYTES));
        assert_eq!(
            server.plain(&scene.refused(result)),
            "package `zlib`: source `src`: `http://server/a.tgz` sent nothing for 400ms (the last of 2 attempts)"
        );
        assert_eq!(scene.cached(), []);
    }
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let (scene, url) = (Scene::new(), Server::of(BYTES).url("a.tgz"));
    let message = scene.refused(scene.fetch(&url_source(&url, BYTES)));
    assert_eq!(
        message.replace(url.trim_end_matches("/a.tgz"), "http://server"),
        "package `zlib`: source `src`: `http://server/a.tgz` broke the connection: \
         Connection refused (os error 111) (the last of 5 attempts)"
    );
    assert_eq!(scene.waits(), [1, 2, 4, 8]);
}

#[test]
fn a_file_that_is_too_large_is_not_fetched() {
    let huge = Server::new(|_, _| Reply::new("200 OK", &["Content-Length: 99999999999999"], BYTES));
    let scene = Scene::new();
    assert_eq!(
        refused(&scene, &huge),
        "package `zlib`: source `src`: `http://server/a.tgz` is larger than the limit of 8589934592 bytes: \
         it has 99999999999999 bytes"
    );
    let endless = Server::new(|_, _| Reply::new("200 OK", &[], BYTES));
    let options = FetchOptions { limit: 10, ..scene.options() };
    let result = scene.fetch_with(options, &url_source(endless.url("a.tgz"), BYTES));
    assert_eq!(
        endless.plain(&scene.refused(result)),
        "package `zlib`: source `src`: `http://server/a.tgz` is larger than the limit of 10 bytes: \
         it goes on after that"
    );
    assert_eq!(scene.cached(), []);
}

#[test]
fn what_is_no_answer_is_an_error() {
    let server = Server::new(|_, _| Reply::new("204 No Content", &[], b""));
    assert_eq!(
        refused(&Scene::new(), &server),
        "package `zlib`: source `src`: `http://server/a.tgz` answers 204 No Content"
    );
    // A redirection never leads to files of this machine.
    let scene = Scene::new();
    let server = Server::new(|_, _| Reply::redirect("file:///etc/passwd"));
    let message = refused(&scene, &server);
    assert!(message.contains("`http://server/a.tgz` is redirected more than 10 times: "), "{message}");
    assert!(scene.cached().is_empty());
}

#[test]
fn a_mirror_is_asked_first_and_the_original_next() {
    let (scene, mirror) = (Scene::new(), Server::new(|_, _| Reply::status("404 Not Found")));
    let server = Server::of(BYTES);
    let mirrors = vec![Mirror { from: server.url(""), to: mirror.url("copy/") }];
    let options = FetchOptions { mirrors: mirrors.clone(), ..scene.options() };
    let fetched = scene.fetch_with(options, &url_source(server.url("a.tgz"), BYTES)).unwrap();
    assert!(mirror.requests()[0].starts_with("get /copy/a.tgz "));
    assert_eq!(
        fetched.warnings.iter().map(|text| mirror.plain(text)).collect::<Vec<_>>(),
        ["`http://server/copy/a.tgz` answers 404 Not Found"]
    );

    let options = FetchOptions { mirrors, ..scene.options() };
    let result = scene.fetch_with(options, &url_source(server.url("b.tgz"), b"others"));
    let message = scene.refused(result).replace(&mirror.url(""), "http://mirror/");
    let (expected, found) = (hex(b"others"), hex(BYTES));
    assert_eq!(
        server.plain(&message),
        format!(
            "package `zlib`: source `src`: `http://mirror/copy/b.tgz` answers 404 Not Found; and \
             `http://server/b.tgz` has SHA-256 {found}, expected SHA-256 {expected}: it is kept as \
             `SCRATCH/cache/quarantine/{found}-b.tgz`; if it is what it should be, correct the digest that it is pinned by"
        )
    );
}

#[test]
fn a_false_mirror_does_no_harm() {
    let (scene, server, mirror) = (Scene::new(), Server::of(BYTES), Server::of(b"false"));
    let mirrors = vec![Mirror { from: server.url(""), to: mirror.url("") }];
    let options = FetchOptions { mirrors, ..scene.options() };
    let fetched = scene.fetch_with(options, &url_source(server.url("a.tgz"), BYTES)).unwrap();
    assert_eq!(fs::read(path_of(&fetched)).unwrap(), BYTES);
    assert!(fetched.warnings[0].contains("it is kept as"), "{:?}", fetched.warnings);
}

#[test]
fn a_proxy_is_used_but_for_its_exceptions() {
    let scene = Scene::new();
    let (server, proxy) = (Server::of(BYTES), Server::new(|_, _| Reply::status("403 Forbidden")));
    let with = |except: &[&str]| {
        let except = except.iter().map(ToString::to_string).collect();
        let proxy = Some(Proxy { url: proxy.url(""), except });
        let options = FetchOptions { proxy, retries: 0, ..scene.options() };
        scene.fetch_with(options, &url_source(server.url("a.tgz"), BYTES))
    };
    let message = server.plain(&scene.refused(with(&["other"])));
    assert!(message.contains("`http://server/a.tgz` is refused by the proxy: "), "{message}");
    assert_eq!(server.requests().len(), 0);
    with(&["other", "127.0.0.1"]).unwrap();
}

#[test]
fn options_that_cannot_be_used_are_refused() {
    let scene = Scene::new();
    let proxy = Some(Proxy { url: "ftp://me:secret@host".to_owned(), except: vec![] });
    let refused = |options| Fetcher::new(options).unwrap_err().to_string();
    assert_eq!(
        refused(FetchOptions { proxy, ..scene.options() }),
        "`ftp://…@host` is no proxy: expected `http://HOST:PORT` or `https://HOST:PORT`"
    );
    let with = |path| refused(FetchOptions { certificates: Some(path), ..scene.options() });
    assert_eq!(
        scene.plain(&with(scene.put("empty", b""))),
        "`SCRATCH/empty` cannot be used as certificates to trust: no certificate is in it; expected a PEM file"
    );
    assert_eq!(
        scene.plain(&with(scene.path("absent"))),
        "`SCRATCH/absent` cannot be used as certificates to trust: No such file or directory (os error 2); \
         expected a PEM file"
    );
}

#[test]
fn a_stop_does_not_wait_for_a_server_and_keeps_what_came() {
    let server = Server::new(|_, _| Reply::part(BYTES, 10, &[ETAG]).stalling());
    let scene = Scene::new();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let options = FetchOptions {
        stop,
        stall_timeout: Duration::from_mins(5),
        progress: Arc::new(move |progress| {
            told.store(progress.done > 0, std::sync::atomic::Ordering::SeqCst);
        }),
        ..scene.options()
    };
    let source = url_source(server.url("a.tgz"), BYTES);
    let message = scene.refused(scene.fetch_with(options, &source));
    assert_eq!(message, "package `zlib`: source `src`: the transfer was stopped");
    assert_eq!(fs::read(scene.path("cache/src/a.tgz.part")).unwrap(), &BYTES[..10]);
}
