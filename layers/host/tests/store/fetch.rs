use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bake_base::Digest;

use super::server::{Manner, Server};
use super::{Package, Yard, installed, names, packed};

/// A package that no compression makes small.
fn large(id: &str) -> Package {
    let mut text = String::new();
    for number in 0..4000 {
        text.push_str(&Digest::of(format!("{id} {number}").as_bytes()).to_string());
    }
    Package::new(id).file("data", &text)
}

/// Where a serve directory has a package.
fn path_of(id: &str) -> String {
    format!("/packages/{}/{id}.tar.xz", id.split("--").next().unwrap())
}

/// A package that is served, with a list of digests or without.
fn served(yard: &Yard, id: &str, sums: bool, manner: Manner) -> Server {
    let bytes = fs::read(packed(yard, &large(id))).unwrap();
    let mut files = BTreeMap::from([(path_of(id), bytes.clone())]);
    if sums {
        let line = format!("{}  {}\n", Digest::of(&bytes), &path_of(id)[1..]);
        files.insert("/SHA256SUMS".to_owned(), line.into_bytes());
    }
    Server::new(files, manner)
}

fn url(server: &Server) -> String {
    format!("--repository-url={}/", server.url)
}

/// A host that knows the digest of `new--1` from a product, and lacks it.
fn knowing() -> Yard {
    let yard = Yard::installed(&[large("new--1"), Package::new("hello--1")], &["master"]);
    let others: Vec<String> = names(&yard).into_iter().filter(|id| id != "new--1").collect();
    let mut activate = vec!["activate"];
    activate.extend(others.iter().map(String::as_str));
    yard.done(&activate);
    yard.done(&["remove", "--force", "new--1"]);
    yard
}

#[test]
fn a_package_is_fetched_once_and_its_digest_comes_from_the_server() {
    let yard = installed();
    let server = served(&yard, "new--1", true, Manner::Well);
    assert_eq!(yard.done(&["fetch", &url(&server), "new--1"]), "\rFetching: new--1\rFetched: new--1\n");
    assert_eq!(
        yard.done(&["fetch", &url(&server), "new--1"]),
        "\rFetching: new--1Package already added.\n\rFetched: new--1\n"
    );
    let asked: Vec<_> = server.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(asked, ["/SHA256SUMS".to_owned(), path_of("new--1")]);
    assert!(names(&yard).iter().all(|name| !name.starts_with('.')), "{:?}", names(&yard));
}

#[test]
fn without_a_digest_nothing_is_taken_unless_it_is_wanted_so() {
    let yard = installed();
    let server = served(&yard, "new--1", false, Manner::Well);
    let said = yard.refused(&["fetch", &url(&server), "new--1"]);
    assert!(said.contains("nobody knows the digest") && said.contains("--unverified"), "{said}");
    yard.done(&["fetch", &url(&server), "new--1", "--unverified"]);
    assert!(yard.home("packages/new--1/data").is_file());
}

#[test]
fn a_broken_connection_is_taken_up_where_it_broke() {
    let yard = installed();
    let server = served(&yard, "new--1", true, Manner::Cut(50_000));
    yard.done(&["fetch", &url(&server), "new--1"]);
    let asked = server.asked.lock().unwrap();
    let firsts: Vec<_> =
        asked.iter().filter(|(path, _)| path.ends_with("xz")).map(|(_, first)| *first).collect();
    assert!(firsts.len() > 2, "{firsts:?}");
    let expected: Vec<_> = (0..firsts.len()).map(|number| number * 50_000).collect();
    assert_eq!(firsts, expected);
}

#[test]
fn a_server_that_always_breaks_off_is_told_of_and_what_came_stays_for_the_next_run() {
    let yard = knowing();
    let bytes = fs::read(yard.from().join(&path_of("new--1")[1..])).unwrap();
    let files = BTreeMap::from([(path_of("new--1"), bytes)]);
    let broken = Server::new(files.clone(), Manner::CutWithoutRanges(1000));
    let said = yard.refused(&["fetch", &url(&broken), "new--1"]);
    assert!(said.contains(&format!("fetching `{}{}` failed", broken.url, path_of("new--1"))), "{said}");
    assert!(names(&yard).contains(&".new--1~.unfinished".to_owned()), "{:?}", names(&yard));
    let well = Server::new(files, Manner::Well);
    yard.done(&["fetch", &url(&well), "new--1"]);
    let asked = well.asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].1 > 0, "it began anew");
}

#[test]
fn another_file_in_its_place_is_refused_also_when_it_is_too_long() {
    let yard = knowing();
    let before = names(&yard);
    let good = fs::read(yard.from().join(&path_of("new--1")[1..])).unwrap();
    let mut swapped = good.clone();
    swapped[1000] ^= 1;
    let refused = |content: Vec<u8>, manner| {
        let server = Server::new(BTreeMap::from([(path_of("new--1"), content)]), manner);
        let said = yard.refused(&["fetch", &url(&server), "new--1"]);
        assert!(said.contains(&server.url), "{said}");
        let part = yard.home("packages/.new--1~.unfinished");
        if part.exists() {
            fs::remove_file(part).unwrap();
        }
        assert_eq!(names(&yard), before);
        said
    };
    let said = refused(swapped, Manner::Well);
    assert!(said.contains(&format!("sha256 {}", Digest::of(&good))), "{said}");
    let said = refused(good[..good.len() - 1].to_vec(), Manner::Well);
    assert!(said.contains(&format!("expected {} bytes", good.len())), "{said}");
    let longer = [good.clone(), b"x".to_vec()].concat();
    assert!(refused(longer, Manner::Well).contains("it is longer than"));
    assert!(refused(good.clone(), Manner::Endless).contains("it is longer than"));
    let said = yard.refused(&["fetch", "--repository-url=http://127.0.0.1:1", "new--1"]);
    assert!(said.contains("fetching `http://127.0.0.1:1/"), "{said}");
}

#[test]
fn what_an_earlier_run_left_of_another_file_does_no_harm() {
    let yard = knowing();
    fs::write(yard.home("packages/.new--1~.unfinished"), [9; 5000]).unwrap();
    let bytes = fs::read(yard.from().join(&path_of("new--1")[1..])).unwrap();
    let server = Server::new(BTreeMap::from([(path_of("new--1"), bytes)]), Manner::Well);
    yard.done(&["fetch", &url(&server), "new--1"]);
    assert!(yard.home("packages/new--1/data").is_file());
}

#[test]
fn a_mounted_serve_directory_needs_no_program() {
    let yard = knowing();
    let url = format!("--repository-url=file://{}", yard.from().display());
    let mut command = yard.command(&["fetch", &url, "new--1"]);
    assert!(command.env("PATH", "/nowhere").status().unwrap().success());
    let gone = ["fetch", "--repository-url=file:///nowhere", "gone--1", "--unverified"];
    assert!(yard.refused(&gone).contains("fetching `file:///nowhere/packages/gone/gone--1.tar.xz` failed"));
}

#[test]
fn either_program_will_do_and_neither_is_told() {
    for (program, works) in [(Some("curl"), true), (Some("wget"), true), (None, false)] {
        let yard = installed();
        let server = served(&yard, "new--1", true, Manner::Well);
        let programs = yard.at("programs");
        fs::create_dir(&programs).unwrap();
        if let Some(program) = program {
            let real = ["/usr/bin", "/bin"].map(|at| Path::new(at).join(program));
            let Some(real) = real.iter().find(|real| real.exists()) else {
                panic!("{program} is missing: install it");
            };
            std::os::unix::fs::symlink(real, programs.join(program)).unwrap();
        }
        let output =
            yard.command(&["fetch", &url(&server), "new--1"]).env("PATH", &programs).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), works, "{program:?}: {said}");
        assert!(works || said.contains("neither curl nor wget is there: install curl"), "{said}");
    }
}
