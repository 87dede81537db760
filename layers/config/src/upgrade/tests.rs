//! The script is run by the real bash and judged by the real shellcheck.
#![allow(clippy::disallowed_methods)] // programs are run

use std::collections::BTreeMap;
use std::process::{Command, Output};

use bake_base::Digest;
use bake_host::product::{Bootstrap, SCHEMA};

use super::*;

fn blob(path: &str) -> Blob {
    Blob { path: path.to_owned(), sha256: Digest::of(path.as_bytes()), size: 7 }
}

fn text(cluster_name: &str) -> Result<Vec<u8>, Error> {
    let package = |id: &str| {
        let path = format!("packages/{}/{id}.tar.xz", id.split("--").next().unwrap());
        (id.parse().unwrap(), blob(&path))
    };
    let product = Product {
        schema: SCHEMA.to_owned(),
        config_id: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        bootstrap: Bootstrap {
            id: "b".to_owned(),
            packages: BTreeMap::from([package("inside--1"), package("idle--1")]),
            blob: blob("bootstrap/b.tar.xz"),
        },
        packages: BTreeMap::from([package("beside--1")]),
        active: ["beside--1", "inside--1"].map(|id| id.parse().unwrap()).into(),
        files: BTreeMap::new(),
        secrets: Vec::new(),
        pkgpanda: blob("bin/0/pkgpanda"),
    };
    let data = InstallerData {
        cluster_name: cluster_name.to_owned(),
        bootstrap_url: "http://bootstrap.example".to_owned(),
        machine: "x86_64".to_owned(),
        ..InstallerData::of(&product, b"{}")
    };
    script(&data, &product)
}

fn bash(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(UPGRADER);
    std::fs::write(&file, text("Sample").unwrap()).unwrap();
    Command::new("bash").arg(&file).args(arguments).output().unwrap()
}

#[test]
fn shellcheck_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(UPGRADER);
    std::fs::write(&file, text("Sample $(false) 'x'").unwrap()).unwrap();
    let output = Command::new("shellcheck").arg("--severity=style").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn active_packages_are_named_wherever_they_are_and_no_others() {
    let script = String::from_utf8(text("Sample").unwrap()).unwrap();
    for path in ["packages/beside/beside--1.tar.xz", "packages/inside/inside--1.tar.xz"] {
        assert!(script.contains(path), "{path}");
    }
    assert!(!script.contains("idle--1") && !script.contains("b.tar.xz"), "{script}");
    assert!(text("a\0b").unwrap_err().to_string().contains(UPGRADER));
}

#[test]
fn help_tells_every_exit_status_and_wrong_usage_is_refused() {
    for option in ["-h", "--help"] {
        let output = bash(&[option]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        for status in [0, 1, 2, 4, 5] {
            assert!(said.contains(&format!("\n  {status}  ")), "{said}");
        }
    }
    for wrong in [
        &["master"][..],
        &["--unknown"],
        &["--url"],
        &["--url", "x"],
        &["--secrets", "/none"],
        &["--timeout", "soon"],
        &["--timeout", "99999999999999999999"],
    ] {
        let output = bash(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
    let output = bash(&["--json", "master"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["exit"].as_i64(), report["result"].as_str()), (Some(2), Some("usage")));
}
