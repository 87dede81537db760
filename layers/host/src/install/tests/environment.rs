//! The environment files as text, and as a shell and systemd read them.
#![expect(clippy::disallowed_methods, reason = "the shell is the judge of what shells read")]

use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

fn file(packages: &[Package], root: &str, name: &str) -> String {
    match &resolve(packages, &[]).entries(root)[&place(name)] {
        Entry::File(bytes) => String::from_utf8(bytes.clone()).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn two() -> [Package; 2] {
    [
        info("b--1", json!({"environment": {"JAVA": "/opt/mesosphere/active/java", "EMPTY": ""}})),
        info("a--1", json!({"environment": {"FLAGS": r#"-x "$HOME" `id` \ ~"#}})),
    ]
}

#[test]
fn systemd_gets_every_package_in_order_of_ids() {
    assert_eq!(
        file(&two(), ROOT, "environment"),
        r#"# The environment of the active packages. Written by the installation: do not edit.
LD_LIBRARY_PATH=/opt/mesosphere/lib
PATH=/opt/mesosphere/bin:/usr/bin:/bin:/sbin

# package: a--1
FLAGS="-x \"\$HOME\" \`id\` \\ ~"

# package: b--1
EMPTY=
JAVA=/opt/mesosphere/active/java

"#
    );
}

#[test]
fn shells_get_the_same_exported_and_keep_their_own_path() {
    assert_eq!(
        file(&two(), "/opt/mesosphere/generations/7", "environment.export"),
        r#"# The environment of the active packages. Written by the installation: do not edit.
export LD_LIBRARY_PATH=/opt/mesosphere/generations/7/lib
export PATH="/opt/mesosphere/generations/7/bin:$PATH"

# package: a--1
export FLAGS="-x \"\$HOME\" \`id\` \\ ~"

# package: b--1
export EMPTY=
export JAVA=/opt/mesosphere/active/java

"#
    );
}

/// The value of V by systemd's parser (`src/basic/env-file.c`), as far as our files use it. In `old`
/// versions a backslash in double quotes vanishes before every character, now only before these four.
fn systemd(file: &str, old: bool) -> String {
    let line = file.lines().find_map(|line| line.strip_prefix("V=")).unwrap();
    let Some(quoted) = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        assert!(!line.contains(['"', '\'', '\\', ' ', '#', ';']), "{line}");
        return line.to_owned();
    };
    let (mut value, mut rest) = (String::new(), quoted.chars());
    while let Some(c) = rest.next() {
        match c {
            '"' => panic!("the value ends too soon: {line}"),
            '\\' => {
                let next = rest.next().unwrap();
                if !old && !"\"\\`$".contains(next) {
                    value.push('\\');
                }
                value.push(next);
            }
            c => value.push(c),
        }
    }
    value
}

/// The values of V that shells read from files, each on a line of its own.
fn shell(program: &str, files: &[String]) -> Option<Vec<String>> {
    let mut script = String::from("set -eu\n");
    for file in files {
        script.push_str(&format!("{file}\nprintf '%s\\n' \"$V\"\n"));
    }
    let child = Command::new(program).arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.ok()?;
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn shells_read_what_was_meant() {
    let mut values: Vec<String> = (' '..='~').map(|c| format!("a{c}{c}b{c}")).collect();
    values.extend(
        ["~:~", "$(id)", "a\tb", "ä\u{2028}€", "", " ", "!!", "#x", "a #b", "%n %%", "\\n"].map(String::from),
    );
    let one = |value: &String| [info("a--1", json!({"environment": {"V": value}}))];
    let files: Vec<_> = values.iter().map(|value| file(&one(value), ROOT, "environment.export")).collect();
    assert_eq!(shell("/bin/sh", &files).unwrap(), values);
    if let Some(read) = shell("/bin/bash", &files) {
        assert_eq!(read, values);
    }
}

proptest! {
    #[test]
    fn systemd_reads_what_was_meant(value in "[ -~\t\u{80}-\u{2fff}]{0,20}") {
        let packages = [info("a--1", json!({"environment": {"V": value}}))];
        let text = file(&packages, ROOT, "environment");
        prop_assert_eq!(systemd(&text, false), value.clone());
        prop_assert_eq!(systemd(&text, true), value);
    }
}
