//! What people launch clusters with: judged by the tools that it is for, and launched as far as a stand-in for AWS goes.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

#[path = "installer/host.rs"]
#[allow(dead_code)] // shared with the tests of the installer
mod host;
#[path = "templates/hosts.rs"]
mod hosts;
#[path = "templates/launch.rs"]
mod launch;
#[path = "templates/tools.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{bake, made, output, project, run, scratch, text};
use tempfile::TempDir;

/// Regions of the published manifest, and the AMI in each.
const IMAGES: [(&str, &str); 4] = [
    ("ap-southeast-2", "ami-0123456789abcdef2"),
    ("cn-north-1", "ami-0123456789abcdef3"),
    ("eu-central-1", "ami-0123456789abcdef0"),
    ("us-east-1", "ami-0123456789abcdef1"),
];
const STACKS: [&str; 5] =
    ["masters-1.yaml", "masters-3.yaml", "masters-5.yaml", "private-agents.yaml", "public-agents.yaml"];

/// The published manifest of most tests.
fn published() -> Value {
    let regions = IMAGES.map(|(region, ami)| {
        (region.to_owned(), json!({"ami": ami, "snapshot": ami.replace("ami-", "snap-")}))
    });
    json!({
        "schema": "bake-published-1", "name": "golden-0123456789ab", "disk": "5a".repeat(32),
        "architecture": "x86_64", "boot-mode": "uefi", "root-device": "/dev/xvda",
        "regions": serde_json::Map::from_iter(regions),
    })
}

/// The same with other values, by JSON pointer.
fn published_with(changes: &[(&str, Value)]) -> Value {
    let mut published = published();
    for (pointer, value) in changes {
        *published.pointer_mut(pointer).unwrap() = value.clone();
    }
    published
}

/// Templates for a published manifest.
struct Templates {
    scratch: TempDir,
}

impl Templates {
    fn of(published: &Value) -> Self {
        let templates = Self { scratch: scratch() };
        run(&mut command(published, templates.scratch.path()));
        templates
    }

    fn directory(&self) -> PathBuf {
        self.scratch.path().join("launch")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory().join(name)).unwrap()
    }
}

/// `bake publish templates`, which writes to `launch` in a directory.
fn command(published: &Value, directory: &Path) -> Command {
    let file = directory.join("published.json");
    fs::write(&file, published.to_string()).unwrap();
    let mut command = bake();
    command.args(["publish", "templates", "--published"]).arg(file);
    command.arg("--out").arg(directory.join("launch"));
    command
}

/// A Python program of these tests, with the tools that `ci/python-tools` brings.
fn python(program: &str) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", made("tools/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("CHECKPOINT_DISABLE", "1").arg(project("tests/templates").join(program));
    command
}

/// User data of a template's hosts, as CloudFormation works it out for a stack.
fn user_data(template: &str, stack: &str) -> String {
    let (_, rest) = template.split_once("            Fn::Sub: |\n").unwrap();
    let indent = " ".repeat(14);
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with(&indent));
    let text: String = lines.map(|line| line.strip_prefix(&indent).unwrap_or("").to_owned() + "\n").collect();
    let text = text.replace("${AWS::Region}", "eu-central-1").replace("${AWS::URLSuffix}", "amazonaws.com");
    let text = text.replace("${AWS::StackId}", stack);
    assert!(!text.contains("${"), "{text}");
    text
}

#[test]
fn the_same_manifest_gives_the_bytes_that_were_reviewed() {
    let templates = Templates::of(&published());
    let golden = project("tests/templates/private-agents.golden.yaml");
    let found = templates.read("private-agents.yaml");
    let hint = "look at what changed, and write it there if it is right";
    assert!(
        fs::read_to_string(&golden).unwrap_or_default() == found,
        "{}: {hint}:\n{found}",
        golden.display()
    );

    // As it is told, as the sums say, and again over what is there, by others and from elsewhere.
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "SHA256SUMS"])
        .current_dir(templates.directory()));
    let before = templates.read("SHA256SUMS");
    let mut again = Command::new("sh");
    let line = r#"umask 077; cd "$1"; shift; exec "$@""#;
    again.args(["-c", line, "-"]).arg(templates.scratch.path()).arg(env!("CARGO_BIN_EXE_bake"));
    again.args(["publish", "templates", "--published", "published.json", "--out", "launch", "--json"]);
    let told: Value =
        serde_json::from_str(&run(again.env("TZ", "Asia/Tokyo").env("LANG", "tr_TR.UTF-8"))).unwrap();
    assert_eq!(templates.read("SHA256SUMS"), before);
    for file in told.as_array().unwrap() {
        let (name, sum) = (file["name"].as_str().unwrap(), file["sha256"].as_str().unwrap());
        assert_eq!(file["size"], fs::metadata(templates.directory().join(name)).unwrap().len());
        assert!(name == "SHA256SUMS" || before.contains(&format!("{sum}  {name}\n")), "{name}");
    }
    assert_eq!(told.as_array().unwrap().len(), fs::read_dir(templates.directory()).unwrap().count());
}

#[test]
fn a_manifest_that_aws_cannot_have_is_refused_and_nothing_is_written() {
    let scratch = scratch();
    let evil = json!({"ami": "ami-1 }}\n${evil}", "snapshot": "snap-0123456789abcdef0"});
    for (changes, expected) in [
        (
            vec![("/schema", json!("bake-published-9"))],
            "schema is \"bake-published-9\": expected bake-published-1",
        ),
        (vec![("/name", json!("x\ny: !Ref z"))], "name is \"x\\ny: !Ref z\": expected 3 to 128"),
        (vec![("/root-device", json!("/dev/sda1\" }"))], "expected a device such as /dev/xvda"),
        (
            vec![("/regions", json!({"../etc": evil}))],
            "regions has \"../etc\": expected a region such as eu-central-1",
        ),
        (vec![("/regions", json!({"eu-central-1": evil}))], "expected ami- and 17 hex digits"),
        (vec![("/regions", json!({}))], "regions is empty: expected one region at least"),
        (vec![("/architecture", json!("arm64")), ("/boot-mode", json!("legacy-bios"))], "expected uefi"),
        (vec![("/disk", json!("5a"))], "expected what `bake publish` wrote"),
    ] {
        let output = output(&mut command(&published_with(&changes), scratch.path()));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: published manifest `") && said.contains(expected), "{said}");
        assert!(!scratch.path().join("launch").exists());
    }
    let missing = output(bake().args(["publish", "templates", "--published", "/nowhere.json", "--out", "x"]));
    assert!(text(&missing.stderr).contains("opening `/nowhere.json` failed"), "{missing:?}");
}
