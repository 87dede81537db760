use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text.as_bytes()).unwrap_or_else(|error| panic!("`{text}` {error}"))
}

/// As the index does it: a path without the prefix is never asked for.
fn matches(text: &str, path: &[u8]) -> bool {
    let pattern = pattern(text);
    path.starts_with(&pattern.prefix) && pattern.matches(path)
}

#[test]
fn expressions_mean_what_they_mean_to_pcre() {
    for (text, yes, no) in [
        ("/etc/passwd", &[&b"/etc/passwd"[..], b"/etc/passwd\n"][..], &[&b"/etc/passwd-"[..], b"/etc"][..]),
        ("/a.c", &[b"/abc", b"/a\nc", b"/a\xffc"], &[b"/ac", b"x/abc"]),
        ("/usr(/.*)?", &[b"/usr", b"/usr/", b"/usr/a/b"], &[b"/usra"]),
        ("^/x$", &[b"/x", b"/x\n"], &[b"/x\n\n", b"/xx"]),
        (r"/a\.b\_\-c", &[b"/a.b_-c"], &[b"/axb_-c"]),
        ("/[a-c]*", &[b"/", b"/abcabc"], &[b"/abd"]),
        ("/[]a]+", &[b"/]a]"], &[b"/"]),
        ("/[^]a]", &[b"/b", b"/\n", b"/\x80"], &[b"/]", b"/a"]),
        ("/[a[&&~~-]", &[b"/[", b"/&", b"/~", b"/-"], &[b"/b"]),
        (r"/group[-\+]?", &[b"/group-", b"/group+", b"/group"], &[b"/group,"]),
        ("/opt(/.*?)/x", &[b"/opt/a/b/x"], &[b"/opt/x"]),
        ("/run/*.ab.*", &[b"/run/ab", b"/run/xab", b"/run//ab"], &[b"/runxab"]),
        ("/[a-]", &[b"/-", b"/a"], &[b"/b"]),
        (r"/[\]\-x]", &[b"/]", b"/-", b"/x"], &[b"/\\"]),
        ("/[.]x", &[b"/.x"], &[b"/ax"]),
        ("/[[:digit:][:^alnum:]_]", &[b"/7", b"/-", b"/_"], &[b"/x"]),
        (r"/\d\D\w\W\s\S", &[b"/1a1- x"], &[b"/aa1- x"]),
        (r"/[\D]", &[b"/a"], &[b"/1"]),
        ("/x{2}", &[b"/xx"], &[b"/x", b"/xxx"]),
        ("/x{1,2}y{0,}z{0}", &[b"/x", b"/xxyy"], &[b"/xxx", b"/xz"]),
        ("/x{a}{,}{", &[b"/x{a}{,}{"], &[b"/x"]),
        ("/]}", &[b"/]}"], &[b"/"]),
        ("/a*{x", &[b"/aa{x"], &[b"/aax"]),
        ("/(a|b(c|)|)(?:d)", &[b"/ad", b"/bcd", b"/bd", b"/d"], &[b"/cd"]),
        ("/x*?y+?z??", &[b"/xxy", b"/yz"], &[b"/x"]),
        (r"/[^\s\S]?x", &[b"/x"], &[b"/ax"]),
        // The first directory is never optional to libselinux.
        ("/usr/?x", &[b"/usr/x"], &[b"/usrx"]),
        ("/<a>&&~", &[b"/<a>&&~"], &[b"/a"]),
        (r"/\<a\>", &[b"/<a>"], &[b"/a"]),
    ] {
        for path in yes {
            assert!(matches(text, path), "`{text}` and {}", path.escape_ascii());
        }
        for path in no {
            assert!(!matches(text, path), "`{text}` and {}", path.escape_ascii());
        }
    }
}

#[test]
fn what_is_no_regular_language_is_refused_by_name() {
    for (text, reason) in [
        ("/(?=a)", "uses `(?=a`"),
        ("/(?!a)", "uses `(?!a`"),
        ("/(?i)a", "uses `(?i)`"),
        ("/(?<n>a)", "uses `(?<n`"),
        ("/(*ACCEPT)", "uses `(*AC`"),
        (r"/(a)\1", r"uses `\1`"),
        (r"/\bx", r"uses `\b`"),
        (r"/\x41", r"uses `\x`"),
        (r"/\Qa\E", r"uses `\Q`"),
        ("/a++", "uses `++`"),
        ("/a{2}+", "uses `{2}+`"),
        ("/a**", "uses `**`"),
        ("/a{2}{3}", "uses `{2}{3}`"),
        ("/a{,3}", "uses `{,3}`"),
        ("/a|/b", "put parentheses"),
        ("/a$b", "uses `$`"),
        ("/(a$)", "uses `$`"),
        ("/a^b", "uses `^`"),
        ("^*", "uses `^`"),
        (r"/[\d-z]", "uses `-`"),
        (r"/[a-\d]", "uses `-`"),
        ("/[[:alpha:]-z]", "uses `-`"),
        ("/[a-[:alpha:]]", "uses `-`"),
        ("/[:alpha:]", "uses `[::]`"),
        ("/[[.a.]]", "uses `[..]`"),
        ("/[[=a=]]", "uses `[==]`"),
        ("/[[:nope:]]", "POSIX"),
        ("/(a", "not closed"),
        ("/a)", "closes nothing"),
        ("/[a", "not closed"),
        ("/[]", "not closed"),
        ("/[b-a]", "wrong order"),
        ("/a{3,2}", "wrong order"),
        ("/a{65536}", "65535"),
        ("/a{99999999999999999999}", "65535"),
        ("*", "follows nothing"),
        ("/(+)", "follows nothing"),
        ("/a\\", "is last"),
    ] {
        let error = Pattern::parse(text.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(error.contains(reason), "`{text}` {error}");
    }
}

#[test]
fn nothing_that_is_accepted_is_too_large_to_be_run() {
    for text in [
        "/.{0,9990}".to_owned(),
        "/([^/]{99}x?){99}".to_owned(),
        "/([[:alpha:]]?.*){3000}".to_owned(),
        "(".repeat(50) + &")".repeat(50),
        "/".to_owned() + &"[^a]".repeat(9_000),
    ] {
        matches(&text, b"/abc");
    }
    for text in ["/.{0,9}{9}", "/(a{999}){999}", "/((((a{999}){999}){999}){999}){999}"] {
        assert!(Pattern::parse(text.as_bytes()).is_err(), "{text}");
    }
    let deep = "(".repeat(51) + &")".repeat(51);
    assert_eq!(Pattern::parse(deep.as_bytes()).map(drop), Err(PatternError::TooLarge));
}

#[test]
fn the_prefix_is_what_every_match_begins_with() {
    for (text, prefix, exact) in [
        ("/etc/passwd", "/etc/passwd", true),
        (r"/a\.b", "/a.b", true),
        (r"/a\.b/c.*", "/a.b/c", false),
        ("/usr(/.*)?", "/usr", false),
        ("/usr/libx?", "/usr/lib", false),
        ("/usr/?x", "/usr/", false),
        ("/us*r/x", "/u", false),
        ("(/.*)?", "", false),
        ("/]}", "/]}", true),
        ("^/etc/x", "/etc/x", false),
        ("/etc/{x", "/etc/{x", false),
    ] {
        let pattern = pattern(text);
        assert_eq!((&*pattern.prefix, pattern.exact), (prefix.as_bytes(), exact), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_expressions_never_panic(text in "[ -~]{0,30}", path in "/[ -~\n]{0,8}") {
        let pattern = Pattern::parse(text.as_bytes()).ok();
        if let Some(pattern) = pattern.filter(|pattern| path.as_bytes().starts_with(&pattern.prefix)) {
            pattern.matches(path.as_bytes());
        }
    }

    #[test]
    fn expressions_of_special_characters_never_panic(text in r"[\\a./|()\[\]{}0-9,^$?*+:=-]{0,24}") {
        if let Ok(pattern) = Pattern::parse(text.as_bytes()) {
            let prefix = pattern.prefix.clone();
            pattern.matches(&prefix);
        }
    }
}
