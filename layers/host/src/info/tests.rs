use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Every problem of a document, in lines.
fn refusal(document: serde_json::Value) -> String {
    let problems = PkgInfo::parse(document.to_string().as_bytes()).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_package_without_wishes_is_an_empty_object() {
    let info = PkgInfo::parse(b"{}").unwrap();
    assert_eq!(info, PkgInfo::default());
    let expected = "{\n  \"environment\": {},\n  \"requires\": [],\n  \"state_directory\": false\n}\n";
    assert_eq!(String::from_utf8(info.to_bytes()).unwrap(), expected);
}

#[test]
fn everything_is_read_and_written_in_one_way() {
    let given = json!({
        "username": "dcos_net", "group": "systemd-journal", "variant": "debug", "state_directory": true,
        "requires": [{"variant": null, "name": "zlib"}, {"name": "java", "variant": "small"}, "curl", "zlib"],
        "environment": {"B": "2", "A": "one two"},
        "sysctl": {"dcos-net": {"net.ipv4.ip_forward": 1, "net.ipv4.tcp_rmem": "4096\t87380"}},
    });
    let info = PkgInfo::parse(given.to_string().as_bytes()).unwrap();
    let expected = r#"{
  "environment": {
    "A": "one two",
    "B": "2"
  },
  "group": "systemd-journal",
  "requires": [
    "curl",
    {
      "name": "java",
      "variant": "small"
    },
    "zlib"
  ],
  "state_directory": true,
  "sysctl": {
    "dcos-net": {
      "net.ipv4.ip_forward": "1",
      "net.ipv4.tcp_rmem": "4096\t87380"
    }
  },
  "username": "dcos_net",
  "variant": "debug"
}
"#;
    assert_eq!(String::from_utf8(info.to_bytes()).unwrap(), expected);
    assert_eq!(PkgInfo::parse(&info.to_bytes()).unwrap(), info);
}

#[test]
fn wrong_types_are_named_by_key_all_at_once() {
    let given = json!({
        "environment": {"A": 1, "B": null}, "state_directory": 1, "requires": [1, "a b", {}, {"name": true},
        {"name": "a", "variant": "", "version": "1"}], "username": ["x"], "group": {}, "variant": 2,
        "sysctl": {"s": [], "t": {"a": 1.5, "b": true}}, "colour": "red",
    });
    let name = "expected letters, digits and `@._+-`, not beginning with `.` or `-`, without `--`";
    assert_eq!(
        refusal(given),
        format!(
            "`colour`: is no key of this file: expected one of environment, group, requires, state_directory, \
             sysctl, username, variant\n\
             `environment.A`: is a number: expected text\n\
             `environment.B`: is null: expected text\n\
             `group`: is an object: expected text\n\
             `requires[0]`: is a number: expected a package's name, or an object with `name` and `variant`\n\
             `requires[1]`: `a b` is no package name: {name}\n\
             `requires[2].name`: is missing\n\
             `requires[3].name`: is a boolean: expected text\n\
             `requires[4].variant`: `` is no variant: {name}\n\
             `requires[4].version`: is no key of a requirement: expected name, variant\n\
             `state_directory`: is a number: expected true or false\n\
             `sysctl.s`: is a list: expected an object\n\
             `sysctl.t.a`: is a fraction: expected text or an integer\n\
             `sysctl.t.b`: is a boolean: expected text or an integer\n\
             `username`: is a list: expected text\n\
             `variant`: is a number: expected text"
        )
    );
    for (key, found) in [("environment", json!([])), ("requires", json!("zlib")), ("sysctl", json!("x"))] {
        assert!(refusal(json!({ key: found })).starts_with(&format!("`{key}`: is ")), "{key}");
    }
}

#[test]
fn what_is_no_object_is_refused_as_a_whole() {
    assert_eq!(refusal(json!([])), "is a list: expected an object");
    let broken = PkgInfo::parse(b"").unwrap_err();
    assert_eq!(broken[0].to_string(), "is no JSON: EOF while parsing a value at line 1 column 0");
    assert!(PkgInfo::parse(&b"[".repeat(100_000)).is_err());
    assert!(PkgInfo::parse(b"{\"variant\": \"\xff\"}").is_err());
}

#[test]
fn variables_are_names_that_nobody_else_sets_with_one_line_of_text() {
    let given = json!({"environment": {
        "": "x", "1A": "x", "A-B": "x", "Ä": "x", "A=B\n": "x", "PATH": "/bin", "LD_LIBRARY_PATH": "", "UID": "0",
        "LINES": "a\nb", "NUL": "\0", "TAB": "a\tb", "_fine2": "",
    }});
    let name = "is no name of a variable: expected letters, digits and `_`, beginning with no digit";
    let own = "is set by the install root itself, like LD_LIBRARY_PATH and PATH: choose another name";
    let line = "in its value: expected one line of text";
    assert_eq!(
        refusal(given),
        format!(
            "`environment.`: {name}\n\
             `environment.1A`: {name}\n\
             `environment.A-B`: {name}\n\
             `environment.A=B\\n`: {name}\n\
             `environment.LD_LIBRARY_PATH`: {own}\n\
             `environment.LINES`: has the control character U+000A {line}\n\
             `environment.NUL`: has the control character U+0000 {line}\n\
             `environment.PATH`: {own}\n\
             `environment.UID`: cannot be set in bash: choose another name\n\
             `environment.Ä`: {name}"
        )
    );
}

#[test]
fn a_group_needs_its_user() {
    let message = "`group`: is given without `username`: add the user whose group it is, or leave it out";
    assert_eq!(refusal(json!({"group": "docker"})), message);
    // A user whose name is wrong is a problem of its own, and no second one.
    assert!(
        refusal(json!({"group": "docker", "username": "root"})).starts_with("`username`: `root` is no user")
    );
}

#[test]
fn kernel_settings_cannot_become_options_or_other_paths() {
    let given = json!({"sysctl": {
        "a/b": {"net.ipv4.ip_forward": "1"},
        "ok": {"-w": "1", "../x": "1", "net..x": "1", "a b": "1", "a=b": "1", "k.": "1", "": "1",
               "vm.x": "1\n2", "net/ipv4/conf/eth0.1/forwarding": "1"},
    }});
    let key = "is no kernel setting: expected a key such as net.ipv4.ip_forward";
    assert_eq!(
        refusal(given),
        format!(
            "`sysctl.a/b`: is no service: expected the name of a unit without `.service`\n\
             `sysctl.ok.`: {key}\n\
             `sysctl.ok.-w`: {key}\n\
             `sysctl.ok.../x`: {key}\n\
             `sysctl.ok.a b`: {key}\n\
             `sysctl.ok.a=b`: {key}\n\
             `sysctl.ok.k.`: {key}\n\
             `sysctl.ok.net..x`: {key}\n\
             `sysctl.ok.vm.x`: has the control character U+000A in its value: expected one line of text"
        )
    );
}

/// JSON of any shape, with the keys of the file among its keys.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
        "[a-z_]{1,8}".prop_map(|value| json!(value)),
    ];
    let key = prop_oneof![
        any::<String>(),
        "environment|group|requires|state_directory|sysctl|username|variant|name",
        "[A-Za-z_]{1,4}"
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| json!(list)),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|object| json!(object)),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PkgInfo::parse(&bytes);
    }

    #[test]
    fn any_document_is_read_back_as_written_or_refused(document in any_json()) {
        match PkgInfo::parse(document.to_string().as_bytes()) {
            Ok(info) => prop_assert_eq!(PkgInfo::parse(&info.to_bytes()).unwrap(), info),
            Err(problems) => prop_assert!(!problems.is_empty() && problems.is_sorted()),
        }
    }
}
