//! Scripts are run by the real bash and judged by the real shellcheck.
#![allow(clippy::disallowed_methods)] // programs are run

use std::io::Write;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;

use super::*;

fn blob(path: &str) -> Blob {
    Blob { path: path.to_owned(), sha256: Digest::of(path.as_bytes()), size: 7 }
}

fn data() -> InstallerData {
    InstallerData {
        config_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        cluster_name: "Sample".to_owned(),
        bootstrap_url: "http://bootstrap.example:8080".to_owned(),
        product: blob("products/0.json"),
        pkgpanda: blob("bin/0/pkgpanda"),
        machine: "x86_64".to_owned(),
        blobs: vec![blob("bootstrap/0.bootstrap.tar.xz"), blob("packages/a/a--1.tar.xz")],
        secrets: vec!["/etc/mesosphere/secrets/key".to_owned()],
        roles: ["master", "slave", "slave_public"].map(str::to_owned).to_vec(),
        preflight: Preflight {
            docker: true,
            commands: vec!["bash".to_owned()],
            ports: BTreeMap::from([("master".to_owned(), vec![5050])]),
            free_space_mb: 100,
            sysctls: BTreeMap::from([("vm.swappiness".to_owned(), ">=1".to_owned())]),
            modules: vec!["raid1".to_owned()],
            work_directories: vec!["/var/lib/mesos/slave".to_owned()],
        },
        payload: None,
    }
}

/// Runs the script from stdin with nothing but bash itself in reach.
fn bash(script: &[u8], arguments: &[&str]) -> Output {
    let mut command = Command::new("bash");
    command.args(["-s", "--"]).args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let script = script.to_owned();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&script));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap(); // a script that ends early leaves the rest unread
    output
}

/// The data block, then whatever prints all of it between NUL bytes.
fn values(data: &InstallerData) -> Vec<String> {
    let block = block(data, 0).unwrap();
    let script = format!(
        "set -euo pipefail\n{block}\nprintf '%s\\0' \"$config_id\" \"$cluster_name\" \"$bootstrap_url\" \
         \"${{blobs[@]}}\" \"${{secrets[@]}}\" \"${{known_roles[@]}}\" \"${{preflight_commands[@]}}\" \
         \"${{preflight_sysctls[@]}}\" \"$pkgpanda_machine\""
    );
    let output = bash(script.as_bytes(), &[]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn shellcheck_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (name, payload) in [("web", None), ("single", Some(Payload { sha256: Digest::of(b""), size: 1 }))] {
        let file = directory.path().join(name);
        std::fs::write(&file, script(&InstallerData { payload, ..data() }).unwrap()).unwrap();
        let output = Command::new("shellcheck").arg("--severity=style").arg(&file).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn help_tells_every_exit_status_and_nothing_is_known_of_other_options() {
    let script = script(&data()).unwrap();
    for option in ["-h", "--help"] {
        let output = bash(&script, &[option]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        for status in 0..=5 {
            assert!(said.contains(&format!("\n  {status}  ")), "{said}");
        }
        assert!(said.contains("master slave slave_public"), "{said}");
    }
    for wrong in [
        &["--unknown"][..],
        &["nobody"],
        &[],
        &["master", "slave"],
        &["slave", "slave_public"],
        &["--root"],
        &["-p", "-d"],
        &["--json", "nobody"],
    ] {
        let output = bash(&script, wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
    let output = bash(&script, &["--json", "nobody"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["exit"].as_i64(), report["result"].as_str()), (Some(2), Some("usage")));
}

#[test]
fn runs_at_the_same_time_find_each_other_by_the_lock_of_the_work_directory() {
    let made = "got ";
    for (other, expected) in [
        ("", made),
        // Makes it between the look and the attempt.
        (r#"mkdir() { [ "$1" != -m ] || command mkdir -- "$4"; command mkdir "$@"; }"#, made),
        // Is done, and takes it away, before the lock is had or before it can be opened.
        (r#"flock() { [ -n "${gone:-}" ] || { gone=1 && rmdir -- "$work"; }; command flock "$@"; }"#, made),
        (
            r#"mkdir() { command mkdir "$@"; [ "$1" != -m ] || [ -e "$root/gone" ] || { : >"$root/gone" && rmdir -- "$4"; }; }"#,
            made,
        ),
        ("flock() { return 1; }", "failed: another run is at work in "),
        (
            r#"mkdir() { [ "$1" != -m ] || { echo 'mkdir: x: Read-only file system' >&2; return 1; }; }"#,
            "/opt/.dcos-install cannot be made: Read-only file system. Next: make /opt writable",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("opt")).unwrap();
        let script = format!(
            "set -euo pipefail\n{}{}\nexec 3>&1\nroot='{}' step='' json=''\n{other}\nmake_work_directory\n\
             [ \"$work\" -ef /proc/self/fd/9 ]\necho \"got $work\"\n",
            PIECES[0],
            PIECES[4],
            directory.path().display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        let is_made = expected == made;
        assert_eq!(output.status.code(), Some(i32::from(!is_made)), "{other}: {output:?}");
        assert!(said.contains(expected), "{other}: {said}");
        assert!(!is_made || output.stderr.is_empty(), "{other}: {output:?}");
    }
}

#[test]
fn a_script_that_was_cut_off_does_nothing() {
    let script = script(&data()).unwrap();
    let whole = script.len() - "}\n".len();
    let head = script.windows(3).position(|line| line == b"\n{\n").unwrap();
    for end in (0..whole).step_by(97).chain(0..head + 60).chain(whole - 20..=whole) {
        let output = bash(&script[..end], &["--help"]);
        assert_eq!(output.stdout, b"", "cut at {end}");
    }
    assert!(!bash(&script, &["--help"]).stdout.is_empty());
}

#[test]
fn a_payload_begins_where_the_script_says() {
    for size in [0, 10_000, 76_000, 90_000] {
        let payload = Some(Payload { sha256: Digest::of(b""), size: 1 });
        let data = InstallerData { payload, cluster_name: "x".repeat(size), ..data() };
        let text = String::from_utf8(script(&data).unwrap()).unwrap();
        assert!(text.contains(&format!("\ndeclare -r payload_offset='{}'\n", text.len())));
        assert!(text.ends_with("\nmain \"$@\"\nexit\n}\n#EOF#\n"));
    }
}

#[test]
fn control_characters_are_refused() {
    let error = script(&InstallerData { cluster_name: "a\0b".to_owned(), ..data() }).unwrap_err();
    assert!(error.to_string().contains("the installer"), "{error}");
}

#[test]
fn the_json_report_holds_whatever_a_name_is() {
    let name = "\"quoted\" \\back\nline\ttab $(false) `false` ü";
    let script = script(&InstallerData { cluster_name: name.to_owned(), ..data() }).unwrap();
    let output = bash(&script, &["--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["cluster_name"].as_str(), Some(name));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_ever_runs(
        texts in prop::collection::vec("[ -~\n\té'\"$`\\\\;&|<>(){}#!*]{0,40}", 8),
        evil in prop::sample::select(vec!["$(touch ran)", "`touch ran`", "';touch ran;'", "\n touch ran\n", "\\", "'"]),
    ) {
        let text = |at: usize| format!("{}{evil}{}", texts[at], texts[7 - at]);
        let data = InstallerData {
            config_id: text(0),
            cluster_name: text(1),
            bootstrap_url: text(2),
            blobs: vec![Blob { path: text(3), ..blob("a") }],
            secrets: vec![text(4), text(5)],
            roles: vec![text(6)],
            machine: text(7),
            preflight: Preflight {
                commands: vec![text(1)],
                sysctls: BTreeMap::from([(text(2), text(3))]),
                ports: BTreeMap::from([(text(4), vec![1])]),
                modules: vec![text(5)],
                work_directories: vec![text(6)],
                ..Preflight::default()
            },
            product: Blob { path: text(0), ..blob("b") },
            pkgpanda: Blob { path: text(1), ..blob("c") },
            payload: None,
        };
        let expected = [
            text(0), text(1), text(2), text(3), Digest::of(b"a").to_string(), "7".to_owned(), text(4), text(5),
            text(6), text(1), format!("{} {}", text(2), text(3)), text(7),
        ];
        prop_assert_eq!(values(&data), expected);
        // And the whole script is still one.
        let output = bash(&script(&data).unwrap(), &["--help"]);
        prop_assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    }
}
