//! A place with a configuration, where `bake configure` runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{bake, made, output, project, rootfs, run, scratch, text};

/// The place.
pub struct Ground {
    scratch: TempDir,
}

impl Ground {
    /// With the sample configuration.
    pub fn new() -> Self {
        let ground = Self { scratch: scratch() };
        fs::create_dir(ground.at("genconf")).unwrap();
        for name in ["config.yaml", "ip-detect"] {
            fs::copy(project(&format!("tests/genconf/{name}")), ground.at(&format!("genconf/{name}")))
                .unwrap();
        }
        ground
    }

    /// With more lines in the configuration.
    pub fn with(lines: &str) -> Self {
        let ground = Self::new();
        let path = ground.at("genconf/config.yaml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before + lines).unwrap();
        ground
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// `bake configure` for the small sample tree.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bake();
        command.current_dir(self.scratch.path()).arg("configure");
        command.arg("--artifacts").arg(made("product/small-artifacts").canonicalize().unwrap());
        command.args(arguments);
        command
    }

    /// What the small sample tree is delivered as with another program for hosts. Its packages are there already.
    pub fn artifacts_with(&self, program: &[u8]) -> PathBuf {
        let (from, tree) = (made("tree").canonicalize().unwrap(), self.at("tree"));
        for part in [
            "small.treeinfo.json",
            "config",
            "dcos-clock",
            "dcos-hello",
            "cache/packages/dcos-clock",
            "cache/packages/dcos-hello",
        ] {
            let to = tree.join(part);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            run(Command::new("cp").arg("-a").arg(from.join(part)).arg(to));
        }
        fs::write(self.at("pkgpanda"), program).unwrap();
        let mut command = bake();
        command.current_dir(self.at("")).args(["tree", "--quiet", "--offline", "--variant=small"]);
        command.args(["--tree=tree", "--pkgpanda=pkgpanda", "--out=artifacts", "--builder"]);
        run(command.arg(rootfs("builder").canonicalize().unwrap()));
        self.at("artifacts")
    }

    pub fn try_run(&self, arguments: &[&str]) -> Output {
        output(&mut self.command(arguments))
    }

    /// What a run that succeeds prints as JSON.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let output = self.try_run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What a run that fails with this status says.
    pub fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        text(&output.stderr)
    }

    pub fn id(&self, arguments: &[&str]) -> String {
        self.run(arguments)["config_id"].as_str().unwrap().to_owned()
    }
}

/// Every file below a directory: its kind, mode and content.
pub fn listing(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(
        directory,
        directory,
        &mut |path, metadata| {
            let content = if metadata.is_file() {
                bake_base::Digest::of(&fs::read(path).unwrap()).to_string()
            } else {
                String::new()
            };
            format!("{:o} {content}", metadata.mode())
        },
        &mut found,
    );
    found
}

/// What changes whenever somebody writes.
pub fn states(directory: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(
        directory,
        directory,
        &mut |_, metadata| format!("{} {} {}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec()),
        &mut found,
    );
    found
}

fn walk(
    top: &Path,
    directory: &Path,
    describe: &mut dyn FnMut(&Path, &fs::Metadata) -> String,
    found: &mut BTreeMap<String, String>,
) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        found.insert(path.strip_prefix(top).unwrap().display().to_string(), describe(&path, &metadata));
        if metadata.is_dir() {
            walk(top, &path, describe, found);
        }
    }
}

/// Every byte below a directory, packages as what is in them.
pub fn all_bytes(directory: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in listing(directory).keys() {
        let at = directory.join(path);
        if !at.is_file() {
            continue;
        }
        if path.ends_with(".tar.xz") {
            let unpacked = output(Command::new("xz").args(["--decompress", "--stdout"]).arg(&at));
            assert!(unpacked.status.success());
            bytes.extend(unpacked.stdout);
        } else {
            bytes.extend(fs::read(&at).unwrap());
        }
    }
    bytes
}

pub fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}
