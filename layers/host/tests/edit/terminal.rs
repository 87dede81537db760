//! An editor is opened on a terminal, on a draft beside the file.

use std::fs;
use std::process::Command;

use crate::ground::{app, copies, host, read};
use crate::yard::Yard;

/// Runs an edit of `etc/app.conf` on a terminal of its own, with an editor that is a line of shell.
fn on_a_terminal(yard: &Yard, editor: &str, more: &str) -> (bool, String) {
    let script = yard.at("editor");
    fs::write(&script, format!("#!/bin/sh\nset -e\n{editor}\n")).unwrap();
    let program = env!("CARGO_BIN_EXE_pkgpanda-dynamic");
    let line = format!("'{program}' --root '{}' edit etc/app.conf {more}", yard.root().display());
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    command.env_remove("VISUAL").env("EDITOR", format!("sh '{}' 'an argument'", script.display()));
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_an_editor_leaves_is_what_the_file_becomes() {
    let yard = host();
    let seen = yard.at("seen").display().to_string();
    // Readers have the old text while the editor is open; editors that write by renaming are fine.
    let editor = format!(
        r#"test "$1" = 'an argument'
        cat "$2" '{root}/opt/mesosphere/packages/app--1/etc/app.conf' >'{seen}'
        echo edited >"$2.new"; mv "$2.new" "$2""#,
        root = yard.root().display()
    );
    let (done, said) = on_a_terminal(&yard, &editor, "");
    assert!(done, "{said}");
    assert_eq!(fs::read_to_string(&seen).unwrap(), "built = true\nbuilt = true\n");
    assert_eq!(read(&yard, "etc/app.conf"), "edited\n");
    assert_eq!(copies(&yard), ["local/app--1/etc/app.conf"]);
    let (done, said) = on_a_terminal(&yard, r#"sed -i s/edited/again/ "$2""#, "");
    assert!(done && said.contains("systemctl restart app.service more.service"), "{said}");
    assert_eq!(read(&yard, "etc/app.conf"), "again\n");
    assert!(!yard.home("generations/3").exists());
}

#[test]
fn an_editor_that_changes_nothing_or_fails_leaves_nothing() {
    let yard = host();
    let (done, said) = on_a_terminal(&yard, "true", "");
    assert!(done && said.contains("nothing is changed"), "{said}");
    let (done, said) = on_a_terminal(&yard, r#"echo lost >"$2"; exit 3"#, "");
    assert!(!done && said.contains("the editor ended with exit status: 3: nothing is changed"), "{said}");
    assert_eq!(copies(&yard), Vec::<String>::new());
    assert!(!yard.home("generations/2").exists());
    // So is a copy that was lost.
    assert!(on_a_terminal(&yard, r#"echo edited >"$2""#, "").0);
    fs::remove_dir_all(yard.home("overrides")).unwrap();
    let (done, said) = on_a_terminal(&yard, "true", "");
    assert!(done && !said.contains("nothing is changed"), "{said}");
    assert_eq!(read(&yard, "etc/app.conf"), "built = true\n");
    assert_eq!(copies(&yard), ["local/app--1/etc/app.conf"]);
    yard.done(&["edit", "--drop", "etc/app.conf"]);
    yard.done(&["gc", "--keep", "0"]);
    // A name is a change, even if the text is not.
    let (done, said) = on_a_terminal(&yard, "true", "--keep site");
    assert!(done, "{said}");
    assert_eq!(copies(&yard), ["site/app--1/etc/app.conf"]);
}

#[test]
fn what_somebody_else_has_changed_meanwhile_is_not_overwritten() {
    let yard = host();
    let program = env!("CARGO_BIN_EXE_pkgpanda-dynamic");
    let root = yard.root().display().to_string();
    fs::write(yard.at("theirs"), "theirs\n").unwrap();
    let theirs = yard.at("theirs").display().to_string();
    let editor = format!(
        r#"echo mine >"$2"
        '{program}' --root '{root}' edit etc/app.conf --from '{theirs}' </dev/null >/dev/null"#
    );
    let (done, said) = on_a_terminal(&yard, &editor, "");
    assert!(!done && said.contains("has been changed by somebody else meanwhile"), "{said}");
    assert_eq!(read(&yard, "etc/app.conf"), "theirs\n");
    kept(&yard, &said, "mine\n");

    // So is another version of the package.
    let yard = host();
    yard.add(&app("app--2"));
    let root = yard.root().display().to_string();
    let editor = format!(
        r#"echo mine >"$2"
        '{program}' --root '{root}' swap app--2 </dev/null >/dev/null"#
    );
    let (done, said) = on_a_terminal(&yard, &editor, "");
    assert!(!done && said.contains("`app--1` is not active"), "{said}");
    assert_eq!(yard.done(&["edit", "--list"]), "");
    kept(&yard, &said, "mine\n");
}

/// What an operator wrote in vain is not lost.
fn kept(yard: &Yard, said: &str, text: &str) {
    let draft = copies(yard).into_iter().find(|name| name.ends_with(".unfinished")).unwrap();
    assert!(said.contains(&draft), "{said}");
    assert_eq!(fs::read_to_string(yard.home("overrides").join(draft)).unwrap(), text);
}
