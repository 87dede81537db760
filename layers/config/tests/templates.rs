//! The files of whole configurations, byte by byte, and what templates may not do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // bash judges scripts

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bake_config::{
    Body, ConfigFile, Effective, Extension, FileTable, Files, Table, Target, render, resolve, yaml,
};
use serde_json::{Value, json};

/// Scripts by the names that a configuration gives them.
struct Scripts;

impl Files for Scripts {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Ok(format!("#!/bin/sh\n# {path}\necho 10.0.0.1\n").into_bytes())
    }
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tree/config")
}

/// The files below a directory, by their path in it.
fn below(directory: &Path, shown: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let shown = format!("{shown}{}", entry.file_name().to_str().unwrap());
        match entry.path() {
            path if path.is_dir() => below(&path, &format!("{shown}/"), files),
            path => drop(files.insert(shown, fs::read(path).unwrap())),
        }
    }
}

fn configure(text: &str) -> (Effective, Result<Vec<ConfigFile>, String>) {
    let mut table = Table::builtin().unwrap();
    let mut files = FileTable::builtin().unwrap();
    let mut extension = BTreeMap::new();
    below(&sample(), "config/", &mut extension);
    for extension in Extension::read_all(&extension).unwrap() {
        let (name, text) = extension.parameters.unwrap();
        table.extend(&name, &text).unwrap();
        files.extend(extension.files);
    }
    let given = [
        ("bootstrap_id", json!("0123456789abcdef0123456789abcdef01234567")),
        ("bootstrap_variant", json!("")),
        ("custom_check_bins_hash", json!("")),
        ("custom_check_bins_package_id", json!("")),
        ("custom_check_bins_provided", json!(false)),
        ("dcos_image_commit", json!("89abcdef0123456789abcdef0123456789abcdef")),
        ("package_ids", json!(["zookeeper--0123456789abcdef0123456789abcdef01234567"])),
    ];
    let given: BTreeMap<_, _> = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let document = yaml::read("config.yaml", text.as_bytes()).unwrap();
    let (effective, _) =
        resolve(&table, &document, &[], &given, &Scripts).unwrap_or_else(|found| panic!("{found}"));
    let files = render(&effective, &table, &files).map_err(|found| found.to_string());
    (effective, files)
}

/// The configuration as documents is long, and is what `bake configure --plan` shows.
fn is_document(file: &ConfigFile) -> bool {
    file.path.contains("expanded.config")
}

fn dump(files: &[ConfigFile]) -> String {
    let mut out = String::new();
    for file in files.iter().filter(|file| !is_document(file)) {
        let path = format!("{} {}", file.target.name(), file.path);
        match &file.body {
            Body::Link(to) => writeln!(out, "==== {path} -> {to}").unwrap(),
            Body::File { mode, content } => {
                let text = String::from_utf8(content.clone()).unwrap();
                let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
                write!(out, "==== {path} {mode:04o}\n{text}{end}").unwrap();
            }
        }
    }
    out
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

fn check(name: &str) -> Vec<ConfigFile> {
    let config = fs::read_to_string(directory().join(format!("{name}.yaml"))).unwrap();
    let files = configure(&config).1.unwrap();
    let made = dump(&files);
    let expected = fs::read_to_string(directory().join(format!("{name}.files"))).unwrap_or_default();
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.files"));
    fs::write(&scratch, &made).unwrap();
    assert!(
        made == expected,
        "not as in tests/templates/{name}.files; what was made is in {}",
        scratch.display()
    );
    files
}

fn content<'a>(files: &'a [ConfigFile], path: &str) -> &'a str {
    let file = files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path}"));
    let Body::File { content, .. } = &file.body else { panic!("{path}") };
    std::str::from_utf8(content).unwrap()
}

#[test]
fn a_minimal_configuration_makes_these_files() {
    let files = check("minimal");
    assert!(files.iter().all(|file| file.target != Target::Secret), "there is nothing secret in it");
}

#[test]
fn a_full_configuration_makes_these_files() {
    let files = check("full");
    for file in files.iter().filter(|file| file.target != Target::Secret) {
        if let Body::File { content, .. } = &file.body {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains("SECRET"), "{} is published: {text}", file.path);
        }
    }
    let expanded: Value = serde_json::from_str(content(&files, "etc/expanded.config.json")).unwrap();
    assert_eq!(expanded["exhibitor_admin_password"], "**HIDDEN**");
    assert_eq!(expanded["num_masters"], 3);
    let full = content(&files, "/etc/mesosphere/secrets/expanded.config.full.json");
    assert_eq!(
        serde_json::from_str::<Value>(full).unwrap()["exhibitor_admin_password"],
        "SECRET of exhibitor"
    );
}

#[test]
fn every_built_in_template_is_used_and_listed() {
    let listed: Vec<_> =
        FileTable::builtin().unwrap().rules.iter().map(|rule| format!("{:?}", rule.source)).collect();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("templates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(listed.iter().any(|source| source.contains(&format!("templates/{name}\""))), "{name}");
    }
}

/// What a hostile operator, or a careless one, writes into a text.
const HOSTILE: &str = "x'\"; touch INJECTED; $(touch INJECTED) `touch INJECTED` {{ 7*7 }} {% if %} \\";

#[test]
#[allow(clippy::case_sensitive_file_extension_comparisons)] // these names are ours
fn hostile_texts_neither_run_nor_expand() {
    let quoted = serde_json::to_string(HOSTILE).unwrap();
    let text = format!(
        "bootstrap_url: http://10.0.0.1\nmaster_discovery: static\nmaster_list: [10.0.0.1]\n\
        exhibitor_storage_backend: static\nip_detect_filename: detect\ncluster_name: {quoted}\n\
        marathon_java_args: {quoted}\nsuperuser_service_account_uid: \"\"\nexhibitor_admin_password: {quoted}\n"
    );
    let (effective, files) = configure(&text);
    assert_eq!(effective.get("cluster_name"), Some(&json!(HOSTILE)));
    let files = files.unwrap();
    let expanded: Value = serde_json::from_str(content(&files, "etc/expanded.config.json")).unwrap();
    assert_eq!(expanded["cluster_name"], HOSTILE);
    assert!(content(&files, "etc/user.config.yaml").contains("{{ 7*7 }}"));
    let scratch = tempfile::tempdir().unwrap();
    for file in &files {
        let Body::File { content, .. } = &file.body else { continue };
        if !(file.path.ends_with(".env") || file.path.ends_with(".sh")) {
            continue;
        }
        let path = scratch.path().join("script");
        fs::write(&path, content).unwrap();
        let status = Command::new("bash").arg(&path).current_dir(scratch.path()).status().unwrap();
        assert!(status.success(), "{}", file.path);
    }
    assert!(!scratch.path().join("INJECTED").exists());
}

/// The problems of an extension's files, beside the sample's parameters.
fn refused(files: &str, templates: &[(&str, &str)]) -> String {
    let templates = templates.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let minimal = fs::read_to_string(directory().join("minimal.yaml")).unwrap();
    let (effective, _) = configure(&minimal);
    match FileTable::parse("files.toml", files, "templates", &templates) {
        Ok(files) => render(&effective, &Table::builtin().unwrap(), &files).unwrap_err().to_string(),
        Err(found) => found.to_string(),
    }
}

fn refused_template(syntax: &str, text: &str) -> String {
    refused(&format!("[\"etc/x\"]\ntemplate = \"x\"\nsyntax = \"{syntax}\"\n"), &[("x", text)])
}

#[test]
fn values_stand_only_where_they_are_one_value() {
    for (syntax, text, expected) in [
        ("json", "[\n\"{{ cluster_name }}\"\n]", "templates/x: it does not make JSON"),
        ("json", "{ {{ cluster_name }} }", "does not make JSON"),
        (
            "yaml",
            "a:\n  b: \"{{ cluster_name }}\"\n",
            "templates/x:2: `cluster_name`: it stands within quotes",
        ),
        ("yaml", "a: |\n  {{ cluster_name }}\n", "templates/x:2: `cluster_name`: it stands within quotes"),
        ("yaml", "a: b # {{ cluster_name }}\n", "templates/x:1: `cluster_name`"),
        (
            "shell",
            "a=1\necho \"{{ cluster_name }}\"\n",
            "templates/x:2: `cluster_name`: it stands within quotes",
        ),
        ("shell", "echo '{{ cluster_name }}'\n", "within quotes"),
        ("shell", "# for {{ cluster_name }}\n", "it stands in a comment"),
        ("shell", "a \\\n# for {{ cluster_name }}\n", "it stands in a comment"),
        ("shell", "echo ${{ cluster_name }}\n", "follows a `$`"),
        ("shell", "echo $'{{ cluster_name }}'\n", "within quotes"),
        ("shell", "echo $(( {{ num_masters }} + 1 ))\n", "calculate"),
        ("shell", "cat <<END\n{{ cluster_name }}\nEND\n", "here-documents"),
        ("shell", "echo `echo {{ cluster_name }}`\n", "backticks"),
        ("shell", "echo \"$(echo \"{{ cluster_name }}\")\"\n", "give it to a variable first"),
        ("shell", "echo {{ master_list }}\n", "it is a list"),
        ("env", "A=\"{{ cluster_name }}\"\n", "alone on a line"),
        ("env", "A={{ cluster_name }}x\n", "alone on a line"),
        ("env", "# {{ cluster_name }}\n", "alone on a line"),
        ("env", "A={{ ip_detect_contents }}\n", "templates/x:1: `ip_detect_contents`: it has a line break"),
        ("properties", "a=\\{{ cluster_name }}\n", "follows a backslash"),
        ("conf", "{{ ip_detect_contents }}\n", "line break"),
        ("html", "<a {{ cluster_name }}>", "stands in a tag"),
        ("html", "<a href=\"{{ cluster_name }}\">", "begins an address"),
        ("html", "<a onclick=\"{{ cluster_name }}\">", "is code"),
        ("html", "<script>{{ cluster_name }}</script>", "in a script"),
        ("html", "<!-- {{ cluster_name }} -->", "in a comment"),
        ("script", "x{{ ip_detect_contents }}", "nothing else"),
        ("json", "{% autoescape false %}{{ cluster_name }}{% endautoescape %}", "are not used here"),
        ("json", "{% set x %}a{% endset %}{{ x }}", "are not used here"),
        ("json", "{{ cluster_name | safe }}", "there are `env`"),
        ("json", "{% include 'x' %}", "templates/x:1"),
        (
            "json",
            "\n{{ clustr_name }}",
            "templates/x:2: `clustr_name`: there is no parameter `clustr_name`; did you mean `cluster_name`?",
        ),
        ("json", "{{ exhibitor_address }}", "it has no value"),
        (
            "json",
            "{{ exhibitor_admin_password }}",
            "it is secret, and `etc/x` is published: give the file `target = \"secret\"`",
        ),
        ("json", "\n\n{{ cluster_name", "templates/x:3"),
        ("json", "{{ user_arguments_full }}", "it is secret"),
        (
            "conf",
            "{% for a in package_ids * 100000 %}{% for b in package_ids * 100000 %}{% endfor %}{% endfor %}",
            "templates/x:1",
        ),
        ("conf", "a\u{1}b", "U+0001"),
    ] {
        let problem = refused_template(syntax, text);
        assert!(problem.contains(expected), "{syntax} {text:?}: {problem}");
    }
}

#[test]
fn lists_of_files_are_checked() {
    let entry = |name: &str, fields: &str| refused(&format!("[\"{name}\"]\n{fields}\n"), &[("t", "text\n")]);
    let template = "template = \"t\"\nsyntax = \"conf\"\n";
    for (name, fields, expected) in [
        ("/etc/x", "", "files.toml:1:2: `/etc/x`: expected a path below the package's directory"),
        ("etc/../x", "", "the part `..`"),
        ("etc//x", "", "an empty part"),
        ("etc/x", "target = \"host\"", "expected an absolute path"),
        ("/opt/mesosphere/etc/x", "target = \"host\"", "packages make it"),
        ("/etc/mesosphere/secrets/x", "target = \"host\"", "it is for files with `target = \"secret\"`"),
        ("/etc/x", "target = \"secret\"", "expected a path below /etc/mesosphere/secrets/"),
        ("/etc/mesosphere/secrets/../x", "target = \"secret\"", "the part `..`"),
        ("/etc/mesosphere/secrets/x", "target = \"secret\"\nmode = \"0644\"", "has the mode \"0600\""),
        ("etc/x", "mode = \"0666\"", "nobody but the owner"),
        ("etc/x", "mode = \"644\"", "four octal digits"),
        ("etc/x", "wen = { a = 1 }", "there is no field `wen`; did you mean `when`?"),
        ("etc/x", "when = { master_discovry = \"static\" }", "did you mean `master_discovery`?"),
        ("etc/x", "when = { exhibitor_admin_password = \"x\" }", "would tell its value; use `when-set`"),
        ("etc/x", "link = \"/x\"", "expected either `template` or `link`"),
    ] {
        let problem = entry(name, &format!("{template}{fields}"));
        assert!(problem.contains(expected), "{name} {fields}: {problem}");
    }
    assert!(entry("etc/x", "link = \"x\"").contains("an absolute path"));
    assert!(entry("/x", "target = \"host\"\nlink = \"/x\"").contains("only packages have links"));
    assert!(entry("etc/x", "template = \"s\"\nsyntax = \"conf\"").contains("there is no template `s`"));
    let two = "[\"etc/x\"]\ntemplate = \"t\"\nsyntax = \"conf\"\n[\"b\"]\npath = \"etc/x\"\ntemplate = \"t\"\nsyntax = \"conf\"\n";
    let problem = refused(two, &[("t", "text\n")]);
    assert!(problem.contains("files.toml:4:2: `etc/x`: files.toml:1:2 makes this file too"), "{problem}");
    let within = two.replace("path = \"etc/x\"", "path = \"etc/x/y\"");
    assert!(refused(&within, &[("t", "text\n")]).contains("so that nothing can be below it"));
}

#[test]
fn slips_in_extensions_are_named() {
    let read = |path: &str, text: &[u8]| {
        Extension::read("extra", &BTreeMap::from([(path.to_owned(), text.to_vec())]))
            .map_err(|found| found.to_string())
    };
    assert!(read("README.md", b"words").is_ok());
    assert!(
        read("files.tml", b"").unwrap_err().starts_with("extra/files.tml: expected only parameters.toml")
    );
    assert!(read("templates/t", b"a\n\xff").unwrap_err().starts_with("extra/templates/t:2: expected UTF-8"));
    assert!(
        read("templates/t", b"a").unwrap_err().starts_with("extra/templates/t: no file of extra/files.toml")
    );
    assert!(read("files.toml", b"a = ").unwrap_err().starts_with("extra/files.toml:1"));
}
