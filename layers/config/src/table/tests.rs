use serde_json::json;

use super::*;

fn builtin() -> Table {
    Table::builtin().unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is said of an extension.
fn said(text: &str) -> String {
    let mut table = builtin();
    let before = table.clone();
    match table.extend("x", text) {
        Ok(()) => String::new(),
        Err(problems) => {
            assert_eq!(table, before, "nothing is added where anything is wrong");
            problems.to_string()
        }
    }
}

#[test]
fn extensions_add_parameters_and_change_defaults() {
    let mut table = builtin();
    let text = "[set]\ndcos_version = \"4\"\ngc_delay = \"3days\"\nown_port = 7\n\n[own_port]\ntype = \"port\"\ndefault = 80\n\
                help = \"A port.\"\nwhen = { calico_enabled = true, own_mode = [\"a\"] }\n\n\
                [own_mode]\ntype = \"choice\"\nvalues = [\"a\", \"b\"]\nrequired = true\nhelp = \"A mode.\"\n";
    table.extend("x", text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(table.parameters["dcos_version"].default_value(), Some(&json!("4")));
    let (value, place) = table.parameters["gc_delay"].extended_default.clone().unwrap();
    assert_eq!((value, place.to_string().as_str()), (json!("3days"), "x:3:1"));
    let own = &table.parameters["own_port"];
    assert_eq!((own.default_value(), own.place.line), (Some(&json!(7)), 6));
    assert_eq!(own.when[1], Condition { parameter: "own_mode".into(), any_of: vec![json!("a")] });
    let again = table.extend("y", "[set]\ngc_delay = \"4days\"\n").unwrap_err().to_string();
    assert_eq!(again, "y:2:1: `gc_delay`: has another default already, by x:3:1");
}

#[test]
fn wrong_extensions_are_refused_with_all_that_is_wrong() {
    for (text, expected) in [
        (
            "[gc_delay]\ntype = \"line\"\nhelp = \"x\"\n",
            "x:1:2: `gc_delay`: is declared already, at parameters.toml:",
        ),
        ("[ssh_user]\ntype = \"line\"\nhelp = \"x\"\n", "is the name of a retired parameter"),
        ("[Own]\ntype = \"line\"\nhelp = \"x\"\n", "is not the name of a parameter"),
        (
            "[own]\ntype = \"prot\"\nhelp = \"x\"\n",
            "x:2:8: `own`: has a `type` that is not known; did you mean `port`?",
        ),
        ("[own]\ntype = \"port\"\n", "lacks `help`"),
        ("[own]\nhelp = \"x\"\n", "lacks `type`"),
        ("[own]\ntype = \"port\"\nhelp = \"x\"\nmin = 1\n", "has `min`, which `port` does not take"),
        ("[own]\ntype = \"port\"\nhelp = \"x\"\ndefualt = 1\n", "did you mean `default`?"),
        ("[own]\ntype = \"port\"\nhelp = \"x\"\ndefault = 0\n", "x:4:11: `own`: is `0`, expected a port"),
        ("[own]\ntype = \"list\"\nhelp = \"x\"\n", "is a list without `of`"),
        (
            "[own]\ntype = \"port\"\nhelp = \"x\"\nwhen = { other = 1 }\n",
            "has a condition about `other`, which is not a parameter",
        ),
        (
            "[own]\ntype = \"port\"\nhelp = \"x\"\nwhen = { use_proxy = 1 }\n",
            "has a condition that `use_proxy` is 1, expected `true`",
        ),
        (
            "[own]\ntype = \"port\"\nhelp = \"x\"\nrequired-when = { other = 1 }\n",
            "has a condition about `other`, which is not a parameter",
        ),
        (
            "[own]\ntype = \"port\"\nhelp = \"x\"\nrequired = true\nrequired-when = { use_proxy = true }\n",
            "has `required-when` and is `required` or not set by the operator",
        ),
        ("[own]\ntype = \"port\"\nhelp = \"x\"\nrequired = true\ndefault = 1\n", "one of them is meant"),
        ("[set]\ngc_dely = \"1days\"\n", "x:2:1: `gc_dely`: is not a parameter; did you mean `gc_delay`?"),
        ("[set]\nssh_user = \"x\"\n", "is no longer read: hosts are reached by their own tools"),
        ("[set]\nmaster_quorum = 1\n", "is calculated"),
        ("[set]\nexhibitor_admin_password = \"x\"\n", "is secret, and a tree is no place for secrets"),
        ("[set]\ngc_delay = 2026-01-01\n", "is a time, expected a text"),
        (
            "[set]\ngc_delay = \"x\"\nmesos_max_completed_frameworks = -1\n",
            "x:3:34: `mesos_max_completed_frameworks`",
        ),
        ("own = 1\n", "is a number, expected a table such as `[own]`"),
        ("[own\n", "x:1:5: "),
    ] {
        let said = said(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    assert_eq!(said("[set]\ngc_delay = \"x\"\nno_such = 1\n").lines().count(), 2);
}

#[test]
fn messages_about_secrets_repeat_nothing() {
    let table = builtin();
    let value = "pass\u{7}word";
    let node = Node { place: Place::file("c"), kind: Kind::Text(value.into()) };
    let problems = table.parameters["exhibitor_admin_password"].check(&node).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(
        !problems[0].message.contains("word") && problems[0].message.contains("secret"),
        "{}",
        problems[0]
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z_\\[\\]={}\"'.,0-9#\n ]{0,80}") {
        let _ = Table::default().extend("x", &text);
    }
}
