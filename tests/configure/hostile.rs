//! Configurations that want to break the reader, or to run what they say.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ground::{Ground, all_bytes, contains, listing};
use crate::support::{output, project, run, text};

/// What an operator's text would like to do: `MARK` is a file that it makes.
const INJECTIONS: [&str; 6] = [
    "x$(touch MARK)",
    "x`touch MARK`",
    "inj{{ 7*7 }}{% for a in [1] %}{% endfor %}",
    "'; touch MARK; '",
    "\"; touch MARK; \"",
    "x\ntouch MARK\n#EOF#\n",
];

#[test]
fn what_is_no_configuration_is_refused_by_name() {
    let deep = "a: ".to_owned() + &"[".repeat(5000) + &"]".repeat(5000) + "\n";
    let bomb = "a: &a [x,x,x]\nb: &b [*a,*a,*a]\ncluster_name: *b\n";
    let big = "# ".to_owned() + &"x".repeat(2 << 20) + "\n";
    for (name, bytes) in [
        ("deep", deep.as_bytes()),
        ("bomb", bomb.as_bytes()),
        ("big", big.as_bytes()),
        ("empty", b""),
        ("list", b"[1, 2]\n"),
        ("text", b"hello\n"),
        ("nul", b"cluster_name: \"a\0b\"\n"),
        ("bell", b"cluster_name: a\x07b\n"),
        ("latin", b"cluster_name: \xe4\n"),
        ("bom", b"\xef\xbb\xbfcluster_name: a\n"),
        ("two documents", b"cluster_name: a\n---\ncluster_name: b\n"),
        ("twice", b"cluster_name: a\ncluster_name: b\n"),
        ("tag", b"cluster_name: !!binary aGVsbG8=\n"),
        ("merge", b"<<: {cluster_name: a}\n"),
        ("unclosed", b"cluster_name: [a\n"),
        ("tab", b"cluster_name:\n\t- a\n"),
        ("map key", b"{a: b}: c\n"),
    ] {
        let ground = Ground::new();
        fs::write(ground.at("genconf/config.yaml"), bytes).unwrap();
        let message = ground.fails(1, &[]);
        assert!(message.contains("genconf/config.yaml"), "{name}: {message}");
        assert!(!message.contains("panicked"), "{name}: {message}");
        assert!(message.lines().count() < 60 && !ground.at("serve").exists(), "{name}: {message}");
    }
}

#[test]
fn every_parameter_refuses_what_it_is_not() {
    let names = operator_parameters();
    for value in
        ["{a: {b: [1]}}", "[[[]]]", "-1", "1e400", "no", "'\\u0000'", "9999999999999999999999", "''", "null"]
    {
        let ground = Ground::new();
        let lines: String = names.iter().map(|(name, _)| format!("{name}: {value}\n")).collect();
        fs::write(ground.at("genconf/config.yaml"), lines).unwrap();
        let message = ground.fails(1, &[]);
        assert!(!message.contains("panicked"), "{value}: {message}");
        assert!(message.contains("genconf/config.yaml:"), "{value}: {message}");
    }
}

#[test]
fn no_text_of_an_operator_ever_runs() {
    let ground = Ground::new();
    let mark = ground.at("mark");
    let base = fs::read_to_string(ground.at("genconf/config.yaml")).unwrap();
    let mut accepted = 0;
    for (name, when) in operator_parameters() {
        let others = base.lines().filter(|line| !line.starts_with(&format!("{name}:")));
        let others = others.filter(|line| !when.keys().any(|key| line.starts_with(&format!("{key}:"))));
        let others: Vec<_> = others.map(str::to_owned).collect();
        let when = when.iter().map(|(key, value)| format!("{key}: {value}"));
        let lines: Vec<_> = others.into_iter().chain(when).collect();
        for injection in INJECTIONS {
            let value = injection.replace("MARK", mark.to_str().unwrap());
            let value = serde_json::to_string(&value).unwrap();
            for value in [value.clone(), format!("[{value}]"), format!("{{{value}: {value}}}")] {
                let text = format!("{}\n{name}: {value}\n", lines.join("\n"));
                fs::write(ground.at("genconf/config.yaml"), text).unwrap();
                if ground.try_run(&["--plan", "--quiet"]).status.success() {
                    accepted += usize::from(harmless(&ground, &name));
                }
                assert!(!mark.exists(), "{name}: {value}");
            }
        }
    }
    assert!(accepted > 10, "{accepted}");
}

/// Makes the serve directory and looks whether anything of it could run what it should not.
fn harmless(ground: &Ground, name: &str) -> bool {
    let made = ground.try_run(&[]);
    if !made.status.success() {
        assert_eq!(made.status.code(), Some(1), "{name}: {}", text(&made.stderr));
        return false;
    }
    let script = ground.at("serve/dcos_install.sh");
    run(Command::new("bash").arg("-n").arg(&script));
    let help = output(Command::new("bash").arg(&script).arg("--help"));
    assert!(help.status.success(), "{name}: {}", text(&help.stderr));
    assert!(!contains(&all_bytes(&ground.at("serve")), "inj49"), "{name}");
    let package = listing(&ground.at("serve")).into_keys();
    let package = package.filter(|path| path.contains("/dcos-config--") && path.ends_with(".tar.xz"));
    for package in package {
        let unpacked = ground.at("unpacked");
        fs::create_dir(&unpacked).unwrap();
        run(Command::new("tar").arg("-xf").arg(ground.at("serve").join(&package)).current_dir(&unpacked));
        scripts(&unpacked);
        fs::remove_dir_all(&unpacked).unwrap();
    }
    fs::remove_dir_all(ground.at("serve")).unwrap();
    let _ = fs::remove_dir_all(ground.at("serve.secrets"));
    true
}

fn scripts(directory: &Path) {
    for path in listing(directory).keys().map(|path| directory.join(path)).filter(|path| path.is_file()) {
        let bytes = fs::read(&path).unwrap();
        if bytes.starts_with(b"#!") && bytes.split(|byte| *byte == b'\n').next().unwrap().ends_with(b"sh") {
            run(Command::new("bash").arg("-n").arg(&path));
        }
    }
}

/// The parameters that an operator says, each with what has to be said for it to matter.
fn operator_parameters() -> Vec<(String, toml::Table)> {
    let table: toml::Table =
        fs::read_to_string(project("layers/config/parameters.toml")).unwrap().parse().unwrap();
    let operator = table.iter().filter_map(|(name, parameter)| {
        let parameter = parameter.as_table()?;
        let says = |key: &str| parameter.get(key).and_then(toml::Value::as_str);
        let is_settable = says("set-by") != Some("calculated") && parameter.contains_key("type");
        let when = parameter.get("when").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let first = |value: &toml::Value| match value {
            toml::Value::Array(values) => values[0].clone(),
            value => value.clone(),
        };
        let when = when.iter().map(|(key, value)| (key.clone(), first(value))).collect();
        is_settable.then(|| (name.clone(), when))
    });
    let found: Vec<_> = operator.collect();
    assert!(found.len() > 100, "{}", found.len());
    found
}
