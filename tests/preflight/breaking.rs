//! For each kind of rule: a host that keeps it, and one that breaks it and nothing else.

use bake_image::{Condition, Requirement};

use crate::host::{Base, Host};

/// Where hosts have their services' settings.
fn drop_in(daemon: &str) -> String {
    format!("etc/systemd/{daemon}.conf.d/50-product.conf")
}

/// Brings what the stand-ins lack, as the rules' advice has it. What real hosts have of packages is not here, and
/// stands for itself: programs without content, units that only start.
pub fn keep(rule: &Requirement, base: &Base, host: &mut Host) {
    match &rule.needs {
        Condition::Programs(names) => {
            let is_there =
                |name: &String| ["usr/bin", "usr/sbin"].iter().any(|at| base.has(&format!("{at}/{name}")));
            names
                .iter()
                .filter(|name| !is_there(name))
                .for_each(|name| host.program(&format!("usr/bin/{name}")));
        }
        Condition::Network => host.starts("systemd-networkd.service"),
        Condition::TimeSync => {
            if !base.has("etc/systemd/system/multi-user.target.wants/chrony.service") {
                host.starts("chrony.service");
            }
        }
        Condition::JournalSize => host.file(&drop_in("journald"), "[Journal]\nSystemMaxUse=15G\n"),
        Condition::Setting { of, section, key, values } => {
            host.file(&drop_in(of), &format!("[{section}]\n{key}={}\n", values[0]));
        }
        Condition::Masked(units) => {
            for unit in units {
                host.link(&format!("etc/systemd/system/{unit}"), "/dev/null");
            }
        }
        Condition::SelinuxPolicies(_) if base.has("etc/selinux/config") => {
            host.file("etc/selinux/config", "SELINUX=permissive\nSELINUXTYPE=default\n");
        }
        Condition::Paths(_)
        | Condition::Absent(_)
        | Condition::KernelOptions(_)
        | Condition::KernelModules(_)
        | Condition::Systemd(_)
        | Condition::Users(_)
        | Condition::Groups(_)
        | Condition::Inactive(_)
        | Condition::SelinuxPolicies(_)
        | Condition::DockerStore
        | Condition::OverlayDirectories(_)
        | Condition::FreePort53 => {}
    }
}

/// Breaks one rule of a host that keeps it. Of several things that a rule asks for, the last is missing.
pub fn break_rule(rule: &Requirement, base: &Base, host: &mut Host) {
    match &rule.needs {
        Condition::Programs(names) => {
            for directory in ["usr/bin", "usr/sbin"] {
                host.remove(base, &format!("{directory}/{}", last(names)));
            }
        }
        Condition::Paths(paths) => {
            // Still in the PATH, so that no other rule misses it.
            let (directory, name) = last(paths).trim_start_matches('/').rsplit_once('/').unwrap();
            host.remove(base, &format!("{directory}/{name}"));
            host.program(&format!("usr/local/bin/{name}"));
        }
        Condition::Absent(paths) => host.file(last(paths).trim_start_matches('/'), "left"),
        Condition::KernelOptions(names) => {
            let config = base.find("boot/config-", "");
            let set = format!("CONFIG_{}=", last(names));
            host.file(&config, &without(&host_text(base, host, &config), |line| line.starts_with(&set)));
        }
        Condition::KernelModules(names) => {
            let index = base.find("usr/lib/modules/", "/modules.dep");
            let file = format!("/{}.ko:", last(names));
            let is_module = |line: &str| line.replace('-', "_").contains(&file);
            host.file(&index, &without(&host_text(base, host, &index), is_module));
        }
        Condition::Systemd(version) => {
            let library = base.find("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-", ".so");
            host.remove(base, &library);
            host.file(&format!("usr/lib/systemd/libsystemd-shared-{}.so", version - 1), "");
        }
        Condition::Users(names) => forget(base, host, "etc/passwd", last(names)),
        Condition::Groups(names) => forget(base, host, "etc/group", last(names)),
        Condition::Inactive(units) => host.starts(last(units)),
        Condition::Masked(units) => host.remove(base, &format!("etc/systemd/system/{}", last(units))),
        Condition::Network => {
            host.remove(base, "etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
        }
        Condition::TimeSync => host.remove(base, "etc/systemd/system/multi-user.target.wants/chrony.service"),
        Condition::JournalSize => host.remove(base, &drop_in("journald")),
        Condition::Setting { of, .. } => host.remove(base, &drop_in(of)),
        Condition::FreePort53 => host.starts("systemd-resolved.service"),
        Condition::SelinuxPolicies(_) => {
            host.file("etc/selinux/config", "SELINUX=enforcing\nSELINUXTYPE=default\n");
        }
        Condition::DockerStore => {
            host.file("etc/docker/daemon.json", r#"{"storage-driver": "devicemapper"}"#);
        }
        Condition::OverlayDirectories(directories) => {
            let line = format!("LABEL=work {} vfat defaults 0 2\n", last(directories));
            host.file("etc/fstab", &line);
        }
    }
}

/// Takes a name out of a list of accounts, and the list away from which systemd would make it at boot.
fn forget(base: &Base, host: &mut Host, list: &str, name: &str) {
    let start = format!("{name}:");
    host.file(list, &without(&base.text(list), |line| line.starts_with(&start)));
    host.link("etc/sysusers.d/basic.conf", "/dev/null");
}

fn last(names: &[String]) -> &str {
    names.last().unwrap()
}

/// What a host has of a file that may be broken already.
fn host_text(base: &Base, host: &Host, path: &str) -> String {
    host.added_text(path).unwrap_or_else(|| base.text(path))
}

fn without(text: &str, is_out: impl Fn(&str) -> bool) -> String {
    let kept: Vec<_> = text.lines().filter(|line| !is_out(line)).collect();
    assert_ne!(kept.len(), text.lines().count(), "nothing is taken out");
    kept.join("\n") + "\n"
}
