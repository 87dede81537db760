//! A place that must look afterwards as it did before, unless an image was baked there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bake_base::Digest;
use serde_json::Value;
use tempfile::TempDir;

use super::{bake, output, scratch, text};

/// A directory with inputs, where `out` is where images would go and nothing else may ever appear.
pub struct Ground {
    scratch: TempDir,
    before: BTreeMap<PathBuf, State>,
}

/// What is known of a file: any write changes it.
#[derive(Debug, PartialEq, Eq)]
struct State {
    inode: u64,
    mode: u32,
    size: u64,
    changed: (i64, i64),
}

impl Ground {
    /// A place where only these files are.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let scratch = scratch();
        for (name, bytes) in files {
            let path = scratch.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fs::create_dir(scratch.path().join("tmp")).unwrap();
        let before = states(scratch.path());
        Self { scratch, before }
    }

    /// A file or directory of the place.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Notes what is there now as what has to stay.
    pub fn settle(&mut self) {
        self.before = states(self.scratch.path());
    }

    /// `bake image` with these arguments, in the place, for `out`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.through(&[], arguments)
    }

    /// The same run by another program, `strace` say.
    pub fn through(&self, runner: &[&str], arguments: &[&str]) -> Command {
        let bake = bake();
        let mut command = match runner {
            [] => Command::new(bake.get_program()),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(bake.get_program());
                command
            }
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.scratch.path()).env("TMPDIR", self.path("tmp"));
        command.args(["image", "--out", "out"]).args(arguments);
        if !arguments.contains(&"--cache") {
            command.arg("--no-cache");
        }
        command
    }

    /// Runs `bake image` with a root file system that must be refused, and gives what it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = output(&mut self.command(arguments));
        let said = failed_well(&output, &format!("{arguments:?}"));
        self.is_untouched(&format!("{arguments:?}\n{said}"));
        said
    }

    /// Nothing was made, changed or taken away.
    pub fn is_untouched(&self, what: &str) {
        self.untouched_but(what, &[]);
    }

    /// Nothing was made, changed or taken away but below these directories.
    pub fn untouched_but(&self, what: &str, except: &[&str]) {
        let mut after = states(self.scratch.path());
        after.retain(|path, _| !except.iter().any(|name| path.starts_with(name)));
        let paths = |states: &BTreeMap<PathBuf, State>| states.keys().cloned().collect::<Vec<_>>();
        assert_eq!(paths(&after), paths(&self.before), "{what}: left something behind, or took it away");
        assert_eq!(after, self.before, "{what}: changed something");
    }

    /// Whether there is an image: all of it, whole by its sums, and nothing else in its directory.
    pub fn has_whole_image(&self) -> bool {
        let out = self.path("out");
        if !out.join("SHA256SUMS").exists() {
            return false;
        }
        let names: BTreeSet<_> = states(&out).into_keys().map(PathBuf::into_os_string).collect();
        let manifest = super::Baked::read(&out).manifest;
        let artifacts = manifest["artifacts"].as_array().unwrap();
        let artifacts = artifacts.iter().map(|artifact| artifact["name"].as_str().unwrap());
        assert_eq!(names, artifacts.chain(["SHA256SUMS", "manifest.json"]).map(OsString::from).collect());
        super::run(Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&out));
        true
    }

    /// The cache holds layers as they were decoded, each with what is known of it, and nothing unfinished.
    pub fn cache_is_whole(&self) {
        let layers = self.path("cache/layers/sha256");
        for path in states(&self.path("cache")).into_keys().filter(|path| path.extension().is_none()) {
            assert!(self.path("cache").join(&path).is_dir(), "{} is in the cache", path.display());
        }
        if !layers.exists() {
            return;
        }
        for path in
            states(&layers).into_keys().filter(|path| path.extension().is_some_and(|kind| kind == "tar"))
        {
            let beside = fs::read(layers.join(path.with_extension("json"))).unwrap();
            let beside: Value = serde_json::from_slice(&beside).unwrap();
            let bytes = fs::read(layers.join(&path)).unwrap();
            assert_eq!(beside["digest"], Digest::of(&bytes).to_string(), "{}", path.display());
        }
    }

    /// Takes the image away again.
    pub fn clear(&self) {
        fs::remove_dir_all(self.path("out")).unwrap();
    }
}

/// Checks that a run failed as a user wants it to, and gives what it said.
pub fn failed_well(output: &Output, what: &str) -> String {
    let said = text(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{what}: {}\n{said}", output.status);
    assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{what}: {said}");
    assert!(said.starts_with("error: ") && said.trim_end().len() > "error: ".len(), "{what}: {said}");
    assert!(output.stdout.is_empty(), "{what}: printed {}", text(&output.stdout));
    said
}

/// How a process ended, as a test may expect it.
pub fn was_killed(output: &Output, signal: i32) -> bool {
    // A tracer ends in the way of its tracee, or says so in its status.
    output.status.signal() == Some(signal) || output.status.code() == Some(128 + signal)
}

fn states(top: &Path) -> BTreeMap<PathBuf, State> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![top.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            // Files without a name are made in a directory, which changes its times and nothing else.
            let changed = if stat.is_dir() { (0, 0) } else { (stat.ctime(), stat.ctime_nsec()) };
            let size = if stat.is_dir() { 0 } else { stat.len() };
            let state = State { inode: stat.ino(), mode: stat.mode(), size, changed };
            found.insert(path.strip_prefix(top).unwrap().to_owned(), state);
            if stat.is_dir() {
                ahead.push(path);
            }
        }
    }
    found
}

/// Numbers that are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // Knuth's constants; the upper half is the better one.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
