//! Secrets are in the archive for secrets and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::ground::{Ground, all_bytes, contains};

const PASSWORD: &str = "hunter2-rosebud-7f3a";
const DOCKER: &str = "b25lOnRoZS1zZWNyZXQtdG9rZW4=";
const AWS: &str = "AKIASECRETSECRETSECRET/abcdefgh+x";

fn ground() -> Ground {
    Ground::with(&format!(
        "exhibitor_admin_password: {PASSWORD}\ncluster_docker_credentials:\n  auths:\n    registry.example.com:\n      auth: {DOCKER}\n"
    ))
}

#[test]
fn secrets_are_only_where_they_belong() {
    let ground = ground();
    ground.run(&[]);
    let mut seen = all_bytes(&ground.at("serve"));
    let modes: &[&[&str]] = &[
        &["--json"],
        &[],
        &["--plan"],
        &["--plan", "--json"],
        &["--schema"],
        &["--diff", "serve"],
        &["--diff", "serve", "--json", "--set", "cluster_name=x"],
        &["--diff", "serve", "--set", "exhibitor_admin_password=other"],
        &["--set", "unknown=1"],
        &["--set", "master_discovery=wrong"],
        &["--single-file", "single.sh"],
    ];
    for arguments in modes {
        let output = ground.try_run(arguments);
        seen.extend(output.stdout);
        seen.extend(output.stderr);
    }
    seen.extend(fs::read(ground.at("single.sh")).unwrap());
    for secret in [PASSWORD, DOCKER] {
        assert!(!contains(&seen, secret), "{secret}");
        assert!(contains(&all_bytes(&ground.at("serve.secrets")), secret), "{secret}");
    }
    assert!(contains(&seen, "**HIDDEN**"));
    let mode = |name: &str| fs::metadata(ground.at(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("serve.secrets"), mode("serve.secrets/dcos-secrets.tar")), (0o700, 0o600));
}

#[test]
fn values_that_are_wrong_are_secret_too() {
    let ground = Ground::new();
    for lines in [
        format!("exhibitor_admin_password: [{PASSWORD}]\n"),
        format!("exhibitor_admin_password: \"{PASSWORD}\\u0007\"\n"),
        format!("cluster_docker_credentials: {PASSWORD}\n"),
        format!(
            "exhibitor_storage_backend: aws_s3\nexhibitor_explicit_keys: true\naws_secret_access_key: [\"{AWS}\"]\n"
        ),
    ] {
        let ground = Ground::with(&lines);
        let output = ground.try_run(&[]);
        assert_eq!(output.status.code(), Some(1), "{lines}");
        for secret in [PASSWORD, AWS] {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains(secret), "{lines}\n{said}");
        }
    }
    ground.run(&[]);
}

#[test]
fn secrets_go_with_the_configuration_that_had_them() {
    let ground = ground();
    ground.run(&[]);
    assert!(ground.at("serve.secrets").exists());
    let plain = Ground::new();
    fs::copy(plain.at("genconf/config.yaml"), ground.at("genconf/config.yaml")).unwrap();
    ground.run(&[]);
    assert!(!ground.at("serve.secrets").exists());
}

#[test]
fn a_difference_of_secrets_alone_says_so_and_nothing_of_them() {
    let ground = ground();
    ground.run(&[]);
    let same = ground.try_run(&["--diff", "serve"]);
    assert_eq!(same.status.code(), Some(0));
    let other = ground.try_run(&["--diff", "serve", "--set", "exhibitor_admin_password=other-rosebud"]);
    let text = String::from_utf8(other.stdout).unwrap();
    assert_eq!(other.status.code(), Some(1), "{text}");
    assert!(text.contains("secrets changed") && !text.contains("rosebud"), "{text}");
    let both = ground.try_run(&["--diff", "serve", "--set", "cluster_name=other"]);
    assert!(!String::from_utf8(both.stdout).unwrap().contains("secrets changed"));
}
