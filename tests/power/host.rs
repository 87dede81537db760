//! What is run while the power may fail, and what a host must be afterwards.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guest::{Guest, MARGIN};
use crate::support::mount::Mount;
use crate::support::{copy_part, made, run, scratch, text};
use crate::wares::{self, View, Wares, difference};

/// How large the file systems are.
const SIZE: u64 = 64 << 20;

/// Commands of `pkgpanda`, and the commands that made the host on which they are run.
pub struct Run {
    pub name: &'static str,
    pub kind: Kind,
    pub before: &'static [&'static str],
    pub commands: &'static [&'static str],
}

/// How a run ends that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The next boot makes up for what should have followed the commit.
    Commit,
    /// The same command does.
    Begin,
    /// The next boot goes on to the end, where nothing is left.
    End,
}

/// A run with a disk that it begins with, and the host that it begins and ends with.
pub struct Scene {
    scratch: tempfile::TempDir,
    wares: Wares,
    run: Run,
    old: View,
    new: View,
    /// What [`wares::current`] says before.
    current: Option<String>,
}

/// Which host a disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Old,
    New,
}

impl Scene {
    pub fn new(run: Run) -> Self {
        let scratch = scratch();
        let at = |name: &str| scratch.path().join(name);
        fs::create_dir(at("wares")).unwrap();
        let wares = Wares::new(&at("wares"));
        let root = at("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        let mut scene = Self { scratch, wares, run, old: View::new(), new: View::new(), current: None };
        for command in scene.run.before {
            scene.pkgpanda(&root, command);
        }
        scene.boot(&root);
        scene.old = wares::view(&root);
        scene.current = wares::current(&root);
        File::create(scene.disk()).unwrap().set_len(SIZE + MARGIN).unwrap();
        // Nothing is written later that was not asked for.
        let extended = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-b", "4096", "-E", extended, "-d"]).arg(&root).arg(scene.disk());
        run_quietly(mke2fs.arg(format!("{}k", SIZE >> 10)));
        for command in scene.run.commands {
            scene.pkgpanda(&root, command);
        }
        scene.boot(&root);
        scene.new = wares::view(&root);
        assert_ne!(scene.old, scene.new);
        scene
    }

    /// A machine that does the run on a disk, mounted with `options`.
    pub fn guest(&self, options: &str) -> Guest {
        let command = |command: &&str| {
            let words = wares::words(command, "/wares").join(" ");
            format!("pkgpanda {words} --no-systemd --root /mnt")
        };
        let commands: Vec<String> = self.run.commands.iter().map(command).collect();
        let wares = self.at("sent");
        if !wares.exists() {
            fs::create_dir(&wares).unwrap();
            let mut copy = Command::new("cp");
            copy.arg("-r").args(["serve", "hello--2.tar.xz", "extra--1.tar.xz"]);
            copy.current_dir(self.wares.directory());
            run(copy.arg(&wares));
        }
        Guest::new(&self.at("guest"), SIZE, options, &commands, &wares)
    }

    /// The disk that the run begins with.
    pub fn disk(&self) -> PathBuf {
        self.at("disk")
    }

    /// A copy of a disk.
    pub fn copy(&self, disk: &Path, name: &str) -> PathBuf {
        let copy = self.at(name);
        let _ = fs::remove_file(&copy);
        copy_part(disk, (0, SIZE + MARGIN), &copy);
        copy
    }

    /// Boots the host on a disk and says which one it is, after everything that must be true of either was; and
    /// lets the run go on to its end.
    pub fn judge(&self, disk: &Path, what: &str) -> State {
        let mount = Mount::whole(disk);
        let root = mount.path();
        let current = wares::current(&root);
        let enabled = root.join("etc/systemd/system/multi-user.target.wants/dcos-setup.service");
        if current.is_none() {
            assert!(enabled.symlink_metadata().is_err(), "{what}: a boot would start what is not there");
        }
        let committed = current != self.current;
        if self.run.kind != Kind::Begin {
            self.boot(&root);
            let mut view = wares::view(&root);
            if self.run.kind == Kind::End && committed {
                // What was put aside is nobody's any more.
                view.retain(|path, _| self.new.contains_key(path) || !path.starts_with("opt"));
            }
            let expected = if committed { &self.new } else { &self.old };
            assert!(view == *expected, "{what}: the host is none:\n{}", difference(&view, expected));
        }
        if wares::current(&root).is_some() {
            wares::links_lead_somewhere(&root);
            wares::packages_are_whole(&root);
        }
        for command in self.run.commands {
            let output = wares::ends(&mut self.wares.command(&made("pkgpanda/pkgpanda"), &root, command));
            let is_gone = text(&output.stderr).contains("nothing is installed");
            assert!(output.status.success() || self.run.kind == Kind::End && is_gone, "{what}: {output:?}");
        }
        self.boot(&root);
        let view = wares::view(&root);
        assert!(view == self.new, "{what}: again:\n{}", difference(&view, &self.new));
        assert_eq!(wares::unfinished(&root), [""; 0], "{what}");
        if self.run.kind != Kind::End {
            self.pkgpanda(&root, "audit");
        }
        mount.unmount();
        run_quietly(Command::new("e2fsck").arg("-fn").arg(disk));
        if committed { State::New } else { State::Old }
    }

    /// As a boot does: nothing is in `/run`, then everything is derived.
    fn boot(&self, root: &Path) {
        let _ = fs::remove_dir_all(root.join("run"));
        if wares::current(root).is_some() {
            self.pkgpanda(root, "setup");
        }
    }

    fn pkgpanda(&self, root: &Path, command: &str) {
        wares::succeeds(&mut self.wares.command(&made("pkgpanda/pkgpanda"), root, command));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

fn run_quietly(command: &mut Command) {
    run(command);
}

/// Onto a host with nothing.
pub const INSTALL: Run = Run { name: "install", kind: Kind::Begin, before: &[], commands: &[wares::INSTALL] };

/// Packages come and become active.
pub const UPGRADE: Run = Run {
    name: "upgrade",
    kind: Kind::Commit,
    before: &[wares::INSTALL],
    commands: &[wares::ADD[0], wares::ADD[1], wares::ACTIVATE],
};

/// Back to the first generation.
pub const ROLLBACK: Run = Run {
    name: "rollback",
    kind: Kind::Commit,
    before: &[wares::INSTALL, wares::ADD[0], wares::ADD[1], wares::ACTIVATE],
    commands: &["rollback 1"],
};

/// Another role.
pub const ROLE: Run =
    Run { name: "role", kind: Kind::Commit, before: &[wares::INSTALL], commands: &["role add slave"] };

/// Everything goes.
pub const UNINSTALL: Run =
    Run { name: "uninstall", kind: Kind::End, before: &[wares::INSTALL], commands: &["uninstall --yes"] };
