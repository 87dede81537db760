//! `bake fleet report`: what many hosts are like, as a table, as a document and as a page.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use bake_base::Digest;
use serde_json::{Value, json};
use support::{bake, project, scratch};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A report as `pkgpanda audit --json` prints it.
fn report(node: &str, state: &str, config: &str, differences: &Value, overrides: &Value) -> String {
    let clean = differences.as_array().unwrap().is_empty() && overrides.as_array().unwrap().is_empty();
    let roles = if node.starts_with("master") { ["master"] } else { ["slave"] };
    json!({
        "schema": "bake-audit-1",
        "node": node,
        "clean": clean,
        "state": Digest::of(state.as_bytes()),
        "host": Digest::of(node.as_bytes()),
        "config_id": config,
        "generation": if state == "newer" { 2 } else { 1 },
        "roles": roles,
        "differences": differences,
        "overrides": overrides,
    })
    .to_string()
}

fn clean(node: &str, state: &str) -> String {
    report(node, state, "1111111111111111111111111111111111111111", &json!([]), &json!([]))
}

fn difference(path: &str, what: &str) -> Value {
    json!({"path": path, "what": what, "expected": "one", "found": "another"})
}

/// Six hosts in four states, of two configurations.
fn fleet(directory: &Path) -> Vec<String> {
    let (content, mode) = (difference("/opt/mesosphere/bin/tool", "content"), difference("/etc/x", "mode"));
    let site = json!([{"name": "site", "path": "/opt/mesosphere/packages/a--1/etc/y"}]);
    let config = "1111111111111111111111111111111111111111";
    let files = [
        ("master1.json", clean("master1", "built")),
        ("agents.json", format!("{}\n{}\n", clean("agent1", "built"), clean("agent2", "built"))),
        ("agent3.json", report("agent3", "touched", config, &json!([content, mode]), &json!([]))),
        ("agent4.json", report("agent4", "edited", config, &json!([content]), &site)),
        (
            "agent5.json",
            report("", "newer", "2222222222222222222222222222222222222222", &json!([]), &json!([])),
        ),
    ];
    files
        .map(|(name, text)| {
            fs::write(directory.join(name), text).unwrap();
            name.to_owned()
        })
        .into()
}

fn run(directory: &Path, arguments: &[&str], files: &[String]) -> Output {
    bake().current_dir(directory).args(["fleet", "report"]).args(arguments).args(files).output().unwrap()
}

#[test]
fn a_table_says_which_states_there_are_and_what_differs() {
    let directory = scratch();
    let files = fleet(directory.path());
    let output = run(directory.path(), &[], &files);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let name = |state: &str| Digest::of(state.as_bytes()).to_string()[..12].to_owned();
    let mut others = [
        ("touched", "no   ", 1, '1', "agent3"),
        ("edited", "no   ", 1, '1', "agent4"),
        ("newer", "yes  ", 2, '2', "agent5"),
    ];
    others.sort_by_key(|other| name(other.0));
    let id = |digit: char| digit.to_string().repeat(40);
    let line = |(state, clean, generation, config, host): (&str, &str, u32, char, &str)| {
        format!("{}      1  {clean}  {}  {generation}           {host}\n", name(state), id(config))
    };
    let others: String = others.into_iter().map(line).collect();
    let expected = format!(
        "STATE         HOSTS  CLEAN  CONFIGURATION                             GENERATION  NAMES\n\
         {}      3  yes    {}  1           agent1 agent2 master1\n\
         {others}\
         6 hosts, 4 clean, 4 states\n\
         \n\
         Configurations:\n\
         5  {}\n\
         1  {}\n\
         \n\
         What differs:\n\
         HOSTS  STATES  WHAT           PATH\n\
         \x20   2       2  content        /opt/mesosphere/bin/tool\n\
         \x20   1       1  mode           /etc/x\n\
         \x20   1       1  override site  /opt/mesosphere/packages/a--1/etc/y\n",
        name("built"),
        id('1'),
        id('1'),
        id('2')
    );
    assert_eq!(text(&output.stdout), expected);
    let output = run(directory.path(), &["--json"], &files);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], "bake-fleet-1");
    assert_eq!((&document["hosts"], &document["clean"]), (&json!(6), &json!(4)));
    assert_eq!(document["one_clean_state"], false);
    assert_eq!(document["states"][0]["hosts"], json!(["agent1", "agent2", "master1"]));
    assert_eq!(document["states"][0]["state"], json!(Digest::of(b"built")));
    assert_eq!(document["differences"][0]["hosts"], 2);
}

#[test]
fn hosts_that_are_clean_and_alike_are_a_success_also_from_standard_input() {
    let directory = scratch();
    let mut command = bake();
    command
        .args(["fleet", "report", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let all = format!("[{}, {}]", clean("a", "built"), clean("b", "built"));
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), all.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    assert!(text(&output.stdout).ends_with("\n2 hosts, 2 clean, 1 state\n"));
    fs::write(directory.path().join("a.json"), all).unwrap();
    let output = run(directory.path(), &["--quiet"], &["a.json".to_owned()]);
    assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), "", ""));
}

#[test]
fn files_that_are_no_reports_and_hosts_that_are_there_twice_are_told() {
    let directory = scratch();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("a.json", &clean("a", "built"));
    write("again.json", &clean("a", "built"));
    write("empty.json", "");
    write("foreign.json", r#"{"schema": "bake-fleet-1"}"#);
    fs::create_dir(directory.path().join("directory")).unwrap();
    let files =
        ["a.json", "again.json", "empty.json", "foreign.json", "directory", "none"].map(str::to_owned);
    let output = run(directory.path(), &[], &files);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = text(&output.stderr).lines().collect();
    assert_eq!(
        lines,
        [
            "error: host a is in both a.json and again.json: the first report counts",
            "error: empty.json: holds no report: expected what `pkgpanda audit --json` prints",
            "error: foreign.json: holds a document with the schema `bake-fleet-1`: expected bake-audit-1",
            "error: directory: cannot be read: Is a directory (os error 21)",
            "error: none: cannot be read: No such file or directory (os error 2)",
        ]
    );
    assert!(text(&output.stdout).contains("1 host, 1 clean, 1 state\n"));
    let output = run(directory.path(), &[], &["none".to_owned()]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
    assert_eq!(run(directory.path(), &[], &[]).status.code(), Some(2));
}

#[test]
fn a_page_is_whole_needs_nothing_else_and_runs_nothing_of_anybody() {
    let directory = scratch();
    let mut files = fleet(directory.path());
    let hostile = [
        "<script>document.title='ran'</script>",
        "\"><img src=x onerror=document.title='ran'>",
        "\u{1b}]0;title\u{7}\u{202e}",
        "{{ 7 * 7 }}{% raw %}",
        "&amp; </li></ul></details></style><!--",
    ];
    for (at, node) in hostile.iter().enumerate() {
        let differences = json!([difference(&format!("/{node}"), "extra")]);
        let overrides = json!([{"name": node, "path": node}]);
        let name = format!("hostile{at}.json");
        fs::write(directory.path().join(&name), report(node, node, node, &differences, &overrides)).unwrap();
        files.push(name);
    }
    let output = run(directory.path(), &["--html", "fleet.html"], &files);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stdout).contains(['\u{1b}', '\u{7}', '\u{202e}']));
    let page = fs::read_to_string(directory.path().join("fleet.html")).unwrap();
    assert!(!page.contains(['\u{1b}', '\u{7}', '\u{202e}']));
    // One script is ours, and there are the elements that are always there.
    assert_eq!((page.matches("<script").count(), page.matches("<style").count()), (1, 1));
    assert_eq!(judged(&directory.path().join("fleet.html")), "11 hosts in 9 states\n");
    assert!(page.contains("{{ 7 * 7 }}") && page.contains("prefers-color-scheme: dark"));
    for host in ["agent1", "agent2", "agent3", "agent4", "agent5", "master1"] {
        assert!(page.contains(&format!("<li>{host} ")), "{host}");
    }
    assert_eq!(page.matches("<details id=").count(), 9);
}

/// What an independent parser finds: elements closed in order, and nothing that is elsewhere or runs by itself.
fn judged(page: &Path) -> String {
    let mut python = Command::new("python3");
    let output = python.arg(project("tests/fleet/page.py")).arg(page).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_page_is_the_same_for_the_same_hosts() {
    let directory = scratch();
    let files = fleet(directory.path());
    let mut page = String::new();
    for files in [files.clone(), files.into_iter().rev().collect()] {
        run(directory.path(), &["--html", "fleet.html"], &files);
        page = fs::read_to_string(directory.path().join("fleet.html")).unwrap();
        let golden = project("tests/fleet/page.html");
        let expected = fs::read_to_string(&golden).unwrap();
        assert!(page == expected, "{} differs from:\n{page}", golden.display());
    }
    for outside in ["http:", "https:", "@import", "url(", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_eq!(judged(&directory.path().join("fleet.html")), "6 hosts in 4 states\n");
}

#[test]
fn ten_thousand_hosts_are_one_table() {
    let directory = scratch();
    let odd = json!([difference("/opt/mesosphere/bin/tool", "content")]);
    let files: Vec<String> = (0..10_000)
        .map(|at| {
            let (node, name) = (format!("host{at:05}"), format!("{at:05}.json"));
            let report = match at {
                17 | 4242 => {
                    report(&node, "odd", "1111111111111111111111111111111111111111", &odd, &json!([]))
                }
                _ => clean(&node, "built"),
            };
            fs::write(directory.path().join(&name), report).unwrap();
            name
        })
        .collect();
    let output = run(directory.path(), &["--html", "fleet.html"], &files);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
    let table = text(&output.stdout);
    assert!(table.contains("\n10000 hosts, 9998 clean, 2 states\n"), "{table}");
    assert!(table.contains("  9998  yes") && table.contains("     2  no "), "{table}");
    assert!(table.lines().count() < 10, "{table}");
    let page = fs::read_to_string(directory.path().join("fleet.html")).unwrap();
    assert_eq!(page.matches("<li>host").count(), 10_000);
    assert!(page.contains("> 99.9 %") || page.contains("&gt; 99.9 %"), "a few hosts are seen as some");
    // Nothing that is there is overwritten by half a page.
    let output = run(directory.path(), &["--html", "none/fleet.html"], &files[..1]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: writing `none/fleet.html` failed: "));
}
