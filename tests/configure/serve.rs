//! What is in a serve directory, and what happens to one that is there.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::ground::{Ground, listing, states};
use crate::support::run;

#[test]
fn a_serve_directory_has_what_hosts_fetch_and_sums_of_all_of_it() {
    let ground = Ground::new();
    let outcome = ground.run(&[]);
    let serve = ground.at("serve");
    run(Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(&serve));
    let sums = fs::read_to_string(serve.join("SHA256SUMS")).unwrap();
    let listed: Vec<_> = sums.lines().map(|line| line.split_once("  ").unwrap().1.to_owned()).collect();
    let mut found: Vec<_> = listing(&serve).into_keys().filter(|path| serve.join(path).is_file()).collect();
    found.retain(|path| path != "SHA256SUMS" && path != ".lock");
    assert_eq!(found, listed);
    let id = outcome["config_id"].as_str().unwrap();
    let read = |name: &str| fs::read(serve.join(name)).unwrap();
    assert_eq!(read("product.json"), read(&format!("products/{id}.json")));
    let list = String::from_utf8(read("cluster-package-list.latest")).unwrap();
    let list: Vec<String> =
        serde_json::from_slice(&read(&format!("package_lists/{list}.package_list.json"))).unwrap();
    assert!(list.contains(&format!("dcos-config--setup_{id}")), "{list:?}");
    assert!(list.iter().any(|id| id.starts_with("dcos-hello--")), "{list:?}");
    let product: serde_json::Value = serde_json::from_slice(&read("product.json")).unwrap();
    let flag = &product["files"]["/etc/mesosphere/setup-flags/cluster-package-list"]["content"];
    assert_eq!(flag.as_str().unwrap().as_bytes(), read("cluster-package-list.latest"));
    run(Command::new("bash").arg("-n").arg(serve.join("dcos_install.sh")));
    assert_eq!(outcome["changed"].as_array().unwrap().len(), found.len() + 1);
}

#[test]
fn a_second_run_touches_nothing() {
    let ground = Ground::new();
    ground.run(&[]);
    let before = states(&ground.at("serve"));
    let outcome = ground.run(&["--prune"]);
    assert_eq!(outcome["changed"].as_array().unwrap().len(), 0, "{outcome}");
    assert_eq!(states(&ground.at("serve")), before);
}

#[test]
fn older_releases_stay_until_pruned() {
    let ground = Ground::new();
    ground.run(&[]);
    let first = listing(&ground.at("serve"));
    ground.run(&["--set", "cluster_name=other"]);
    let both = listing(&ground.at("serve"));
    assert!(first.keys().all(|path| both.contains_key(path)));
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(ground.at("serve")));
    fs::write(ground.at("serve/packages/note.txt"), "mine").unwrap();
    ground.run(&["--prune"]);
    let mut pruned = listing(&ground.at("serve"));
    assert!(pruned.remove("packages/note.txt").is_some());
    assert_eq!(pruned, first);
}

#[test]
fn damage_is_told() {
    let ground = Ground::new();
    ground.run(&[]);
    let package = listing(&ground.at("serve")).into_keys().find(|path| path.ends_with(".tar.xz")).unwrap();
    let path = ground.at("serve").join(&package);
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let message = ground.fails(1, &[]);
    assert!(message.contains(&package) && message.contains("remove it and run again"), "{message}");
    fs::remove_file(&path).unwrap();
    ground.run(&[]);
}

#[test]
fn a_difference_says_what_changes_on_hosts() {
    let ground = Ground::new();
    ground.run(&[]);
    let same = ground.try_run(&["--diff", "serve"]);
    assert_eq!(same.status.code(), Some(0), "{}", String::from_utf8_lossy(&same.stdout));
    let other = ground.try_run(&["--diff", "serve", "--set", "cluster_name=other"]);
    let text = String::from_utf8(other.stdout).unwrap();
    assert_eq!(other.status.code(), Some(1), "{text}");
    assert!(text.contains("package dcos-config changed: setup_"), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with('-') && line.contains("sample")), "{text}");
    assert!(text.lines().any(|line| line.trim_start().starts_with('+') && line.contains("other")), "{text}");
    assert_eq!(String::from_utf8(other.stderr).unwrap(), "", "a difference is no error");
    let before = states(&ground.at("serve"));
    ground.try_run(&["--plan"]);
    assert_eq!(states(&ground.at("serve")), before);
}

#[test]
fn what_is_missing_or_makes_no_sense_is_told_with_the_fix() {
    let ground = Ground::new();
    let message = ground.fails(1, &["--config", "none.yaml"]);
    assert!(message.contains("`none.yaml` does not exist"), "{message}");
    let message = ground.fails(2, &["--secrets", "serve/secrets"]);
    assert!(message.contains("everybody reads"), "{message}");
    let mut command = crate::support::bake();
    command.current_dir(ground.at("")).args(["configure", "--artifacts", "none"]);
    let message = crate::support::output(&mut command);
    let message = String::from_utf8(message.stderr).unwrap();
    assert!(message.contains("none/manifest.json") && message.contains("bake tree --out"), "{message}");
    // As trees were delivered before they had the program.
    let artifacts = crate::support::made("product/small-artifacts").canonicalize().unwrap();
    run(Command::new("cp").arg("-r").arg(artifacts).arg(ground.at("old")));
    let path = ground.at("old/manifest.json");
    let before = fs::read(&path).unwrap();
    let mut manifest: Value = serde_json::from_slice(&before).unwrap();
    manifest["packages"].as_object_mut().unwrap().retain(|id, _| !id.starts_with("pkgpanda--"));
    let inside = manifest["bootstrap"]["packages"].as_array_mut().unwrap();
    inside.retain(|id| !id.as_str().unwrap().starts_with("pkgpanda--"));
    let after = manifest.to_string();
    fs::write(&path, &after).unwrap();
    let digest = |bytes: &[u8]| bake_base::Digest::of(bytes).to_string();
    let sums = fs::read_to_string(ground.at("old/SHA256SUMS")).unwrap();
    let new_sums = sums.replace(&digest(&before), &digest(after.as_bytes()));
    assert_ne!(sums, new_sums);
    fs::write(ground.at("old/SHA256SUMS"), new_sums).unwrap();
    let mut command = crate::support::bake();
    let message =
        crate::support::output(command.current_dir(ground.at("")).args(["configure", "--artifacts=old"]));
    let message = String::from_utf8(message.stderr).unwrap();
    assert!(
        message.contains("holds no package `pkgpanda`") && message.contains("bake tree --out"),
        "{message}"
    );
    assert!(!ground.at("serve").exists());
}

#[test]
fn what_is_somebody_elses_is_neither_taken_over_nor_replaced() {
    let ground = Ground::new();
    fs::create_dir(ground.at("site")).unwrap();
    fs::write(ground.at("site/index.html"), "mine").unwrap();
    let message = ground.fails(1, &["--out", "site"]);
    assert!(message.contains("holds `index.html` and is no serve directory"), "{message}");
    assert_eq!(fs::read_dir(ground.at("site")).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(ground.at("site/index.html")).unwrap(), "mine");

    let config = fs::read(ground.at("genconf/config.yaml")).unwrap();
    let message = ground.fails(1, &["--single-file", "genconf/config.yaml"]);
    assert!(message.contains("is not replaced"), "{message}");
    assert_eq!(fs::read(ground.at("genconf/config.yaml")).unwrap(), config);
    let message = ground.fails(2, &["--single-file", "serve/all.sh"]);
    assert!(message.contains("is in the serve directory"), "{message}");
    ground.run(&["--single-file", "all.sh"]);
    ground.run(&["--single-file", "all.sh", "--set", "cluster_name=other"]);

    fs::create_dir(ground.at("elsewhere")).unwrap();
    fs::rename(ground.at("serve/packages"), ground.at("packages")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", ground.at("serve/packages")).unwrap();
    let message = ground.fails(1, &[]);
    assert!(message.contains("packages` is no directory"), "{message}");
    assert!(fs::read_dir(ground.at("elsewhere")).unwrap().next().is_none());
}

#[test]
fn installers_stay_with_their_release_and_what_is_listed_goes_with_it() {
    let ground = Ground::new();
    ground.run(&[]);
    let serve = ground.at("serve");
    let kept = || -> Vec<_> {
        let paths = listing(&serve).into_keys();
        paths.filter(|path| path.starts_with("bin/") && path.ends_with("/dcos_install.sh")).collect()
    };
    let first = kept();
    let [installer] = first.as_slice() else { panic!("{first:?}") };
    let bytes = fs::read(serve.join(installer)).unwrap();
    assert_eq!(bytes, fs::read(serve.join("dcos_install.sh")).unwrap());
    let digest = bake_base::Digest::of(&bytes).to_string();
    assert_eq!(*installer, format!("bin/{digest}/dcos_install.sh"));
    assert!(fs::read_to_string(serve.join("examples/user-data.tf")).unwrap().contains(installer.as_str()));

    // Of an older version, one of somebody else, one that somebody changed, and what was never in here.
    for name in ["older", "mine", "changed"] {
        fs::write(serve.join("examples").join(name), name).unwrap();
    }
    fs::write(ground.at("outside"), "outside").unwrap();
    let line = |name: &str, path: &str| format!("{}  {path}\n", bake_base::Digest::of(name.as_bytes()));
    let sums = fs::read_to_string(serve.join("SHA256SUMS")).unwrap();
    let more =
        [line("older", "examples/older"), line("x", "examples/changed"), line("outside", "../outside")];
    fs::write(serve.join("SHA256SUMS"), sums + &more.concat()).unwrap();

    ground.run(&["--set", "cluster_name=other"]);
    assert_eq!(kept().len(), 2);
    let sums = fs::read_to_string(serve.join("SHA256SUMS")).unwrap();
    assert!(sums.contains(installer.as_str()) && sums.contains("examples/older"), "{sums}");
    assert!(!sums.contains("outside") && !sums.contains("examples/changed"), "{sums}");
    ground.run(&["--set", "cluster_name=other", "--prune"]);
    assert!(kept().len() == 1 && kept() != first);
    let there = |name: &str| serve.join("examples").join(name).exists();
    assert_eq!((there("older"), there("mine"), there("changed")), (false, true, true));
    assert!(ground.at("outside").exists());
    run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&serve));
}
