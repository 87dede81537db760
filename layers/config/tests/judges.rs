//! What templates write is what other programs read: every text comes back from the real reader of each kind of
//! file, whatever is in it, and nothing of it runs.
#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::unwrap_used)] // programs are the judges

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use bake_config::escape::Syntax;
use bake_config::template::Template;
use proptest::prelude::*;
use serde_json::{Value, json};

/// What people and their enemies write.
const PARTS: [&str; 45] = [
    "$(touch INJECTED)",
    "`touch INJECTED`",
    "; touch INJECTED;",
    "| touch INJECTED",
    "&& touch INJECTED",
    "$((1+1))",
    "'",
    "\"",
    "\\",
    "\\\\",
    "$",
    "$HOME",
    "${HOME}",
    "!",
    "!!",
    "\n",
    "\ntouch INJECTED\n",
    "\t",
    " ",
    "  ",
    "#",
    " #",
    "=",
    ":",
    ": ",
    "- ",
    "*",
    "?",
    "~",
    "%",
    "%s",
    "|",
    ">",
    "&amp;",
    "<script>",
    "-->",
    "{{ 7*7 }}",
    "{% if x %}",
    "{# x #}",
    "é",
    "𝕏",
    "\u{2028}",
    "yes",
    "0755",
    "EOF\n",
];

fn texts(allowed: fn(char) -> bool) -> impl Strategy<Value = Vec<String>> {
    let any = "\\PC{0,12}".prop_map(String::from);
    let nasty =
        prop::collection::vec(prop::sample::select(&PARTS[..]), 0..6).prop_map(|parts| parts.concat());
    let text = prop_oneof![any, nasty].prop_map(move |text| text.chars().filter(|c| allowed(*c)).collect());
    prop::collection::vec(text, 1..40)
}

fn line(c: char) -> bool {
    !c.is_control()
}

fn lines(c: char) -> bool {
    !c.is_control() || c == '\n' || c == '\t'
}

fn render(syntax: Syntax, template: &str, values: &[String]) -> String {
    let values = BTreeMap::from([("values".to_owned(), json!(values))]);
    Template::new("test", template).render(syntax, &values).unwrap_or_else(|problem| panic!("{problem}"))
}

/// What a program prints, given `input`, in a directory where nothing may appear.
fn run(command: &mut Command, input: &str) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    let mut child = command
        .current_dir(scratch.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stderr, b"", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "something ran");
    output.stdout
}

fn python(program: &str, input: &str) -> Value {
    serde_json::from_slice(&run(Command::new("python3").args(["-c", program]), input)).unwrap()
}

fn has(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Texts that each end in NUL.
fn terminated(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let mut texts: Vec<_> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(texts.pop().as_deref(), Some(""));
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shells_read_each_value_as_one_word(values in texts(lines)) {
        for shell in ["bash", "sh"] {
            let assignments = "{% for value in values %}\nx={{ value }}y\nprintf '%s\\0' \"$x\"\n{% endfor %}\n";
            let script = render(Syntax::Shell, assignments, &values);
            let expected: Vec<_> = values.iter().map(|value| format!("{value}y")).collect();
            prop_assert_eq!(&terminated(&run(&mut Command::new(shell), &script)), &expected, "{}", script);
            let words = render(Syntax::Shell, "printf '%s\\0' {{ values | words }}\n", &values);
            prop_assert_eq!(&terminated(&run(&mut Command::new(shell), &words)), &values);
        }
    }

    #[test]
    fn python_reads_json_and_yaml(values in texts(|c| c != '\0')) {
        let object = "{\"a\": {{ values }}, {{ values[0] }}: [\n{% for value in values %}\n{{ value }},\n{% endfor %}\nnull]}";
        let text = render(Syntax::Json, object, &values);
        let mut entries: Vec<Value> = values.iter().map(|it| json!(it)).collect();
        entries.push(Value::Null);
        prop_assume!(values[0] != "a");
        let expected = json!({"a": &values, &values[0]: entries});
        let json_judge = "import json, sys\njson.dump(json.loads(sys.stdin.buffer.read()), sys.stdout)";
        prop_assert_eq!(&python(json_judge, &text), &expected);
        let block = "a: {{ values }}\n{{ values[0] }}:\n{% for value in values %}\n  - {{ value }}\n{% endfor %}\n  - null\n";
        let text = render(Syntax::Yaml, block, &values);
        // A key of YAML has its limits, which a key of JSON has not.
        if has("python3", &["-c", "import yaml"]) {
            let judge = "import json, sys, yaml\njson.dump(yaml.safe_load(sys.stdin.buffer.read()), sys.stdout)";
            prop_assert_eq!(&python(judge, &text), &expected, "{}", text);
        } else {
            eprintln!("there is no PyYAML: only our own parser read this YAML");
        }
    }

    #[test]
    fn environment_files_are_read_alike_by_systemd_and_shells(values in texts(line)) {
        let template = "# values\n{% for value in values %}\nV{{ \"\" }}\n{% endfor %}\n";
        prop_assert!(Template::new("test", template)
            .render(Syntax::Env, &BTreeMap::from([("values".to_owned(), json!(values))])).is_err());
        let text: String = values.iter().enumerate().map(|(at, value)| {
            render(Syntax::Env, &format!("V{at}={{{{ values[0] }}}}\n"), std::slice::from_ref(value))
        }).collect();
        prop_assert_eq!(&systemd(&text), &values, "{}", text);
        let names: String = (0..values.len()).map(|at| format!("printf '%s\\0' \"$V{at}\"\n")).collect();
        prop_assert_eq!(&terminated(&run(&mut Command::new("bash"), &format!("{text}\n{names}"))), &values);
    }

    #[test]
    fn python_reads_html(values in texts(lines)) {
        let template = "<ul>\n{% for value in values %}\n<li title=\"{{ value }}\">{{ value }}</li>\n{% endfor %}\n</ul>\n";
        let judge = "import html.parser, json, sys\n\
            found = []\n\
            class Reader(html.parser.HTMLParser):\n\
            \x20   def handle_starttag(self, tag, attrs):\n\
            \x20       if tag == 'li': found.append([dict(attrs)['title'], ''])\n\
            \x20       elif tag != 'ul': sys.exit('a tag ' + tag)\n\
            \x20   def handle_data(self, data):\n\
            \x20       if self.lasttag == 'li' and self.open: found[-1][1] += data\n\
            \x20   open = True\n\
            Reader.handle_endtag = lambda self, tag: setattr(self, 'open', False)\n\
            start = Reader.handle_starttag\n\
            def begin(self, tag, attrs):\n\
            \x20   self.open = True\n\
            \x20   start(self, tag, attrs)\n\
            Reader.handle_starttag = begin\n\
            reader = Reader()\n\
            reader.feed(sys.stdin.buffer.read().decode())\n\
            reader.close()\n\
            json.dump(found, sys.stdout)";
        let expected: Vec<_> = values.iter().map(|value| json!([value, value])).collect();
        prop_assert_eq!(python(judge, &render(Syntax::Html, template, &values)), Value::from(expected));
    }

    #[test]
    fn properties_are_read_by_their_rules(values in texts(|_| true)) {
        let text = render(Syntax::Properties, PROPERTIES, &values);
        let expected: Vec<_> = values.iter().map(|value| (format!("k{value}"), format!("{value}v"))).collect();
        prop_assert_eq!(properties(&text), expected);
    }

    #[test]
    fn a_line_stays_a_line_and_a_script_stays_itself(values in texts(line)) {
        let text = render(Syntax::Conf, "{% for value in values %}\n{{ value }}\n{% endfor %}\n", &values);
        let expected: String = values.iter().map(|value| format!("{value}\n")).collect();
        prop_assert_eq!(text, expected);
        prop_assert_eq!(&render(Syntax::Script, "{{ values[0] }}", &values), &values[0]);
    }
}

const PROPERTIES: &str = "{% for value in values %}\nk{{ value }} = {{ value }}v\n{% endfor %}\n";

/// `EnvironmentFile=` as systemd.exec(5) has it, of lines `NAME=VALUE`.
fn systemd(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in text.lines() {
        let mut rest = line.split_once('=').unwrap().1.chars().peekable();
        let mut value = String::new();
        let quoted = rest.next_if_eq(&'"').is_some();
        while let Some(c) = rest.next() {
            match c {
                '"' if quoted => {
                    assert_eq!(rest.next(), None, "{line}");
                    break;
                }
                '\\' => match rest.next().unwrap() {
                    c if "\"\\`$".contains(c) || !quoted => value.push(c),
                    c => value.extend(['\\', c]),
                },
                '\'' | '"' | ' ' if !quoted => panic!("{line}"),
                c => value.push(c),
            }
        }
        values.push(value);
    }
    values
}

/// What `java.util.Properties` loads, by its documentation.
fn properties(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().is_empty() && !line.starts_with(['#', '!'])) {
        let mut units = [Vec::new(), Vec::new()];
        let (mut part, mut separated) = (0, false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            if part == 0 && matches!(c, ' ' | '\t' | '=' | ':') {
                separated |= c != ' ' && c != '\t';
                while let Some(c) =
                    rest.peek().copied().filter(|c| " \t".contains(*c) || (!separated && "=:".contains(*c)))
                {
                    separated |= "=:".contains(c);
                    rest.next();
                }
                part = 1;
                continue;
            }
            let c = match c {
                '\\' => match rest.next().unwrap() {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'f' => '\x0c',
                    'u' => {
                        let digits: String = rest.by_ref().take(4).collect();
                        units[part].push(u16::from_str_radix(&digits, 16).unwrap());
                        continue;
                    }
                    c => c,
                },
                c => c,
            };
            units[part].extend(c.encode_utf16(&mut [0; 2]).iter());
        }
        let [key, value] = units.map(|units| String::from_utf16(&units).unwrap());
        found.push((key, value));
    }
    found
}

fn many() -> Vec<String> {
    let pairs = PARTS.iter().flat_map(|a| PARTS.iter().map(move |b| format!("{a}{b}")));
    pairs.chain(PARTS.iter().map(|part| (*part).to_owned())).chain([String::new()]).collect()
}

#[test]
fn java_reads_properties() {
    if !has("javac", &["-version"]) {
        eprintln!("there is no Java compiler: only our own reader of properties judges");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let source = scratch.path().join("Judge.java");
    fs::write(
        &source,
        "import java.util.*;\nclass Judge { public static void main(String[] a) throws Exception {\n\
        Properties p = new Properties(); p.load(System.in);\n\
        for (int i = 0; p.containsKey(\"k\" + i); i++)\n\
        { System.out.write(p.getProperty(\"k\" + i).getBytes(\"UTF-8\")); System.out.write(0); } System.out.flush(); } }",
    )
    .unwrap();
    let values = many();
    let template = "{% for value in values %}\nk{{ loop.index0 }}={{ value }}\n{% endfor %}\n";
    let text = render(Syntax::Properties, template, &values);
    let mut java = Command::new("java");
    let read = run(java.env_remove("JAVA_TOOL_OPTIONS").arg(&source), &text);
    assert_eq!(terminated(&read), values);
}

#[test]
fn systemd_reads_environment_files() {
    // It reads files of its own by the same rules. Unlike `EnvironmentFile=` they have no empty values, and variables
    // are expanded in them.
    let generator =
        Path::new("/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator");
    if !generator.exists() {
        eprintln!("there is no systemd: only our own reader of environment files judges");
        return;
    }
    let values: Vec<_> = many()
        .into_iter()
        .filter(|value| value.chars().all(line) && !value.contains('$') && !value.is_empty())
        .collect();
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("environment.d")).unwrap();
    let text: String = (0..values.len())
        .map(|at| render(Syntax::Env, &format!("V{at}={{{{ values[0] }}}}\n"), &values[at..=at]))
        .collect();
    fs::write(scratch.path().join("environment.d/values.conf"), text).unwrap();
    let mut command = Command::new(generator);
    command.env_clear().env("XDG_CONFIG_HOME", scratch.path()).env("HOME", scratch.path());
    let read = String::from_utf8(run(&mut command, "")).unwrap();
    let read: BTreeMap<_, _> = read.lines().filter_map(|line| line.split_once('=')).collect();
    for (at, value) in values.iter().enumerate() {
        let line = read[format!("V{at}").as_str()];
        assert_eq!(&systemd(&format!("V={line}\n"))[0], value, "{line}");
    }
}
