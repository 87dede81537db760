//! Every command of the README works as it is written there.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test that cannot go on says where and why

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{made, project, rootfs, run, scratch, small_product};

/// Commands of `ci`, which CI runs by themselves, and those that `tests/boot.rs` runs with more to say.
fn runs_elsewhere(line: &str) -> bool {
    line.starts_with("ci/") || line.starts_with("bake boot")
}

/// Text between the fences of one language, block by block.
fn blocks<'a>(readme: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    let starts = readme.match_indices(&open).map(|(at, _)| &readme[at + open.len()..]);
    starts.map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What the README says lies in the user's directory.
fn furnish(directory: &Path, readme: &str) {
    std::os::unix::fs::symlink(rootfs("debian-12").canonicalize().unwrap(), directory.join("rootfs.tar"))
        .unwrap();
    std::os::unix::fs::symlink(small_product().canonicalize().unwrap(), directory.join("bootstrap.tar.xz"))
        .unwrap();
    for (origin, name) in
        [("oci/fedora-coreos", "base"), ("vendor/flatcar-short.raw", "flatcar_production_image.bin.bz2")]
    {
        std::os::unix::fs::symlink(made(origin).canonicalize().unwrap(), directory.join(name)).unwrap();
    }
    fs::create_dir_all(directory.join("site/etc")).unwrap();
    fs::write(directory.join("site/etc/site.conf"), "site\n").unwrap();
    fs::create_dir(directory.join("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bake"), directory.join("bin/bake")).unwrap();
    std::os::unix::fs::symlink(
        made("rootfs/builder.tar").canonicalize().unwrap(),
        directory.join("builder.tar"),
    )
    .unwrap();
    for recipe in ["dcos-clock", "dcos-hello"] {
        fs::create_dir_all(directory.join("packages")).unwrap();
        run(Command::new("cp")
            .arg("-r")
            .arg(project("tests/tree").join(recipe))
            .arg(directory.join("packages")));
    }
    // What `bake publish ami` writes, which takes an account.
    let ids = serde_json::json!({"ami": "ami-0123456789abcdef0", "snapshot": "snap-0123456789abcdef0"});
    let published = serde_json::json!({
        "schema": "bake-published-1", "name": "debian", "disk": "5a".repeat(32), "architecture": "x86_64",
        "boot-mode": "uefi", "root-device": "/dev/xvda", "regions": {"eu-central-1": ids},
    });
    fs::write(directory.join("published.json"), published.to_string()).unwrap();
    let [spec] = blocks(readme, "toml")[..] else { panic!("the README has one spec file") };
    fs::write(directory.join("bake.toml"), spec).unwrap();
    let [configuration] = blocks(readme, "yaml")[..] else { panic!("the README has one configuration") };
    fs::create_dir(directory.join("genconf")).unwrap();
    fs::write(directory.join("genconf/config.yaml"), configuration).unwrap();
}

#[test]
fn every_command_works_as_written() {
    let readme = fs::read_to_string(project("README.md")).unwrap();
    let scratch = scratch();
    furnish(scratch.path(), &readme);
    let bin = scratch.path().join("bin");
    let mut ran = 0;
    for line in blocks(&readme, "sh").into_iter().flat_map(str::lines) {
        if line.trim().is_empty() || runs_elsewhere(line) {
            continue;
        }
        assert!(line.starts_with("bake "), "`{line}` is a command that no test knows");
        run(Command::new("sh")
            .args(["-euc", &format!("PATH=\"{}:$PATH\"; {line}", bin.display())])
            .current_dir(scratch.path())
            .env("XDG_CACHE_HOME", scratch.path().join("cache")));
        ran += 1;
    }
    assert!(ran >= 5, "only {ran} commands of the README were found");
    let bootstrap = fs::read_to_string(scratch.path().join("product/bootstrap/bootstrap.latest")).unwrap();
    let bootstrap = format!("product/bootstrap/{bootstrap}.bootstrap.tar.xz");
    for made in [
        bootstrap.as_str(),
        "images/debian.raw",
        "golden/debian.qcow2",
        "masters/master.raw",
        "all/web/web.qcow2",
        "serve/dcos_install.sh",
        "dcos_install_all.sh",
        "configured/debian.raw",
        "sealed/debian.raw",
        "flatcar/flatcar.raw",
        "extension/dcos.raw",
        "layered/fedora-coreos.oci.tar",
        "containers/debian.ova",
        "launch/masters-3.yaml",
    ] {
        assert!(scratch.path().join(made).exists(), "{made}");
    }
}

#[test]
fn what_the_readme_says_of_ci_exists_and_ci_runs_the_tests() {
    let readme = fs::read_to_string(project("README.md")).unwrap();
    for line in blocks(&readme, "sh").into_iter().flat_map(str::lines).filter(|line| line.starts_with("ci/"))
    {
        let script = line.split_whitespace().next().unwrap();
        assert!(project(script).exists(), "{script}");
    }
    assert!(fs::read_to_string(project(".ci/run")).unwrap().contains("ci/test"));
}
