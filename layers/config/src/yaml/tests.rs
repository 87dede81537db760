use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Key;

fn said(text: &str) -> String {
    match read("c", text.as_bytes()) {
        Ok(node) => node.to_json().to_string(),
        Err(problems) => problems.to_string(),
    }
}

fn value(text: &str) -> String {
    said(&format!("a: {text}"))
}

#[test]
fn exact_forms_are_read() {
    for (text, expected) in [
        ("true", json!(true)),
        ("\"true\"", json!("true")),
        ("-5", json!(-5)),
        ("0", json!(0)),
        ("9223372036854775807", json!(i64::MAX)),
        ("1.5", json!(1.5)),
        ("~", json!(null)),
        ("null", json!(null)),
        ("", json!(null)),
        ("9.0.0.0/8", json!("9.0.0.0/8")),
        ("192.0.2.1:53", json!("192.0.2.1:53")),
        ("70:B3:D5:00:00:00", json!("70:B3:D5:00:00:00")),
        ("20secs", json!("20secs")),
        ("1.2.3", json!("1.2.3")),
        ("2.3.0-dev", json!("2.3.0-dev")),
        ("2026-release", json!("2026-release")),
        ("yesterday", json!("yesterday")),
        ("'0755'", json!("0755")),
        ("|\n  a\n  b", json!("a\nb\n")),
        ("[1, {b: c}]", json!([1, {"b": "c"}])),
    ] {
        assert_eq!(value(text), json!({ "a": expected }).to_string(), "{text}");
    }
}

#[test]
fn words_that_readers_disagree_about_are_refused() {
    for word in ["yes", "Yes", "YES", "y", "Y", "on", "On", "ON", "True", "TRUE"] {
        let expected = format!(
            "c:1:4: is `{word}` without quotes, true to some readers of YAML and a text to others; write `true`, or quote it"
        );
        assert_eq!(value(word), expected);
    }
    for word in ["no", "No", "NO", "n", "N", "off", "Off", "OFF", "False", "FALSE"] {
        assert!(value(word).ends_with("write `false`, or quote it"), "{word}");
    }
    for (text, expected) in [
        ("0755", "begins with 0, octal to some readers of YAML"),
        ("-012", "begins with 0, octal to some readers of YAML"),
        ("0o17", "is octal"),
        ("0x1F", "is hexadecimal"),
        ("0b11", "is binary"),
        ("1_000", "has `_` between digits"),
        ("1_0.5", "has `_` between digits"),
        ("1:20", "has `:` between digits, a number to base 60"),
        ("190:20:30", "has `:` between digits, a number to base 60"),
        (".inf", "is no finite number"),
        ("-.Inf", "is no finite number"),
        (".NaN", "is no finite number"),
        ("2026-01-31", "looks like a date"),
        ("2026-1-3T10:00:00Z", "looks like a date"),
        ("1e5", "has an exponent"),
        ("1.0E+3", "has an exponent"),
        ("+5", "has a sign"),
        ("-0", "has a sign"),
        (".5", "is a number that readers of YAML treat differently"),
        ("5.", "is a number that readers of YAML treat differently"),
        ("01.5", "begins with 0"),
        ("9223372036854775808", "is a number too large"),
        ("NULL", "is `NULL`, nothing to some readers"),
        ("=", "is `=` without quotes"),
    ] {
        let said = value(text);
        let fix = said.contains("quote it");
        assert!(said.starts_with("c:1:4: ") && fix, "{text}: {said}");
        assert!(said.contains(expected) || text == "01.5", "{text}: {said}");
    }
    // What may be a password is not repeated.
    assert!(!value("0123456").contains("0123456"));
}

#[test]
fn what_cannot_be_seen_is_refused_by_name() {
    for (text, expected) in [
        ("a: &b 1\n", "c:1:4: has an anchor (`&`)"),
        ("a: &b 1\nc: *b\n", "has an alias (`*`)"),
        ("a: !!str 1\n", "has a tag (`!`)"),
        ("<<: {b: 1}\n", "c:1:1: is a merge key (`<<`)"),
        ("a: 1\n---\nb: 1\n", "begins another document; expected one in a file"),
        ("a: 1\nb: 2\na: 3\n", "c:3:1: `a`: is there twice, first at c:1:1; remove one"),
        ("a: {b: 1, 'b': 2}\n", "c:1:11: `b`: is there twice, first at c:1:5; remove one"),
        ("a:\n\tb: 1\n", "c:2:1: has a tab; indent by spaces"),
        ("a: b\0c\n", "c:1:5: has a NUL character"),
        ("a: b\u{7}c\n", "c:1:5: has the control character U+0007"),
        ("a: b\u{2028}c\n", "c:1:5: has the control character U+2028"),
        ("a: b\rc: d\n", "c:1:5: has a carriage return that ends no line"),
        ("\u{feff}a: 1\n", "c:1:1: begins with a byte order mark"),
        ("%YAML 1.1\n---\na: yes\n", "c:1:1: has a directive"),
        ("on: 1\n", "c:1:1: is `on` without quotes"),
        ("5: 1\n", "c:1:1: is the key `5`, which is no text; quote it"),
        ("[a]: 1\n", "c:1:1: is a key that is a list or a mapping"),
        ("- a\n", "c:1:1: is a list, expected parameters"),
        ("", "c: is empty, expected parameters"),
        ("# nothing\n", "c: is empty, expected parameters"),
        ("a: [1\n", "is not YAML: "),
        ("a: 'b\n", "is not YAML: "),
    ] {
        let said = said(text);
        assert!(said.contains(expected), "{text:?}: {said}");
    }
    let said = |bytes: &[u8]| read("c", bytes).unwrap_err().to_string();
    assert_eq!(said(b"a: 1\nb: \xff\n"), "c:2:4: is not UTF-8 here; save the file as UTF-8");
    assert_eq!(said(b"\xff\xfea\0"), "c:1:1: is UTF-16 or UTF-32; save it as UTF-8");
    let long = "a".repeat(LONGEST + 1);
    assert_eq!(said(long.as_bytes()), "c: has 1048577 bytes, expected at most 1048576");
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = "a: yes\nb: 0755\nc: *d\n";
    let said = said(&text.replace("*d", "&d 1"));
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn what_is_refused_is_marked_and_the_rest_is_read() {
    let marked = |text: &str| {
        let mut problems = vec![];
        let root = read_marked("c", text.as_bytes(), &mut problems);
        let Some(Node { kind: Kind::Map(entries), .. }) = root else { return (None, problems.len()) };
        let shown = |(key, node): (Key, Node)| {
            let value = if node.kind == Kind::Refused { "!".into() } else { node.to_json().to_string() };
            let within = if node.has_refused() && node.kind != Kind::Refused { "!" } else { "" };
            format!("{} {value}{within}", key.name)
        };
        (Some(entries.into_iter().map(shown).collect::<Vec<_>>().join(", ")), problems.len())
    };
    for (text, expected, count) in [
        ("a: yes\nb: 1\nc: 0755\n", "a !, b 1, c !", 2),
        ("a: [1, no]\nb: {c: on, d: 2}\n", "a [1,null]!, b {\"c\":null,\"d\":2}!", 2),
        ("a: &x 1\nb: *x\nc: !!str 2\nd: 3\n", "a !, b !, c !, d 3", 3),
        ("a: &x {b: yes, c: 1}\nd: 3\n", "a !, d 3", 2),
        ("a: 1\nb: 2\na: yes\na: 3\n", "a !, b 2", 3),
        ("&x a: 1\n!!str b: 2\n", "a 1, b 2", 2),
        // At the top nothing is a parameter but what has a name; elsewhere it may be missed.
        ("on: 1\n5: 2\nb: 2\n", "b 2", 2),
        ("a: {on: 1, c: 2}\nb: 2\n", "a !, b 2", 1),
        ("a: {<<: {x: 1}, c: 2}\nb: 2\n", "a !, b 2", 1),
    ] {
        assert_eq!(marked(text), (Some(expected.into()), count), "{text}");
    }
    // Where the rest is not certain there is none.
    for text in
        ["a: yes\nb: [1\n", "a: 1\n---\nb: 2\n", "<<: {a: 1}\n", "&x\na: 1\n", "yes\n", "a: 1\n\tb: 2\n", ""]
    {
        let (root, problems) = marked(text);
        assert!(root.is_none() && problems > 0, "{text:?}: {root:?}");
    }
    let place = Place::file("--set");
    for text in ["yes", "'a' b", "[", "\"\0\""] {
        let mut problems = vec![];
        assert_eq!(scalar_marked(text, &place, &mut problems).kind, Kind::Refused, "{text}");
        assert_eq!(problems.len(), 1, "{text}");
    }
}

#[test]
fn deep_nesting_is_refused_in_every_style() {
    for deep in [
        format!("a: {}{}", "[".repeat(70), "]".repeat(70)),
        format!("a: {}", "[".repeat(100_000)),
        format!("a: {}", "{a: ".repeat(100_000)),
        format!("a:\n {}1", "- ".repeat(100_000)),
        (0..600).map(|level| format!("{}a:\n", " ".repeat(level))).collect(),
    ] {
        let said = said(&deep);
        assert!(
            said.contains("is nested too deep, expected at most 64 levels") || said.contains("is not YAML"),
            "{said}"
        );
    }
    assert!(said(&format!("a: {}{}", "[".repeat(60), "]".repeat(60))).starts_with('{'));
}

#[test]
fn lines_may_end_as_on_any_system() {
    assert_eq!(said("a: 1\r\nb: x\r\n"), said("a: 1\nb: x\n"));
}

#[test]
fn a_value_by_itself_has_the_same_rules() {
    let place = Place::file("--set a");
    let value = |text: &str| match scalar(text, &place) {
        Ok(node) => node.to_json().to_string(),
        Err(problems) => problems.to_string(),
    };
    for (text, expected) in [
        ("5", "5"),
        ("true", "true"),
        ("", "\"\""),
        ("#FFF # x", "\"#FFF # x\""),
        ("a: b", "\"a: b\""),
        ("*x", "\"*x\""),
        ("a\nb\n", "\"a\\nb\\n\""),
        ("[a, 1]", "[\"a\",1]"),
        ("'5'", "\"5\""),
        ("{a: {b: c}}", "{\"a\":{\"b\":\"c\"}}"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
    assert!(value("yes").starts_with("--set a: is `yes` without quotes"));
    assert!(value("[yes]").starts_with("--set a: is `yes` without quotes"));
    assert!(value("{a: 1, a: 2}").contains("is there twice"));
    assert!(value("'a' b").contains("is not YAML"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read("c", &bytes);
    }

    #[test]
    fn arbitrary_yaml_never_panics(text in "[-a0:,\\[\\]{}&*!|>'\"%@`#?~ \n.<=\\\\]{0,60}") {
        let mut problems = vec![];
        let root = read_marked("c", text.as_bytes(), &mut problems);
        // Nothing is refused without a word, and no word is without effect.
        prop_assert!(root.is_some() || !problems.is_empty());
        prop_assert!(!root.is_some_and(|root| root.has_refused()) || !problems.is_empty());
        let _ = scalar(&text, &Place::file("c"));
    }

    #[test]
    fn a_plain_text_is_never_another_value(text in "\\PC{0,12}") {
        if let Ok(node) = scalar(&text, &Place::file("c"))
            && let Kind::Int(number) = node.kind
        {
            prop_assert_eq!(number.to_string(), text.trim());
        }
    }
}
