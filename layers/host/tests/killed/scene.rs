//! A command, the host that it is run on, and the host that it makes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wares::{self, View, Wares, difference};

/// A command of `pkgpanda`, and the commands that made the host on which it is run.
pub struct Run {
    pub name: &'static str,
    pub before: &'static [&'static str],
    pub command: &'static str,
}

/// A command with its host, before and after.
pub struct Scene {
    scratch: tempfile::TempDir,
    wares: Wares,
    pub run: Run,
    old: View,
    new: View,
    /// Generations and packages that an undisturbed run leaves.
    store: Vec<String>,
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
        let mut scene = Self { scratch, wares, run, old: View::new(), new: View::new(), store: Vec::new() };
        for command in scene.run.before {
            wares::succeeds(&mut scene.pkgpanda(&base, command));
        }
        scene.recover(&base);
        scene.old = wares::view(&base);
        let root = scene.fresh();
        wares::succeeds(&mut scene.command());
        scene.recover(&root);
        scene.new = wares::view(&root);
        scene.store = wares::store(&root);
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
        let from_nothing = self.run.before.is_empty();
        let was_there = wares::current(&root).is_some();
        if from_nothing {
            // An installation is begun again, not gone on with at a boot.
            let enabled = root.join("etc/systemd/system/multi-user.target.wants/dcos-setup.service");
            assert!(was_there || enabled.symlink_metadata().is_err(), "{what}: nothing would start");
        }
        self.recover(&root);
        let view = wares::view(&root);
        let state = if from_nothing {
            if was_there { State::New } else { State::Old }
        } else if view == self.old {
            State::Old
        } else {
            assert!(view == self.new, "{what}: the host is neither:\n{}", difference(&view, &self.new));
            State::New
        };
        if wares::current(&root).is_some() {
            wares::links_lead_somewhere(&root);
            wares::packages_are_whole(&root);
        }
        state
    }

    /// The same command again: it does what it was to do, and leaves what an undisturbed run leaves.
    pub fn again(&self, what: &str) {
        let root = self.root();
        let output = wares::ends(&mut self.command());
        assert!(output.status.success(), "{what}: again: {output:?}");
        self.is_new(what);
        assert_eq!(wares::unfinished(&root), [""; 0], "{what}: again");
        assert_eq!(wares::store(&root), self.store, "{what}: again");
    }

    /// The command has done what it was to do.
    pub fn is_new(&self, what: &str) {
        self.recover(&self.root());
        let view = wares::view(&self.root());
        assert!(view == self.new, "{what}: again:\n{}", difference(&view, &self.new));
    }

    /// As a boot does: nothing is in `/run`, then everything is derived.
    fn recover(&self, root: &Path) {
        if self.run.before.is_empty() {
            return;
        }
        let _ = fs::remove_dir_all(root.join("run"));
        if wares::current(root).is_some() {
            wares::succeeds(&mut self.pkgpanda(root, "setup"));
        }
    }

    fn pkgpanda(&self, root: &Path, command: &str) -> Command {
        self.wares.command(Path::new(env!("CARGO_BIN_EXE_pkgpanda-dynamic")), root, command)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

/// Onto a host with nothing.
pub const INSTALL: Run = Run { name: "install", before: &[], command: wares::INSTALL };
