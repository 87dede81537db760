//! A tree of small recipes, a builder of a few programs, and what must be so afterwards whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bake_base::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::ground::failed_well;
use crate::support::{output, run, scratch, text, tiny};

/// What scripts of these tests call.
const PROGRAMS: [&str; 6] = ["bash", "cat", "cp", "head", "mkdir", "sleep"];

/// A script that takes a little of everything: a source, a dependency, the builder.
const APP: &str = "mkdir -p $PKG_PATH/bin $PKG_PATH/share\n\
                   cp /bin/cat $PKG_PATH/bin/app\n\
                   cp -r /pkg/src/app/data $PKG_PATH/share/data\n\
                   cat /opt/mesosphere/packages/base--*/etc/base > $PKG_PATH/share/base\n\
                   echo built\n";
const BASE: &str = "mkdir -p $PKG_PATH/etc $PKG_PATH/bin\n\
                    echo of the base > $PKG_PATH/etc/base\n\
                    cp /bin/sleep $PKG_PATH/bin/base\n";

/// A tree of recipes with all that it takes to build them.
pub struct Yard {
    scratch: TempDir,
}

impl Yard {
    /// The packages `app`, from a source, and `base`, which it requires.
    pub fn new() -> Self {
        let yard = Self::empty();
        yard.recipe("base", BASE, "{}");
        yard.put("app-1/data/text", b"the data of a source\n");
        run(Command::new("tar").args(["-czf", "app-1.tar.gz", "app-1"]).current_dir(yard.path("")));
        let sha256 = Digest::of(&fs::read(yard.path("app-1.tar.gz")).unwrap());
        let source = format!(
            r#"{{"kind": "url_extract", "url": "file://{}", "sha256": "{sha256}"}}"#,
            yard.path("app-1.tar.gz").display()
        );
        yard.recipe("app", APP, &format!(r#"{{"requires": ["base"], "single_source": {source}}}"#));
        yard
    }

    /// A tree of this one package, which needs no source.
    pub fn of(name: &str, script: &str) -> Self {
        let yard = Self::empty();
        yard.recipe(name, script, "{}");
        yard
    }

    /// A tree of nothing.
    pub fn empty() -> Self {
        let scratch = scratch();
        for name in ["tree", "tmp"] {
            fs::create_dir(scratch.path().join(name)).unwrap();
        }
        // Under a name of its own, by which its processes are known.
        let (from, to) = (env!("CARGO_BIN_EXE_bake"), scratch.path().join("bake"));
        fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        fs::write(scratch.path().join("pkgpanda"), tiny::pkgpanda()).unwrap();
        Self { scratch }
    }

    /// A place in the yard.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Makes a file, with the directories above it.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Makes a recipe.
    pub fn recipe(&self, name: &str, script: &str, buildinfo: &str) {
        self.put(&format!("tree/{name}/build"), format!("#!/bin/bash\n{script}").as_bytes());
        self.put(&format!("tree/{name}/buildinfo.json"), buildinfo.as_bytes());
        let script = self.path(&format!("tree/{name}/build"));
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// `bake` with arguments of a build, in the yard.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.through::<&str>(&[], arguments)
    }

    /// The same by another program, `strace` say.
    pub fn through<S: AsRef<OsStr>>(&self, runner: &[S], arguments: &[&str]) -> Command {
        let (tree, builder) = (self.path("tree"), builder());
        let mut command = self.bare(runner, arguments);
        command.arg("--quiet").arg("--tree").arg(tree).arg("--builder").arg(builder);
        command
    }

    /// `bake` with nothing but these arguments.
    pub fn bare<S: AsRef<OsStr>>(&self, runner: &[S], arguments: &[&str]) -> Command {
        let mut line: Vec<&OsStr> = runner.iter().map(AsRef::as_ref).collect();
        let bake = self.path("bake");
        line.push(bake.as_os_str());
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("TMPDIR", self.path("tmp")).current_dir(self.scratch.path());
        command
    }

    /// Begins to build.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Builds, which must succeed and leave all as it should be; gives the digest of each package.
    pub fn build(&self, arguments: &[&str]) -> BTreeMap<String, Digest> {
        run(&mut self.command(arguments));
        self.is_tidy("after a whole run");
        self.packages()
    }

    /// Builds, which must fail, and gives what was said; nothing wrong is in the cache then.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let said = failed_well(&output(&mut self.command(arguments)), &format!("{arguments:?}"));
        self.is_tidy(&said);
        said
    }

    /// The packages in the cache, each of which is whole.
    pub fn packages(&self) -> BTreeMap<String, Digest> {
        let mut packages = BTreeMap::new();
        for component in names(&self.path("tree/cache/packages")) {
            for name in names(&self.path("tree/cache/packages").join(&component)) {
                if let Some(id) = name.strip_suffix(".tar.xz") {
                    let path = self.path("tree/cache/packages").join(&component).join(&name);
                    packages.insert(id.to_owned(), Digest::of(&fs::read(path).unwrap()));
                }
            }
        }
        packages
    }

    /// Everything in the cache that has a valid name is whole.
    pub fn is_whole(&self, what: &str) {
        let cache = self.path("tree/cache");
        for component in names(&cache.join("packages")) {
            let directory = cache.join("packages").join(component);
            for name in names(&directory) {
                let path = directory.join(&name);
                if path.is_dir() {
                    // What was wrong is kept there, under its own digest.
                    if name != "quarantine" {
                        self.sources_are_whole(&path, what);
                    }
                } else {
                    is_whole(&path, what);
                }
            }
        }
        for name in names(&cache.join("bootstrap")) {
            is_whole(&cache.join("bootstrap").join(name), what);
        }
        for name in names(&cache.join("complete")) {
            let _: Value = read(&cache.join("complete").join(name), what);
        }
    }

    /// What lies under the name of a source has a digest that a recipe gives; whatever came of a transfer that did
    /// not end well has another name.
    fn sources_are_whole(&self, directory: &Path, what: &str) {
        let tree = self.path("tree");
        let recipe =
            |name: &String| fs::read_to_string(tree.join(name).join("buildinfo.json")).unwrap_or_default();
        let recipes: String = names(&tree).iter().map(recipe).collect();
        for name in names(directory) {
            let path = directory.join(&name);
            if ![".lock", ".part", ".json"].iter().any(|end| name.ends_with(end)) {
                let digest = Digest::of(&fs::read(&path).unwrap()).to_string();
                assert!(recipes.contains(&digest), "{what}: {} has digest {digest}", path.display());
            }
        }
    }

    /// The cache is whole, nothing is half done, no process is left and nothing lies outside of the cache.
    pub fn is_tidy(&self, what: &str) {
        self.is_whole(what);
        let cache = self.path("tree/cache");
        for directory in [cache.join("build"), cache.join("downloads"), self.path("tmp")] {
            assert_eq!(names(&directory), BTreeSet::new(), "{what}: left in {}", directory.display());
        }
        for name in names(&cache.join("extracted")) {
            assert!(!name.ends_with(".unfinished"), "{what}: {name}");
        }
        assert_eq!(self.processes(), Vec::<String>::new(), "{what}");
    }

    /// No process of a build stays, though its end may take a moment.
    pub fn is_quiet(&self, what: &str) {
        let began = Instant::now();
        while !self.processes().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?} stay", self.processes());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The processes that are `bake` or have anything of the yard mounted.
    ///
    /// A mount name space begins as a copy of its maker's, so somebody else's sandbox has the yard's own disks for a
    /// moment: what counts is what of the yard is mounted (the fourth field of mountinfo, proc(5)), not where.
    pub fn processes(&self) -> Vec<String> {
        let yard = self.scratch.path().file_name().unwrap().to_str().unwrap();
        let own = fs::read_link("/proc/self/ns/mnt").unwrap();
        let is_of_yard = |line: &str| line.split(' ').nth(3).is_some_and(|root| root.contains(yard));
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
            let is_bake = fs::read_link(process.join("exe")).is_ok_and(|exe| exe == self.path("bake"));
            let is_elsewhere = fs::read_link(process.join("ns/mnt")).is_ok_and(|other| other != own);
            let mounts = || fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
            if is_bake || (is_elsewhere && mounts().lines().any(is_of_yard)) {
                let line = fs::read(process.join("cmdline")).unwrap_or_default();
                found.push(format!("{} {}", process.display(), text(&line).replace('\0', " ")));
            }
        }
        found
    }

    /// Takes everything away that was made.
    pub fn clear(&self) {
        fs::remove_dir_all(self.path("tree/cache")).unwrap();
    }
}

/// A root file system of a few programs of this machine, made once.
pub fn builder() -> &'static Path {
    static BUILDER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILDER.get_or_init(|| {
        let scratch = scratch();
        let mut files = BTreeSet::new();
        for name in PROGRAMS {
            let program = run(Command::new("which").arg(name)).trim().to_owned();
            let libraries = run(Command::new("ldd").arg(&program));
            let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
            files.extend(libraries.map(|path| (PathBuf::from(path), path.to_owned())));
            files.insert((PathBuf::from(program), format!("/bin/{name}")));
        }
        for (from, to) in files {
            let to = scratch.path().join("root").join(to.trim_start_matches('/'));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
        let path = scratch.path().join("builder.tar");
        run(Command::new("tar").arg("-C").arg(scratch.path().join("root")).arg("-cf").arg(&path).arg("."));
        (scratch, path)
    });
    path
}

/// The names in a directory; none if there is none.
pub fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Waits until something is so.
pub fn wait_until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}: it did not happen within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn read(path: &Path, what: &str) -> Value {
    let bytes = fs::read(path).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{what}: {}: {error}", path.display()))
}

/// A file in the directory of a component, or of bootstrap tarballs, is what its name says.
fn is_whole(path: &Path, what: &str) {
    let what = format!("{what}: {}", path.display());
    let name = path.file_name().unwrap().to_str().unwrap();
    if let Some(id) = name.strip_suffix(".tar.xz") {
        // Without a record it is nobody's, but it is whole all the same.
        run(Command::new("xz").arg("--test").arg(path));
        assert!(id.contains("--") || id.ends_with(".bootstrap"), "{what}");
    } else if name.ends_with(".active.json") {
        read(path, &what);
    } else if let Some(id) = name.strip_suffix(".json") {
        let record = read(path, &what);
        let kinds = [format!("{id}.tar.xz"), format!("{id}.bootstrap.tar.xz")];
        let file = kinds.iter().map(|name| path.with_file_name(name)).find(|path| path.exists());
        let bytes = fs::read(file.unwrap_or_else(|| panic!("{what}: a record of nothing"))).unwrap();
        assert_eq!(record["digest"], Digest::of(&bytes).to_string(), "{what}");
        assert_eq!(record["size"], bytes.len(), "{what}");
    } else if name.ends_with("latest") {
        let id = fs::read_to_string(path).unwrap();
        let kinds = [format!("{id}.tar.xz"), format!("{id}.bootstrap.tar.xz")];
        assert!(kinds.iter().any(|name| path.with_file_name(name).exists()), "{what}: says `{id}`");
    } else {
        assert!(name.ends_with(".lock") || name.ends_with(".log"), "{what}: what is it?");
    }
}
