//! The program of hosts needs nothing but a kernel and /proc: it runs on an empty root, and with the oldest kernel and the
//! smallest shell that packages bring. Both are hosts of their own there, without systemd, and have the same bytes in the
//! end as one that lies in a directory of this machine.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where and why

mod support;

use support::listing;

#[allow(dead_code)] // shared with tests of the host's own crate
#[path = "support/wares.rs"]
mod wares;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::initrd::Initrd;
use support::machine::Turn;
use support::{is_root, made, output, rootfs, run, scratch, text};
use wares::{INSTALL, UPGRADE, Wares, words};

/// What a host goes through once it is installed; after each command, which generation is the current one.
const LIFE: [(&str, &str); 10] = [
    ("setup", "1"),
    ("add WARES/hello--2.tar.xz", "1"),
    ("swap hello--2", "2"),
    ("role add slave", "3"),
    ("rollback", "2"),
    (UPGRADE, "4"),
    ("activate hello--2 tool--1 dcos-config--setup_9876543210987654321098765432109876543210", "5"),
    ("rollback 2", "2"),
    ("setup", "2"),
    ("gc --keep 1", "2"),
];

/// The users of the packages, whom nobody makes where there is no systemd.
const USERS: &str = "dcos_hello:x:990:990::/:/bin/false\ndcos_extra:x:991:991::/:/bin/false\n";
/// The same of the directory in which one of them keeps its state.
const STATE: &str = "var/lib/dcos/hello";
const OWNER: u32 = 990;

/// The wares, in their own directory of a new one.
fn wares_in(directory: &Path) -> Wares {
    fs::create_dir_all(directory.join("wares")).unwrap();
    Wares::new(&directory.join("wares"))
}

fn program() -> PathBuf {
    made("pkgpanda/pkgpanda")
}

/// What an audit says of the bits of a host that has lived in a directory of this machine.
fn state_here(wares: &Wares, root: &Path) -> Value {
    fs::create_dir(root).unwrap();
    for command in std::iter::once(INSTALL).chain(LIFE.map(|(command, _)| command)) {
        run(&mut wares.command(&program(), root, command));
    }
    let audit: Value =
        serde_json::from_str(&run(&mut wares.command(&program(), root, "audit --json"))).unwrap();
    audit["state"].clone()
}

/// What a host tells of itself in the end.
fn has_lived(audit: &Value, status: &Value, state: &Value) {
    assert_eq!((&audit["clean"], &audit["state"]), (&true.into(), state), "{audit}");
    assert_eq!((&status["generation"], &status["roles"]), (&2.into(), &["master"][..].into()), "{status}");
}

/// Runs the program in `root`, as if there were nothing else.
fn within(root: &Path, command: &str) -> Output {
    // Files without a name get theirs by way of /proc (open(2), `O_TMPFILE`). Settings of the kernel are this machine's.
    let script = "mount --bind /proc proc && mount -o remount,bind,ro proc && exec chroot . /pkgpanda \"$@\"";
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", script, "sh"]).args(words(command, "/wares"));
    output(shell.current_dir(root))
}

/// The same, of a command that must succeed.
fn succeeds_within(root: &Path, command: &str) -> String {
    let ended = within(root, command);
    assert!(ended.status.success(), "{command}: {}{}", text(&ended.stdout), text(&ended.stderr));
    text(&ended.stdout)
}

#[test]
fn as_root_the_program_runs_on_an_empty_root_with_proc() {
    if !is_root("changing the root") {
        return;
    }
    let scratch = scratch();
    let root = &scratch.path().join("root");
    let wares = wares_in(root);
    let state = state_here(&wares, &scratch.path().join("here"));
    fs::create_dir(root.join("proc")).unwrap();
    fs::copy(program(), root.join("pkgpanda")).unwrap();

    succeeds_within(root, INSTALL);
    // What only other programs can do it names, and makes up for when it has been done by hand.
    let refused = within(root, "setup");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("systemd-sysusers"), "{}", text(&refused.stderr));
    fs::write(root.join("etc/passwd"), USERS).unwrap();
    fs::create_dir_all(root.join(STATE)).unwrap();
    chown(root.join(STATE), Some(OWNER), None).unwrap();

    for (command, current) in LIFE {
        succeeds_within(root, command);
        assert_eq!(wares::current(root).as_deref(), Some(current), "{command}");
    }
    let told = |command| serde_json::from_str(&succeeds_within(root, command)).unwrap();
    has_lived(&told("audit --json"), &told("status --json"), &state);
    succeeds_within(root, "uninstall --yes");
    assert!(!root.join("opt/mesosphere").exists());
}

/// The first program of a machine that is a host: it goes through [`LIFE`] and tells.
fn first_program() -> String {
    let step = |(command, current): &(&str, &str)| {
        let command = words(command, "/wares").join(" ");
        format!(
            "pkgpanda {command} || fail \"{command}\"\n\
             [ \"$(readlink /opt/mesosphere/current)\" = generations/{current} ] || fail \"{command}: not {current}\"\n"
        )
    };
    let life: String = std::iter::once(&(INSTALL, "1")).chain(&LIFE).map(step).collect();
    format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n\
         off() {{ poweroff -n -f; }}\nfail() {{ echo \"oldest: failed: $1\"; off; }}\n\
         mount -t devtmpfs none /dev\nmount -t proc none /proc\nmount -t sysfs none /sys\n\
         chown {OWNER} /{STATE}\n{life}\
         echo \"oldest: kernel=$(uname -r)\"\n\
         echo \"oldest: maps=$(cat /proc/sys/vm/max_map_count)\"\n\
         echo \"oldest: audit=$(pkgpanda audit --json | tr -d '\\n')\"\n\
         echo \"oldest: status=$(pkgpanda status --json | tr -d '\\n')\"\n\
         off\n"
    )
}

/// Everything that the machine has.
fn initrd(wares: &Wares) -> Vec<u8> {
    let mut initrd = Initrd::with_a_shell();
    for directory in ["etc", "var", "var/lib", "var/lib/dcos", STATE] {
        initrd.directory(directory);
    }
    initrd.file("etc/passwd", 0o644, USERS.as_bytes());
    initrd.tree(wares.directory(), "wares");
    initrd.file("init", 0o755, first_program().as_bytes());
    initrd.finish()
}

/// Boots a kernel with an initrd and nothing else, until it switches itself off.
fn console_of(kernel: &Path, initrd: &Path) -> String {
    let _turn = Turn::take();
    let mut machine = Command::new("timeout");
    machine.args(["180", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults"]);
    machine.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
    machine.args(["-append", "console=ttyS0 quiet panic=-1"]);
    run(machine.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd).stdin(Stdio::null()))
}

#[test]
fn in_qemu_the_program_runs_with_the_oldest_kernel_and_the_smallest_shell() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let wares = wares_in(scratch.path());
    let state = state_here(&wares, &at("here"));
    let mut tar = Command::new("tar");
    let kernel = output(tar.arg("-xOf").arg(rootfs("debian-11")).args(["--wildcards", "./boot/vmlinuz-*"]));
    fs::write(at("kernel"), kernel.stdout).unwrap();
    fs::write(at("initrd"), initrd(&wares)).unwrap();

    let console = console_of(&at("kernel"), &at("initrd"));
    let fact = |key: &str| {
        let prefix = format!("oldest: {key}=");
        let mut facts = console.lines().filter_map(|line| line.trim_end().strip_prefix(&prefix));
        facts.next().unwrap_or_else(|| panic!("no `{key}` on the console:\n{console}"))
    };
    assert!(fact("kernel").starts_with("5.10."), "{console}");
    assert_eq!(fact("maps"), "262144", "what dcos-hello wants of the kernel");
    let told = |key| serde_json::from_str(fact(key)).unwrap();
    has_lived(&told("audit"), &told("status"), &state);
}
