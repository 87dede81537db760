//! A command, the host that it is run on, and the host that it makes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wares::{self, View, Wares, difference};

/// A command of `pkgpanda`, and what made the host on which it is run.
pub struct Run {
    pub name: &'static str,
    pub kind: Kind,
    pub before: &'static [&'static str],
    /// What happened to the host after that.
    pub then: fn(&Path),
    pub command: &'static str,
}

/// How a command changes a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By one step; the next boot makes up for what should have followed.
    Commit,
    /// By one step, but only the same command does what should have followed.
    Begin,
    /// By one step; the next boot goes on to the end, where nothing is left.
    End,
    /// By many small steps, each of which leaves a whole host.
    Steps,
}

/// A command with its host, before and after.
pub struct Scene {
    scratch: tempfile::TempDir,
    wares: Wares,
    pub run: Run,
    old: View,
    new: View,
    /// What [`wares::current`] says before.
    current: Option<String>,
    /// Packages that an undisturbed run leaves.
    packages: BTreeSet<String>,
}

/// Which host there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Old,
    New,
}

/// Where nothing waits for a disk: what is on it after a cut is tests/power.rs's.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) })
        .unwrap()
}

/// Whether the long tests run too.
pub fn full() -> bool {
    std::env::var_os("BAKE_TEST_FULL").is_some()
}

impl Scene {
    pub fn new(run: Run) -> Self {
        let scratch = scratch();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir_all(at("base/etc")).unwrap();
        fs::create_dir(at("wares")).unwrap();
        let wares = Wares::new(&at("wares"));
        let base = at("base");
        let mut scene = Self {
            scratch,
            wares,
            run,
            old: View::new(),
            new: View::new(),
            current: None,
            packages: BTreeSet::new(),
        };
        for command in scene.run.before {
            wares::succeeds(&mut scene.pkgpanda(&base, command));
        }
        if scene.run.kind != Kind::Begin {
            scene.boot(&base, scene.run.name);
        }
        (scene.run.then)(&base);
        scene.old = scene.view(&base);
        scene.current = wares::current(&base);
        let root = scene.fresh();
        wares::succeeds(&mut scene.command());
        scene.boot(&root, scene.run.name);
        scene.new = scene.view(&root);
        scene.packages = wares::names(&root, "packages");
        assert_ne!(scene.old, scene.new, "{}", scene.run.name);
        scene
    }

    /// The directory that the command changes, as it was before.
    pub fn fresh(&self) -> PathBuf {
        let root = self.root();
        let _ = fs::remove_dir_all(&root);
        wares::succeeds(Command::new("cp").arg("-a").arg(self.at("base")).arg(&root));
        root
    }

    /// The directory that the command changes.
    pub fn root(&self) -> PathBuf {
        self.at("root")
    }

    /// A place for what is noted about a run.
    pub fn log(&self) -> PathBuf {
        self.at("log")
    }

    /// The command.
    pub fn command(&self) -> Command {
        self.pkgpanda(&self.root(), self.run.command)
    }

    /// Boots the host after a run that was disturbed and says which one it is, after everything that must be true of
    /// either was.
    pub fn judge(&self, what: &str) -> State {
        let root = self.root();
        let current = wares::current(&root);
        let enabled = root.join("etc/systemd/system/multi-user.target.wants/dcos-setup.service");
        if current.is_none() {
            assert!(enabled.symlink_metadata().is_err(), "{what}: a boot would start what is not there");
        }
        if self.run.kind != Kind::Begin {
            self.boot(&root, what);
        }
        let view = self.view(&root);
        let neither = || {
            let (old, new) = (difference(&view, &self.old), difference(&view, &self.new));
            format!("{what}: the host is neither the old one:\n{old}nor the new one:\n{new}")
        };
        let committed = current != self.current;
        let state = match self.run.kind {
            Kind::Begin => committed,
            Kind::Steps => {
                assert!(between(&view, &self.old, &self.new), "{}", neither());
                view == self.new
            }
            Kind::End if wares::current(&root).is_none() => {
                let rest = |path: &str| path == "opt" || path.starts_with("opt/.mesosphere.removed");
                let outside = view.iter().filter(|(path, _)| !rest(path) || self.new.contains_key(*path));
                let outside: View = outside.map(|(path, entry)| (path.clone(), entry.clone())).collect();
                assert!(outside == self.new, "{}", neither());
                committed
            }
            Kind::Commit | Kind::End => {
                assert!(view == if committed { &self.new } else { &self.old }.clone(), "{}", neither());
                committed
            }
        };
        if wares::current(&root).is_some() && self.run.name != "repair" {
            wares::links_lead_somewhere(&root);
            wares::packages_are_whole(&root);
        }
        if state { State::New } else { State::Old }
    }

    /// The same command again: it does what it was to do, and leaves what an undisturbed run leaves.
    pub fn again(&self, what: &str) {
        let root = self.root();
        let output = wares::ends(&mut self.command());
        let is_gone = String::from_utf8_lossy(&output.stderr).contains("nothing is installed");
        assert!(
            output.status.success() || self.run.kind == Kind::End && is_gone,
            "{what}: again: {output:?}"
        );
        self.is_new(what);
        assert_eq!(wares::unfinished(&root), [""; 0], "{what}: again");
        assert_eq!(wares::names(&root, "packages"), self.packages, "{what}: again");
        // An edit is something that an audit tells.
        if self.run.kind != Kind::End && self.run.name != "edit" {
            let audit = wares::ends(&mut self.pkgpanda(&root, "audit"));
            assert!(audit.status.success(), "{what}: {}", String::from_utf8_lossy(&audit.stdout));
        }
    }

    /// The command has done what it was to do.
    pub fn is_new(&self, what: &str) {
        self.boot(&self.root(), what);
        let view = self.view(&self.root());
        assert!(view == self.new, "{what}: again:\n{}", difference(&view, &self.new));
    }

    fn view(&self, root: &Path) -> View {
        if self.run.kind == Kind::Steps { wares::everything(root) } else { wares::view(root) }
    }

    /// As a boot does: nothing is in `/run`, then everything is derived.
    fn boot(&self, root: &Path, what: &str) {
        let _ = fs::remove_dir_all(root.join("run"));
        if wares::current(root).is_some() {
            let output = wares::ends(&mut self.pkgpanda(root, "setup"));
            assert!(output.status.success(), "{what}: a boot: {output:?}");
        }
    }

    fn pkgpanda(&self, root: &Path, command: &str) -> Command {
        self.wares.command(Path::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic")), root, command)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// Whether everything in `view` is as in one of two others. A directory that is new may have its mode last.
fn between(view: &View, one: &View, other: &View) -> bool {
    let paths: BTreeSet<_> = view.keys().chain(one.keys()).chain(other.keys()).collect();
    let is_directory = |entry: Option<&String>| entry.is_some_and(|entry| entry.starts_with("Directory"));
    paths.into_iter().all(|path| {
        let (there, old, new) = (view.get(path), one.get(path), other.get(path));
        there == old || there == new || old.is_none() && is_directory(new) && is_directory(there)
    })
}
