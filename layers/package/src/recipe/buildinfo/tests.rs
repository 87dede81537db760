//! Every rule of `buildinfo.json`, with what is said when it is broken.

use super::*;
use crate::source::{Commit, Download, Pin};

const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";
const SHA256: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Reads a document of the package `zlib`, in which `SHA1` and `SHA256` stand for digests.
fn read(document: &str) -> (Recipe, Vec<String>) {
    let mut problems = Vec::new();
    let document = document.replace("SHA256", SHA256).replace("SHA1", SHA1);
    let name = "zlib".parse().unwrap();
    let recipe =
        recipe(document.as_bytes(), &name, &Variant::default(), "zlib/buildinfo.json", &mut problems);
    let lines = problems.iter().map(ToString::to_string);
    let lines = lines.map(|line| line.strip_prefix("zlib/buildinfo.json: ").unwrap().to_owned());
    (recipe, lines.collect())
}

fn refused(cases: &[(&str, &[&str])]) {
    for (document, expected) in cases {
        assert_eq!(read(document).1, *expected, "{document}");
    }
}

fn accepted(document: &str) -> Recipe {
    let (recipe, problems) = read(document);
    assert_eq!(problems, [""; 0], "{document}");
    recipe
}

#[test]
fn an_empty_file_is_a_recipe_of_defaults() {
    for document in ["", "\n", "{}"] {
        let recipe = accepted(document);
        assert!(recipe.sources.is_empty() && recipe.requires.is_empty() && recipe.environment.is_empty());
        assert_eq!((recipe.build_script.as_str(), recipe.docker.as_deref()), ("build", None));
        assert!(!recipe.state_directory && !recipe.network && recipe.sysctl.is_empty());
        assert_eq!((recipe.username, recipe.group), (None, None));
    }
}

#[test]
fn the_name_of_the_program_that_hosts_get_is_taken() {
    let name = PKGPANDA.parse().unwrap();
    let mut problems = Vec::new();
    recipe(b"", &name, &Variant::default(), "pkgpanda/buildinfo.json", &mut problems);
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let expected = "pkgpanda/buildinfo.json: the name `pkgpanda` is taken by the program that every host gets: \
                    rename the package";
    assert_eq!(told, [expected]);
}

#[test]
fn every_key_is_read() {
    let recipe = accepted(
        r#"{
            "sources": {
                "a": {"kind": "git", "git": "https://host/a.git", "ref": "SHA1", "ref_origin": "v1"},
                "b": {"kind": "git_local", "rel_path": "../.."},
                "c": {"kind": "url", "url": " file://c.txt ", "sha1": "SHA1"},
                "d": {"kind": "url_extract", "url": "http://host/d.tar.xz", "sha256": "SHA256", "sha1": "SHA1"}
            },
            "requires": ["openssl", {"name": "curl", "variant": "tiny"}, {"name": "a", "variant": null}],
            "build_script": "./scripts/make",
            "docker": "golang:1.16",
            "environment": {"JAVA_HOME": "/opt/mesosphere/active/java", "_x": ""},
            "state_directory": true,
            "username": "dcos_zlib",
            "group": "systemd-journal",
            "sysctl": {"dcos-zlib": {"vm.max_map_count": 262144, "net/ipv4/ip_forward": "1"}},
            "network": true
        }"#,
    );
    let pin = |sha256: Option<&str>| Pin {
        sha256: sha256.map(|digits| digits.parse().unwrap()),
        sha1: Some(SHA1.to_owned()),
    };
    let sources = [
        (
            "a",
            Source::Git {
                url: "https://host/a.git".to_owned(),
                commit: Commit::parse(SHA1).unwrap(),
                ref_origin: "v1".to_owned(),
                sha256: None,
            },
        ),
        ("b", Source::GitLocal { rel_path: "../..".to_owned() }),
        ("c", Source::Url(Download { url: "file://c.txt".to_owned(), pin: pin(None) })),
        (
            "d",
            Source::UrlExtract(Download { url: "http://host/d.tar.xz".to_owned(), pin: pin(Some(SHA256)) }),
        ),
    ];
    assert_eq!(recipe.sources, sources.map(|(name, source)| (name.to_owned(), source)).into());
    let requires = recipe.requires.iter();
    let requires: Vec<_> =
        requires.map(|required| format!("{}{}", required.variant.prefix(), required.name)).collect();
    assert_eq!(requires, ["a", "tiny.curl", "openssl"]);
    assert_eq!(
        (recipe.build_script.as_str(), recipe.docker.as_deref()),
        ("scripts/make", Some("golang:1.16"))
    );
    assert_eq!(recipe.environment["JAVA_HOME"], "/opt/mesosphere/active/java");
    assert_eq!(recipe.username.unwrap().as_str(), "dcos_zlib");
    assert_eq!(recipe.group.unwrap().as_str(), "systemd-journal");
    assert_eq!(recipe.sysctl["dcos-zlib"]["vm.max_map_count"], "262144");
    assert_eq!(recipe.sysctl["dcos-zlib"]["net/ipv4/ip_forward"], "1");
    assert!(recipe.state_directory && recipe.network);
}

#[test]
fn a_single_source_is_short_for_one_of_the_packages_name() {
    let source = r#"{"kind": "url", "url": "https://host/z", "sha1": "SHA1"}"#;
    let short = accepted(&format!(r#"{{"single_source": {source}}}"#));
    let long = accepted(&format!(r#"{{"sources": {{"zlib": {source}}}}}"#));
    assert_eq!(short.sources, long.sources);
    assert_eq!(short.sources.len(), 1);
}

#[test]
fn a_variant_has_a_build_script_of_its_own() {
    let variant = Variant::named("tiny").unwrap();
    let recipe = recipe(b"", &"zlib".parse().unwrap(), &variant, "", &mut Vec::new());
    assert_eq!(recipe.build_script, "tiny.build");
}

#[test]
fn digests_may_be_written_in_either_case() {
    let recipe = accepted(&format!(
        r#"{{"sources": {{
            "a": {{"kind": "url", "url": "https://host/z", "sha1": "{}", "sha256": "{}"}},
            "b": {{"kind": "git", "git": "git@host:z.git", "ref": "{}", "ref_origin": "main", "sha256": "SHA256"}}
        }}}}"#,
        SHA1.to_uppercase(),
        SHA256.to_uppercase(),
        SHA256.to_uppercase(),
    ));
    let Source::Url(Download { pin, .. }) = &recipe.sources["a"] else { panic!() };
    assert_eq!((pin.sha1.as_deref(), pin.sha256.unwrap().to_string()), (Some(SHA1), SHA256.to_owned()));
    let Source::Git { commit, .. } = &recipe.sources["b"] else { panic!() };
    assert_eq!(commit.as_str(), SHA256);
}

#[test]
fn a_file_that_is_no_json_object_is_told_with_its_line() {
    refused(&[
        ("[]", &["expected an object, found a list"]),
        ("7", &["expected an object, found the number 7"]),
        ("{\n  \"a\": 1,\n}", &["is no JSON: trailing comma at line 3 column 1"]),
        ("{\"docker\": \"a\"", &["is no JSON: EOF while parsing an object at line 1 column 14"]),
        ("{} {}", &["is no JSON: trailing characters at line 1 column 4"]),
        (&"[".repeat(1000), &["is no JSON: recursion limit exceeded at line 1 column 128"]),
    ]);
}

#[test]
fn unknown_and_refused_keys_are_told_all_at_once() {
    refused(&[
        (
            r#"{"require": [], "zzz": 1, "name": "zlib", "single_sauce": {}, "a\nb": 0}"#,
            &[
                "`name`: does not belong here: a package is named by its directory",
                "`\"a\\nb\"`: unknown key: expected one of sources, single_source, requires, build_script, \
                 docker, environment, state_directory, username, group, sysctl, network",
                "`require`: unknown key: did you mean `requires`?",
                "`single_sauce`: unknown key: did you mean `single_source`?",
                "`zzz`: unknown key: expected one of sources, single_source, requires, build_script, docker, \
                 environment, state_directory, username, group, sysctl, network",
            ],
        ),
        (
            r#"{"variant": null, "pkgpanda_version": "0.2", "build": "x", "extra_source": "x", "version_extra": "x"}"#,
            &[
                "`variant`: does not belong here: a variant is named by the file, as in `<variant>.buildinfo.json`",
                "`pkgpanda_version`: does not belong here: the tool knows its format revision",
                "`build`: does not belong here: a build script is named by `build_script`",
                "`extra_source`: does not belong here: what lies in `extra/` is always part of the recipe",
                "`version_extra`: is refused: it would put a `-` into the version, which no package id allows",
            ],
        ),
        (
            r#"{"docker": "a", "docker": "b", "sysctl": {"a": {}, "a": {}}}"#,
            &[
                "`docker`: is given twice: JSON readers would silently take the last one",
                "`sysctl.a`: is given twice: JSON readers would silently take the last one",
            ],
        ),
    ]);
}

#[test]
fn every_key_has_its_type() {
    refused(&[
        (r#"{"sources": []}"#, &["`sources`: expected an object, found a list"]),
        (r#"{"sources": {"a": "x"}}"#, &["`sources.a`: expected an object, found text"]),
        (r#"{"single_source": null}"#, &["`single_source`: expected an object, found `null`"]),
        (r#"{"requires": "a"}"#, &["`requires`: expected a list, found text"]),
        (r#"{"requires": {"a": 1}}"#, &["`requires`: expected a list, found an object"]),
        (
            r#"{"requires": [1]}"#,
            &["`requires[0]`: expected a name, or an object of `name` and `variant`, found the number 1"],
        ),
        (r#"{"build_script": []}"#, &["`build_script`: expected text, found a list"]),
        (r#"{"docker": 1.5}"#, &["`docker`: expected text, found the number 1.5: put it in quotes"]),
        (r#"{"environment": "a"}"#, &["`environment`: expected an object, found text"]),
        (
            r#"{"environment": {"A": 1}}"#,
            &["`environment.A`: expected text, found the number 1: put it in quotes"],
        ),
        (r#"{"environment": {"A": null}}"#, &["`environment.A`: expected text, found `null`"]),
        (r#"{"state_directory": 1}"#, &["`state_directory`: expected `true` or `false`, found the number 1"]),
        (r#"{"state_directory": "true"}"#, &["`state_directory`: expected `true` or `false`, found text"]),
        (r#"{"network": null}"#, &["`network`: expected `true` or `false`, found `null`"]),
        (r#"{"username": true}"#, &["`username`: expected text, found `true`: put it in quotes"]),
        (r#"{"sysctl": 1}"#, &["`sysctl`: expected an object, found the number 1"]),
        (r#"{"sysctl": {"a": "b"}}"#, &["`sysctl.a`: expected an object, found text"]),
        (
            r#"{"sysctl": {"a": {"vm.x": true}}}"#,
            &["`sysctl.a.\"vm.x\"`: expected text or a whole number, found `true`"],
        ),
        (
            r#"{"sysctl": {"a": {"vm.x": 0.5}}}"#,
            &["`sysctl.a.\"vm.x\"`: expected text or a whole number, found the number 0.5"],
        ),
    ]);
}

#[test]
fn requirements_are_names_of_packages_each_listed_once() {
    refused(&[
        (
            r#"{"requires": ["curl--0a1b", ".x", "curl", "curl", {"name": "curl", "variant": null}]}"#,
            &[
                "`requires[0]`: `curl--0a1b` is a package id: write `curl`, versions follow from the recipes",
                "`requires[1]`: `.x` is no package name: expected letters, digits and `@._+-`, not beginning with \
                 `.` or `-`, without `--`",
                "`requires[3]`: `curl` is listed twice: remove one",
                "`requires[4]`: `curl` is listed twice: remove one",
            ],
        ),
        (
            r#"{"requires": [{"name": "curl"}, {"variant": "a"}, {"name": "b", "variant": ""}, {"nam": "b"}]}"#,
            &[
                "`requires[0].variant`: is missing: expected a variant, or `null` for the default one",
                "`requires[1].name`: is missing: expected the name of a package",
                "`requires[2].variant`: is empty: for the default variant, write `null`",
                "`requires[3].nam`: unknown key: did you mean `name`?",
                "`requires[3].name`: is missing: expected the name of a package",
                "`requires[3].variant`: is missing: expected a variant, or `null` for the default one",
            ],
        ),
        (
            r#"{"requires": [{"name": "a", "variant": "<default>"}]}"#,
            &["`requires[0].variant`: `<default>` is no variant: expected letters, digits and `@._+-`, not \
               beginning with `.` or `-`, without `--`"],
        ),
    ]);
}

#[test]
fn a_build_script_is_a_file_of_the_recipe() {
    refused(&[
        (r#"{"build_script": ""}"#, &["`build_script`: is empty: expected a file of this directory"]),
        (r#"{"build_script": "/bin/sh"}"#, &["`build_script`: `/bin/sh` is no path below this directory"]),
        (r#"{"build_script": "a/../b"}"#, &["`build_script`: `a/../b` is no path below this directory"]),
        (r#"{"build_script": "a\nb"}"#, &["`build_script`: `a\\nb` holds control characters"]),
        (r#"{"docker": ""}"#, &["`docker`: `` is no name of a builder: expected text without spaces"]),
        (r#"{"docker": "a b"}"#, &["`docker`: `a b` is no name of a builder: expected text without spaces"]),
    ]);
}

#[test]
fn users_and_groups_have_the_names_of_accounts() {
    accepted(r#"{"username": "dcos_a", "group": ""}"#);
    refused(&[
        (
            r#"{"username": "root"}"#,
            &[
                "`username`: `root` is no user name of a package: expected `dcos_` and then lower-case letters, \
               digits and `_`, at most 32 bytes",
            ],
        ),
        (
            r#"{"username": "dcos_a", "group": "Wheel"}"#,
            &[
                "`group`: `Wheel` is no group name: expected lower-case letters, digits, `_` and `-`, beginning \
               with a letter or `_`, at most 32 bytes",
            ],
        ),
        (
            r#"{"group": "adm"}"#,
            &["`group`: is the group of the package's user: it needs `username` beside it"],
        ),
    ]);
    let (_, problems) = read(&format!(r#"{{"username": "dcos_{}"}}"#, "a".repeat(100_000)));
    assert_eq!(problems, [format!("`username`: `dcos_{}…` is too long for a name", "a".repeat(155))]);
}

#[test]
fn settings_fit_into_files_of_one_a_line() {
    refused(&[
        (
            r#"{"environment": {"PATH": "/bin", "LD_LIBRARY_PATH": "", "1A": "", "A-B": "", "": "", "OK": "a\nb", "Z": "a\u0000"}}"#,
            &[
                "`environment.\"\"`: `` is no name of a variable: expected letters, digits and `_`, not beginning \
                 with a digit",
                "`environment.1A`: `1A` is no name of a variable: expected letters, digits and `_`, not beginning \
                 with a digit",
                "`environment.A-B`: `A-B` is no name of a variable: expected letters, digits and `_`, not \
                 beginning with a digit",
                "`environment.LD_LIBRARY_PATH`: `LD_LIBRARY_PATH` is reserved: activation sets it for all packages",
                "`environment.OK`: holds `\\n`, which a file of one value a line cannot: remove it",
                "`environment.PATH`: `PATH` is reserved: activation sets it for all packages",
                "`environment.Z`: holds `\\u{0}`, which a file of one value a line cannot: remove it",
            ],
        ),
        (
            r#"{"sysctl": {"a.service": {}, "../x": {}, "": {}, "ok@1": {"../../etc/passwd": 1, "a..b": 1, "": 1, "a b": 1, "vm.x": "1\n2"}}}"#,
            &[
                "`sysctl.\"\"`: `` is no name of a service",
                "`sysctl.\"../x\"`: `../x` is no name of a service",
                "`sysctl.\"a.service\"`: ends in `.service`: write `a`",
                "`sysctl.ok@1.\"\"`: `` is no kernel setting: expected a name such as `vm.max_map_count`",
                "`sysctl.ok@1.\"../../etc/passwd\"`: `../../etc/passwd` is no kernel setting: expected a name \
                 such as `vm.max_map_count`",
                "`sysctl.ok@1.\"a b\"`: `a b` is no kernel setting: expected a name such as `vm.max_map_count`",
                "`sysctl.ok@1.\"a..b\"`: `a..b` is no kernel setting: expected a name such as `vm.max_map_count`",
                "`sysctl.ok@1.\"vm.x\"`: holds `\\n`, which a file of one value a line cannot: remove it",
            ],
        ),
    ]);
}

#[test]
fn names_of_sources_are_directories_that_nothing_else_uses() {
    let source = r#"{"kind": "git_local", "rel_path": "."}"#;
    let names = [
        "..",
        "a/b",
        "a b",
        "buildinfo.full.json",
        "latest",
        "x.latest",
        "quarantine",
        "x--1.tar.xz",
        "x.tar.xz",
    ];
    let rule = "is no name of a source: expected letters, digits and `@._+-`, not beginning with `.` or `-`";
    let taken = "is a name that the build itself uses beside the sources";
    for (at, name) in names.into_iter().enumerate() {
        let (_, problems) = read(&format!(r#"{{"sources": {{"{name}": {source}}}}}"#));
        let message = if at < 3 || name.contains("--") { rule } else { taken };
        let key = join("sources", name);
        assert_eq!(problems, [format!("`{key}`: `{name}` {message}")]);
    }
    refused(&[(
        &format!(r#"{{"sources": {{"a": {source}}}, "single_source": {source}}}"#),
        &["`single_source`: stands beside `sources`: move it there, or remove one of the two"],
    )]);
    let mut problems = Vec::new();
    let document = format!(r#"{{"single_source": {source}}}"#);
    recipe(document.as_bytes(), &"latest".parse().unwrap(), &Variant::default(), "f", &mut problems);
    assert_eq!(
        problems[0].message,
        "has the package's name, but `latest` is a name that the build itself uses beside the sources: \
         use `sources`"
    );
}

/// What is said about one source.
fn source_refused(cases: &[(&str, &[&str])]) {
    for (source, expected) in cases {
        let (_, problems) = read(&format!(r#"{{"sources": {{"a": {source}}}}}"#));
        let expected: Vec<_> = expected.iter().map(|line| line.replace('@', "sources.a")).collect();
        assert_eq!(problems, expected, "{source}");
    }
}

#[test]
fn sources_have_a_kind_and_the_keys_of_it() {
    source_refused(&[
        ("{}", &["`@.kind`: is missing: expected one of git, git_local, url, url_extract"]),
        (
            r#"{"kind": "url-extract"}"#,
            &["`@.kind`: `url-extract` is no kind of source: did you mean `url_extract`?"],
        ),
        (
            r#"{"kind": "mercurial"}"#,
            &["`@.kind`: `mercurial` is no kind of source: expected one of git, git_local, url, url_extract"],
        ),
        (
            r#"{"kind": "url", "rul": "https://host/a", "sha265": "x"}"#,
            &[
                "`@.rul`: unknown key: did you mean `url`?",
                "`@.sha265`: unknown key: did you mean `sha256`?",
                "`@`: nothing says what the download must be: expected `sha256` (64 hexadecimal digits), or `sha1`",
                "`@.url`: is missing: expected an http, https or file URL",
            ],
        ),
        (
            r#"{"kind": "git"}"#,
            &[
                "`@.git`: is missing: expected the URL of a repository",
                "`@.ref`: is missing: expected a full commit id",
                "`@.ref_origin`: is missing: expected the branch or tag that holds the commit",
            ],
        ),
        (
            r#"{"kind": "git_local", "rel_path": "..", "sha256": "SHA256"}"#,
            &["`@.sha256`: unknown key: expected one of kind, rel_path"],
        ),
        (r#"{"kind": "git_local"}"#, &["`@.rel_path`: is missing: expected the path of a repository"]),
        (
            r#"{"kind": "git_local", "rel_path": "/srv"}"#,
            &["`@.rel_path`: `/srv` is absolute: expected a path relative to this file's directory"],
        ),
        (
            r#"{"kind": "git_local", "rel_path": ""}"#,
            &["`@.rel_path`: is empty: for the directory itself, write `.`"],
        ),
        (
            r#"{"kind": "git_local", "rel_path": "a\tb"}"#,
            &["`@.rel_path`: `a\\tb` holds control characters: expected a path"],
        ),
    ]);
}

#[test]
fn a_download_is_pinned_by_whole_digests() {
    source_refused(&[
        (
            r#"{"kind": "url", "url": "https://host/a", "sha1": "abc", "sha256": "SHA1"}"#,
            &[
                "`@.sha256`: `0123456789abcdef0123456789abcdef01234567` is no SHA-256 digest: expected 64 \
                 hexadecimal digits",
                "`@.sha1`: `abc` is no SHA-1 digest: expected 40 hexadecimal digits",
            ],
        ),
        (
            r#"{"kind": "git", "git": "https://host/a", "ref": "master", "ref_origin": "-x"}"#,
            &[
                "`@.ref`: `master` is no commit id: expected 40 or 64 hexadecimal digits; branches and tags move on",
                "`@.ref_origin`: `-x` is no name of a branch or tag",
            ],
        ),
        (
            r#"{"kind": "git", "git": "https://host/a", "ref": "0000000000000000000000000000000000000000", "ref_origin": "main"}"#,
            &["`@.ref`: is all zeros, which stands for no commit at all: expected the id of one"],
        ),
    ]);
}

#[test]
fn urls_say_where_from_without_doubt() {
    let cases = [
        ("url", "zlib.tgz", "`zlib.tgz` is no URL: expected `://` in it"),
        ("url", "ftp://host/a", "`ftp` is no scheme of a download: expected http, https or file"),
        ("url", "https:///a", "`https:///a` names no host"),
        ("url", "https://-oProxy/a", "`https://-oProxy/a` names no host"),
        ("url", "https://host/", "`https://host/` does not end in a file name"),
        ("url", "https://host/..", "`https://host/..` does not end in a file name"),
        ("url", "file://", "`file://` names no file"),
        ("url", "https://host/a b", "`https://host/a b` holds white space: write `%20` for a space"),
        ("url", r"https://host/a\u0000", r"`https://host/a\u{0}` holds white space: write `%20` for a space"),
        (
            "url_extract",
            "https://host/a.7z",
            "`a.7z` is no archive: expected .tar, .tar.*, .tgz, .crate or .zip",
        ),
    ];
    for (kind, url, message) in cases {
        source_refused(&[(
            &format!(r#"{{"kind": "{kind}", "url": "{url}", "sha1": "SHA1"}}"#),
            &[&format!("`@.url`: {message}")],
        )]);
    }
    let long = format!(r#"{{"kind": "url", "sha1": "SHA1", "url": "http://host/{}"}}"#, "a".repeat(201));
    source_refused(&[(&long, &["`@.url`: ends in a file name of 201 bytes: expected at most 200"])]);
    let git = |url: &str| {
        read(&format!(
            r#"{{"single_source": {{"kind": "git", "git": "{url}", "ref": "SHA1", "ref_origin": "main"}}}}"#
        ))
    };
    for url in ["https://host/a", "ssh://git@host/a", "git@host:a/b.git", "file:///srv/a.git", "file://a.git"]
    {
        assert_eq!(git(url).1, [""; 0], "{url}");
    }
    for url in
        ["ext::sh -c x", "ext::sh", "a", "-x@host:a", "git@-x:a", "git@host:-a", "c:/x", "ftp://host/a"]
    {
        let (recipe, problems) = git(url);
        assert!(recipe.sources.is_empty() && problems.len() == 1, "{url}: {problems:?}");
    }
    assert_eq!(
        git("ext::sh").1,
        [
            "`single_source.git`: `ext::sh` is no URL of a repository: expected http, https, git, ssh or file, \
          or `user@host:path`"
        ]
    );
}
