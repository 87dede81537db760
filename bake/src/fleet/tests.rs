use super::read::parse;
use super::*;

fn fleet(documents: &[&str]) -> Fleet {
    let mut fleet = Fleet::default();
    for (at, document) in documents.iter().enumerate() {
        parse(&mut fleet, document.as_bytes(), &format!("{at}.json"), &at.to_string());
    }
    fleet
}

/// A report as `pkgpanda audit --json` prints it; its state is `digest` and then zeros.
fn report(node: &str, digest: &str, differences: &str) -> String {
    format!(
        r#"{{"schema": "bake-audit-1", "node": {}, "clean": {}, "state": "{digest:0<64}", "host": "{:0<64}",
            "config_id": "c0ffee", "generation": 1, "roles": ["master"], "differences": [{differences}],
            "overrides": []}}"#,
        json!(node),
        differences.is_empty(),
        "b"
    )
}

const CONTENT: &str = r#"{"path": "/opt/x", "what": "content", "expected": "a", "found": "b"}"#;

#[test]
fn a_file_holds_one_report_or_an_array_or_one_after_the_other() {
    let (a, b, c) = (report("a", "1", ""), report("b", "1", ""), report("", "1", ""));
    for document in [format!("[{a},{b},{c}]"), format!("{a}\n{b}\n{c}\n"), format!("{a}[{b}, {c}]")] {
        let fleet = fleet(&[&document]);
        assert_eq!(fleet.problems, Vec::<String>::new());
        assert_eq!(fleet.count(), 3);
        assert!(fleet.is_one());
    }
    // A host without a name has that of its file.
    let fleet = fleet(&[&c, &c]);
    assert_eq!(fleet.states.values().next().unwrap().hosts.keys().collect::<Vec<_>>(), ["0", "1"]);
}

#[test]
fn what_is_no_report_is_told_and_keeps_all_else() {
    let good = report("a", "1", "");
    let newer = good.replace("bake-audit-1", "bake-audit-9\\u001b[2J");
    let broken = report("b", "1", "").replace("\"generation\": 1", "\"generation\": 0.5");
    let cut = &good[..good.len() - 3];
    let fleet = fleet(&[&good, "", "[]", "{}", "5", "no", &newer, &broken, cut, "[[]]", &good]);
    assert_eq!(fleet.count(), 1);
    assert!(!fleet.is_one());
    let expected = [
        "1.json: holds no report",
        "2.json: holds no report",
        "3.json: holds a document without a schema: expected bake-audit-1",
        "4.json: holds a document without a schema",
        "5.json: is no JSON: expected",
        r"6.json: holds a document with the schema `bake-audit-9\u{1b}[2J`: expected bake-audit-1",
        "7.json: holds no report of an audit: invalid type: floating point `0.5`",
        "8.json: is no JSON: EOF",
        "9.json: holds a document without a schema",
        "host a is in both 0.json and 10.json: the first report counts",
    ];
    assert_eq!(fleet.problems.len(), expected.len(), "{:?}", fleet.problems);
    for (problem, expected) in fleet.problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn a_state_is_called_by_a_beginning_that_no_other_has() {
    let near = "123456789012345";
    let fleet = fleet(&[
        &report("a", &format!("{near}a"), ""),
        &report("b", &format!("{near}b"), ""),
        &report("c", "f", ""),
    ]);
    let names: Vec<_> = fleet.ranked().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["123456789012345a", "123456789012345b", "f000000000000000"]);
    assert_eq!(self::fleet(&[&report("a", "1", "")]).ranked()[0].0, "100000000000");
}

#[test]
fn one_state_is_not_enough_if_a_host_is_not_clean() {
    let one = fleet(&[&report("a", "1", ""), &report("b", "1", "")]);
    assert!(one.is_one());
    let (other, unclean) = (report("b", "2", ""), report("b", "1", CONTENT));
    for second in [other, unclean] {
        assert!(!fleet(&[&report("a", "1", ""), &second]).is_one());
    }
    assert!(!Fleet::default().is_one());
}

#[test]
fn differences_are_counted_by_hosts_not_by_lines() {
    let two = format!("{CONTENT}, {CONTENT}");
    let fleet = fleet(&[&report("a", "1", &two), &report("b", "2", CONTENT), &report("c", "3", "")]);
    let found = fleet.found();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].hosts, found[0].states.len()), (2, 2));
}

#[test]
fn hostile_texts_turn_nothing_around_on_a_terminal() {
    assert_eq!(plain("grün host-1.example"), "grün host-1.example");
    assert_eq!(plain("a\u{1b}[31m\n\u{202e}\u{200b}\u{9b}"), r"a\u{1b}[31m\u{a}\u{202e}\u{200b}\u{9b}");
    let hostile = report(
        "\u{1b}[2J\r\n<script>",
        "1",
        r#"{"path": "/\u001b]0;x\u0007", "what": "extra", "expected": "", "found": ""}"#,
    );
    let fleet = fleet(&[&hostile]);
    let table = table(&fleet);
    assert!(!table.contains(['\u{1b}', '\r', '\u{7}']), "{table:?}");
    assert_eq!(table.lines().count(), 7, "{table}");
    let page = page(&fleet).unwrap();
    assert!(!page.contains(['\u{1b}', '\u{7}']) && page.matches("<script>").count() == 1, "{page}");
    assert!(page.contains("&lt;script&gt;"), "{page}");
}
