//! A tree of small recipes, a small builder, and somebody who runs `bake` there.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::ground::failed_well;
use crate::support::{bake, output, run, text, tiny};

/// `nobody`, who owns nothing.
const NOBODY: u32 = 65534;
/// What the small builder has beside bash.
const PROGRAMS: [&str; 29] = [
    "bash",
    "cat",
    "chmod",
    "cp",
    "date",
    "dd",
    "env",
    "head",
    "hostname",
    "id",
    "install",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mv",
    "nproc",
    "readlink",
    "rm",
    "seq",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "tar",
    "touch",
    "tr",
    "uname",
];

/// Who runs `bake`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever runs the tests: root in CI.
    Me,
    Nobody,
}

/// Runs a test as everybody there is.
pub fn as_everybody(test: impl Fn(&Ground)) {
    eprintln!("--- as whoever runs the tests");
    test(&Ground::new());
    if crate::support::is_root("packages built by nobody") {
        eprintln!("--- as nobody");
        test(&Ground::of(Who::Nobody));
    }
}

/// A directory with a tree in `tree`, a builder in `builder.tar`, and nothing in `home` but what `bake` keeps
/// there.
pub struct Ground {
    who: Who,
    directory: tempfile::TempDir,
}

impl Ground {
    pub fn new() -> Self {
        Self::of(Who::Me)
    }

    pub fn of(who: Who) -> Self {
        // The system's own temporary directory: the project's may be closed to others.
        let ground = Self { who, directory: tempfile::tempdir().unwrap() };
        fs::set_permissions(ground.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(bake().get_program(), ground.at("bake")).unwrap();
        fs::write(ground.at("pkgpanda"), tiny::pkgpanda()).unwrap();
        fs::create_dir(ground.at("tree")).unwrap();
        fs::create_dir(ground.at("home")).unwrap();
        builder(&ground.at("root"), &ground.at("builder.tar"));
        ground
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A path in the tree.
    pub fn tree(&self, name: &str) -> PathBuf {
        self.at("tree").join(name)
    }

    /// A file in the tree.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.tree(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
    }

    /// A recipe: its `buildinfo.json`, and a script without a first line.
    pub fn recipe(&self, name: &str, buildinfo: &Value, script: &str) {
        self.variant(name, "", buildinfo, script);
    }

    /// A variant of a recipe; `prefix` ends in a dot.
    pub fn variant(&self, name: &str, prefix: &str, buildinfo: &Value, script: &str) {
        self.file(&format!("{name}/{prefix}buildinfo.json"), buildinfo.to_string());
        let build = format!("{name}/{prefix}build");
        self.file(&build, format!("#!/bin/bash\n{script}\n"));
        fs::set_permissions(self.tree(&build), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `bake` with these arguments, for the tree.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.through(&[], arguments)
    }

    /// The same run by another program, `taskset` say.
    pub fn through(&self, runner: &[&str], arguments: &[&str]) -> Command {
        let mut line: Vec<String> = Vec::new();
        if self.who == Who::Nobody {
            for name in [".", "tree", "home"] {
                chown(self.at(name), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            line.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(str::to_owned));
        }
        line.extend(runner.iter().map(|word| (*word).to_owned()));
        line.push(self.at("bake").to_str().unwrap().to_owned());
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).args(arguments).current_dir(self.at("."));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.at("home"));
        command
    }

    /// `bake package` in the small builder.
    pub fn package_command(&self, arguments: &[&str]) -> Command {
        self.command(&[&["package", "--tree=tree", "--builder=builder.tar"], arguments].concat())
    }

    /// Builds packages, and gives what was printed.
    pub fn package(&self, arguments: &[&str]) -> String {
        run(&mut self.package_command(arguments))
    }

    /// Builds one package and reads it.
    pub fn built(&self, name: &str) -> Package {
        let printed = self.package(&["--recursive", name]);
        assert_eq!(printed.lines().count(), 1, "{printed}");
        Package(self.at(printed.trim_end()))
    }

    /// `bake tree` in the small builder.
    pub fn tree_command(&self, arguments: &[&str]) -> Command {
        self.command(&[&["tree", "--tree=tree", "--builder=builder.tar"], arguments].concat())
    }

    /// `bake package` that must fail; what it said.
    pub fn package_refused(&self, arguments: &[&str]) -> String {
        refused(&mut self.package_command(arguments))
    }

    /// `bake tree` that must fail; what it said.
    pub fn tree_refused(&self, arguments: &[&str]) -> String {
        refused(&mut self.tree_command(arguments))
    }

    /// The ids of the plan, in its order.
    pub fn plan(&self, arguments: &[&str]) -> Vec<String> {
        ids(&self.package(&[&["--plan"], arguments].concat()))
    }

    /// The files and directories of the cache.
    pub fn cached(&self, below: &str) -> Vec<String> {
        let top = self.tree("cache").join(below);
        if !top.exists() {
            return Vec::new();
        }
        let found = run(Command::new("find").arg(&top).args(["-mindepth", "1", "-printf", "%P\n"]));
        let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
        found.sort();
        found
    }

    /// The components that were built: each build leaves a log.
    pub fn logged(&self) -> Vec<String> {
        let logs = self.cached("packages").into_iter().filter(|path| path.strip_suffix(".log").is_some());
        logs.map(|path| path.split('/').next().unwrap().to_owned()).collect()
    }

    /// Whether the cache has a package of this component, or says so.
    pub fn has_package(&self, name: &str) -> bool {
        let cached = self.cached(&format!("packages/{name}"));
        cached.iter().any(|name| name.ends_with(".tar.xz") || name.ends_with("latest"))
    }
}

/// The first column of what `--plan` prints.
pub fn ids(plan: &str) -> Vec<String> {
    plan.lines().map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Runs `bake`, which must fail as a user wants it to; what it said.
pub fn refused(command: &mut Command) -> String {
    let output: Output = output(command);
    // Notes come before the error.
    let said = text(&output.stderr);
    let error = said.find("error: ").map_or("", |at| &said[at..]);
    failed_well(&Output { stderr: error.into(), ..output }, &format!("{command:?}\n{said}"))
}

/// A package as a file.
pub struct Package(pub PathBuf);

impl Package {
    /// What is in one of its files.
    pub fn read(&self, name: &str) -> String {
        let mut command = Command::new("tar");
        run(command.arg("-xJOf").arg(&self.0).arg(format!("./{name}")))
    }

    /// Its digest, by other means.
    pub fn digest(&self) -> String {
        let line = run(Command::new("sha256sum").arg(&self.0));
        line.split_whitespace().next().unwrap().to_owned()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Its id.
    pub fn id(&self) -> &str {
        self.0.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.xz").unwrap()
    }
}

/// A root file system of this machine's bash and coreutils, with the libraries that they need.
fn builder(root: &Path, tar: &Path) {
    for name in ["etc", "usr/bin", "usr/lib"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("etc/os-release"), "ID=test\n").unwrap();
    // Where bash has to be told what `LC_ALL=C.UTF-8` means it would complain in every log.
    let locale = Path::new("/usr/lib/locale/C.utf8");
    if locale.is_dir() {
        fs::create_dir(root.join("usr/lib/locale")).unwrap();
        run(Command::new("cp").arg("-r").arg(locale).arg(root.join("usr/lib/locale")));
    }
    symlink("usr/bin", root.join("bin")).unwrap();
    symlink("bash", root.join("usr/bin/sh")).unwrap();
    let directories = std::env::var("PATH").unwrap_or_default();
    let find = |name: &str| {
        let found = directories.split(':').map(|directory| Path::new(directory).join(name));
        let found = found.chain([Path::new("/usr/bin").join(name)]).find(|path| path.is_file());
        found.unwrap_or_else(|| panic!("this machine has no `{name}`"))
    };
    let programs: Vec<_> = PROGRAMS.iter().map(|name| (name, find(name))).collect();
    for (name, path) in &programs {
        fs::copy(path, root.join("usr/bin").join(name)).unwrap();
    }
    let needed = output(Command::new("ldd").args(programs.iter().map(|(_, path)| path)));
    for library in text(&needed.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&library[1..]);
        // The names of programs, each with a colon, are among the words.
        if Path::new(library).is_file() && !copy.exists() {
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(library, copy).unwrap();
        }
    }
    let mut command = Command::new("tar");
    command.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"]);
    run(command.arg("--mode=u+rwX,go+rX,go-w").arg("-C").arg(root).arg("-f").arg(tar).arg("."));
    fs::set_permissions(tar, fs::Permissions::from_mode(0o644)).unwrap();
}
