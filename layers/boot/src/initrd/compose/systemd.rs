//! systemd as the initrd's init, with udev, journal and generators: what dracut packs for a disk of this machine
//! (its modules `systemd`, `systemd-initrd`, `udev-rules`, `dm`, `systemd-veritysetup`), and nothing of dracut itself.
//! How it finds the root is systemd's own affair (`bootup(7)`, "Bootup in the initrd").
//!
//! What a unit runs is read from the unit, so that a later systemd with further programs needs no other list here.

use bake_tree::{Follow, TreePath};

use super::copy::{Copier, names};
use super::{ComposeError, Missing, accounts};
use crate::path;

/// Where units, programs and generators of systemd lie, and what udev runs.
const SYSTEMD: [&str; 2] = ["usr/lib/systemd", "lib/systemd"];
const UDEV: [&str; 2] = ["usr/lib/udev", "lib/udev"];
/// Where programs without a path are looked for.
pub(super) const PROGRAMS: [&str; 4] = ["usr/sbin", "usr/bin", "sbin", "bin"];
/// More than a unit or a file of rules has, in bytes.
const LIMIT: u64 = 4 << 20;

/// Without one of these nothing boots: file, and the packages that have it.
const REQUIRED: [(&str, &str); 15] = [
    ("systemd", "systemd"),
    ("systemd-journald", "systemd"),
    ("systemd-udevd", "udev (Debian, Ubuntu) or systemd-udev (Fedora, RHEL)"),
    ("system-generators/systemd-fstab-generator", "systemd"),
    ("system/basic.target", "systemd"),
    ("system/initrd.target", "systemd or systemd-udev"),
    ("system/initrd-cleanup.service", "systemd or systemd-udev"),
    ("system/initrd-fs.target", "systemd or systemd-udev"),
    ("system/initrd-parse-etc.service", "systemd or systemd-udev"),
    ("system/initrd-root-fs.target", "systemd or systemd-udev"),
    ("system/initrd-switch-root.service", "systemd or systemd-udev"),
    ("system/initrd-switch-root.target", "systemd or systemd-udev"),
    ("system/sysinit.target", "systemd"),
    ("system/systemd-journald.service", "systemd"),
    ("system/systemd-udevd.service", "udev (Debian, Ubuntu) or systemd-udev (Fedora, RHEL)"),
];
const REQUIRED_PROGRAMS: [(&str, &str); 5] = [
    ("modprobe", "kmod"),
    ("mount", "mount (Debian, Ubuntu) or util-linux"),
    ("systemctl", "systemd"),
    ("udevadm", "udev (Debian, Ubuntu) or systemd-udev (Fedora, RHEL)"),
    ("umount", "mount (Debian, Ubuntu) or util-linux"),
];

/// Programs of systemd that no unit of ours names.
const HELPERS: [&str; 12] = [
    "systemd-cgroups-agent",
    "systemd-executor",
    "systemd-fsck",
    "systemd-makefs",
    "systemd-shutdown",
    "systemd-sulogin-shell",
    "systemd-sysroot-fstab-check",
    "systemd-veritysetup",
    "systemd-volatile-root",
    "system-generators/systemd-debug-generator",
    "system-generators/systemd-gpt-auto-generator",
    "system-generators/systemd-veritysetup-generator",
];
/// Programs that are there for whoever has to find out why a machine does not boot, and those that `fsck` calls.
const TOOLS: [&str; 14] = [
    "cat",
    "dmesg",
    "e2fsck",
    "fsck",
    "fsck.ext4",
    "journalctl",
    "kmod",
    "ls",
    "poweroff",
    "reboot",
    "sh",
    "sulogin",
    "systemd-tmpfiles",
    "dmsetup",
];

/// Units. Those that a unit in `….wants` or `….requires` of another one stands for are enabled where both are here.
const UNITS: [&str; 68] = [
    "-.slice",
    "basic.target",
    "ctrl-alt-del.target",
    "debug-shell.service",
    "emergency.service",
    "emergency.target",
    "final.target",
    "halt.target",
    "initrd-cleanup.service",
    "initrd-fs.target",
    "initrd-parse-etc.service",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.service",
    "initrd-switch-root.target",
    "initrd-udevadm-cleanup-db.service",
    "initrd-usr-fs.target",
    "initrd.target",
    "kexec.target",
    "kmod-static-nodes.service",
    "local-fs-pre.target",
    "local-fs.target",
    "modprobe@.service",
    "multi-user.target",
    "paths.target",
    "poweroff.target",
    "reboot.target",
    "remote-fs-pre.target",
    "remote-fs.target",
    "remote-veritysetup.target",
    "rescue.service",
    "rescue.target",
    "shutdown.target",
    "sigpwr.target",
    "slices.target",
    "sockets.target",
    "soft-reboot.target",
    "swap.target",
    "sys-kernel-config.mount",
    "sysinit.target",
    "syslog.socket",
    "system.slice",
    "systemd-fsck@.service",
    "systemd-halt.service",
    "systemd-journald-audit.socket",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-kexec.service",
    "systemd-modules-load.service",
    "systemd-poweroff.service",
    "systemd-reboot.service",
    "systemd-soft-reboot.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udev-load-credentials.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd-varlink.socket",
    "systemd-udevd.service",
    "systemd-volatile-root.service",
    "timers.target",
    "umount.target",
    "veritysetup-pre.target",
    "veritysetup.target",
    "systemd-veritysetup@.service",
];
/// Rules of udev: nodes and their owners, links in `/dev/disk`, what systemd waits for, drivers, device mapper.
const RULES: [&str; 18] = [
    "10-dm.rules",
    "11-dm-parts.rules",
    "13-dm-disk.rules",
    "50-firmware.rules",
    "50-udev-default.rules",
    "55-dm.rules",
    "60-block.rules",
    "60-cdrom_id.rules",
    "60-persistent-storage-dm.rules",
    "60-persistent-storage-mtd.rules",
    "60-persistent-storage.rules",
    "63-md-raid-arrays.rules",
    "64-btrfs.rules",
    "66-azure-storage.rules",
    "80-drivers.rules",
    "90-image-dissect.rules",
    "95-dm-notify.rules",
    "99-systemd.rules",
];

/// The journal goes to the real root's with the machine; rates are for busy services.
const JOURNALD: &str = "[Journal]\nStorage=volatile\nRateLimitInterval=0\nRateLimitBurst=0\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\n";

/// What an init with systemd turned out to be.
pub(super) struct Taken {
    /// Whether it finds the root by the type of its partition.
    pub finds_root_by_type: bool,
    pub notes: Vec<String>,
}

/// What the tree lacks for systemd in the initrd.
pub(super) fn missing(copier: &Copier<'_>) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (name, packages) in REQUIRED {
        if !SYSTEMD.iter().any(|directory| copier.has(&format!("{directory}/{name}"))) {
            missing.push(Missing::File { path: path(&format!("{}/{name}", SYSTEMD[0])), packages });
        }
    }
    for (name, packages) in REQUIRED_PROGRAMS {
        if !PROGRAMS.iter().any(|directory| copier.has(&format!("{directory}/{name}"))) {
            missing.push(Missing::Program { name, packages });
        }
    }
    missing
}

/// Takes systemd with everything about it. `to_load` are modules that nothing asks for by itself.
pub(super) fn take(copier: &mut Copier<'_>, to_load: &[String]) -> Result<Taken, ComposeError> {
    let of_systemd = |name: &str| SYSTEMD.map(|directory| format!("{directory}/{name}"));
    let init = copier.take_one_of(&of_systemd("systemd"))?.unwrap_or_else(|| path("usr/lib/systemd/systemd"));
    for name in REQUIRED.iter().map(|(name, _)| *name).chain(HELPERS) {
        copier.take_one_of(&of_systemd(name))?;
    }
    for name in REQUIRED_PROGRAMS.iter().map(|(name, _)| *name).chain(TOOLS) {
        program(copier, name)?;
    }
    // Read by name at run time; from 2.34 on, the C library has it built in.
    for directory in ["usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "lib64", "lib"] {
        copier.take(&path(&format!("{directory}/libnss_files.so.2")))?;
    }
    units(copier)?;
    let rules = rules(copier)?;
    let tmpfiles: Vec<TreePath> =
        copier.take(&path("usr/lib/tmpfiles.d/static-nodes-permissions.conf"))?.into_iter().collect();
    accounts::write(copier, &rules, &tmpfiles)?;
    configuration(copier, &init, to_load)?;

    let mut notes = Vec::new();
    if copier.out.lookup(&path("usr/sbin/fsck.ext4"), Follow::Last).is_none() {
        notes.push("the tree has no `fsck.ext4`: the root is not checked before it is mounted".to_owned());
    }
    let by_type = of_systemd("system-generators/systemd-gpt-auto-generator");
    let finds_root_by_type = by_type.iter().any(|name| copier.has(name));
    let verity = of_systemd("systemd-veritysetup");
    if !verity.iter().any(|name| copier.has(name)) {
        notes
            .push("the tree has no `systemd-veritysetup`: roots cannot be verified in the initrd".to_owned());
    }
    Ok(Taken { finds_root_by_type, notes })
}

/// Takes a program from wherever the tree has it.
pub(super) fn program(copier: &mut Copier<'_>, name: &str) -> Result<Option<TreePath>, ComposeError> {
    copier.take_one_of(&PROGRAMS.map(|directory| format!("{directory}/{name}")))
}

/// Takes the units, links between them, and what they run.
fn units(copier: &mut Copier<'_>) -> Result<(), ComposeError> {
    for directory in SYSTEMD.map(|directory| format!("{directory}/system")) {
        if copier.real(&path(&directory)) != Some(path(&directory)) {
            continue;
        }
        for unit in UNITS {
            let Some(at) = copier.take(&path(&format!("{directory}/{unit}")))? else { continue };
            let text = copier.tree.read(&at, LIMIT)?.unwrap_or_default();
            for name in executed(&String::from_utf8_lossy(&text)) {
                command(copier, &name, &[])?;
            }
            for kind in ["wants", "requires"] {
                let links = format!("{directory}/{unit}.{kind}");
                for other in names(copier.tree, &links).iter().filter(|other| UNITS.contains(&other.as_str()))
                {
                    copier.take(&path(&format!("{links}/{other}")))?;
                }
            }
        }
    }
    Ok(())
}

/// The first words of what a unit executes, without what stands before a path (`systemd.service(5)`, "Command lines").
fn executed(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("Exec")?.split_once('='));
    let words = lines.filter_map(|(_, command)| {
        Some(command.split_whitespace().next()?.trim_start_matches(['@', '-', ':', '+', '!', '|']))
    });
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Takes a program by its path or, in `further` directories and the usual ones, by its name; none is no mistake.
fn command(copier: &mut Copier<'_>, name: &str, further: &[&str]) -> Result<(), ComposeError> {
    if !name.contains('/') {
        let places = further.iter().chain(&PROGRAMS).map(|directory| format!("{directory}/{name}"));
        copier.take_one_of(&places.collect::<Vec<_>>())?;
        return Ok(());
    }
    let at = TreePath::from_root(name.as_bytes()).ok().filter(|_| name.starts_with('/'));
    if let Some(at) = at.filter(|at| matches!(copier.tree.file(at), Ok(Some(_)))) {
        copier.take(&at)?;
    }
    Ok(())
}

/// Takes rules of udev and the programs that they call.
fn rules(copier: &mut Copier<'_>) -> Result<Vec<TreePath>, ComposeError> {
    let mut taken = Vec::new();
    for directory in UDEV {
        for name in RULES {
            let Some(at) = copier.take(&path(&format!("{directory}/rules.d/{name}")))? else { continue };
            let text = copier.tree.read(&at, LIMIT)?.unwrap_or_default();
            for name in called(&String::from_utf8_lossy(&text)) {
                command(copier, &name, &UDEV)?;
            }
            taken.push(at);
        }
    }
    copier.take(&path("etc/udev/udev.conf"))?;
    taken.sort();
    taken.dedup();
    Ok(taken)
}

/// The programs that rules call (`udev(7)`: `PROGRAM`, `IMPORT{program}`, `RUN`, `RUN{program}`).
fn called(text: &str) -> Vec<String> {
    let keys = [
        "PROGRAM==\"",
        "PROGRAM=\"",
        "IMPORT{program}=\"",
        "IMPORT{program}==\"",
        "RUN+=\"",
        "RUN{program}+=\"",
        "RUN=\"",
    ];
    let mut names = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        for key in keys {
            let values = line.split(key).skip(1);
            names.extend(values.filter_map(|value| value.split(['"', ' ']).next()).map(str::to_owned));
        }
    }
    names.retain(|name| !name.is_empty() && !name.contains(['$', '%']));
    names.sort();
    names.dedup();
    names
}

/// Writes what is the initrd's own.
fn configuration(copier: &mut Copier<'_>, init: &TreePath, to_load: &[String]) -> Result<(), ComposeError> {
    let target = init.to_string();
    copier.link(&path("init"), target.trim_start_matches('/').as_bytes())?;
    let directory = init.split().map(|(directory, _)| directory).unwrap_or_default();
    let default = format!("{directory}/system/initrd.target");
    copier.directory("etc/systemd/system", 0o755)?;
    copier.link(&path("etc/systemd/system/default.target"), default.as_bytes())?;
    copier.write("etc/systemd/journald.conf", 0o644, JOURNALD)?;
    copier.write("etc/nsswitch.conf", 0o644, NSSWITCH)?;
    // Empty: every boot makes one for itself until the real root has a say.
    copier.write("etc/machine-id", 0o444, "")?;
    if !to_load.is_empty() {
        let lines: String = to_load.iter().map(|name| format!("{name}\n")).collect();
        copier.write("usr/lib/modules-load.d/initrd.conf", 0o644, lines)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_rules_tell_what_they_run() {
        let unit = "[Service]\nExecStart=@/lib/systemd/x y --z\n ExecStartPre=-+udevadm info\nExecReload=\nExecutable=no";
        assert_eq!(executed(unit), ["/lib/systemd/x", "udevadm", "no"]);
        let rules = "IMPORT{program}=\"scsi_id --export $devnode\", RUN+=\"/usr/sbin/y\"\n#RUN+=\"z\"\nPROGRAM==\"a b\", RUN{builtin}+=\"kmod load\"";
        assert_eq!(called(rules), ["/usr/sbin/y", "a", "scsi_id"]);
    }
}
