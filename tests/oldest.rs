//! The program of hosts needs nothing but a kernel and /proc: it runs on an empty root, and with the oldest kernel and the
//! smallest shell that packages bring.
#![allow(clippy::unwrap_used)] // a test that cannot go on says where and why

mod support;

use support::listing;

#[allow(dead_code)] // shared with tests of the host's own crate
#[path = "support/wares.rs"]
mod wares;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::initrd::Initrd;
use support::machine::Turn;
use support::{is_root, made, output, rootfs, run, scratch, text};
use wares::Wares;

/// What a host goes through, all but the last of which end well; after each, `current`.
const LIFE: [(&str, &str); 10] = [
    (
        "install --product /wares/serve/product.json --from /wares/serve --role master --no-systemd",
        "generations/1",
    ),
    ("audit", "generations/1"),
    ("add /wares/hello--2.tar.xz", "generations/1"),
    ("swap hello--2", "generations/2"),
    ("role add slave", "generations/3"),
    ("setup --no-systemd", "generations/3"),
    ("rollback", "generations/2"),
    ("audit --json", "generations/2"),
    ("status", "generations/2"),
    ("gc", "generations/2"),
];

#[test]
fn as_root_the_program_runs_on_an_empty_root_with_proc() {
    if !is_root("changing the root") {
        return;
    }
    let scratch = scratch();
    let root = scratch.path();
    fs::create_dir_all(root.join("wares")).unwrap();
    fs::create_dir_all(root.join("host/etc")).unwrap();
    fs::create_dir(root.join("proc")).unwrap();
    Wares::new(&root.join("wares"));
    fs::copy(made("pkgpanda/pkgpanda"), root.join("pkgpanda")).unwrap();
    for (command, current) in LIFE {
        // Files without a name get theirs by way of /proc (open(2), `O_TMPFILE`).
        let script = format!("mount --bind /proc proc && exec chroot . /pkgpanda {command} --root /host");
        let mut shell = Command::new("unshare");
        let ended = output(shell.args(["--mount", "sh", "-c", &script]).current_dir(root));
        assert!(ended.status.success(), "{command}: {}{}", text(&ended.stdout), text(&ended.stderr));
        let link = fs::read_link(root.join("host/opt/mesosphere/current")).unwrap();
        assert_eq!(link, Path::new(current), "{command}");
    }
}

#[test]
fn in_qemu_the_program_runs_with_the_oldest_kernel_and_the_smallest_shell() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    fs::create_dir_all(at("wares")).unwrap();
    Wares::new(&at("wares"));
    let mut tar = Command::new("tar");
    let kernel = output(tar.arg("-xOf").arg(rootfs("debian-11")).args(["--wildcards", "./boot/vmlinuz-*"]));
    fs::write(at("kernel"), kernel.stdout).unwrap();

    let mut initrd = Initrd::with_a_shell();
    initrd.directory("host");
    initrd.directory("host/etc");
    initrd.tree(&at("wares"), "wares");
    let step = |(command, current): &(&str, &str)| {
        format!(
            "pkgpanda {command} --root /host || fail \"{command}\"\n\
             [ \"$(readlink /host/opt/mesosphere/current)\" = {current} ] || fail \"{command}: not {current}\"\n"
        )
    };
    let life: String = LIFE.iter().map(step).collect();
    let script = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nexport PATH=/bin\n\
         off() {{ poweroff -n -f; }}\nfail() {{ echo \"oldest: failed: $1\"; off; }}\n\
         mount -t devtmpfs none /dev\nmount -t proc none /proc\nmount -t sysfs none /sys\n\
         echo \"oldest: kernel $(uname -r)\"\n{life}echo oldest: done\noff\n"
    );
    initrd.file("init", 0o755, script.as_bytes());
    fs::write(at("initrd"), initrd.finish()).unwrap();

    let _turn = Turn::take();
    let mut machine = Command::new("timeout");
    machine.args(["180", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nodefaults"]);
    machine.args([
        "-display",
        "none",
        "-no-reboot",
        "-serial",
        "stdio",
        "-append",
        "console=ttyS0 quiet panic=-1",
    ]);
    machine.arg("-kernel").arg(at("kernel")).arg("-initrd").arg(at("initrd"));
    let console = run(machine.stdin(Stdio::null()));
    assert!(console.contains("oldest: kernel 5.10."), "{console}");
    assert!(console.contains("oldest: done"), "{console}");
}
